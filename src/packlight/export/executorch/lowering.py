"""Prepare a neutral form for PyTorch: grids of activations by name, weights for each reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.export.formats import refuse_operators
from packlight.export.keeping import is_bias
from packlight.export.neutral import Neutral
from packlight.export.weights import Array, FloatWeight, GridWeight, StoredWeight
from packlight.model import Model, nodes, stored_tensor

if TYPE_CHECKING:
    from packlight.torch.quantized import ActivationGrid, QuantizedWeight

PRODUCTS = ("MatMul", "Gemm")
CONVOLUTION = "Conv"
MIDDLE = 128
"""Code by which unsigned 8-bit codes are moved to signed ones."""


@dataclass(slots=True, eq=False)
class Lowered:
    """A model with operators for grids that PyTorch's exporter recognizes.

    Attributes:
        model: the graph, every float weight as an initializer.
        weights: quantized weights by name of the operator that gives them.
        activations: grids by name of the QuantizeLinear or DequantizeLinear.
        dynamic: whether activations of some products are quantized at every call.
        ranges: by name of the operator ``Dynamic``, the ends of a stored range, for each row.
        rounds: whether that rounds activations which the model has in floats.
    """

    model: Model
    weights: dict[str, QuantizedWeight] = field(default_factory=dict)
    activations: dict[str, ActivationGrid] = field(default_factory=dict)
    dynamic: bool = False
    ranges: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    rounds: bool = False


def lower(neutral: Neutral) -> Lowered:
    """Rewrite a copy of a graph for PyTorch.

    Raises:
        ExportError: a grid has a form that XNNPACK does not compute with.
    """
    graph = neutral.graph.clone()
    lowered = Lowered(Model(graph, neutral.name))
    encoded = neutral.encoded
    for value in list(graph.graph.inputs):
        weight = encoded.get(str(value.name))
        if weight is None:
            continue
        graph.graph.inputs.remove(value)
        if isinstance(weight.encoding, FloatWeight) or is_bias(weight):
            value.const_value = ir.Tensor(weight.decode(), name=weight.name)
            graph.graph.register_initializer(value)
            continue
        for number, (node, _) in enumerate(list(value.uses())):
            _lower_weight(lowered, node, value, weight, number)
    _lower_activations(lowered)
    return lowered


def _lower_weight(
    lowered: Lowered, node: ir.Node, value: ir.Value, weight: StoredWeight, number: int
) -> None:
    """Let one reader read a quantized weight of its own."""
    from packlight.torch.quantized import DOMAIN, WEIGHT  # noqa: PLC0415  needs PyTorch

    assert isinstance(weight.encoding, GridWeight)
    name = f"{weight.name}.{number}"
    graph = lowered.model.graph.graph
    given = ir.Node(DOMAIN, WEIGHT, [], num_outputs=1, name=name)
    given.outputs[0].name = f"{name}.restored"
    given.outputs[0].type = value.type
    graph.insert_before(node, given)
    if node.op_type == CONVOLUTION:
        lowered.weights[name] = _quantized(weight.encoding, weight.encoding.codes, axis=0)
        node.replace_input_with(1, given.outputs[0])
        return
    _lower_product(lowered, node, given, weight.encoding)


def _lower_product(lowered: Lowered, node: ir.Node, given: ir.Node, encoding: GridWeight) -> None:
    """Write a product as ``Linear`` on a weight (outputs, inputs)."""
    from packlight.torch.quantized import DOMAIN, LINEAR  # noqa: PLC0415  needs PyTorch

    codes = encoding.codes
    scales = encoding.scale.values
    if not (node.op_type == "Gemm" and _integer(node, "transB")):
        codes = codes.T
        scales = scales.T
    weight = _product_weight(codes, scales)
    x = node.inputs[0]
    assert x is not None
    if not (reads_static(node) and gives_static(node)):
        x, weight = _dynamic(lowered, node, x, weight)
    lowered.weights[str(given.name)] = weight
    bias = node.inputs[2] if len(node.inputs) > 2 else None  # noqa: PLR2004
    read = [x, given.outputs[0], *([bias] if bias is not None else [])]
    output = node.outputs[0]
    linear = ir.Node(DOMAIN, LINEAR, read, num_outputs=1, name=node.name)
    linear.outputs[0].type = output.type
    linear.outputs[0].shape = output.shape
    name = output.name
    ir.convenience.replace_all_uses_with(output, linear.outputs[0], replace_graph_outputs=True)
    graph = lowered.model.graph.graph
    graph.insert_before(node, linear)
    graph.remove(node, safe=True)
    linear.outputs[0].name = name


def _dynamic(
    lowered: Lowered, node: ir.Node, x: ir.Value, weight: QuantizedWeight
) -> tuple[ir.Value, QuantizedWeight]:
    """Quantize the activation of a product at every call.

    XNNPACK gives floats from integers only so. Where the activation lies on a stored grid, the ends
    of the grid are put behind each of its rows, and zeros behind the weight's: the range that
    is found is then that of the grid, so that nothing is rounded again.
    """
    from packlight.torch.quantized import DOMAIN, DYNAMIC  # noqa: PLC0415  needs PyTorch

    name = f"{node.name}.dynamic"
    per_token = ir.AttrInt64("per_token", int(weight.block > 0))
    quantize = ir.Node(DOMAIN, DYNAMIC, [x], [per_token], num_outputs=1, name=name)
    quantize.outputs[0].name = name
    quantize.outputs[0].type = x.type
    lowered.model.graph.graph.insert_before(node, quantize)
    lowered.dynamic = True
    producer = x.producer()
    if producer is None or not reads_static(node) or weight.block:
        lowered.rounds = True
        return quantize.outputs[0], weight
    grid = _grid(producer)
    assert x.shape is not None
    rows = tuple(x.shape.numpy())[:-1]
    ends = [(code - grid.zero) * grid.scale for code in (-MIDDLE, MIDDLE - 1)]
    lowered.ranges[name] = np.broadcast_to(np.float32(ends), (*rows, len(ends)))
    codes = np.pad(weight.codes, ((0, 0), (0, len(ends))))
    return quantize.outputs[0], replace(weight, codes=codes)


def _product_weight(codes: Array, scales: Array) -> QuantizedWeight:
    """A weight (outputs, inputs) with scales of channels, or of blocks of inputs."""
    from packlight.torch.quantized import QuantizedWeight  # noqa: PLC0415  needs PyTorch

    outputs, inputs = codes.shape
    signed = codes.astype(np.int8)
    blocks = scales.shape[1]
    if blocks > 1:
        wide = np.broadcast_to(scales, (outputs, blocks)).astype(np.float32)
        return QuantizedWeight(signed, wide, 0, inputs // blocks)
    channels = np.broadcast_to(scales.reshape(-1), (outputs,)).astype(np.float32)
    return QuantizedWeight(signed, channels, 0)


def _quantized(encoding: GridWeight, codes: Array, *, axis: int) -> QuantizedWeight:
    from packlight.torch.quantized import QuantizedWeight  # noqa: PLC0415  needs PyTorch

    channels = np.broadcast_to(encoding.scale.values.reshape(-1), (codes.shape[axis],))
    return QuantizedWeight(codes.astype(np.int8), channels.astype(np.float32), axis)


def _is_restored(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def reads_static(node: ir.Node) -> bool:
    """Tell whether an operator reads an activation that is quantized by stored ranges."""
    value = node.inputs[0]
    return value is not None and _is_restored(value)


def gives_static(node: ir.Node) -> bool:
    """Tell whether an operator's result is quantized by stored ranges, behind an activation."""
    readers = [use.node for use in node.outputs[0].uses()]
    if len(readers) == 1 and readers[0].op_type in ("Relu", "Clip"):
        readers = [use.node for use in readers[0].outputs[0].uses()]
    return len(readers) == 1 and readers[0].op_type == "QuantizeLinear"


