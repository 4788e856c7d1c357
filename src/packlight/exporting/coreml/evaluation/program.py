"""A package that is read back and evaluated, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import types

from packlight.exporting.coreml.evaluation.elementwise import ELEMENTWISE, Array, Kernel
from packlight.exporting.coreml.evaluation.layers import LAYERS
from packlight.exporting.coreml.evaluation.movement import MOVEMENT
from packlight.exporting.coreml.reading import read_function
from packlight.exporting.formats import Feeds

KERNELS: Mapping[str, Kernel] = {**ELEMENTWISE, **MOVEMENT, **LAYERS}
"""Operators that the writer writes, by their names in MIL."""

Values = dict[Any, Any]
"""Arrays, numbers and texts by value of the program."""


class Evaluation:
    """The program of a package.

    Args:
        path: of the package.
        half: whether results of 16 bits are rounded to them; else all is computed in float32.
    """

    def __init__(self, path: Path, *, half: bool) -> None:
        self.half = half
        self.function = read_function(path)
        self.stored: Values = {}
        self.steps = []
        for op in self.function.operations:
            if op.op_type == "const":
                self.stored[op.outputs[0]] = _as_float32(op.outputs[0].val)
            elif op.op_type.startswith("constexpr_"):
                results = _as_tuple(op.materialized_val_inference())
                self.stored |= dict(zip(op.outputs, map(_as_float32, results), strict=True))
            else:
                self.steps.append(op)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs of one call by their names in the package."""
        values: Values = dict(self.stored)
        for name, var in self.function.inputs.items():
            values[var] = np.asarray(feeds[name])
        with np.errstate(all="ignore"):
            for op in self.steps:
                self._step(op, values)
        return {var.name: np.asarray(values[var]) for var in self.function.outputs}

    def _step(self, op: Any, values: Values) -> None:
        arguments = {
            name: _value_of(var, values) for name, var in op.inputs.items() if var is not None
        }
        results = _as_tuple(KERNELS[op.op_type](arguments))
        for var, array in zip(op.outputs, results, strict=True):
            values[var] = self._rounded(var, np.asarray(array))

    def _rounded(self, var: Any, array: Array) -> Array:
        if self.half and var.dtype == types.fp16:
            array = array.astype(np.float16)
        rounded: Array = _as_float32(array)
        return rounded


def _as_tuple(result: Any) -> tuple[Any, ...]:
    if isinstance(result, tuple):
        return result
    return (result,)


def _value_of(var: Any, values: Values) -> Any:
    if isinstance(var, tuple | list):
        return [values[part] for part in var]
    return values[var]


def _as_float32(value: Any) -> Any:
    """Floats in 32 bits; codes, texts and truth values as they are."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f":
        return value.astype(np.float32)
    return value
