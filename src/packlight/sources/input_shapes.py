"""Shapes of inputs as people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packlight.errors import InputError

Shapes = Mapping[str, Sequence[int]] | Sequence[str]
"""By name of the input, or texts as ``image=1,3,224,224``."""

LARGEST = 2**63 - 1
"""The largest size of a dimension that ONNX files can state."""


def shapes_of(inputs: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes by name.

    Raises:
        InputError: a text is none, or two name the same input.
    """
    if isinstance(inputs, Mapping):
        return {name: tuple(shape) for name, shape in inputs.items()}
    return parse_inputs(inputs)


def parse_inputs(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes from texts.

    Raises:
        InputError: a text is none, or two name the same input.

    >>> parse_inputs(["image=1,3,224,224", "rate="])
    {'image': (1, 3, 224, 224), 'rate': ()}
    """
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, equals, dims = text.rpartition("=")
        if not equals or not name:
            raise InputError(f"an input's shape is NAME=SIZES, as image=1,3,224,224; got '{text}'")
        if name in found:
            raise InputError(f"input '{name}' has one shape; '{text}' is a second one")
        sizes = [size.strip() for size in dims.split(",")] if dims.strip() else []
        wrong = [size for size in sizes if not is_size(size)]
        if wrong:
            raise InputError(
                f"sizes of an input are whole numbers from 1 to 2**63-1, separated by commas, as "
                f"image=1,3,224,224; '{text}' has '{wrong[0]}'"
            )
        found[name] = tuple(map(int, sizes))
    return found


def is_size(text: str) -> bool:
    """Whether a text is a size that a file can state."""
    digits = text.lstrip("0")
    known = text.isascii() and text.isdigit() and 0 < len(digits) <= len(str(LARGEST))
    return known and int(digits) <= LARGEST
