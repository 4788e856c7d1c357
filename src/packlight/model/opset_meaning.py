"""Keep what operators mean where onnx's converter keeps no more than their form.

Until opset 13 Hardmax is of a matrix that its axis splits a tensor into; the converter knows that
of Softmax and LogSoftmax alone. Until opset 11 Resize reads number ``i`` of a result at ``i /
scale``, and Upsample does; from then on it says where, and half a pixel off where it says nothing.
Source: the operator specifications of ONNX, and ``Resize`` of opset 10 in ONNX Runtime, whose
nearest number is the one below where a scale enlarges and the one above where it does not.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from packlight.model.model import nodes, stored_tensor

MATRIX = 13
"""Opset from which Hardmax is of one axis, and no longer of a matrix."""

PLACED = 11
"""Opset from which Resize says where it reads."""

SHRINKS = 10
"""Opset from which scales may be below 1."""

SCALES = 2
"""Input of Resize that holds its scales, from opset 11 on."""


def flatten_hardmax(model: ir.Model, opset: int) -> None:
    """Write out that Hardmax is of a matrix, in place, for a model that goes to ``opset``."""
    if not model.opset_imports[""] < MATRIX <= opset:
        return
    found = [node for node in nodes(model) if node.op_type == "Hardmax" and not node.domain]
    apart = [node for node in found if not is_last(node)]
    for node in apart:
        flatten(node)
    if apart:
        common.NameFixPass()(model)


def is_last(node: ir.Node) -> bool:
    """Whether the axis of a Hardmax is known to be the last."""
    axis, source = node.attributes.get_int("axis", 1), node.inputs[0]
    shape = source.shape if source is not None else None
    return axis == -1 or (shape is not None and axis == len(shape) - 1)


def flatten(node: ir.Node) -> None:
    """Put a Flatten before an operator along an axis, and a Reshape behind it."""
    source, axis, graph = node.inputs[0], node.attributes.get_int("axis", 1), node.graph
    assert graph is not None
    flat = ir.node("Flatten", [source], {"axis": axis})
    same = ir.node(node.op_type, flat.outputs, {"axis": 1}, name=node.name)
    shape = ir.node("Shape", [source])
    whole = ir.node("Reshape", [same.outputs[0], shape.outputs[0]])
    made = [flat, same, shape, whole]
    ir.convenience.replace_nodes_and_values(graph, node, [node], made, node.outputs, whole.outputs)


def place_resizes(model: ir.Model, before: int) -> None:
    """Say where Resize reads, in place, in a model that was raised from opset ``before``."""
    if not before < PLACED <= model.opset_imports[""]:
        return
    found = [node for node in nodes(model) if node.op_type == "Resize" and not node.domain]
    apart = [node for node in found if not place(node, shrinks=before >= SHRINKS)]
    for node in apart:
        shrink_first(node)
    if apart:
        common.NameFixPass()(model)


def place(node: ir.Node, *, shrinks: bool) -> bool:
    """Let one Resize read at ``i / scale``; whether that is all it needs.

    What repeats every number a whole number of times reads the same ones half a pixel off, and
    stays as it is.
    """
    scales = known_scales(node)
    if node.attributes.get_string("mode", "nearest") != "nearest":
        read_at(node, "floor")
    elif scales is None or scales.min(initial=1) < 1 < scales.max(initial=1):
        read_at(node, "floor")
        return scales is None and not shrinks
    elif (scales < 1).any():
        read_at(node, "ceil")
    elif (scales % 1).any():
        read_at(node, "floor")
    return True


def known_scales(node: ir.Node) -> NDArray[np.float32] | None:
    """Scales of a Resize, one for each axis; None where they are computed or can be given."""
    value = node.inputs[SCALES]
    if value is None or value.is_graph_input():
        return None
    tensor = stored_tensor(value)
    return None if tensor is None else tensor.numpy().astype(np.float32)


def read_at(node: ir.Node, nearest: str) -> None:
    """Let a Resize read at ``i / scale``, rounded as ``nearest`` says."""
    node.attributes.add(ir.AttrString("coordinate_transformation_mode", "asymmetric"))
    node.attributes.add(ir.AttrString("nearest_mode", nearest))


def shrink_first(node: ir.Node) -> None:
    """Let a Resize only enlarge, and put one before it that only shrinks: they round unlike."""
    graph, (source, roi, scales) = node.graph, node.inputs
    assert graph is not None
    one = ir.node("Constant", [], {"value": ir.tensor(np.float32(1))})
    below, above = (ir.node(op, [scales, one.outputs[0]]) for op in ("Min", "Max"))
    first = ir.node("Resize", [source, roi, below.outputs[0]], {"mode": "nearest"})
    read_at(first, "ceil")
    graph.insert_before(node, [one, below, above, first])
    node.replace_input_with(0, first.outputs[0])
    node.replace_input_with(SCALES, above.outputs[0])
