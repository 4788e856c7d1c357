"""Calls of a model's own functions, inlined so that methods see the operators in them."""

from __future__ import annotations

import hashlib

import onnx_ir as ir
from onnx_ir.passes import common

from packlight.compression.encoding.functions import DOMAIN
from packlight.model import Model, name_operators, name_values, nodes

LEAST_BYTES = 256
"""Bytes from which a Constant of a function is stored once for all calls."""

CALL = "packlight.call"
"""Tag on an operator that came out of a call: the name of the call."""


def is_foreign(function: ir.Function) -> bool:
    """Check for a function that packlight did not write."""
    return function.domain != DOMAIN


def inline_functions(model: Model) -> Model:
    """The model with all calls inlined but those that restore weights.

    What a function stores in Constants is stored once, however often it is called. Operators are
    named after the call. The model itself comes back if it has no calls, or if they cannot be
    inlined: a function may be of another opset, or have a graph among its attributes.
    """
    foreign = {key for key, function in model.graph.functions.items() if is_foreign(function)}
    if not any(node.op_identifier() in foreign for node in nodes(model.graph)):
        return model
    graph = model.clone()
    for node in nodes(graph):
        if node.op_identifier() in foreign:
            node.metadata_props[CALL] = str(node.name)
    try:
        common.InlinePass(is_foreign)(graph)
    except (ValueError, ir.passes.PassError):
        return model
    for key in foreign:
        graph.functions.pop(key, None)
    common.RemoveUnusedOpsetsPass(process_functions=False)(graph)
    inlined = [node for node in nodes(graph) if CALL in node.metadata_props]
    for node in inlined:
        node.name = f"{node.metadata_props.pop(CALL)}/{node.op_type}"
    name_operators(graph)
    name_values(graph)
    _share_constants(graph, inlined)
    return Model(graph, model.name)


def _share_constants(graph: ir.Model, inlined: list[ir.Node]) -> None:
    """Store equal Constants of inlined calls once, as a value of the main graph."""
    stored: dict[tuple[object, ...], ir.Value] = {}
    for node in inlined:
        attribute = node.attributes.get("value")
        if node.op_type != "Constant" or attribute is None:
            continue
        tensor = attribute.as_tensor()
        output = node.outputs[0]
        small = tensor.dtype == ir.DataType.STRING or tensor.nbytes < LEAST_BYTES
        if small or output.is_graph_output():
            continue
        content = hashlib.sha256(tensor.tobytes()).digest()
        key = (tensor.dtype, tuple(tensor.shape.numpy()), content)
        if key not in stored:
            name = f"{output.name}.stored"
            copy = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name)
            stored[key] = ir.Value(name=name, const_value=copy)
            graph.graph.register_initializer(stored[key])
        output.replace_all_uses_with(stored[key])
        owner = node.graph
        assert owner is not None
        owner.remove(node, safe=True)
