"""Propagation of scales of channels through operators without weights.

An operator passes them where, for every positive scale, scaling what it reads by channels is the
same as scaling what it gives. Source: the operator specifications of ONNX, opset 21.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from packlight.compression.equalization.channel_map import (
    Blocked,
    ChannelMap,
    Edit,
    Shapes,
    channel_axes,
    drop_leading_axes,
    editable_input,
    narrow_map,
    stored_input,
    with_rank,
)
from packlight.compression.sites.weight_roles import stored

MATRIX = 2


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One input of an operator, with labeled channels.

    Attributes:
        node: the operator.
        index: of the input.
        labels: of the input, of its rank.
        shapes: of the model.
    """

    node: ir.Node
    index: int
    labels: ChannelMap
    shapes: Shapes

    @property
    def operand(self) -> ir.Value | None:
        """The other one of the first two inputs."""
        return self.node.inputs[1 - self.index]


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """Channels after an operator.

    Attributes:
        labels: of each of its outputs in turn; outputs after the last have none.
        edits: stored inputs to divide by the scales too.
    """

    labels: tuple[ChannelMap, ...]
    edits: tuple[Edit, ...] = ()


_Rule = Callable[[Reading], Passed | Blocked]


def _proportional(reading: Reading) -> Passed | Blocked:
    """Operators that work on each element separately and are proportional to the first input."""
    if reading.index:
        return not_proportional(reading)
    return Passed((reading.labels,))


def not_proportional(reading: Reading) -> Blocked:
    """The reason of operators without a rule."""
    name = reading.node.name
    kind = reading.node.op_type
    return Blocked(
        "not-proportional",
        f"{name} reads it, and {kind} is not proportional to every channel it reads",
    )


def _pool(reading: Reading) -> Passed | Blocked:
    """Operators that work on each channel of (batch, channels, ...) separately."""
    if any(axis > 1 for axis in channel_axes(reading.labels)):
        return not_proportional(reading)
    return _proportional(reading)


def _clip(reading: Reading) -> Passed | Blocked:
    """A Clip without bounds other than zero is a Relu."""
    node = reading.node
    bounds = [node.attributes.get_float(name, math.inf) for name in ("min", "max")]
    tensors = [stored(value) for value in node.inputs[1:] if value is not None]
    bounds += [float(tensor.numpy().item()) for tensor in tensors if tensor is not None]
    relu = None not in tensors and all(bound == 0 or math.isinf(bound) for bound in bounds)
    if relu and reading.index == 0:
        return Passed((reading.labels,))
    reason = f"{node.name} is a Clip, whose bounds are the same for every channel"
    return Blocked("not-proportional", reason, "train or export with Relu in place of ReLU6")


def _dropout(reading: Reading) -> Passed | Blocked:
    if any(reading.node.inputs[2:3]):
        return not_proportional(reading)
    return _proportional(reading)


def _add(reading: Reading) -> Passed | Blocked:
    """A stored operand is divided by the scales too; a computed one must have the same scales."""
    index = 1 - reading.index
    tensor = stored(reading.operand)
    if tensor is None:
        return _computed_operand(reading)
    rank = len(tensor.shape)
    labels = with_rank(reading.labels, rank)
    edit = editable_input(reading.node, index, drop_leading_axes(labels, rank))
    if isinstance(edit, Blocked):
        return edit
    return Passed((labels,), (edit,))


def _computed_operand(reading: Reading) -> Passed | Blocked:
    rank = reading.shapes.rank(reading.operand)
    if not rank:
        return Blocked("unknown-shape", f"how many axes {reading.node.name} reads is not known")
    return Passed((with_rank(reading.labels, rank),))


def _multiply(reading: Reading) -> Passed | Blocked:
    """A product with an operand that has no channels of these scales."""
    if reading.node.op_type == "Div" and reading.index:
        return not_proportional(reading)
    tensor = stored(reading.operand)
    if tensor is None:
        return _computed_operand(reading)
    return Passed((with_rank(reading.labels, len(tensor.shape)),))


def _matmul(reading: Reading) -> Passed | Blocked:
    """A product of two computed matrices that does not sum over channels."""
    labels = reading.labels
    rank = reading.shapes.rank(reading.operand)
    summed = labels.ndim - 1 - reading.index
    if min(rank, labels.ndim) < MATRIX or summed in channel_axes(labels):
        name = reading.node.name
        return Blocked(
            "no-weight", f"{name} multiplies it by a computed value, which has no weight"
        )
    return Passed((with_rank(labels, rank),))


def _transpose(reading: Reading) -> Passed | Blocked:
    rank = reading.labels.ndim
    perm = reading.node.attributes.get_ints("perm", tuple(reversed(range(rank))))
    assert perm is not None
    return Passed((reading.labels.transpose(perm),))


def _reshape(reading: Reading) -> Passed | Blocked:
    """Axes from the channels on are known on both sides and have the same elements."""
    node = reading.node
    labels = reading.labels
    before = reading.shapes.shape(node.inputs[0])
    after = reading.shapes.shape(node.outputs[0])
    unknown = Blocked(
        "unknown-shape",
        f"where the channels are behind {node.name} is not known: its shape is open",
    )
    first = min(channel_axes(labels), default=labels.ndim)
    tail = before[first:]
    if reading.index or len(before) != labels.ndim or not after or None in tail:
        return _copied_axes(reading) or unknown
    sizes = [size for size in tail if size is not None]
    for start in reversed(range(len(after) + 1)):
        ahead = [size for size in after[start:] if size is not None]
        if len(ahead) == len(after) - start and math.prod(ahead) == math.prod(sizes):
            full = np.broadcast_to(labels.reshape(labels.shape[first:]), sizes)
            return Passed((with_rank(narrow_map(full.reshape(ahead)), len(after)),))
    return unknown


