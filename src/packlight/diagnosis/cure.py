"""A copy of the variant without some of its errors, to measure the effect of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.layers import MatchedPair
from packlight.layers.data_flow import Flow
from packlight.model import Model, stored_tensor

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Cure:
    """Errors to remove.

    Attributes:
        roundings: names in the reference of activations that are no longer rounded.
        weights: by operator of the reference and input index, the weight to read instead.
    """

    roundings: tuple[str, ...] = ()
    weights: Mapping[tuple[ir.Node, int], Array] = field(default_factory=dict)


def cured(pair: MatchedPair, cure: Cure) -> Model:
    """Copy the variant without some of its errors."""
    copy = pair.variant.clone()
    flow = Flow(copy)
    nodes = list(copy.graph)
    for key in cure.roundings:
        root = flow.values[pair.names[key]]
        limited = clipped(copy.graph, root, grid_limits(pair, key), pair.names[key])
        unround(flow, root, limited)
    order = {node: position for position, node in enumerate(pair.variant.graph.graph)}
    for (node, index), weight in cure.weights.items():
        position = order[pair.matched.operators[node]]
        value = nodes[position].inputs[index]
        assert value is not None
        dtype = (value.dtype or ir.DataType.FLOAT).numpy()
        name = f"packlight.cure.{position}.{index}"
        stored = ir.Value(name=name, const_value=ir.Tensor(weight.astype(dtype), name=name))
        copy.graph.register_initializer(stored)
        nodes[position].replace_input_with(index, stored)
    return Model(copy, pair.variant.name)


def grid_limits(pair: MatchedPair, key: str) -> tuple[float, float] | None:
    """Limits of an activation that the variant applies by the ends of its grid; None without one.

    Tools drop a Relu or Clip before a QuantizeLinear whose range has the same effect.
    """
    node = pair.maker(key)
    counterpart = pair.counterpart(key)
    if node is None or node.op_type not in LIMITS:
        return None
    if counterpart is not None and counterpart.op_type == node.op_type:
        return None
    low, high = LIMITS[node.op_type]
    bounds = [node.attributes.get_float("min", low), node.attributes.get_float("max", high)]
    for index, value in enumerate(node.inputs[1:3]):
        tensor = None if value is None else stored_tensor(value)
        if tensor is not None:
            bounds[index] = float(np.asarray(tensor.numpy()).reshape(-1)[0])
    return bounds[0], bounds[1]


LIMITS = {"Relu": (0.0, np.inf), "Clip": (-np.inf, np.inf)}
"""Default limits of activations."""


def clipped(
    graph: ir.Graph, root: ir.Value, limits: tuple[float, float] | None, stem: str
) -> ir.Value:
    """Clip a value to limits, by operators behind its producer, in place."""
    producer = root.producer()
    if limits is None or producer is None:
        return root
    value = root
    dtype = (root.dtype or ir.DataType.FLOAT).numpy()
    for op, bound in zip(("Max", "Min"), limits, strict=True):
        if not np.isfinite(bound):
            continue
        name = f"packlight.limit.{op}.{stem}"
        limit = ir.Value(name=name, const_value=ir.Tensor(np.array(bound, dtype), name=name))
        graph.register_initializer(limit)
        node = ir.node(op, [value, limit], name=f"{name}.node")
        node.outputs[0].name = f"{name}.out"
        graph.insert_after(producer, node)
        producer = node
        value = node.outputs[0]
    return value


def unround(flow: Flow, root: ir.Value, plain_value: ir.Value) -> None:
    """Let readers of a value, and outputs, have it without rounding, in place."""
    for _, dequantizer in list(flow.rounders(root)):
        output = dequantizer.outputs[0]
        name = f"{dequantizer.name}.plain"
        plain = ir.node("Identity", [plain_value], name=name)
        if output.dtype is not None and root.dtype is not None and output.dtype != root.dtype:
            plain = ir.node("Cast", [plain_value], {"to": int(output.dtype)}, name=name)
        graph = dequantizer.graph
        assert isinstance(graph, ir.Graph)
        ir.convenience.replace_nodes_and_values(
            graph, dequantizer, [dequantizer], [plain], [output], [plain.outputs[0]]
        )
