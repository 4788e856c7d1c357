"""Input shapes from mappings or from text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packlight.errors import InputError

Shapes = Mapping[str, Sequence[int]] | Sequence[str]
"""By input name, or as text: ``image=1,3,224,224``."""

LARGEST_SIZE = 2**63 - 1
"""Largest dimension that an ONNX file can store."""


def shapes_of(inputs: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes by name.

    Raises:
        InputError: a text is not a shape, or two texts name the same input.
    """
    if isinstance(inputs, Mapping):
        return {name: tuple(shape) for name, shape in inputs.items()}
    return parse_inputs(inputs)


def parse_inputs(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes from texts.

    Raises:
        InputError: a text is not a shape, or two texts name the same input.

    >>> parse_inputs(["image=1,3,224,224", "rate="])
    {'image': (1, 3, 224, 224), 'rate': ()}
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, equals, dims = text.rpartition("=")
        if not equals or not name:
            raise InputError(f"an input's shape is NAME=SIZES, as image=1,3,224,224; got '{text}'")
        if name in shapes:
            raise InputError(f"input '{name}' has one shape; '{text}' is a second one")
        sizes = [size.strip() for size in dims.split(",")] if dims.strip() else []
        wrong = [size for size in sizes if not _is_size(size)]
        if wrong:
            raise InputError(
                f"sizes of an input are whole numbers from 1 to 2**63-1, separated by commas, as "
                f"image=1,3,224,224; '{text}' has '{wrong[0]}'"
            )
        shapes[name] = tuple(map(int, sizes))
    return shapes


def _is_size(text: str) -> bool:
    digits = text.lstrip("0")
    is_number = text.isascii() and text.isdigit() and 0 < len(digits) <= len(str(LARGEST_SIZE))
    return is_number and int(digits) <= LARGEST_SIZE
