"""The variant with some of its errors taken away, to see what each of them costs."""

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
    """What is taken away.

    Attributes:
        roundings: names in the reference of activations that are not rounded any more.
        weights: by operator of the reference and place, the weight that it reads instead.
    """

    roundings: tuple[str, ...] = ()
    weights: Mapping[tuple[ir.Node, int], Array] = field(default_factory=dict)


def cured(pair: MatchedPair, cure: Cure) -> Model:
    """A copy of the variant without some of its errors."""
    copy = pair.variant.clone()
    flow = Flow(copy)
    nodes = list(copy.graph)
    for key in cure.roundings:
        root = flow.values[pair.names[key]]
        unround(flow, root, clipped(copy.graph, root, taken_over(pair, key), pair.names[key]))
    places = {node: place for place, node in enumerate(pair.variant.graph.graph)}
    for (node, slot), weight in cure.weights.items():
        theirs = nodes[places[pair.matched.operators[node]]]
        value = theirs.inputs[slot]
        assert value is not None
        kind = ir.DataType.FLOAT if value.dtype is None else value.dtype
        name = f"packlight.cure.{places[pair.matched.operators[node]]}.{slot}"
        stored = ir.Value(name=name, const_value=ir.Tensor(weight.astype(kind.numpy()), name=name))
        copy.graph.register_initializer(stored)
        theirs.replace_input_with(slot, stored)
    return Model(copy, pair.variant.name)


def taken_over(pair: MatchedPair, key: str) -> tuple[float, float] | None:
    """Limits of an activation that the variant leaves to the ends of its grid; None without one.

    Tools drop a Relu or Clip before a QuantizeLinear whose range does the same.
    """
    ours, theirs = pair.maker(key), pair.counterpart(key)
    if ours is None or ours.op_type not in LIMITS:
        return None
    if theirs is not None and theirs.op_type == ours.op_type:
        return None
    low, high = LIMITS[ours.op_type]
    attributes = ours.attributes
    bounds = [attributes.get_float("min", low), attributes.get_float("max", high)]
    for place, value in enumerate(ours.inputs[1:3]):
        held = None if value is None else stored_tensor(value)
        if held is not None:
            bounds[place] = float(np.asarray(held.numpy()).reshape(-1)[0])
    return bounds[0], bounds[1]


LIMITS = {"Relu": (0.0, np.inf), "Clip": (-np.inf, np.inf)}
"""What activations keep a value within, where the operator says nothing else."""


def clipped(
    graph: ir.Graph, root: ir.Value, limits: tuple[float, float] | None, stem: str
) -> ir.Value:
    """A value within limits, by operators that are added behind what gives it, in place."""
    maker = root.producer()
    if limits is None or maker is None:
        return root
    value = root
    kind = ir.DataType.FLOAT if root.dtype is None else root.dtype
    for op, bound in zip(("Max", "Min"), limits, strict=True):
        if not np.isfinite(bound):
            continue
        name = f"packlight.limit.{op}.{stem}"
        held = ir.Value(name=name, const_value=ir.Tensor(np.array(bound, kind.numpy()), name=name))
        graph.register_initializer(held)
        node = ir.node(op, [value, held], name=f"{name}.node")
        node.outputs[0].name = f"{name}.out"
        graph.insert_after(maker, node)
        maker, value = node, node.outputs[0]
    return value


def unround(flow: Flow, root: ir.Value, plain_value: ir.Value) -> None:
    """Let readers of a value, and outputs, have it as it was before it was rounded, in place."""
    for _, restorer in list(flow.rounders(root)):
        given = restorer.outputs[0]
        cast = given.dtype is not None and root.dtype is not None and given.dtype != root.dtype
        kind = given.dtype if cast else None
        op, held = ("Identity", {}) if kind is None else ("Cast", {"to": int(kind)})
        plain = ir.node(op, [plain_value], attributes=held, name=f"{restorer.name}.plain")
        graph = restorer.graph
        assert isinstance(graph, ir.Graph)
        ir.convenience.replace_nodes_and_values(
            graph, restorer, [restorer], [plain], [given], [plain.outputs[0]]
        )
