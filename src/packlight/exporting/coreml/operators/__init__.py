"""The table of operators of ONNX that a Core ML program can express, in families."""

from __future__ import annotations

from collections.abc import Mapping

from packlight.exporting.coreml.lowering import Function
from packlight.exporting.coreml.operators.elementwise import ELEMENTWISE
from packlight.exporting.coreml.operators.indexing import INDEXING
from packlight.exporting.coreml.operators.layers import LAYERS
from packlight.exporting.coreml.operators.movement import MOVEMENT
from packlight.exporting.coreml.operators.normalization import NORMALIZATION
from packlight.exporting.coreml.operators.recurrent import RECURRENT

OPERATORS: Mapping[str, Function] = {
    **ELEMENTWISE,
    **INDEXING,
    **LAYERS,
    **MOVEMENT,
    **NORMALIZATION,
    **RECURRENT,
}
"""Operators of the standard domain, by type."""

__all__ = ["OPERATORS"]
