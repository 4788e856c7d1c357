"""The table of operators of ONNX that a LiteRT file can express, in families."""

from __future__ import annotations

from collections.abc import Mapping

from packlight.exporting.litert.lowering import Function
from packlight.exporting.litert.operators.activations import ACTIVATIONS
from packlight.exporting.litert.operators.convolutions import CONVOLUTIONS
from packlight.exporting.litert.operators.elementwise import ELEMENTWISE
from packlight.exporting.litert.operators.indexing import INDEXING
from packlight.exporting.litert.operators.movement import MOVEMENT
from packlight.exporting.litert.operators.normalization import NORMALIZATION
from packlight.exporting.litert.operators.pooling import POOLING
from packlight.exporting.litert.operators.products import PRODUCTS
from packlight.exporting.litert.operators.recurrent import RECURRENT
from packlight.exporting.litert.operators.reductions import REDUCTIONS
from packlight.exporting.litert.operators.resizing import RESIZING

FLOAT_OPERATORS: Mapping[str, Function] = {
    **ACTIVATIONS,
    **CONVOLUTIONS,
    **ELEMENTWISE,
    **INDEXING,
    **MOVEMENT,
    **NORMALIZATION,
    **POOLING,
    **PRODUCTS,
    **RECURRENT,
    **REDUCTIONS,
    **RESIZING,
}
"""Operators of the standard domain, by type."""

__all__ = ["FLOAT_OPERATORS"]
