"""Where scales of channels start and end: operators whose stored numbers can take them in.

A producer multiplies or normalises by stored numbers, so that each of its output channels can be
divided by a scale; a consumer sums over channels with a stored weight, so that each of its input
channels can be multiplied by it. Source: the operator specifications of ONNX, opset 21.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from packlight.compression.equalization.channel_edits import (
    Blocked,
    Edit,
    editable_input,
    unshared_weight,
)
from packlight.compression.equalization.channel_map import (
    ChannelMap,
    Shapes,
    along_axis,
    channel_row,
)
from packlight.compression.sites.weight_roles import stored

MATRIX = 2


@dataclass(frozen=True, slots=True, eq=False)
class Producer:
    """An operator whose output channels can be divided by scales.

    Attributes:
        edits: what it stores that takes in their reciprocals; the first is what multiplies.
        labels: channels of what it gives, of its rank.
    """

    edits: tuple[Edit, ...]
    labels: ChannelMap

    @property
    def node(self) -> ir.Node:
        """The operator."""
        return self.edits[0].node

    @property
    def channels(self) -> int:
        """How many."""
        return self.labels.size


@dataclass(frozen=True, slots=True, eq=False)
class Consumer:
    """An operator whose input channels can be multiplied by scales.

    Attributes:
        edit: of its weight.
        inputs: for every number of the weight, the index of what it multiplies along ``axis``.
        axis: of the value that the operator reads, counted from its end.
    """

    edit: Edit
    inputs: ChannelMap
    axis: int

    @property
    def value(self) -> ir.Value:
        """What the weight multiplies."""
        node, index = self.edit.node, self.edit.index
        value = node.inputs[1 - index]
        assert value is not None
        return value


def _stored_rank(node: ir.Node, index: int) -> int:
    """Axes of a stored input; 0 where none is stored."""
    tensor = stored(node.inputs[index]) if index < len(node.inputs) else None
    return len(tensor.shape) if tensor is not None else 0


def _stored_size(node: ir.Node, index: int, axis: int) -> int:
    """Size of a stored input along an axis."""
    tensor = stored(node.inputs[index])
    assert tensor is not None
    return int(tensor.shape.numpy()[axis])


def _producer(
    weight: Edit | Blocked, indices: tuple[int, ...], labels: ChannelMap
) -> Producer | Blocked:
    """A producer with what it adds, where it adds something."""
    if isinstance(weight, Blocked):
        return weight
    node, edits = weight.node, [weight]
    for index in indices:
        if index < len(node.inputs) and node.inputs[index] is not None:
            edit = editable_input(node, index, channel_row(labels.size))
            if isinstance(edit, Blocked):
                return edit
            edits.append(edit)
    return Producer(tuple(edits), labels)


_NO_WEIGHT = Blocked("the operator before it has no stored weight")


def _conv_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """(out, in / groups, ...kernel) and a bias (out,)."""
    del shapes
    rank = _stored_rank(node, 1)
    if not rank:
        return _NO_WEIGHT
    labels = channel_row(_stored_size(node, 1, 0))
    weight = unshared_weight(editable_input(node, 1, along_axis(labels, rank, 0)))
    return _producer(weight, (2,), along_axis(labels, rank, 1))


def _conv_transpose_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """(in, out / groups, ...kernel) and a bias (out,)."""
    del shapes
    rank = _stored_rank(node, 1)
    if not rank:
        return _NO_WEIGHT
    groups = node.attributes.get_int("group", 1)
    inputs, width = _stored_size(node, 1, 0), _stored_size(node, 1, 1)
    group = along_axis(channel_row(inputs) // (inputs // groups), rank, 0)
    weight = unshared_weight(
        editable_input(node, 1, group * width + along_axis(channel_row(width), rank, 1))
    )
    return _producer(weight, (2,), along_axis(channel_row(groups * width), rank, 1))


def _gemm_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """(in, out), or (out, in) with transB, and what is added."""
    del shapes
    if _stored_rank(node, 1) != MATRIX:
        return _NO_WEIGHT
    axis = 0 if node.attributes.get_int("transB", 0) else 1
    labels = channel_row(_stored_size(node, 1, axis))
    weight = unshared_weight(editable_input(node, 1, along_axis(labels, MATRIX, axis)))
    return _producer(weight, (2,), labels[None])


def _matmul_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """(..., in, out) on the right; (..., out, in) on the left."""
    index = 1 if _stored_rank(node, 1) >= MATRIX else 0
    if _stored_rank(node, index) < MATRIX:
        return _NO_WEIGHT
    rank = shapes.rank(node.outputs[0])
    axis = -1 if index else -2
    if rank < MATRIX:
        return Blocked(f"how many axes {node.name} gives is not known")
    labels = channel_row(_stored_size(node, index, axis))
    weight = unshared_weight(
        editable_input(node, index, along_axis(labels, _stored_rank(node, index), axis))
    )
    return _producer(weight, (), along_axis(labels, rank, axis))


def _gather_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """A table (entries, width) that is looked up."""
    rank = shapes.rank(node.outputs[0])
    if _stored_rank(node, 0) != MATRIX or node.attributes.get_int("axis", 0) != 0 or rank < 1:
        return _NO_WEIGHT
    labels = channel_row(_stored_size(node, 0, 1))
    return _producer(
        unshared_weight(editable_input(node, 0, labels[None])), (), along_axis(labels, rank, -1)
    )


def _channel_norm_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """Scale and bias (channels,) along axis 1."""
    rank = shapes.rank(node.outputs[0])
    given = node.attributes
    if given.get_int("training_mode", 0) != 0 or given.get_int("spatial", 1) != 1:
        return Blocked(f"{node.name} does not normalise channels as at inference")
    if rank < MATRIX or _stored_rank(node, 1) != 1:
        return Blocked(f"how many axes {node.name} gives is not known, or its scale is computed")
    labels = channel_row(_stored_size(node, 1, 0))
    return _producer(editable_input(node, 1, labels), (2,), along_axis(labels, rank, 1))


def _layer_norm_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """Scale and bias (channels,) along the last axis."""
    rank = shapes.rank(node.outputs[0])
    if rank < 1 or node.attributes.get_int("axis", -1) not in (-1, rank - 1):
        return Blocked(f"{node.name} normalises over more than the last axis")
    if _stored_rank(node, 1) != 1:
        return Blocked(f"the scale of {node.name} is not stored for each channel")
    labels = channel_row(_stored_size(node, 1, 0))
    return _producer(editable_input(node, 1, labels), (2,), along_axis(labels, rank, -1))


def _factor_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """A product with one stored number for each channel."""
    rank = shapes.rank(node.outputs[0])
    index = 1 if _stored_rank(node, 1) else 0
    tensor = stored(node.inputs[index])
    sizes = tuple(tensor.shape.numpy()) if tensor is not None else ()
    wide = [axis - len(sizes) for axis, size in enumerate(sizes) if size > 1]
    if len(wide) != 1 or rank < len(sizes):
        return Blocked(f"{node.name} does not multiply by a stored number for each channel")
    labels = channel_row(sizes[wide[0]])
    edit = editable_input(node, index, along_axis(labels, len(sizes), wide[0]))
    return _producer(edit, (), along_axis(labels, rank, wide[0]))


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


def channel_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """How an operator that sums over channels takes in their scales.

    Args:
        node: one of ``CONSUMERS``.
        index: of the input that has the channels.
        labels: of that input, of its rank.
    """
    return CONSUMERS[node.op_type](node, index, labels)


def _consumer(
    node: ir.Node, index: int, inputs: ChannelMap, labels: ChannelMap, axis: int
) -> Consumer | Blocked:
    """The weight as a consumer, where channels lie along one axis that it sums over."""
    if labels.shape[axis] != labels.size:
        return Blocked(f"{node.name} does not sum over the channels alone")
    along = labels.reshape(-1)
    if inputs.max(initial=-1) + 1 != along.size:
        return Blocked(f"{node.name} reads another number of channels than its weight has")
    edit = unshared_weight(editable_input(node, index, along[inputs]))
    return edit if isinstance(edit, Blocked) else Consumer(edit, inputs, axis)


def _conv_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """(out, in / groups, ...kernel): groups read inputs of their own."""
    rank = _stored_rank(node, 1)
    if index or rank != labels.ndim:
        return _NOT_SUMMED
    groups = node.attributes.get_int("group", 1)
    out, width = _stored_size(node, 1, 0), _stored_size(node, 1, 1)
    group = along_axis(channel_row(out) // (out // groups), rank, 0)
    inputs = group * width + along_axis(channel_row(width), rank, 1)
    return _consumer(node, 1, inputs, labels, 1 - rank)


def _conv_transpose_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """(in, out / groups, ...kernel)."""
    rank = _stored_rank(node, 1)
    if index or rank != labels.ndim:
        return _NOT_SUMMED
    inputs = along_axis(channel_row(_stored_size(node, 1, 0)), rank, 0)
    return _consumer(node, 1, inputs, labels, 1 - rank)


def _gemm_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """(in, out), or (out, in) with transB."""
    given = node.attributes
    if index or _stored_rank(node, 1) != MATRIX or given.get_int("transA", 0):
        return _NOT_SUMMED
    axis = 1 if given.get_int("transB", 0) else 0
    return _consumer(
        node, 1, along_axis(channel_row(_stored_size(node, 1, axis)), MATRIX, axis), labels, -1
    )


def _matmul_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """(..., in, out) on the right; (..., out, in) on the left."""
    other = 1 - index
    rank = _stored_rank(node, other)
    axis, own = (-2, -1) if other else (-1, -2)
    if rank < MATRIX or labels.ndim < -own:
        return _NOT_SUMMED
    inputs = along_axis(channel_row(_stored_size(node, other, axis)), rank, axis)
    return _consumer(node, other, inputs, labels, own)


def _recurrent_consumer(node: ir.Node, index: int, labels: ChannelMap) -> Consumer | Blocked:
    """(directions, gates x hidden, in)."""
    rank = _stored_rank(node, 1)
    if index or not rank:
        return _NOT_SUMMED
    return _consumer(
        node, 1, along_axis(channel_row(_stored_size(node, 1, 2)), rank, 2), labels, -1
    )


_NOT_SUMMED = Blocked("it does not multiply the channels by a stored weight")

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
