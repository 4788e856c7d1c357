"""Prepare a neutral form for PyTorch: grids of activations by name, weights for each reader."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.exporting.executorch.obstacles import CONVOLUTION, NARROW_BITS
from packlight.exporting.keeping import gives_quantized
from packlight.exporting.neutral import Neutral
from packlight.exporting.weights import MIDDLE_CODES, Array, FloatWeight, GridWeight, StoredWeight
from packlight.model import Model, nodes, optional_input, stored_array
from packlight.torch.quantized import (
    CLIP,
    DOMAIN,
    DYNAMIC,
    HIGHEST,
    LEAST,
    LINEAR,
    LOWEST,
    MOST,
    ROWS,
    SQUARE,
    WEIGHT,
    ActivationGrid,
    QuantizedWeight,
)

SQUARE_EXPONENT = 2


@dataclass(slots=True, eq=False)
class Lowered:
    """A model with operators for grids that PyTorch's exporters recognize.

    Attributes:
        model: the graph, every float weight as an initializer.
        weights: quantized weights by name of the operator that gives them.
        sources: names of the weights in ONNX, by the same.
        activations: grids by name of the QuantizeLinear or DequantizeLinear.
        ranges: by name of the operator ``Dynamic``, the ends of a stored range, for each row.
        rounds: whether it rounds activations, or scales of blocks, which the model has in floats.
    """

    model: Model
    weights: dict[str, QuantizedWeight] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    activations: dict[str, ActivationGrid] = field(default_factory=dict)
    ranges: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    rounds: bool = False


def lower(neutral: Neutral) -> Lowered:
    """Rewrite a copy of a graph for PyTorch.

    Args:
        neutral: its quantized weights have no obstacles.
    """
    graph = neutral.graph.clone()
    lowered = Lowered(Model(graph, neutral.name))
    _find_grids(lowered)
    encoded = neutral.encoded
    for value in list(graph.graph.inputs):
        weight = encoded.get(str(value.name))
        if weight is None:
            continue
        graph.graph.inputs.remove(value)
        if isinstance(weight.encoding, FloatWeight):
            value.const_value = ir.Tensor(weight.decode(), name=weight.name)
            graph.graph.register_initializer(value)
            continue
        for number, (node, _) in enumerate(list(value.uses())):
            _lower_weight(lowered, node, weight, number)
    _restore_for_each_reader(lowered)
    for node in list(graph.graph):
        if node.domain == "" and node.op_type in NUMBERS:
            NUMBERS[node.op_type](lowered, node)
    return lowered


def _lower_clip(lowered: Lowered, node: ir.Node) -> None:
    """Write a Clip with stored bounds as one with numbers, which XNNPACK fuses."""
    bounds = {}
    for index, name in enumerate((LEAST, MOST), 1):
        if optional_input(node, index) is None:
            if name in node.attributes:
                bounds[name] = node.attributes[name].as_float()
            continue
        bound = _stored(node, index)
        if bound is None or bound.dtype != np.float32:
            return
        bounds[name] = float(bound.reshape(-1)[0])
    x = node.inputs[0]
    if x is None or not bounds or bounds.get(LEAST, -np.inf) > bounds.get(MOST, np.inf):
        return
    attributes = [ir.AttrFloat32(name, number) for name, number in bounds.items()]
    _replace(lowered, node, ir.Node(DOMAIN, CLIP, [x], attributes, num_outputs=1, name=node.name))


def _lower_power(lowered: Lowered, node: ir.Node) -> None:
    """Write a square as such: XNNPACK has no other powers."""
    x = node.inputs[0]
    exponent = _stored(node, 1)
    if x is None or exponent is None or exponent.shape or exponent != SQUARE_EXPONENT:
        return
    _replace(lowered, node, ir.Node(DOMAIN, SQUARE, [x], num_outputs=1, name=node.name))


NUMBERS = {"Clip": _lower_clip, "Pow": _lower_power}
"""Operators whose stored inputs XNNPACK takes as numbers only."""


def _find_grids(lowered: Lowered) -> None:
    """Read the grids of pairs of QuantizeLinear and DequantizeLinear in 8 bits.

    What else these operators do is computed as ONNX describes it.
    """
    for node in nodes(lowered.model.graph):
        if node.op_type != "QuantizeLinear":
            continue
        readers = [use.node for use in node.outputs[0].uses()]
        grid = _grid(node)
        restored = all(reader.op_type == "DequantizeLinear" for reader in readers)
        if grid is None or not restored or node.outputs[0].is_graph_output():
            continue
        if all(_grid(reader) == grid for reader in readers):
            lowered.activations.update({str(member.name): grid for member in (node, *readers)})


def _grid(node: ir.Node) -> ActivationGrid | None:
    """The grid of an activation in int8; None where it has several scales or other codes."""
    scale = _stored(node, 1)
    zero = _stored(node, 2)
    if scale is None or scale.size != 1 or scale.dtype != np.float32:
        return None
    if zero is None:
        stated = optional_input(node, 2) is not None or "output_dtype" in node.attributes
        if stated:
            return None
        zero = np.zeros(1, np.uint8)
    middle = MIDDLE_CODES.get(zero.dtype.name)
    if middle is None:
        return None
    return ActivationGrid(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]) - middle)


def _stored(node: ir.Node, index: int) -> Array | None:
    return stored_array(optional_input(node, index))


def _lower_weight(lowered: Lowered, node: ir.Node, weight: StoredWeight, number: int) -> None:
    """Let one reader read a quantized weight of its own."""
    assert isinstance(weight.encoding, GridWeight)
    name = f"{weight.name}.{number}"
    restoring = ir.Node(DOMAIN, WEIGHT, [], num_outputs=1, name=name)
    restoring.outputs[0].name = f"{name}.restored"
    restoring.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    lowered.model.graph.graph.insert_before(node, restoring)
    lowered.sources[name] = weight.name
    if node.op_type == CONVOLUTION:
        lowered.weights[name] = _channels(weight.encoding.codes, weight.encoding.scale.values)
        node.replace_input_with(1, restoring.outputs[0])
        return
    _lower_product(lowered, node, restoring, weight.encoding)


def _lower_product(
    lowered: Lowered, node: ir.Node, restoring: ir.Node, encoding: GridWeight
) -> None:
    """Write a product as ``Linear`` on a weight (outputs, inputs)."""
    codes = encoding.codes
    scales = encoding.scale.values
    if not node.attributes.get_int("transB", 0):
        codes = codes.T
        scales = scales.T
    if encoding.bits == NARROW_BITS:
        weight = _blocks(codes, scales)
        lowered.rounds = True
    else:
        weight = _channels(codes, scales)
    x = node.inputs[0]
    assert x is not None
    if _grid_of(lowered, x) is None or not gives_quantized(node):
        x, weight = _quantize_at_call(lowered, node, x, weight)
    lowered.weights[str(restoring.name)] = weight
    bias = optional_input(node, 2)
    read = [x, restoring.outputs[0]]
    if bias is not None:
        read.append(bias)
    linear = ir.Node(DOMAIN, LINEAR, read, num_outputs=1, name=node.name)
    _replace(lowered, node, linear)


def _replace(lowered: Lowered, node: ir.Node, other: ir.Node) -> None:
    """Put an operator with one output in another's place."""
    output = node.outputs[0]
    name = output.name
    other.outputs[0].type = output.type
    other.outputs[0].shape = output.shape
    ir.convenience.replace_all_uses_with(output, other.outputs[0], replace_graph_outputs=True)
    graph = lowered.model.graph.graph
    graph.insert_before(node, other)
    graph.remove(node, safe=True)
    other.outputs[0].name = name


