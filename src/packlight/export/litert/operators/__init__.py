"""The table of operators of ONNX that a LiteRT file can express, in families."""

from __future__ import annotations

from collections.abc import Mapping

from packlight.export.litert.lowering import Function
from packlight.export.litert.operators.activations import ACTIVATIONS
from packlight.export.litert.operators.convolutions import CONVOLUTIONS
from packlight.export.litert.operators.elementwise import ELEMENTWISE
from packlight.export.litert.operators.indexing import INDEXING
from packlight.export.litert.operators.movement import MOVEMENT
from packlight.export.litert.operators.normalization import NORMALIZATION
from packlight.export.litert.operators.pooling import POOLING
from packlight.export.litert.operators.products import PRODUCTS
from packlight.export.litert.operators.recurrent import RECURRENT
from packlight.export.litert.operators.reductions import REDUCTIONS
from packlight.export.litert.operators.resizing import RESIZING

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
