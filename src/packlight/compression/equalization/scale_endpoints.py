"""Endpoints of scales of channels: operators whose stored tensors can be scaled.

A producer multiplies or normalizes by stored numbers, so that each of its output channels can be
divided by a scale; a consumer sums over channels with a stored weight, so that each of its input
channels can be multiplied by it. Source: the operator specifications of ONNX, opset 21.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from packlight.compression.equalization.channel_map import (
    Blocked,
    ChannelMap,
    Edit,
    Shapes,
    editable_input,
    editable_weight,
    labels_along,
    stored_input,
)
from packlight.compression.sites.weight_roles import stored

MATRIX = 2


@dataclass(frozen=True, slots=True, eq=False)
class Producer:
    """An operator whose output channels can be divided by scales.

    Attributes:
        edits: stored inputs to divide by the scales; the first is the factor.
        labels: channels of its output, of its rank.
    """

    edits: tuple[Edit, ...]
    labels: ChannelMap

    @property
    def node(self) -> ir.Node:
        """The operator."""
        return self.edits[0].node

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.labels.size


@dataclass(frozen=True, slots=True, eq=False)
class Consumer:
    """An operator whose input channels can be multiplied by scales.

    Attributes:
        edit: of its weight.
        inputs: for every element of the weight, the index along ``axis`` that it multiplies.
        axis: of the channels in the other operand, counted from its end.
    """

    edit: Edit
    inputs: ChannelMap
    axis: int

    @property
    def value(self) -> ir.Value:
        """The value that the weight multiplies."""
        value = self.edit.node.inputs[1 - self.edit.index]
        assert value is not None
        return value


def _stored_rank(node: ir.Node, index: int) -> int:
    """Axes of a stored input; 0 where none is stored."""
    tensor = stored_input(node, index)
    if tensor is not None:
        return len(tensor.shape)
    return 0


def _stored_size(node: ir.Node, index: int, axis: int) -> int:
    tensor = stored(node.inputs[index])
    assert tensor is not None
    return int(tensor.shape.numpy()[axis])


def _producer(
    weight: Edit | Blocked, labels: ChannelMap, bias: int | None = None
) -> Producer | Blocked:
    """A producer with the bias that it adds, where it has one.

    Args:
        weight: multiplied by the producer.
        labels: of its output.
        bias: input that is the bias.
    """
    if isinstance(weight, Blocked):
        return weight
    node = weight.node
    if bias is None or not any(node.inputs[bias : bias + 1]):
        return Producer((weight,), labels)
    edit = editable_input(node, bias, labels_along(labels.size, 1, 0))
    if isinstance(edit, Blocked):
        return edit
    return Producer((weight, edit), labels)


_NO_WEIGHT = Blocked("no-weight", "the operator before it has no stored weight")


def _conv_producer(node: ir.Node, _: Shapes) -> Producer | Blocked:
    """(out, in / groups, ...kernel) and a bias (out,)."""
    rank = _stored_rank(node, 1)
    if not rank:
        return _NO_WEIGHT
    channels = _stored_size(node, 1, 0)
    weight = editable_weight(node, 1, labels_along(channels, rank, 0))
    return _producer(weight, labels_along(channels, rank, 1), bias=2)


def _conv_transpose_producer(node: ir.Node, _: Shapes) -> Producer | Blocked:
    """(in, out / groups, ...kernel) and a bias (out,)."""
    rank = _stored_rank(node, 1)
    if not rank:
        return _NO_WEIGHT
    groups = node.attributes.get_int("group", 1)
    inputs = _stored_size(node, 1, 0)
    width = _stored_size(node, 1, 1)
    group = labels_along(inputs, rank, 0) // (inputs // groups)
    weight = editable_weight(node, 1, group * width + labels_along(width, rank, 1))
    return _producer(weight, labels_along(groups * width, rank, 1), bias=2)


def _gemm_producer(node: ir.Node, _: Shapes) -> Producer | Blocked:
    """(in, out), or (out, in) with transB, and a bias."""
    if _stored_rank(node, 1) != MATRIX:
        return _NO_WEIGHT
    axis = 0 if node.attributes.get_int("transB", 0) else 1
    channels = _stored_size(node, 1, axis)
    weight = editable_weight(node, 1, labels_along(channels, MATRIX, axis))
    return _producer(weight, labels_along(channels, MATRIX, 1), bias=2)


def _matmul_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """(..., in, out) on the right; (..., out, in) on the left."""
    index = int(_stored_rank(node, 1) >= MATRIX)
    weight_rank = _stored_rank(node, index)
    if weight_rank < MATRIX:
        return _NO_WEIGHT
    rank = shapes.rank(node.outputs[0])
    axis = index - 2
    if rank < MATRIX:
        return Blocked("unknown-shape", f"how many axes {node.name} gives is not known")
    channels = _stored_size(node, index, axis)
    weight = editable_weight(node, index, labels_along(channels, weight_rank, axis))
    return _producer(weight, labels_along(channels, rank, axis))


def _gather_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """A table (entries, width) with lookup by rows."""
    rank = shapes.rank(node.outputs[0])
    if _stored_rank(node, 0) != MATRIX or node.attributes.get_int("axis", 0) != 0 or rank < 1:
        return _NO_WEIGHT
    channels = _stored_size(node, 0, 1)
    weight = editable_weight(node, 0, labels_along(channels, MATRIX, 1))
    return _producer(weight, labels_along(channels, rank, -1))


def _channel_norm_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """Scale and bias (channels,) along axis 1."""
    rank = shapes.rank(node.outputs[0])
    attributes = node.attributes
    if attributes.get_int("training_mode", 0) != 0 or attributes.get_int("spatial", 1) != 1:
        return Blocked(
            "unsupported-attributes", f"{node.name} does not normalize channels as at inference"
        )
    if rank < MATRIX or _stored_rank(node, 1) != 1:
        return Blocked(
            "unknown-shape",
            f"how many axes {node.name} gives is not known, or its scale is computed",
        )
    return _norm_producer(node, rank, 1)


def _layer_norm_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """Scale and bias (channels,) along the last axis."""
    rank = shapes.rank(node.outputs[0])
    if rank < 1 or node.attributes.get_int("axis", -1) not in (-1, rank - 1):
        return Blocked(
            "unsupported-attributes", f"{node.name} normalizes over more than the last axis"
        )
    if _stored_rank(node, 1) != 1:
        return Blocked(
            "unsupported-shape", f"the scale of {node.name} is not stored for each channel"
        )
    return _norm_producer(node, rank, -1)


def _norm_producer(node: ir.Node, rank: int, axis: int) -> Producer | Blocked:
    channels = _stored_size(node, 1, 0)
    scale = editable_input(node, 1, labels_along(channels, 1, 0))
    return _producer(scale, labels_along(channels, rank, axis), bias=2)


def _factor_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """A product with one stored number for each channel."""
    rank = shapes.rank(node.outputs[0])
    index = int(_stored_rank(node, 1) > 0)
    tensor = stored(node.inputs[index])
    sizes = tuple(tensor.shape.numpy()) if tensor is not None else ()
    axes = [axis - len(sizes) for axis, size in enumerate(sizes) if size > 1]
    if len(axes) != 1 or rank < len(sizes):
        return Blocked(
            "unsupported-shape",
            f"{node.name} does not multiply by a stored number for each channel",
        )
    channels = sizes[axes[0]]
    factor = editable_input(node, index, labels_along(channels, len(sizes), axes[0]))
    return _producer(factor, labels_along(channels, rank, axes[0]))


PRODUCERS: dict[str, Callable[[ir.Node, Shapes], Producer | Blocked]] = {
    "Conv": _conv_producer,
    "ConvTranspose": _conv_transpose_producer,
    "Gemm": _gemm_producer,
    "MatMul": _matmul_producer,
    "Gather": _gather_producer,
    "BatchNormalization": _channel_norm_producer,
    "InstanceNormalization": _channel_norm_producer,
    "LayerNormalization": _layer_norm_producer,
    "Mul": _factor_producer,
}
"""Operators whose output channels can be divided by scales."""


def _consumer(
    node: ir.Node, index: int, inputs: ChannelMap, labels: ChannelMap, axis: int
) -> Consumer | Blocked:
    """The weight as a consumer, where channels lie along one axis that it sums over."""
    if labels.shape[axis] != labels.size:
        return Blocked("unsupported-shape", f"{node.name} does not sum over the channels alone")
    along = labels.reshape(-1)
    if inputs.max(initial=-1) + 1 != along.size:
        return Blocked(
            "unequal-channels", f"{node.name} reads another number of channels than its weight has"
        )
    edit = editable_weight(node, index, along[inputs])
    if isinstance(edit, Blocked):
        return edit
    return Consumer(edit, inputs, axis)


def _conv_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """(out, in / groups, ...kernel): each group has separate inputs."""
    rank = _stored_rank(node, 1)
    if index or rank != labels.ndim:
        return _NOT_SUMMED
    outputs = _stored_size(node, 1, 0)
    width = _stored_size(node, 1, 1)
    group = labels_along(outputs, rank, 0) // (outputs // node.attributes.get_int("group", 1))
    inputs = group * width + labels_along(width, rank, 1)
    return _consumer(node, 1, inputs, labels, 1 - rank)


def _conv_transpose_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """(in, out / groups, ...kernel)."""
    rank = _stored_rank(node, 1)
    if index or rank != labels.ndim:
        return _NOT_SUMMED
    inputs = labels_along(_stored_size(node, 1, 0), rank, 0)
    return _consumer(node, 1, inputs, labels, 1 - rank)


def _gemm_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """(in, out), or (out, in) with transB."""
    attributes = node.attributes
    if index or _stored_rank(node, 1) != MATRIX or attributes.get_int("transA", 0):
        return _NOT_SUMMED
    axis = 1 if attributes.get_int("transB", 0) else 0
    inputs = labels_along(_stored_size(node, 1, axis), MATRIX, axis)
    return _consumer(node, 1, inputs, labels, -1)


def _matmul_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """(..., in, out) on the right; (..., out, in) on the left."""
    weight = 1 - index
    rank = _stored_rank(node, weight)
    axis = -1 - weight
    channel_axis = -2 + weight
    if rank < MATRIX or labels.ndim < -channel_axis:
        return _NOT_SUMMED
    inputs = labels_along(_stored_size(node, weight, axis), rank, axis)
    return _consumer(node, weight, inputs, labels, channel_axis)


def _recurrent_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """(directions, gates x hidden, in)."""
    rank = _stored_rank(node, 1)
    if index or not rank:
        return _NOT_SUMMED
    inputs = labels_along(_stored_size(node, 1, 2), rank, 2)
    return _consumer(node, 1, inputs, labels, -1)


_NOT_SUMMED = Blocked("no-weight", "it does not multiply the channels by a stored weight")

CONSUMERS: dict[str, Callable[[ir.Node, int, ChannelMap], Consumer | Blocked]] = {
    "Conv": _conv_consumer,
    "ConvTranspose": _conv_transpose_consumer,
    "Gemm": _gemm_consumer,
    "MatMul": _matmul_consumer,
    "LSTM": _recurrent_consumer,
    "GRU": _recurrent_consumer,
    "RNN": _recurrent_consumer,
}
"""Operators that sum over channels with a stored weight."""
