"""Calls of a model's own functions, inlined so that methods see the operators in them."""

from __future__ import annotations

import hashlib

import onnx_ir as ir
from onnx_ir.passes import common

from packlight.compression.encoding.functions import DOMAIN
from packlight.model import Model, name_operators, name_values, nodes, release

LEAST_BYTES = 256
"""Bytes from which a Constant of a function is stored once for all calls."""


def inline_functions(model: Model) -> Model:
    """The model with all calls inlined but those that restore weights; itself if it has none.

    What a function stores in Constants is stored once, however often it is called.
    """
    graph = model.graph
    functions = graph.functions
    foreign = {key for key in functions if key[0] != DOMAIN}
    if not any(node.op_identifier() in foreign for node in nodes(graph)):
        return model
    copy = model.clone()
    known = {id(node) for node in nodes(copy)}
    common.InlinePass(lambda function: function.domain != DOMAIN)(copy)
    for key in foreign:
        copy.functions.pop(key, None)
    common.RemoveUnusedOpsetsPass(process_functions=False)(copy)
    name_operators(copy)
    name_values(copy)
    _share_constants(copy, known)
    return Model(copy, model.name)


def _share_constants(graph: ir.Model, known: set[int]) -> None:
    """Store equal Constants of inlined calls once, as a value of the main graph."""
    stored: dict[tuple[object, ...], ir.Value] = {}
    for node in list(nodes(graph)):
        attribute = node.attributes.get("value")
        if id(node) in known or node.op_type != "Constant" or attribute is None:
            continue
        tensor = attribute.as_tensor()
        if tensor.nbytes < LEAST_BYTES or tensor.dtype == ir.DataType.STRING:
            continue
        output = node.outputs[0]
        if output.is_graph_output():
            continue
        content = hashlib.sha256(tensor.tobytes()).digest()
        release(tensor)
        key = (tensor.dtype, tuple(tensor.shape.numpy()), content)
        if key not in stored:
            name = str(output.name)
            stored[key] = ir.Value(name=f"{name}.stored", const_value=tensor)
            graph.graph.register_initializer(stored[key])
        output.replace_all_uses_with(stored[key])
        owner = node.graph
        assert owner is not None
        owner.remove(node, safe=True)
