"""What is computed once, when the model is loaded: operators that read nothing but what is stored.

ONNX Runtime computes them when a session starts, so they cost nothing at a run, and what they give
is held in memory like a weight. It leaves out operators that draw random numbers, those with
bodies, and DequantizeLinear, which it keeps to fuse it with what follows; where it cannot, it
computes it at every run.
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
    """Values that are the same at every run.

    Args:
        graph: in the order it runs.
        stored: names of values of the main graph that are stored and cannot be fed.
    """
    found = {value for value in graph.inputs if str(value.name) in stored}
    found |= {value for value in graph.inputs if is_added(value)}
    found |= {value for key, value in graph.initializers.items() if key in stored}
    for node in operators(graph):
        found.update(
            value
            for value in node.inputs
            if value is not None and value.is_initializer() and value.graph is not graph
        )
        if is_constant(node, found):
            found.update(node.outputs)
    return found


def is_constant(node: ir.Node, known: Collection[ir.Value]) -> bool:
    """Whether an operator gives the same at every run."""
    foldable = node.domain in ("", MICROSOFT) and node.op_type not in EVERY_RUN
    return foldable and all(value is None or value in known for value in node.inputs)
