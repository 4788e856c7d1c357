"""Values of a graph in PyTorch: their types, arrays as tensors, and numbers that steer shapes.

A value is a tensor, or an array of NumPy where it holds sizes: what is computed from shapes stays
outside PyTorch, so that an exported program has it as plain numbers. Integers of 2 and 4 bits lie
in 8 bits, for PyTorch has no arithmetic for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

Tensor: TypeAlias = torch.Tensor
Array = NDArray[Any]
Value = Any
"""A tensor, an array, a list of them (a sequence of ONNX), or None for an input left out."""

DTYPES: Mapping[ir.DataType, torch.dtype] = {
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.INT8: torch.int8,
    ir.DataType.INT16: torch.int16,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT64: torch.int64,
    ir.DataType.UINT8: torch.uint8,
    ir.DataType.UINT16: torch.uint16,
    ir.DataType.UINT32: torch.uint32,
    ir.DataType.UINT64: torch.uint64,
    ir.DataType.BOOL: torch.bool,
    ir.DataType.INT4: torch.int8,
    ir.DataType.UINT4: torch.uint8,
    ir.DataType.INT2: torch.int8,
    ir.DataType.UINT2: torch.uint8,
    ir.DataType.COMPLEX64: torch.complex64,
    ir.DataType.COMPLEX128: torch.complex128,
}

BITS: Mapping[ir.DataType, int] = {
    ir.DataType.INT4: 4,
    ir.DataType.UINT4: 4,
    ir.DataType.INT2: 2,
    ir.DataType.UINT2: 2,
}
"""Widths of integers that lie in 8 bits."""

STORED_KIND = "packlight.kind"
"""Attribute that the interpreter sets: the type of 2 or 4 bits of an input that states a type."""

SIGNED_SUB_BYTE = (ir.DataType.INT4, ir.DataType.INT2)

CONTAINERS = {"int4": np.int8, "int2": np.int8, "uint4": np.uint8, "uint2": np.uint8}
"""Types of 8 bits that hold integers of 2 and 4 bits, by the names of these in NumPy."""

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

RARE_INTEGERS = (torch.uint16, torch.uint32, torch.uint64)
"""Integers without arithmetic in PyTorch; it is done in 64 bits."""


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of a graph, without its inputs.

    Attributes:
        op_type: as in ONNX.
        name: of the operator.
        opset: version of its domain.
        attributes: that are set, by name.
        output_count: outputs up to the last that is read.
    """

    op_type: str
    name: str
    opset: int
    attributes: Mapping[str, Any]
    output_count: int = 1

    def integer(self, name: str, default: int = 0) -> int:
        """An attribute that is an integer."""
        return int(self.attributes.get(name, default))

    def number(self, name: str, default: float) -> float:
        """An attribute that is a float."""
        return float(self.attributes.get(name, default))

    def integers(self, name: str, default: Sequence[int] = ()) -> list[int]:
        """An attribute that is a list of integers."""
        return [int(number) for number in self.attributes.get(name, default)]

    def integers_of(self, name: str, value: Value, default: Sequence[int] = ()) -> list[int]:
        """Integers of an input or, where it is left out, of the attribute of older opsets."""
        return integers(value, self.integers(name, default))

    def numbers(self, name: str, default: Sequence[float] = ()) -> list[float]:
        """An attribute that is a list of floats."""
        return [float(number) for number in self.attributes.get(name, default)]

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        return str(self.attributes.get(name, default))

    def flag(self, name: str, *, default: bool = False) -> bool:
        """An attribute that is 0 or 1."""
        return bool(self.attributes.get(name, default))


Function = Callable[..., Value]
"""Computes an operator: its record, then its inputs; None for an input left out.

It returns a value, or a tuple of one for each output."""


def integers(value: Value, default: Sequence[int] = ()) -> list[int]:
    """The numbers of a value that holds sizes, axes or positions; of None, the default."""
    if value is None:
        return list(default)
    return [int(number) for number in value.reshape(-1).tolist()]


def integer(value: Value, default: int = 0) -> int:
    """The number of a value with one element; of None, the default."""
    return integers(value, [default])[0]


def numbers(value: Value, default: Sequence[float] = ()) -> list[float]:
    """The numbers of a value that holds floats, such as scales; of None, the default."""
    if value is None:
        return list(default)
    return [float(number) for number in value.reshape(-1).tolist()]


def is_float(tensor: Tensor) -> bool:
    """Tell whether gradients can flow through a tensor."""
    return tensor.dtype in FLOATS


def array_of(tensor: ir.TensorProtocol) -> Array:
    """Copy a stored tensor; integers of 2 and 4 bits lie in 8 bits."""
    return _contained(np.array(tensor.numpy()))


def _contained(array: Array) -> Array:
    return array.astype(CONTAINERS.get(array.dtype.name, array.dtype), copy=False)


def as_tensor(value: Value, device: torch.device | str = "cpu") -> Value:
    """An array as a tensor, which never shares memory with it; tensors and lists stay."""
    if not isinstance(value, np.ndarray | np.generic):
        return value
    array = _contained(np.array(value, order="C"))
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(array).to(device)


def as_array(tensor: Tensor) -> Array:
    """A tensor as an array, in the types of NumPy and ml_dtypes."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        bfloat16 = ir.DataType.BFLOAT16.numpy()
        return np.array(tensor.contiguous().view(torch.int16).numpy()).view(bfloat16)
    return np.array(tensor.numpy())


def along_axis(vector: Tensor, axis: int, rank: int) -> Tensor:
    """A vector with its numbers along one axis of ``rank``, to be broadcast along the others."""
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)
