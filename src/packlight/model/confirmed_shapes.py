"""Of the shapes that a file states, those that its operators bear out.

ONNX Runtime believes the operators where the two differ, as where somebody opened a dimension of an
input and left what was noted of results behind it. Whoever draws conclusions from shapes must not
believe more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import onnx
import onnx_ir as ir

from packlight.model.check import subgraphs
from packlight.model.model import graphs
from packlight.model.shape_agreement import sketched


@contextmanager
def only_confirmed(model: ir.Model) -> Iterator[None]:
    """Leave values no dimension that does not follow from the inputs, until the end of the block.

    Then outputs of the model, and what is left of the other values, have their stated shapes
    again.
    """
    outputs = [value.shape for value in model.graph.outputs]
    held = [(value, value.shape, shape) for value, shape in doubtful(model)]
    for value, _, shape in held:
        value.shape = shape
    try:
        yield
    finally:
        for value, stated, shape in held:
            value.shape = stated if value.shape == shape else value.shape
        for value, stated in zip(model.graph.outputs, outputs, strict=True):
            value.shape = stated if stated is not None else value.shape


def doubtful(model: ir.Model) -> Iterator[tuple[ir.Value, ir.Shape | None]]:
    """Values that state more than is known, with what is known of their shapes."""
    known = inferred(model)
    for graph, same in zip(graphs(model), graphs(known), strict=True):
        for value, bare in zip(results_of(model, graph), results_of(known, same), strict=True):
            shape = confirmed(value.shape, bare.shape)
            if shape != value.shape:
                yield value, shape


def results_of(model: ir.Model, graph: ir.Graph) -> list[ir.Value]:
    """What the operators of a graph give, and inputs of one that is a body."""
    given = [] if graph is model.graph else list(graph.inputs)
    return [*given, *(value for node in graph for value in node.outputs)]


def inferred(model: ir.Model) -> ir.Model:
    """The model without large weights, and with the shapes that follow from its inputs alone."""
    proto = sketched(model)
    forget(proto.graph.output)
    for body in subgraphs(proto.graph.node):
        forget([*body.input, *body.output])
    try:
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return ir.from_proto(proto)  # nothing follows from operators that contradict each other
    return ir.from_proto(proto)


def forget(stated: Iterable[onnx.ValueInfoProto]) -> None:
    """Take the shapes off what a graph states."""
    for info in stated:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")


def confirmed(stated: ir.Shape | None, known: ir.Shape | None) -> ir.Shape | None:
    """A stated shape with the dimensions that are known to be so; None where the rank is not."""
    if stated is None or known is None or len(stated) != len(known):
        return None
    return ir.Shape([one if one == two else None for one, two in zip(stated, known, strict=True)])
