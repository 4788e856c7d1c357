"""Pairs of QuantizeLinear and DequantizeLinear, and integer weights and biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir

from packlight.compress import grid
from packlight.compress.grid import Float
from packlight.compress.ranges import Affine
from packlight.compress.roles import stored
from packlight.compress.sites import Weight

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]
LIMIT = 2**31 - 1
BIAS = 2
"""Input of Conv and Gemm that is the bias."""


class Pairs:
    """Puts a pair on a value once for each graph that reads it.

    Args:
        grids: the grid of each value by its name.
    """

    def __init__(self, grids: Mapping[str, Affine]) -> None:
        self.grids = grids
        self.made: dict[tuple[str, int], ir.Value] = {}

    def on_inputs(self, node: ir.Node, *indices: int) -> Affine:
        """Let an operator read its inputs through a pair; all of them where none is named.

        Returns:
            The grid of the first of them.
        """
        first = ""
        for index in indices or range(len(node.inputs)):
            value = node.inputs[index]
            if value is None or value in self.made.values():
                first = first or self.origin(value)
                continue
            if value.name in self.grids:
                first = first or str(value.name)
                node.replace_input_with(index, self.pair(value, node))
        return self.grids[first]

    def origin(self, value: ir.Value | None) -> str:
        """Name of the value that a pair was put on."""
        return next((name for (name, _), made in self.made.items() if made is value), "")

    def on_output(self, value: ir.Value) -> None:
        """Let all readers of a value, and the model's outputs, see it through a pair."""
        producer = value.producer()
        assert producer is not None
        restored = self.pair(value, producer)
        first = restored.producer().inputs[0].producer()  # type: ignore[union-attr]
        for node, index in list(value.uses()):
            if node is not first and node.graph is producer.graph:
                node.replace_input_with(index, restored)
        if value.is_graph_output():
            take_name(value, restored)

    def pair(self, value: ir.Value, near: ir.Node) -> ir.Value:
        """The value behind a pair in the graph of an operator."""
        graph = near.graph
        assert isinstance(graph, ir.Graph)
        key = (str(value.name), id(graph))
        if key not in self.made:
            self.made[key] = insert_pair(value, self.grids[key[0]], graph)
        return self.made[key]


def insert_pair(value: ir.Value, affine: Affine, graph: ir.Graph) -> ir.Value:
    """Write a QuantizeLinear and a DequantizeLinear behind a value."""
    stem = unused(graph, str(value.name))
    scale = store(graph, f"{stem}.scale", np.asarray(affine.scale, np.float32))
    zero = store(graph, f"zero.u{affine.zero_point}", np.asarray(affine.zero_point, np.uint8))
    codes = ir.node("QuantizeLinear", [value, scale, zero], name=f"{stem}.quantize")
    codes.outputs[0].name = f"{stem}.codes"
    floats = ir.node("DequantizeLinear", [codes.outputs[0], scale, zero], name=f"{stem}.dequantize")
    floats.outputs[0].name = f"{stem}.restored"
    producer = value.producer()
    if producer is not None and producer.graph is graph:
        graph.insert_after(producer, [codes, floats])
    else:
        graph.insert_before(graph[0], [codes, floats])
    restored: ir.Value = floats.outputs[0]
    return restored


def unused(graph: ir.Graph, stem: str) -> str:
    """The stem, or one like it whose scale is not stored yet."""
    while f"{stem}.scale" in graph.initializers:
        stem += "_"
    return stem


def take_name(value: ir.Value, restored: ir.Value) -> None:
    """Make the restored value the output of the model, under the output's name."""
    graph = value.graph
    assert isinstance(graph, ir.Graph)
    name = str(value.name)
    restored.type, restored.shape = value.type, value.shape
    graph.outputs[list(graph.outputs).index(value)] = restored
    value.name, restored.name = f"{name}.float", name


def store(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """Add a stored value, or give the one of this name."""
    if name in graph.initializers:
        return graph.initializers[name]
    value = ir.Value(name=name, const_value=ir.Tensor(array, name=name))
    graph.register_initializer(value)
    return value


def integer_weight(
    node: ir.Node, weight: Weight, bits: int, per: Literal["channel", "tensor"]
) -> Float:
    """Let an operator read its weight from int8 codes.

    Returns:
        scale: one for each output channel, or of shape () for the whole tensor.
    """
    array = weight.read()
    one = per == "tensor"
    groups = grid.per_tensor(weight.shape) if one else grid.per_channel(weight.shape, weight.summed)
    wide = grid.widest_scale(array, groups, bits)
    codes = grid.nearest(array, wide, groups, bits).reshape(weight.shape)
    scale: Float = wide.reshape(() if one else (-1,))
    axis = 0 if one else next(i for i in range(len(weight.shape)) if i not in weight.summed)
    restored = integers(node, str(weight.value.name), codes, scale, axis)
    node.replace_input_with(1, restored)
    return scale


def integer_bias(node: ir.Node, affine: Affine, scale: Float) -> None:
    """Let an operator read its bias from int32 codes with the product of both scales."""
    value = node.inputs[BIAS] if len(node.inputs) > BIAS else None
    tensor = stored(value)
    if value is None or tensor is None or tensor.dtype != ir.DataType.FLOAT:
        return
    step = (scale * np.float32(affine.scale)).astype(np.float32)
    bias = np.asarray(tensor.numpy(), np.float64)
    codes = np.clip(np.rint(bias / step), -LIMIT, LIMIT).astype(np.int32)
    node.replace_input_with(BIAS, integers(node, f"{node.name}.bias", codes, step, 0))


def integers(node: ir.Node, stem: str, codes: Array, scale: Float, axis: int) -> ir.Value:
    """Codes and their DequantizeLinear in front of an operator; once for equal names."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    for reader in readers(graph, f"{stem}.codes"):
        return reader.outputs[0]
    inputs = [
        store(graph, f"{stem}.codes", codes),
        store(graph, f"{stem}.scale", scale),
        store(graph, f"zero.{codes.dtype}.{scale.size}", np.zeros(scale.shape, codes.dtype)),
    ]
    floats = ir.node("DequantizeLinear", inputs, {"axis": axis}, name=f"{stem}.dequantize")
    floats.outputs[0].name = f"{stem}.restored"
    graph.insert_before(node, floats)
    restored: ir.Value = floats.outputs[0]
    return restored


def readers(graph: ir.Graph, name: str) -> Sequence[ir.Node]:
    """Operators that read a stored value; none where it is not stored."""
    stored_value = graph.initializers.get(name)
    return list(stored_value.consumers()) if stored_value is not None else []
