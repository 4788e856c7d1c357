"""LSTMs as DynamicQuantizeLSTM of ONNX Runtime, which multiplies in integers step by step.

It quantizes the inputs by their range at each call and the state by its range at each step.
Source: ContribOperators.md of ONNX Runtime (com.microsoft.DynamicQuantizeLSTM).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from packlight.compression.encoding.stored_values import StoredValues
from packlight.compression.qdq.integer_weights import Codes, Reader
from packlight.compression.sites.weight_roles import stored, weight_roles
from packlight.compression.sites.weight_sites import Weight, not_stored_refusal, weight_site
from packlight.records.variant import Refusal

MICROSOFT = "com.microsoft"
KIND = "DynamicQuantizeLSTM"
FLOAT_INPUTS = 8
"""Inputs that both operators have: sequence, weights, bias, lengths, states, peepholes."""

RECURRENCE = 2


def recurrence_weights(graph: ir.Model) -> dict[int, Weight | Refusal]:
    """The weight that multiplies the state, or its refusal, by identity of the LSTM."""
    weights: dict[int, Weight | Refusal] = {}
    for role, value in weight_roles(graph):
        if role.node.op_type != "LSTM" or role.index != RECURRENCE:
            continue
        if value is None or stored(value) is None:
            weights[id(role.node)] = not_stored_refusal(graph, role.operator, value)
        else:
            weights[id(role.node)] = weight_site(value, (role,))
    return weights


def lstm_refusal(node: ir.Node) -> Refusal | None:
    """Refusal of an LSTM that the integer operator cannot express; None where it can."""
    if node.attributes.get_int("layout", 0):
        reason = "DynamicQuantizeLSTM reads the steps along the first axis, this one the batch"
        return Refusal(str(node.name), "unsupported-attributes", reason, "export it with layout=0")
    return None


def replace_lstm(
    graph: ir.Model, readers: Sequence[Reader], rounded: Sequence[Codes], stock: StoredValues
) -> None:
    """Let DynamicQuantizeLSTM compute what an LSTM computed.

    Args:
        graph: of the model; it gets the operator's domain.
        readers: the LSTM with the weight of its inputs, and with that of its state.
        rounded: codes of both.
        stock: keeps codes and scales.
    """
    node = readers[0].node
    owner = node.graph
    assert isinstance(owner, ir.Graph)
    inputs = [*node.inputs, *[None] * (FLOAT_INPUTS - len(node.inputs))]
    for place, (reader, codes) in enumerate(zip(readers, rounded, strict=True), start=1):
        stem = str(reader.weight.value.name)
        turned = np.ascontiguousarray(codes.codes.transpose(0, 2, 1))
        directions, _, outputs = turned.shape
        shape = (directions, outputs) if codes.scale.ndim else (directions,)
        scale = np.resize(codes.scale, shape)
        inputs[place] = stock.store(owner, f"{stem}.codes", turned)
        inputs += [
            stock.store(owner, f"{stem}.scale", scale),
            stock.store(owner, f"{stem}.zero", np.zeros(scale.shape, np.int8)),
        ]
    attributes = {
        name: attribute for name, attribute in node.attributes.items() if name != "layout"
    }
    hidden = readers[1].weight.shape[2]
    attributes["hidden_size"] = ir.AttrInt64("hidden_size", hidden)
    new = ir.Node(
        MICROSOFT, KIND, inputs, attributes.values(), num_outputs=len(node.outputs), name=node.name
    )
    graph.graph.opset_imports.setdefault(MICROSOFT, 1)
    owner.insert_before(node, new)
    for old, result in zip(node.outputs, new.outputs, strict=True):
        result.name = old.name
        result.type = old.type
        result.shape = old.shape
        ir.convenience.replace_all_uses_with(old, result, replace_graph_outputs=True)
        old.name = f"{old.name}.before" if old.name else old.name
    owner.remove(node, safe=True)