def _copied_axes(reading: Reading) -> Passed | None:
    """A Reshape that does not change batch and channels, with channels on axis 1."""
    target = stored_input(reading.node, 1)
    if target is None or reading.index or channel_axes(reading.labels) != [1]:
        return None
    sizes = [int(size) for size in target.numpy()]
    unchanged = sizes[:1] == [0] and sizes[1:2] in ([0], [reading.labels.size])
    if not unchanged or reading.node.attributes.get_int("allowzero", 0) != 0:
        return None
    return Passed((reading.labels.reshape(1, -1, *[1] * (len(sizes) - 2)),))


def _axes(node: ir.Node) -> tuple[int, ...]:
    """The ``axes`` of an operator, from the attribute or the stored second input; may be none."""
    tensor = stored_input(node, 1)
    if tensor is not None:
        return tuple(map(int, tensor.numpy()))
    return tuple(node.attributes.get_ints("axes", ()) or ())


def _squeeze(reading: Reading) -> Passed | Blocked:
    axes = _axes(reading.node)
    if not axes or any(reading.labels.shape[axis] > 1 for axis in axes):
        return Blocked("unknown-shape", f"which axes {reading.node.name} takes out is not known")
    return Passed((np.squeeze(reading.labels, axes),))


def _unsqueeze(reading: Reading) -> Passed | Blocked:
    axes = _axes(reading.node)
    if not axes:
        return Blocked("unknown-shape", f"which axes {reading.node.name} adds is not known")
    return Passed((np.expand_dims(reading.labels, axes),))


def _reduce(reading: Reading) -> Passed | Blocked:
    """Reduction over axes without channels."""
    node = reading.node
    labels = reading.labels
    axes = _axes(node)
    if reading.index or not axes or any(labels.shape[axis] > 1 for axis in axes):
        return not_proportional(reading)
    if not node.attributes.get_int("keepdims", 1):
        labels = np.squeeze(labels, axes)
    return Passed((labels,))


def _slice(reading: Reading) -> Passed | Blocked:
    """Stored starts, ends, axes and steps, also along the channels."""
    node = reading.node
    labels = reading.labels
    tensors = [stored(value) for value in node.inputs[1:]]
    if reading.index or None in tensors or not tensors:
        return Blocked("unknown-shape", f"what {node.name} cuts out is not known")
    starts, ends, *options = (tuple(map(int, t.numpy())) for t in tensors if t is not None)
    defaults = [tuple(range(len(starts))), (1,) * len(starts)]
    axes, steps = [*options, *defaults[len(options) :]]
    slices = [slice(None)] * labels.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if labels.shape[axis] > 1:
            slices[axis] = slice(start, end, step)
    part = labels[tuple(slices)]
    if min(steps, default=1) < 0 or not part.size:
        return Blocked("unknown-shape", f"what {node.name} cuts out is not known")
    return Passed((part,))


def _split(reading: Reading) -> Passed | Blocked:
    """Pieces of known sizes along one axis."""
    node = reading.node
    labels = reading.labels
    axis = node.attributes.get_int("axis", 0)
    sizes = [reading.shapes.shape(value) for value in node.outputs]
    if labels.shape[axis] == 1:
        return Passed((labels,) * len(sizes))
    widths = [width for shape in sizes if shape and (width := shape[axis]) is not None]
    if len(widths) != len(sizes) or sum(widths) != labels.shape[axis]:
        return Blocked("unknown-shape", f"where {node.name} splits the channels is not known")
    return Passed(tuple(np.split(labels, np.cumsum(widths)[:-1], axis)))


def _pad(reading: Reading) -> Passed | Blocked:
    """Zeros, or copies of elements, around the channels."""
    node = reading.node
    fill = stored_input(node, 2)
    filled = any(node.inputs[2:3]) and (fill is None or bool(np.any(fill.numpy())))
    filled = filled or node.attributes.get_float("value", 0.0) != 0
    if reading.index or filled or any(node.inputs[3:]):
        return not_proportional(reading)
    tensor = stored_input(node, 1)
    pads = np.asarray(node.attributes.get_ints("pads", ()))
    if tensor is not None:
        pads = tensor.numpy()
    rank = reading.labels.ndim
    if len(pads) != 2 * rank or pads.reshape(2, rank)[:, channel_axes(reading.labels)].any():
        return not_proportional(reading)
    return Passed((reading.labels,))


RULES: dict[str, _Rule] = {
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Identity", "Abs", "Neg"), _proportional),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), _pool),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), _reduce),
    **dict.fromkeys(("Add", "Sub"), _add),
    **dict.fromkeys(("Mul", "Div"), _multiply),
    **dict.fromkeys(("Reshape", "Flatten"), _reshape),
    "Clip": _clip,
    "Dropout": _dropout,
    "MatMul": _matmul,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
}
"""Rules of the operators that scales pass through."""

SUMS = ("Add", "Sub")
"""Operators that add, so that all their inputs must have the same scales."""

IGNORES_VALUES = ("Shape", "Size")
"""Operators whose result does not depend on values."""
