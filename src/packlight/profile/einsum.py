"""Multiply-accumulates of Einsum, operand after operand, as ONNX Runtime computes it.

A letter that stands twice in an operand takes its diagonal. The first two operands are multiplied,
then what they give and the third, and so on; before each product, letters that only one of the two
has and nothing later needs are summed. Such a product takes one multiply-accumulate for every
combination of the letters that are left, and those that nothing later needs are summed in it. For
two operands this is the product of the sizes of all letters. ``...`` stands for as many dimensions
as are left, aligned at their ends, and a size of 1 is repeated.
Source: ONNX Einsum-12; ONNX Runtime, einsum_typed_compute_processor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from packlight.profile.work import Around, Sizes, UnknownError, Work

ELLIPSIS = "..."
Letters = dict[str, int]
"""Sizes by letter; dimensions of ``...`` have names like ``...0``, counted from the last."""


def einsum(around: Around) -> Work:
    """Products of operand after operand."""
    equation = around.text("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    operands = [letters(term, around.read(place)) for place, term in enumerate(terms)]
    whole = widest(operands)
    wanted = set(given_letters(right, whole)) if arrow else set(implied(left, whole))
    macs = summed = 0
    product, *rest = operands
    for place, operand in enumerate(rest):
        needed = wanted.union(*rest[place + 1 :])
        for one, other in ((product, operand), (operand, product)):
            if not set(one) <= needed | set(other):
                summed += math.prod(one.values())
        both = {
            key
            for key in {*product, *operand}
            if key in needed or (key in product and key in operand)
        }
        macs += math.prod(whole[key] for key in both)
        product = {key: whole[key] for key in both & needed}
    if not rest and not set(product) <= wanted:
        summed += math.prod(product.values())
    return Work(macs, summed)


def letters(term: str, shape: Sizes) -> Letters:
    """Sizes of the letters of one operand.

    Raises:
        UnknownError: the shape has fewer dimensions than the term has letters.
    """
    before, dots, after = term.partition(ELLIPSIS)
    free = len(shape) - len(before) - len(after)
    if free < 0 or (free and not dots):
        raise UnknownError(f"'{term}' does not name the {len(shape)} dimensions that it reads")
    names = [*before, *(f"{ELLIPSIS}{free - 1 - place}" for place in range(free)), *after]
    return dict(zip(names, shape, strict=True))


def widest(operands: list[Letters]) -> Letters:
    """The size of every letter; 1 is repeated where another operand has more."""
    whole: Letters = {}
    for operand in operands:
        for key, size in operand.items():
            whole[key] = max(size, whole.get(key, 1)) if size else 0
    return whole


def given_letters(term: str, whole: Mapping[str, int]) -> list[str]:
    """Letters of the result, where the equation states them."""
    dots = [key for key in whole if key.startswith(ELLIPSIS)] if ELLIPSIS in term else []
    return [*term.replace(ELLIPSIS, ""), *dots]


def implied(terms: str, whole: Mapping[str, int]) -> list[str]:
    """Letters of the result where the equation does not state them: those that stand once."""
    plain = terms.replace(ELLIPSIS, "").replace(",", "")
    return [key for key in whole if key.startswith(ELLIPSIS) or plain.count(key) == 1]
