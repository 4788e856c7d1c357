"""Groups of operators that ONNX Runtime knows as one function, and replaces by its kernel."""

from __future__ import annotations

import onnx_ir as ir

from packlight.backends.onnxruntime.graph_view import SCALES, Fusion, alike, become, is_factor
from packlight.backends.onnxruntime.kernel_calls import MATRIX


def skip_norm(found: Fusion, node: ir.Node) -> None:
    """A normalisation adds the residual before it, and that residual's bias."""
    if node.op_type != "LayerNormalization":
        return
    added = found.alone(node.inputs[0], "Add")
    if added is None or len(found.computed(added)) != MATRIX or not alike(added):
        return
    shifts = [found.alone(value, "Add") for value in added.inputs]
    found.read[node] = [added.inputs[1]] if added.inputs[1] is not None else []
    found.gone.add(added)
    found.gone.update([one for one in shifts if one and len(found.computed(one)) == 1][:1])


def gelu(found: Fusion, node: ir.Node) -> None:
    """Half of x (1 + erf(x / sqrt 2)), where x comes first into the product."""
    if node.op_type != "Erf":
        return
    before = found.alone(node.inputs[0], *SCALES)
    plus = found.only_reader(node.outputs[0])
    inner = found.only_reader(plus.outputs[0]) if plus is not None else None
    if before is None or plus is None or plus.op_type != "Add" or inner is None:
        return
    source = found.computed(before)
    outer = found.only_reader(inner.outputs[0])
    halved = next((found.alone(value, "Mul") for value in inner.inputs
                   if found.alone(value, "Mul") not in (None, plus)), None)  # fmt: skip
    if inner.op_type == "Mul" and halved is not None and found.computed(halved) == source:
        become(found, "Gelu", inner, before, node, plus, halved)
    elif inner.op_type == "Mul" and outer is not None and set(source) <= set(inner.inputs) and (
        is_factor(outer, found)
    ):  # fmt: skip
        become(found, "Gelu", outer, before, node, plus, inner)


def swish(found: Fusion, node: ir.Node) -> None:
    """x times the sigmoid of x, or of a multiple of x."""
    if node.op_type != "Mul" or not alike(node):
        return
    for value, other in (node.inputs, node.inputs[::-1]):
        gate = found.alone(value, "Sigmoid")
        scale = found.alone(gate.inputs[0], "Mul") if gate is not None else None
        if gate is not None and gate.inputs[0] is other:
            become(found, "QuickGelu", node, gate)
        elif gate is not None and scale is not None and other in found.computed(scale):
            become(found, "QuickGelu", node, gate, scale)


def layer_norm(found: Fusion, node: ir.Node) -> None:
    """A normalisation written out: (x - mean) / sqrt(mean((x - mean)^2) + epsilon), scaled."""
    if node.op_type != "Div" or len(node.inputs) != MATRIX:
        return
    root = found.alone(node.inputs[1], "Sqrt")
    plus = found.alone(root.inputs[0], "Add") if root is not None else None
    inside = found.computed(plus) if plus is not None else []
    mean = found.alone(inside[0], "ReduceMean") if len(inside) == 1 else None
    square = found.alone(mean.inputs[0], "Pow", "Mul") if mean is not None else None
    centred = node.inputs[0].producer() if node.inputs[0] is not None else None
    if root is None or plus is None or mean is None or square is None or centred is None:
        return
    first = found.alone(centred.inputs[1], "ReduceMean") if centred.op_type == "Sub" else None
    if first is None or node.inputs[0] not in square.inputs:
        return
    become(found, "LayerNormalization", node, centred, first, square, mean, plus, root)
    for op in ("Mul", "Add"):
        reader = found.only_reader(found.result(node))
        if reader is not None and reader.op_type == op and len(found.computed(reader)) == 1:
            found.absorb(node, reader)
