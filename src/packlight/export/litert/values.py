"""Values and operators of ONNX on their way into a LiteRT file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.export.litert.flatbuffer import Quantization, Tensor
from packlight.export.litert.layouts import Layout, Shape, natural
from packlight.export.weights import StoredWeight

Array = NDArray[Any]


class UnsupportedError(Exception):
    """An operator cannot be expressed; the message completes "OPERATOR with ..."."""


@dataclass(slots=True, eq=False)
class Value:
    """A value of the graph, with every form in which the file has it.

    Attributes:
        name: in ONNX.
        shape: in ONNX.
        dtype: name of its elements' type.
        forms: tensors that hold it, by layout.
        array: its numbers, where they are stored.
        weight: its numbers, where they are stored with an encoding of their own.
        codes: the integers that stand for it, where it is what a DequantizeLinear gives.
    """

    name: str
    shape: Shape
    dtype: str
    forms: dict[Layout, Tensor] = field(default_factory=dict)
    array: Array | None = None
    weight: StoredWeight | None = None
    codes: Value | None = None

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_stored(self) -> bool:
        """True if its numbers are in the file."""
        return self.array is not None or self.weight is not None

    @property
    def quantization(self) -> Quantization | None:
        """What integers stand for; None for values that are not codes."""
        return next((tensor.quantization for tensor in self.forms.values()), None)

    def numbers(self) -> Array:
        """Its stored numbers as operators read them.

        Raises:
            UnsupportedError: it is computed.
        """
        if self.array is not None:
            return self.array
        if self.weight is not None:
            return np.asarray(self.weight.decode())
        raise UnsupportedError(f"'{self.name}' computed instead of stored")

    def integers(self) -> list[int]:
        """Its stored numbers as integers, such as sizes and axes."""
        return [int(number) for number in self.numbers().reshape(-1)]


def stored_value(name: str, array: Array) -> Value:
    """A value from numbers; LiteRT has no float64, so they become float32."""
    if array.dtype in (np.float64, np.float16):
        array = array.astype(np.float32)
    return Value(name, array.shape, array.dtype.name, array=array)


def value_of(name: str, tensor: Tensor, layout: Layout | None = None) -> Value:
    """A value that a tensor holds, in the order of ONNX unless a layout is given."""
    layout = natural(len(tensor.shape)) if layout is None else layout
    shape = [0] * len(layout)
    for position, axis in enumerate(layout):
        shape[axis] = tensor.shape[position]
    return Value(name, tuple(shape), tensor.dtype, {layout: tensor})


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """An operator of the graph with its inputs.

    Attributes:
        node: in ONNX.
        opset: version of its domain.
        inputs: values; None for one that is left out.
    """

    node: ir.Node
    opset: int
    inputs: tuple[Value | None, ...]

    @property
    def op_type(self) -> str:
        """Type in ONNX."""
        return self.node.op_type

    def input(self, index: int) -> Value:
        """An input that must be there.

        Raises:
            UnsupportedError: it is left out.
        """
        value = self.optional(index)
        if value is None:
            raise UnsupportedError(f"no input {index + 1}")
        return value

    def optional(self, index: int) -> Value | None:
        """An input, or None."""
        return self.inputs[index] if index < len(self.inputs) else None

    def integer(self, name: str, default: int = 0) -> int:
        """An attribute that is an integer."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_int()

    def number(self, name: str, default: float) -> float:
        """An attribute that is a float."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_float()

    def integers(self, name: str, default: Sequence[int] = ()) -> list[int]:
        """An attribute that is a list of integers."""
        attribute = self.node.attributes.get(name)
        return list(default) if attribute is None else list(attribute.as_ints())

    def numbers(self, name: str) -> list[float]:
        """An attribute that is a list of floats."""
        attribute = self.node.attributes.get(name)
        return [] if attribute is None else list(attribute.as_floats())

    def texts(self, name: str) -> list[str]:
        """An attribute that is a list of texts."""
        attribute = self.node.attributes.get(name)
        return [] if attribute is None else list(attribute.as_strings())

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_string()

    def axis(self, rank: int, default: int, name: str = "axis") -> int:
        """An attribute that names an axis, counted from the start."""
        axis = self.integer(name, default)
        return axis + rank if axis < 0 else axis

    def axes(self, rank: int, index: int) -> list[int] | None:
        """Axes by attribute or stored input, counted from the start; None where none are given."""
        given = self.optional(index)
        if given is not None:
            axes = given.integers()
        elif "axes" in self.node.attributes:
            axes = self.integers("axes")
        else:
            return None
        return [axis + rank if axis < 0 else axis for axis in axes]
