"""Where scales of channels start and end: operators whose stored numbers can take them in.

A producer multiplies or normalises by stored numbers, so that each of its output channels can be
divided by a scale; a consumer sums over channels with a stored weight, so that each of its input
channels can be multiplied by it. Source: the operator specifications of ONNX, opset 21.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from packlight.compression.equalization.channel_edits import Blocked, Edit, editable, unshared
from packlight.compression.equalization.channel_map import Labels, Shapes, row, shaped
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
    labels: Labels

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
    inputs: Labels
    axis: int

    @property
    def value(self) -> ir.Value:
        """What the weight multiplies."""
        node, index = self.edit.node, self.edit.index
        value = node.inputs[1 - index]
        assert value is not None
        return value


def rank_of(node: ir.Node, index: int) -> int:
    """Axes of a stored input; 0 where none is stored."""
    tensor = stored(node.inputs[index]) if index < len(node.inputs) else None
    return len(tensor.shape) if tensor is not None else 0


def size_of(node: ir.Node, index: int, axis: int) -> int:
    """Size of a stored input along an axis."""
    tensor = stored(node.inputs[index])
    assert tensor is not None
    return int(tensor.shape.numpy()[axis])


def with_vectors(
    weight: Edit | Blocked, indices: tuple[int, ...], labels: Labels
) -> Producer | Blocked:
    """A producer with what it adds, where it adds something."""
    if isinstance(weight, Blocked):
        return weight
    node, edits = weight.node, [weight]
    for index in indices:
        if index < len(node.inputs) and node.inputs[index] is not None:
            edit = editable(node, index, row(labels.size))
            if isinstance(edit, Blocked):
                return edit
            edits.append(edit)
    return Producer(tuple(edits), labels)


NO_WEIGHT = Blocked("no-weight", "the operator before it has no stored weight")


def conv_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """(out, in / groups, ...kernel) and a bias (out,)."""
    del shapes
    rank = rank_of(node, 1)
    if not rank:
        return NO_WEIGHT
    labels = row(size_of(node, 1, 0))
    weight = unshared(editable(node, 1, shaped(labels, rank, 0)))
    return with_vectors(weight, (2,), shaped(labels, rank, 1))


def transposed_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """(in, out / groups, ...kernel) and a bias (out,)."""
    del shapes
    rank = rank_of(node, 1)
    if not rank:
        return NO_WEIGHT
    groups = node.attributes.get_int("group", 1)
    inputs, width = size_of(node, 1, 0), size_of(node, 1, 1)
    group = shaped(row(inputs) // (inputs // groups), rank, 0)
    weight = unshared(editable(node, 1, group * width + shaped(row(width), rank, 1)))
    return with_vectors(weight, (2,), shaped(row(groups * width), rank, 1))


def gemm_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """(in, out), or (out, in) with transB, and what is added."""
    del shapes
    if rank_of(node, 1) != MATRIX:
        return NO_WEIGHT
    axis = 0 if node.attributes.get_int("transB", 0) else 1
    labels = row(size_of(node, 1, axis))
    weight = unshared(editable(node, 1, shaped(labels, MATRIX, axis)))
    return with_vectors(weight, (2,), labels[None])


def matmul_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """(..., in, out) on the right; (..., out, in) on the left."""
    index = 1 if rank_of(node, 1) >= MATRIX else 0
    if rank_of(node, index) < MATRIX:
        return NO_WEIGHT
    rank = shapes.rank(node.outputs[0])
    axis = -1 if index else -2
    if rank < MATRIX:
        return Blocked("unknown-shape", f"how many axes {node.name} gives is not known")
    labels = row(size_of(node, index, axis))
    weight = unshared(editable(node, index, shaped(labels, rank_of(node, index), axis)))
    return with_vectors(weight, (), shaped(labels, rank, axis))


def gather_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """A table (entries, width) that is looked up."""
    rank = shapes.rank(node.outputs[0])
    if rank_of(node, 0) != MATRIX or node.attributes.get_int("axis", 0) != 0 or rank < 1:
        return NO_WEIGHT
    labels = row(size_of(node, 0, 1))
    return with_vectors(unshared(editable(node, 0, labels[None])), (), shaped(labels, rank, -1))


def channel_norm(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """Scale and bias (channels,) along axis 1."""
    rank = shapes.rank(node.outputs[0])
    given = node.attributes
    if given.get_int("training_mode", 0) != 0 or given.get_int("spatial", 1) != 1:
        return Blocked(
            "unsupported-attributes", f"{node.name} does not normalise channels as at inference"
        )
    if rank < MATRIX or rank_of(node, 1) != 1:
        return Blocked(
            "unknown-shape",
            f"how many axes {node.name} gives is not known, or its scale is computed",
        )
    labels = row(size_of(node, 1, 0))
    return with_vectors(editable(node, 1, labels), (2,), shaped(labels, rank, 1))


def layer_norm(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """Scale and bias (channels,) along the last axis."""
    rank = shapes.rank(node.outputs[0])
    if rank < 1 or node.attributes.get_int("axis", -1) not in (-1, rank - 1):
        return Blocked(
            "unsupported-attributes", f"{node.name} normalises over more than the last axis"
        )
    if rank_of(node, 1) != 1:
        return Blocked(
            "unsupported-shape", f"the scale of {node.name} is not stored for each channel"
        )
    labels = row(size_of(node, 1, 0))
    return with_vectors(editable(node, 1, labels), (2,), shaped(labels, rank, -1))


def factor_producer(node: ir.Node, shapes: Shapes) -> Producer | Blocked:
    """A product with one stored number for each channel."""
    rank = shapes.rank(node.outputs[0])
    index = 1 if rank_of(node, 1) else 0
    tensor = stored(node.inputs[index])
    sizes = tuple(tensor.shape.numpy()) if tensor is not None else ()
    wide = [axis - len(sizes) for axis, size in enumerate(sizes) if size > 1]
    if len(wide) != 1 or rank < len(sizes):
        return Blocked(
            "unsupported-shape",
            f"{node.name} does not multiply by a stored number for each channel",
        )
    labels = row(sizes[wide[0]])
    edit = editable(node, index, shaped(labels, len(sizes), wide[0]))
    return with_vectors(edit, (), shaped(labels, rank, wide[0]))


PRODUCERS: dict[str, Callable[[ir.Node, Shapes], Producer | Blocked]] = {
    "Conv": conv_producer,
    "ConvTranspose": transposed_producer,
    "Gemm": gemm_producer,
    "MatMul": matmul_producer,
    "Gather": gather_producer,
    "BatchNormalization": channel_norm,
    "InstanceNormalization": channel_norm,
    "LayerNormalization": layer_norm,
    "Mul": factor_producer,
}
"""Operators whose output channels can be divided by scales."""


def consumer(node: ir.Node, index: int, labels: Labels) -> Consumer | Blocked:
    """How an operator that sums over channels takes in their scales.

    Args:
        node: one of ``CONSUMERS``.
        index: of the input that has the channels.
        labels: of that input, of its rank.
    """
    return CONSUMERS[node.op_type](node, index, labels)


def takes_in(
    node: ir.Node, index: int, inputs: Labels, labels: Labels, axis: int
) -> Consumer | Blocked:
    """The weight as a consumer, where channels lie along one axis that it sums over."""
    if labels.shape[axis] != labels.size:
        return Blocked("unsupported-shape", f"{node.name} does not sum over the channels alone")
    along = labels.reshape(-1)
    if inputs.max(initial=-1) + 1 != along.size:
        return Blocked(
            "unequal-channels", f"{node.name} reads another number of channels than its weight has"
        )
    edit = unshared(editable(node, index, along[inputs]))
    return edit if isinstance(edit, Blocked) else Consumer(edit, inputs, axis)


def conv_consumer(node: ir.Node, index: int, labels: Labels) -> Consumer | Blocked:
    """(out, in / groups, ...kernel): groups read inputs of their own."""
    rank = rank_of(node, 1)
    if index or rank != labels.ndim:
        return NOT_SUMMED
    groups = node.attributes.get_int("group", 1)
    out, width = size_of(node, 1, 0), size_of(node, 1, 1)
    group = shaped(row(out) // (out // groups), rank, 0)
    inputs = group * width + shaped(row(width), rank, 1)
    return takes_in(node, 1, inputs, labels, 1 - rank)


def transposed_consumer(node: ir.Node, index: int, labels: Labels) -> Consumer | Blocked:
    """(in, out / groups, ...kernel)."""
    rank = rank_of(node, 1)
    if index or rank != labels.ndim:
        return NOT_SUMMED
    inputs = shaped(row(size_of(node, 1, 0)), rank, 0)
    return takes_in(node, 1, inputs, labels, 1 - rank)


def gemm_consumer(node: ir.Node, index: int, labels: Labels) -> Consumer | Blocked:
    """(in, out), or (out, in) with transB."""
    given = node.attributes
    if index or rank_of(node, 1) != MATRIX or given.get_int("transA", 0):
        return NOT_SUMMED
    axis = 1 if given.get_int("transB", 0) else 0
    return takes_in(node, 1, shaped(row(size_of(node, 1, axis)), MATRIX, axis), labels, -1)


def matmul_consumer(node: ir.Node, index: int, labels: Labels) -> Consumer | Blocked:
    """(..., in, out) on the right; (..., out, in) on the left."""
    other = 1 - index
    rank = rank_of(node, other)
    axis, own = (-2, -1) if other else (-1, -2)
    if rank < MATRIX or labels.ndim < -own:
        return NOT_SUMMED
    inputs = shaped(row(size_of(node, other, axis)), rank, axis)
    return takes_in(node, other, inputs, labels, own)


def recurrent_consumer(node: ir.Node, index: int, labels: Labels) -> Consumer | Blocked:
    """(directions, gates x hidden, in)."""
    rank = rank_of(node, 1)
    if index or not rank:
        return NOT_SUMMED
    return takes_in(node, 1, shaped(row(size_of(node, 1, 2)), rank, 2), labels, -1)


NOT_SUMMED = Blocked("no-weight", "it does not multiply the channels by a stored weight")

CONSUMERS: dict[str, Callable[[ir.Node, int, Labels], Consumer | Blocked]] = {
    "Conv": conv_consumer,
    "ConvTranspose": transposed_consumer,
    "Gemm": gemm_consumer,
    "MatMul": matmul_consumer,
    "LSTM": recurrent_consumer,
    "GRU": recurrent_consumer,
    "RNN": recurrent_consumer,
}
"""Operators that sum over channels with a stored weight."""
