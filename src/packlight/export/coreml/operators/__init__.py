"""The table of operators of ONNX that a Core ML program can express, in families."""

from __future__ import annotations

from collections.abc import Mapping

from packlight.export.coreml.lowering import Function
from packlight.export.coreml.operators.elementwise import ELEMENTWISE
from packlight.export.coreml.operators.layers import LAYERS
from packlight.export.coreml.operators.movement import MOVEMENT
from packlight.export.coreml.operators.recurrent import RECURRENT

OPERATORS: Mapping[str, Function] = {**ELEMENTWISE, **LAYERS, **MOVEMENT, **RECURRENT}
"""Operators of the standard domain, by type."""

__all__ = ["OPERATORS"]
