"""Whether weights have numbers that methods refuse, found by reading each of them once."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.methods.float16 import LARGEST, LEAST, SMALLEST
from packlight.model import initializers, release


class Numbers:
    """Whether methods may refuse what is stored for its numbers; each tensor is read once.

    Args:
        model: whose tensors are read now, so that processes to come need not; None reads each when
            it is asked for.
    """

    def __init__(self, model: ir.Model | None = None) -> None:
        self.known: dict[int, tuple[ir.TensorProtocol, bool]] = {}
        for value in () if model is None else initializers(model):
            if value.const_value is not None:
                self.extreme(value.const_value)

    def extreme(self, tensor: ir.TensorProtocol) -> bool:
        """Whether a method may refuse a tensor for its numbers."""
        if id(tensor) not in self.known:
            self.known[id(tensor)] = tensor, extreme(tensor)
        return self.known[id(tensor)][1]


def extreme(tensor: ir.TensorProtocol) -> bool:
    """Whether a float32 number of a tensor is NaN or too large for a method, or all too small."""
    if tensor.dtype != ir.DataType.FLOAT or tensor.size < SMALLEST:
        return False
    array = read(tensor)
    low, high = array.min(), array.max()
    usual = low >= -LARGEST and high <= LARGEST and not 0 < max(-low, high) < LEAST  # not of a NaN
    del array
    release(tensor)
    return not usual


def read(tensor: ir.TensorProtocol) -> NDArray[np.float32]:
    """The float32 numbers of a tensor; a map of a file would take twice the time."""
    if isinstance(tensor, ir.ExternalTensor):
        return np.fromfile(tensor.path, np.float32, tensor.size, offset=tensor.offset or 0)
    return np.asarray(tensor.numpy(), np.float32)
