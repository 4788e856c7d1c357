"""Pairs of QuantizeLinear and DequantizeLinear, and integer weights and biases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.stored_values import Array, StoredValues
from packlight.compression.grids.grouping import Float
from packlight.compression.grids.ranges import Affine
from packlight.compression.sites.weight_roles import stored
from packlight.compression.sites.weight_sites import Weight

LIMIT = 2**30
"""Largest code of a bias: half of what int32 holds leaves room for the sum it is added to."""

BIAS = 2
"""Input of Conv and Gemm that is the bias."""


class Pairs:
    """Puts a pair on a value once for each graph that reads it.

    Args:
        grids: the grid of each value by its name.
        stock: keeps scales and zero points.
        codes: type of the codes, without its bits.

    Attributes:
        pairs: the values behind pairs, by the name of what they were put on and by graph.
        origins: by such a value, the name of what the pair was put on.
    """

    def __init__(
        self, grids: Mapping[str, Affine], stock: StoredValues, codes: str = "uint"
    ) -> None:
        self.grids = grids
        self.stock = stock
        self.codes = codes
        self.pairs: dict[tuple[str, int], ir.Value] = {}
        self.origins: dict[ir.Value | None, str] = {None: ""}

    def on_inputs(self, node: ir.Node, *indices: int) -> Affine:
        """Let an operator read its inputs through a pair; all of them where none is named.

        Returns:
            The grid of the first of them.
        """
        first = ""
        for index in indices or range(len(node.inputs)):
            value = node.inputs[index]
            if value is None or value in self.origins:
                first = first or self.origins[value]
                continue
            if value.name in self.grids:
                first = first or str(value.name)
                node.replace_input_with(index, self.pair(value, node))
        return self.grids[first]

    def grid_of(self, node: ir.Node) -> Affine:
        """The grid of an operator's first input."""
        return self.grids[self.origins[node.inputs[0]]]

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
            _take_name(value, restored, self.stock)

    def pair(self, value: ir.Value, reader: ir.Node) -> ir.Value:
        """The value behind a pair in the graph of an operator."""
        graph = reader.graph
        assert isinstance(graph, ir.Graph)
        key = (str(value.name), id(graph))
        if key not in self.pairs:
            grid = self.grids[key[0]]
            codes = np.dtype(f"{self.codes}{grid.bits}")
            zero = np.asarray(grid.zero_point + np.iinfo(codes).min, codes)
            restored = _insert_pair(value, (grid.scale, zero), graph, self.stock)
            self.pairs[key] = restored
            self.origins[restored] = key[0]
        return self.pairs[key]


def _insert_pair(
    value: ir.Value, grid: tuple[float, Array], graph: ir.Graph, stock: StoredValues
) -> ir.Value:
    """Write a QuantizeLinear and a DequantizeLinear with a step and a zero point behind a value."""
    stem = str(value.name)
    point = grid[1]
    scale = stock.store(graph, f"{stem}.scale", np.asarray(grid[0], np.float32))
    zero = stock.store(graph, f"{stem}.zero", point)
    codes = ir.node("QuantizeLinear", [value, scale, zero], name=f"{stem}.quantize")
    codes.outputs[0].name = stock.fresh(f"{stem}.codes")
    floats = ir.node("DequantizeLinear", [codes.outputs[0], scale, zero], name=f"{stem}.dequantize")
    floats.outputs[0].name = stock.fresh(f"{stem}.restored")
    producer = value.producer()
    if producer is not None and producer.graph is graph:
        graph.insert_after(producer, [codes, floats])
    else:
        graph.insert_before(graph[0], [codes, floats])
    restored: ir.Value = floats.outputs[0]
    return restored


def _take_name(value: ir.Value, restored: ir.Value, stock: StoredValues) -> None:
    """Make the restored value the output of the model, under the output's name."""
    graph = value.graph
    assert isinstance(graph, ir.Graph)
    name = str(value.name)
    restored.type = value.type
    restored.shape = value.shape
    for position, output in enumerate(graph.outputs):  # a file may list one twice
        if output is value:
            graph.outputs[position] = restored
    value.name = stock.fresh(f"{name}.float")
    restored.name = name


def integer_weight(
    node: ir.Node, weight: Weight, codes: Array, scale: Float, stock: StoredValues
) -> None:
    """Let an operator read its weight from int8 codes.

    Args:
        node: the operator.
        weight: what it reads.
        codes: of the weight's shape.
        scale: one for each output channel, or of shape () for the whole tensor.
        stock: keeps codes and scales.
    """
    axis = 0
    if scale.ndim:
        axis = next(axis for axis in range(len(weight.shape)) if axis not in weight.summed)
    restored = integers(node, str(weight.value.name), codes, scale, axis=axis, stock=stock)
    node.replace_input_with(1, restored)


def integer_bias(node: ir.Node, affine: Affine, scale: Float, stock: StoredValues) -> None:
    """Let an operator read its bias from int32 codes with the product of both scales."""
    bias = stored_bias(node)
    if bias is None:
        return
    step = (scale * np.float32(affine.scale)).astype(np.float32)
    codes = np.rint(bias / np.where(step > 0, step, 1)).astype(np.int32)
    axis = max(codes.ndim - 1, 0)
    restored = integers(node, f"{node.name}.bias", codes, step, axis=axis, stock=stock)
    node.replace_input_with(BIAS, restored)


def stored_bias(node: ir.Node) -> NDArray[np.float64] | None:
    """The float32 bias of an operator; None where it has none or computes it."""
    if len(node.inputs) <= BIAS:
        return None
    tensor = stored(node.inputs[BIAS])
    if tensor is None or tensor.dtype != ir.DataType.FLOAT:
        return None
    return np.asarray(tensor.numpy(), np.float64)


def least_scale(node: ir.Node, affine: Affine) -> Float:
    """The scales of a weight with which the codes of the bias stay within their limit.

    A channel that training has all but switched off has weights of 1e-10 and the bias of the
    others, whose code would overflow with a scale as small as such weights ask for.

    Returns:
        Of shape (1,) or (out,).
    """
    bias = stored_bias(node)
    if bias is None:
        return np.zeros(1, np.float32)
    largest = np.abs(np.atleast_2d(bias)).max(axis=0)
    least: Float = (largest / (LIMIT * affine.scale)).astype(np.float32)
    return least


def integers(
    node: ir.Node, stem: str, codes: Array, scale: Float, *, axis: int, stock: StoredValues
) -> ir.Value:
    """Codes and their DequantizeLinear in front of an operator; once for equal content."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    zero = ".".join(map(str, ("zero", codes.dtype, *scale.shape)))
    inputs = [
        stock.store(graph, f"{stem}.codes", codes),
        stock.store(graph, f"{stem}.scale", scale),
        stock.store(graph, zero, np.zeros(scale.shape, codes.dtype)),
    ]
    for reader in inputs[0].consumers():
        if reader.inputs[1] is inputs[1]:
            return reader.outputs[0]
    floats = ir.node("DequantizeLinear", inputs, {"axis": axis}, name=f"{stem}.dequantize")
    floats.outputs[0].name = stock.fresh(f"{stem}.restored")
    graph.insert_before(node, floats)
    restored: ir.Value = floats.outputs[0]
    return restored
