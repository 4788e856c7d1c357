"""Bind inputs of a model: sizes of open dimensions, whole shapes, and constant values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.errors import InputError
from packlight.model import Model

Array = NDArray[Any]

Bindings = Mapping[str, str]
"""Text by name of a dimension or an input: ``batch=1``, ``ids=1,128``, ``sr=16000``."""

Shapes = Mapping[str, tuple[int, ...]]


def parse_bindings(texts: Sequence[str]) -> dict[str, str]:
    """Bindings from texts, as ``["batch=1", "sr=16000"]``.

    Raises:
        InputError: a text is no binding, or a name is bound twice.

    >>> parse_bindings(["batch=1", "ids=1,128"])
    {'batch': '1', 'ids': '1,128'}
    """
    bindings: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or not name or not value.strip():
            raise InputError(f"a binding is NAME=VALUE, as batch=1 or ids=1,128; got '{text}'")
        if name in bindings:
            raise InputError(f"'{name}' is bound once; '{text}' is a second binding")
        bindings[name] = value.strip()
    return bindings


def bind_inputs(graph: ir.Model, bindings: Bindings, shapes: Shapes, name: str) -> dict[str, str]:
    """Fix the shapes of all inputs, in place, and store those that are bound to a value.

    Args:
        graph: changed.
        bindings: by name of a dimension or an input.
        shapes: of inputs whose dimensions are still open then, as from a task's samples.
        name: of the model, for messages.

    Returns:
        What was bound, as text by name, sizes that follow from ``shapes`` or defaults included.

    Raises:
        InputError: a name does not exist, a value does not fit, or a dimension stays open.
    """
    inputs = Model(graph, name).inputs()
    bound = dict(bindings)
    for key, text in bindings.items():
        if key in inputs:
            _bind_input(graph, inputs[key], text)
        elif key in _open_names(inputs):
            _bind_dimension(inputs, key, _sizes(key, text, 1)[0])
        else:
            names = ", ".join([*_open_names(inputs), *inputs])
            raise InputError(f"'{name}' has no input or open dimension '{key}'; it has {names}")
    inputs = Model(graph, name).inputs()
    for key, value in inputs.items():
        if not _is_fixed(value) and key in shapes:
            _set_shape(value, shapes[key])
            bound[key] = ",".join(map(str, shapes[key]))
    _default_batch(inputs, bound)
    _check_fixed(inputs, name)
    return bound


def bound_array(text: str, shape: Sequence[int], dtype: np.dtype[np.generic]) -> Array:
    """The value that an input is bound to, as an array.

    Raises:
        ValueError: the text holds no numbers, or not as many as fit the shape.

    >>> bound_array("16000", (), np.dtype(np.int64))
    array(16000)
    """
    numbers = np.array([float(part) for part in text.split(",")])
    if not shape and numbers.size == 1:
        numbers = numbers.reshape(())
    return np.broadcast_to(numbers, tuple(shape)).astype(dtype)


def _bind_input(graph: ir.Model, value: ir.Value, text: str) -> None:
    """Give an input a shape, or a constant value where its shape is fixed."""
    if value.shape is None or not value.shape.is_static():
        count = None
        if value.shape is not None:
            count = len(value.shape)
        _set_shape(value, _sizes(str(value.name), text, count))
        return
    assert value.dtype is not None
    shape = tuple(value.shape.numpy())
    try:
        exact = bound_array(text, shape, np.dtype(np.float64))
        stored = exact.astype(value.dtype.numpy())
    except ValueError as error:
        raise InputError(
            f"input '{value.name}' has the fixed shape {list(shape)}, so it is bound to a "
            f"number; got '{text}'"
        ) from error
    if not np.array_equal(stored.astype(np.float64), exact):
        raise InputError(
            f"input '{value.name}' holds {value.dtype}; '{text}' is none: bind a number of it"
        )
    graph.graph.inputs.remove(value)
    value.const_value = ir.Tensor(np.ascontiguousarray(stored), name=value.name)
    graph.graph.register_initializer(value)


def _set_shape(value: ir.Value, shape: Sequence[int]) -> None:
    stated = value.shape
    if stated is not None:
        sizes = list(stated)
        fits = len(sizes) == len(shape) and all(
            not isinstance(size, int) or size == bound_size
            for size, bound_size in zip(sizes, shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"input '{value.name}' takes the shape {sizes}; {list(shape)} does not fit: "
                "give sizes that agree with its fixed ones"
            )
    value.shape = ir.Shape(shape)


def _sizes(name: str, text: str, count: int | None) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    valid = all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts)
    if not valid or (count is not None and len(parts) != count):
        raise InputError(f"'{name}' is bound to {_wanted_sizes(count)} of at least 1; got '{text}'")
    return [int(part) for part in parts]


def _wanted_sizes(count: int | None) -> str:
    if count is None:
        return "sizes"
    if count > 1:
        return f"{count} sizes"
    return "a size"


def _open_names(inputs: Mapping[str, ir.Value]) -> list[str]:
    names = [
        str(size.value)
        for value in inputs.values()
        for size in value.shape or ()
        if isinstance(size, ir.SymbolicDim) and size.value
    ]
    return list(dict.fromkeys(names))


def _bind_dimension(inputs: Mapping[str, ir.Value], name: str, size: int) -> None:
    for value in inputs.values():
        if value.shape is not None:
            value.shape = ir.Shape(
                [
                    size if isinstance(dim, ir.SymbolicDim) and dim.value == name else dim
                    for dim in value.shape
                ]
            )


def _default_batch(inputs: Mapping[str, ir.Value], bound: dict[str, str]) -> None:
    """Bind the first dimension to 1 where no other is open, as ``profile`` does."""
    unfixed = [value for value in inputs.values() if not _is_fixed(value)]
    for value in unfixed:
        sizes = list(value.shape or ())
        if not sizes or not all(isinstance(size, int) for size in sizes[1:]):
            return
    for value in unfixed:
        assert value.shape is not None
        sizes = [1, *list(value.shape)[1:]]
        value.shape = ir.Shape(sizes)
        bound[str(value.name)] = ",".join(map(str, sizes))


def _check_fixed(inputs: Mapping[str, ir.Value], name: str) -> None:
    for key, value in inputs.items():
        if not _is_fixed(value):
            sizes = list(value.shape or ())
            examples = [f"{dimension}=1" for dimension in _open_names({key: value})]
            examples.append(f"{key}=SIZES")
            raise InputError(
                f"exported models have fixed shapes; input '{key}' of '{name}' is open "
                f"({', '.join(map(str, sizes)) or 'no shape'}): add --bind {examples[0]}, or a "
                "--task whose samples have its shape"
            )


def _is_fixed(value: ir.Value) -> bool:
    return value.shape is not None and value.shape.is_static()
