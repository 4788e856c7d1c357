"""Checks of stored values that a method may refuse: NaN, too large, all too small, or on a grid."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.methods.float16 import LARGEST, LEAST, SMALLEST
from packlight.compression.sites.table_sites import is_regular
from packlight.compression.sites.weight_sites import STANDS_IN
from packlight.model import initializers, release


class ValueChecks:
    """Checks for values that a method may refuse; each tensor is read once.

    Args:
        model: whose tensors are read now, so that forked processes need not; None reads a tensor
            when it is first checked.
    """

    def __init__(self, model: ir.Model | None = None) -> None:
        self._checked: dict[int, tuple[ir.TensorProtocol, bool]] = {}
        if model is not None:
            for value in initializers(model):
                if value.const_value is not None:
                    self.may_refuse(value.const_value)

    def may_refuse(self, tensor: ir.TensorProtocol) -> bool:
        """Tell whether a method may refuse a tensor for its values."""
        if STANDS_IN in tensor.meta:
            return False
        if id(tensor) not in self._checked:
            self._checked[id(tensor)] = tensor, _has_extreme_values(tensor)
        return self._checked[id(tensor)][1]


def _has_extreme_values(tensor: ir.TensorProtocol) -> bool:
    """Check for float32 values that a method refuses: NaN, too large, all too small, or a grid."""
    if tensor.dtype != ir.DataType.FLOAT or tensor.size < SMALLEST:
        return False
    array = _read_floats(tensor)
    if is_regular(array):
        release(tensor)
        return True
    low = array.min()
    high = array.max()
    usual = low >= -LARGEST and high <= LARGEST and not 0 < max(-low, high) < LEAST  # not of a NaN
    del array
    release(tensor)
    return not usual


def _read_floats(tensor: ir.TensorProtocol) -> NDArray[np.float32]:
    """Read float32 values; mapping the file would take twice the time."""
    if isinstance(tensor, ir.ExternalTensor):
        return np.fromfile(tensor.path, np.float32, tensor.size, offset=tensor.offset or 0)
    return np.asarray(tensor.numpy(), np.float32)
