"""Values and operators of ONNX on their way into a LiteRT file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from packlight.exporting.litert.flatbuffer import Quantization, Tensor
from packlight.exporting.litert.layouts import Layout, Shape, natural
from packlight.exporting.operator_view import OperatorView, StoredNumbers, UnsupportedError
from packlight.exporting.weights import StoredWeight

Array = NDArray[Any]


@dataclass(slots=True, eq=False)
class Value(StoredNumbers):
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
    def quantization(self) -> Quantization | None:
        """What integers stand for; None for values that are not codes."""
        return next((tensor.quantization for tensor in self.forms.values()), None)

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
    if layout is None:
        layout = natural(len(tensor.shape))
    shape = [0] * len(layout)
    for position, axis in enumerate(layout):
        shape[axis] = tensor.shape[position]
    return Value(name, tuple(shape), tensor.dtype, {layout: tensor})


Operator = OperatorView[Value]
"""An operator with the values that it reads."""

__all__ = ["Operator", "UnsupportedError", "Value", "stored_value", "value_of"]