def _grid_of(lowered: Lowered, value: ir.Value) -> ActivationGrid | None:
    """The stored grid that an activation lies on."""
    producer = value.producer()
    if producer is None:
        return None
    return lowered.activations.get(str(producer.name))


def _quantize_at_call(
    lowered: Lowered, node: ir.Node, x: ir.Value, weight: QuantizedWeight
) -> tuple[ir.Value, QuantizedWeight]:
    """Quantize the activation of a product at every call.

    XNNPACK gives floats from integers only so. Where the activation lies on a stored grid, the ends
    of the grid are put behind each of its rows, and zeros behind the weight's: the range that
    is found is then that of the grid, so that nothing is rounded again.
    """
    name = f"{node.name}.dynamic"
    per_row = ir.AttrInt64(ROWS, int(weight.block > 0))
    quantize = ir.Node(DOMAIN, DYNAMIC, [x], [per_row], num_outputs=1, name=name)
    quantize.outputs[0].name = name
    quantize.outputs[0].type = x.type
    lowered.model.graph.graph.insert_before(node, quantize)
    grid = _grid_of(lowered, x)
    if grid is None or weight.block:
        lowered.rounds = True
        return quantize.outputs[0], weight
    assert x.shape is not None
    rows = tuple(x.shape.numpy())[:-1]
    ends = [(code - grid.zero) * grid.scale for code in (LOWEST, HIGHEST)]
    lowered.ranges[name] = np.broadcast_to(np.array(ends, np.float32), (*rows, len(ends)))
    codes = np.pad(weight.codes, ((0, 0), (0, len(ends))))
    return quantize.outputs[0], replace(weight, codes=codes)


def _channels(codes: Array, scales: Array) -> QuantizedWeight:
    """A weight with a scale for each channel of its first axis."""
    channels = np.broadcast_to(scales.reshape(-1), codes.shape[:1])
    return QuantizedWeight(codes.astype(np.int8), channels.astype(np.float32))


def _blocks(codes: Array, scales: Array) -> QuantizedWeight:
    """A weight (outputs, inputs) with a scale for each block of inputs, one for all at most."""
    outputs, inputs = codes.shape
    blocks = scales.shape[1]
    spread = np.broadcast_to(scales, (outputs, blocks)).astype(np.float32)
    return QuantizedWeight(codes.astype(np.int8), spread, inputs // blocks)


def _restore_for_each_reader(lowered: Lowered) -> None:
    """Give every reader of a restored activation an operator of its own."""
    graph = lowered.model.graph.graph
    for node in list(graph):
        grid = lowered.activations.get(str(node.name))
        if grid is None or node.op_type != "DequantizeLinear":
            continue
        output = node.outputs[0]
        for number, (reader, index) in enumerate(list(output.uses())[1:]):
            name = f"{node.name}.{number}"
            copy = ir.Node("", "DequantizeLinear", list(node.inputs), num_outputs=1, name=name)
            copy.outputs[0].name = f"{output.name}.{number}"
            copy.outputs[0].type = output.type
            copy.outputs[0].shape = output.shape
            graph.insert_after(node, copy)
            reader.replace_input_with(index, copy.outputs[0])
            lowered.activations[name] = grid