def _lower_activations(lowered: Lowered) -> None:
    """Read the grid of every activation, and restore it anew for each reader."""
    graph = lowered.model.graph
    for node in list(nodes(graph)):
        if node.domain == "" and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            lowered.activations[str(node.name)] = _grid(node)
    for node in list(graph.graph):
        if node.op_type == "DequantizeLinear":
            _restore_for_each_reader(lowered, node)


def _restore_for_each_reader(lowered: Lowered, node: ir.Node) -> None:
    uses = list(node.outputs[0].uses())
    for number, (reader, index) in enumerate(uses[1:]):
        name = f"{node.name}.{number}"
        copy = ir.Node("", "DequantizeLinear", list(node.inputs), num_outputs=1, name=name)
        copy.outputs[0].name = f"{node.outputs[0].name}.{number}"
        copy.outputs[0].type = node.outputs[0].type
        copy.outputs[0].shape = node.outputs[0].shape
        lowered.model.graph.graph.insert_after(node, copy)
        reader.replace_input_with(index, copy.outputs[0])
        lowered.activations[name] = lowered.activations[str(node.name)]


def _grid(node: ir.Node) -> ActivationGrid:
    """The grid of an activation in int8.

    Raises:
        ExportError: it has several scales, or codes of another width.
    """
    from packlight.torch.quantized import ActivationGrid  # noqa: PLC0415  needs PyTorch

    scale = _stored(node, 1)
    zero = _stored(node, 2)
    if scale is None or scale.size != 1:
        raise refuse_operators(
            "executorch", {node.op_type: "activations have one stored scale, not several"}
        )
    kind = np.dtype(np.uint8) if zero is None else zero.dtype
    if kind not in (np.int8, np.uint8):
        raise refuse_operators(
            "executorch", {node.op_type: f"codes of activations have 8 bits, not those of {kind}"}
        )
    code = 0 if zero is None else int(zero.reshape(-1)[0])
    moved = code - MIDDLE if kind == np.uint8 else code
    return ActivationGrid(float(scale.reshape(-1)[0]), moved)


def _stored(node: ir.Node, index: int) -> Array | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    tensor = None if value is None else stored_tensor(value)
    return None if tensor is None else tensor.numpy()


def _integer(node: ir.Node, name: str) -> int:
    attribute = node.attributes.get(name)
    return 0 if attribute is None else attribute.as_int()


def unsupported_weights(neutral: Neutral) -> Iterator[StoredWeight]:
    """Weights in codes of convolutions that do not compute in integers from end to end."""
    for weight in neutral.encoded.values():
        if isinstance(weight.encoding, FloatWeight) or is_bias(weight):
            continue
        readers = [node for node, _ in neutral.readers(weight.name)]
        if not all(
            node.op_type in PRODUCTS or (reads_static(node) and gives_static(node))
            for node in readers
        ):
            yield weight
