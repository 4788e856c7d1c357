"""Values computed once, when the model is loaded, by operators that read only stored values.

ONNX Runtime folds these operators when a session starts, so they cost nothing at a run, and their
outputs take memory like a weight. It does not fold operators that draw random numbers, operators
with bodies, and DequantizeLinear, which it tries to fuse with its reader; where it cannot, it
computes DequantizeLinear at every run.
Source: ONNX Runtime, constant_folding.cc; DequantizeLinear measured with ONNX Runtime 1.31.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from packlight.model import operators
from packlight.profiling.counts import names
from packlight.profiling.stand_ins import MICROSOFT, is_added

EVERY_RUN = names(
    "Bernoulli DequantizeLinear Dropout If Loop Multinomial RandomNormal RandomNormalLike "
    "RandomUniform RandomUniformLike Scan SequenceMap"
)
"""Operators that run each time, whatever they read."""


def constants(graph: ir.Graph, stored: Collection[str]) -> set[ir.Value]:
    """Values that are equal at every run.

    Args:
        graph: in the order it runs.
        stored: names of values of the main graph that are stored and cannot be fed.
    """
    constant = {value for value in graph.inputs if str(value.name) in stored}
    constant |= {value for value in graph.inputs if is_added(value)}
    constant |= {value for key, value in graph.initializers.items() if key in stored}
    for node in operators(graph):
        constant.update(
            value
            for value in node.inputs
            if value is not None and value.is_initializer() and value.graph is not graph
        )
        if is_constant(node, constant):
            constant.update(node.outputs)
    return constant


def is_constant(node: ir.Node, constant: Collection[ir.Value]) -> bool:
    """Return whether an operator gives equal outputs at every run."""
    foldable = node.domain in ("", MICROSOFT) and node.op_type not in EVERY_RUN
    return foldable and all(value is None or value in constant for value in node.inputs)
