"""Sums of products in Einstein's notation, as one product of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from packlight.exporting.operator_view import UnsupportedError

PAIR = 2


@dataclass(frozen=True, slots=True)
class ProductPlan:
    """A product of two values as one of matrices (batch, rows, inner) and (batch, inner, columns).

    Attributes:
        first: axes of the first value in the order batch, rows, inner.
        second: axes of the second value in the order batch, inner, columns.
        batch: sizes of the axes that both and the result have.
        rows: sizes of the axes that the first alone has.
        inner: sizes of the axes that are summed over.
        columns: sizes of the axes that the second alone has.
        order: place in the result of each axis of batch, rows and columns.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    batch: tuple[int, ...]
    rows: tuple[int, ...]
    inner: tuple[int, ...]
    columns: tuple[int, ...]
    order: tuple[int, ...]


def product_plan(equation: str, shapes: Sequence[tuple[int, ...]]) -> ProductPlan:
    """The plan of an Einsum.

    Args:
        equation: as ``bik,bjk->bij``.
        shapes: of its inputs.

    Raises:
        UnsupportedError: it is not one product of two values.
    """
    text = equation.replace(" ", "")
    if "." in text or len(shapes) != PAIR or "->" not in text:
        raise UnsupportedError(f"equation '{equation}'")
    terms, result = text.split("->")
    first, second = terms.split(",")
    if any(len(set(term)) != len(term) for term in (first, second, result)):
        raise UnsupportedError(f"equation '{equation}'")
    sizes = dict(zip(first + second, (*shapes[0], *shapes[1]), strict=True))
    batch = [letter for letter in result if letter in first and letter in second]
    inner = [letter for letter in first if letter in second and letter not in result]
    rows = [letter for letter in first if letter not in second]
    columns = [letter for letter in second if letter not in first]
    if any(letter not in result for letter in (*rows, *columns)):
        raise UnsupportedError(f"equation '{equation}'")

    def lengths(letters: Sequence[str]) -> tuple[int, ...]:
        return tuple(sizes[letter] for letter in letters)

    return ProductPlan(
        first=tuple(map(first.index, (*batch, *rows, *inner))),
        second=tuple(map(second.index, (*batch, *inner, *columns))),
        batch=lengths(batch),
        rows=lengths(rows),
        inner=lengths(inner),
        columns=lengths(columns),
        order=tuple(map(result.index, (*batch, *rows, *columns))),
    )
