"""Sizes for the open dimensions of a model's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from packlight.errors import InputError
from packlight.model import Model, Shape


@dataclass(frozen=True, slots=True)
class Bound:
    """Inputs with their shapes as far as they are known.

    Attributes:
        inputs: shape by name; None for an open dimension.
        notes: assumptions, and the options to give for open dimensions.
    """

    inputs: Mapping[str, Shape]
    notes: tuple[str, ...] = ()


def bind(model: Model, requested: Mapping[str, Sequence[int]]) -> Bound:
    """Shapes of all inputs.

    A dimension with a name has the size of every other with that name. Where only the first
    dimension of an input is open, it counts as a batch of 1.

    Args:
        model: their model.
        requested: shapes for inputs with open dimensions.

    Raises:
        InputError: there is no such input, or it does not have this shape.
    """
    declared = model.inputs()
    unknown = [name for name in requested if name not in declared]
    if unknown:
        raise InputError(f"the model has no input '{unknown[0]}'; it has {_listed(declared)}")
    symbols: dict[str, int] = {}
    for name, sizes in requested.items():
        _check_shape(declared[name], tuple(sizes))
        _record_symbols(symbols, declared[name], sizes)
    inputs: dict[str, Shape] = {}
    notes = []
    for name, value in declared.items():
        if name in requested:
            inputs[name] = tuple(requested[name])
        elif value.shape is None:
            notes.append(f"input '{name}' has an open shape: give --input {name}=SIZES, or a task")
        else:
            inputs[name] = tuple(symbols.get(text(size), number(size)) for size in value.shape)
            inputs[name], note = _with_batch(name, inputs[name], value)
            if note:
                notes.append(note)
    return Bound(inputs, tuple(notes))


def _with_batch(name: str, sizes: Shape, value: ir.Value) -> tuple[Shape, str]:
    if None not in sizes:
        return sizes, ""
    if None not in sizes[1:]:
        return (1, *sizes[1:]), f"input '{name}' counts with a batch of 1"
    example = ",".join(text(size) for size in value.shape or ())
    return sizes, f"input '{name}' is open: give --input {name}={example} with numbers, or a task"


def _check_shape(value: ir.Value, sizes: tuple[int, ...]) -> None:
    """Refuse a shape that an input cannot have."""
    if not all(type(size) is int and 0 <= size < 2**63 for size in sizes):
        raise InputError(
            f"sizes of input '{value.name}' are whole numbers from 0 to 2**63-1; got {sizes}"
        )
    if value.shape is None:
        return
    subject = f"input {_described(value)}"
    if len(sizes) != len(value.shape):
        raise InputError(
            f"{subject} has {len(value.shape)} dimensions; {shown(sizes)} has {len(sizes)}"
        )
    for index, (fixed, size) in enumerate(zip(value.shape, sizes, strict=True)):
        if isinstance(fixed, int) and fixed != size:
            raise InputError(
                f"{subject} fixes dimension {index} at {fixed}; {shown(sizes)} has {size} there"
            )


def _record_symbols(symbols: dict[str, int], value: ir.Value, sizes: Sequence[int]) -> None:
    """Record the sizes of named dimensions."""
    for dimension, size in zip(value.shape or (), sizes, strict=False):
        key = text(dimension)
        if isinstance(dimension, int) or key == OPEN:
            continue
        if symbols.setdefault(key, size) != size:
            raise InputError(
                f"dimension '{key}' has one size in all inputs; it is {symbols[key]} in one and "
                f"{size} in '{value.name}'"
            )


OPEN = "?"
"""A dimension without a size and a name."""


def text(size: int | ir.SymbolicDim) -> str:
    """A dimension as it is declared."""
    if isinstance(size, int):
        return str(size)
    return str(size.value or OPEN)


def number(size: int | ir.SymbolicDim) -> int | None:
    """A dimension's size, if it is a number."""
    return size if isinstance(size, int) else None


def shown(sizes: Sequence[int]) -> str:
    """Sizes as they are typed."""
    return ",".join(map(str, sizes)) or "no size"


def _described(value: ir.Value) -> str:
    sizes = "of any shape" if value.shape is None else ",".join(map(text, value.shape))
    return f"'{value.name}' ({sizes})"


def _listed(values: Mapping[str, ir.Value]) -> str:
    return ", ".join(_described(value) for value in values.values())
