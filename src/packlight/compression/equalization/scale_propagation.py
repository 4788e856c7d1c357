"""How scales of channels pass operators that have none of their own.

An operator passes them where, for every positive scale, scaling what it reads by channels is the
same as scaling what it gives. Source: the operator specifications of ONNX, opset 21.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from packlight.compression.equalization.channel_edits import Blocked, Edit, editable
from packlight.compression.equalization.channel_map import (
    Labels,
    Shapes,
    narrowed,
    ranked,
    smallest,
    varying,
)
from packlight.compression.sites.weight_roles import stored

MATRIX = 2


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One input of an operator that has labelled channels.

    Attributes:
        node: the operator.
        index: of the input.
        labels: of the input, of its rank.
        shapes: of the model.
    """

    node: ir.Node
    index: int
    labels: Labels
    shapes: Shapes


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """Channels behind an operator.

    Attributes:
        labels: of each of its outputs in turn; outputs behind the last have none.
        edits: what it stores that has to be divided by the scales too.
    """

    labels: tuple[Labels, ...]
    edits: tuple[Edit, ...] = ()


Rule = Callable[[Reading], Passed | Blocked]


def first_only(reading: Reading) -> Passed | Blocked:
    """Operators that work on each number by itself and are proportional to the first input."""
    return Passed((reading.labels,)) if reading.index == 0 else not_proportional(reading)


def not_proportional(reading: Reading) -> Blocked:
    """The reason of operators without a rule."""
    name, kind = reading.node.name, reading.node.op_type
    return Blocked(
        "not-proportional",
        f"{name} reads it, and {kind} is not proportional to every channel it reads",
    )


def pool(reading: Reading) -> Passed | Blocked:
    """Operators that work on each channel of (batch, channels, ...) by itself."""
    if any(axis > 1 for axis in varying(reading.labels)):
        return not_proportional(reading)
    return first_only(reading)


def clip(reading: Reading) -> Passed | Blocked:
    """A Clip without bounds other than zero is a Relu."""
    node = reading.node
    given = [float(node.attributes.get_float(name, math.inf)) for name in ("min", "max")]
    tensors = [stored(value) for value in node.inputs[1:] if value is not None]
    known = all(tensor is not None for tensor in tensors)
    given += [float(tensor.numpy().item()) for tensor in tensors if tensor is not None]
    if reading.index == 0 and known and all(bound == 0 or math.isinf(bound) for bound in given):
        return Passed((reading.labels,))
    reason = f"{node.name} is a Clip, whose bounds are the same for every channel"
    return Blocked("not-proportional", reason, "train or export with Relu in place of ReLU6")


def dropout(reading: Reading) -> Passed | Blocked:
    """Nothing happens at inference."""
    mode = reading.node.inputs[2:3]
    return not_proportional(reading) if any(mode) else first_only(reading)


def added(reading: Reading) -> Passed | Blocked:
    """What is stored and added is divided by the scales too; what is computed must have them."""
    node, other = reading.node, 1 - reading.index
    tensor = stored(node.inputs[other])
    if tensor is None:
        rank = reading.shapes.rank(node.inputs[other])
        wide = ranked(reading.labels, max(reading.labels.ndim, rank))
        return (
            Passed((wide,))
            if rank
            else Blocked("unknown-shape", f"how many axes {node.name} reads is not known")
        )
    labels = ranked(reading.labels, max(reading.labels.ndim, len(tensor.shape)))
    edit = editable(node, other, smallest(labels, len(tensor.shape)))
    return edit if isinstance(edit, Blocked) else Passed((labels,), (edit,))


def multiplied(reading: Reading) -> Passed | Blocked:
    """A product with anything that has no channels of the same scales."""
    node, other = reading.node, reading.node.inputs[1 - reading.index]
    if node.op_type == "Div" and reading.index:
        return not_proportional(reading)
    tensor = stored(other)
    rank = len(tensor.shape) if tensor is not None else reading.shapes.rank(other)
    if tensor is None and not rank:
        return Blocked("unknown-shape", f"how many axes {node.name} reads is not known")
    return Passed((ranked(reading.labels, max(rank, reading.labels.ndim)),))


def mixed(reading: Reading) -> Passed | Blocked:
    """A product of two computed matrices, where channels are not what it sums over."""
    node, labels = reading.node, reading.labels
    rank = reading.shapes.rank(node.inputs[1 - reading.index])
    summed = labels.ndim - (2 if reading.index else 1)
    if min(rank, labels.ndim) < MATRIX or summed in varying(labels):
        return Blocked(
            "no-weight", f"{node.name} multiplies it by a computed value, which has no weight"
        )
    return Passed((ranked(labels, max(rank, labels.ndim)),))


def transposed(reading: Reading) -> Passed | Blocked:
    """Axes move."""
    rank = reading.labels.ndim
    perm = reading.node.attributes.get_ints("perm", tuple(reversed(range(rank))))
    assert perm is not None
    return Passed((reading.labels.transpose(perm),))


def reshaped(reading: Reading) -> Passed | Blocked:
    """Axes from the channels on are known on both sides and hold the same numbers."""
    node, labels = reading.node, reading.labels
    before, after = (reading.shapes.shape(v) for v in (node.inputs[0], node.outputs[0]))
    unknown = Blocked(
        "unknown-shape",
        f"where the channels are behind {node.name} is not known: its shape is open",
    )
    first = min(varying(labels), default=labels.ndim)
    tail = before[first:]
    if reading.index or len(before) != labels.ndim or not after or None in tail:
        return copied_axes(reading) or unknown
    sizes = [size for size in tail if size is not None]
    for start in reversed(range(len(after) + 1)):
        ahead = [size for size in after[start:] if size is not None]
        if len(ahead) == len(after) - start and math.prod(ahead) == math.prod(sizes):
            whole = np.broadcast_to(labels.reshape(labels.shape[first:]), sizes)
            return Passed((ranked(narrowed(whole.reshape(ahead)), len(after)),))
    return unknown


def copied_axes(reading: Reading) -> Passed | None:
    """A Reshape that keeps batch and channels as they are, and channels lie on axis 1."""
    target = stored(reading.node.inputs[1]) if len(reading.node.inputs) > 1 else None
    if target is None or reading.index or varying(reading.labels) != [1]:
        return None
    sizes = [int(size) for size in target.numpy()]
    kept = sizes[:1] == [0] and sizes[1:2] in ([0], [reading.labels.size])
    if not kept or reading.node.attributes.get_int("allowzero", 0) != 0:
        return None
    return Passed((reading.labels.reshape(1, -1, *[1] * (len(sizes) - 2)),))


def axes_of(node: ir.Node, index: int) -> tuple[int, ...]:
    """Axes that an operator names, in an attribute or a stored input; none where it names none."""
    given = node.attributes.get_ints("axes", ())
    tensor = stored(node.inputs[index]) if len(node.inputs) > index else None
    return tuple(given or ()) if tensor is None else tuple(map(int, tensor.numpy()))


def squeezed(reading: Reading) -> Passed | Blocked:
    """Axes of size 1 go."""
    axes = axes_of(reading.node, 1)
    if not axes or any(reading.labels.shape[axis] > 1 for axis in axes):
        return Blocked("unknown-shape", f"which axes {reading.node.name} takes out is not known")
    return Passed((np.squeeze(reading.labels, axes),))


def unsqueezed(reading: Reading) -> Passed | Blocked:
    """Axes of size 1 come."""
    axes = axes_of(reading.node, 1)
    if not axes:
        return Blocked("unknown-shape", f"which axes {reading.node.name} adds is not known")
    return Passed((np.expand_dims(reading.labels, axes),))


def reduced(reading: Reading) -> Passed | Blocked:
    """Axes without channels are summed or averaged over."""
    node, labels = reading.node, reading.labels
    axes = axes_of(node, 1)
    if reading.index or not axes or any(labels.shape[axis] > 1 for axis in axes):
        return not_proportional(reading)
    kept = node.attributes.get_int("keepdims", 1)
    return Passed((labels if kept else np.squeeze(labels, axes),))


def cut(reading: Reading) -> Passed | Blocked:
    """Channels may be cut as well, where it is stored how."""
    node, labels = reading.node, reading.labels
    tensors = [stored(value) for value in node.inputs[1:] if value is not None]
    if reading.index or len(tensors) != len(node.inputs) - 1 or None in tensors or not tensors:
        return Blocked("unknown-shape", f"what {node.name} cuts out is not known")
    numbers = [tuple(map(int, t.numpy())) for t in tensors if t is not None]
    starts, ends, *rest = numbers
    axes = rest[0] if rest else tuple(range(len(starts)))
    steps = rest[1] if len(rest) > 1 else (1,) * len(starts)
    whole = [slice(None)] * labels.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if labels.shape[axis] > 1:
            whole[axis] = slice(start, end, step)
    found = labels[tuple(whole)]
    wrong = any(step < 0 for step in steps) or not found.size
    return (
        Blocked("unknown-shape", f"what {node.name} cuts out is not known")
        if wrong
        else Passed((found,))
    )


def split(reading: Reading) -> Passed | Blocked:
    """Pieces of known sizes along one axis."""
    node, labels = reading.node, reading.labels
    axis = node.attributes.get_int("axis", 0)
    sizes = [reading.shapes.shape(value) for value in node.outputs]
    if labels.shape[axis] == 1:
        return Passed((labels,) * len(sizes))
    known = [shape[axis] for shape in sizes if shape]
    widths = [width for width in known if width is not None]
    if len(widths) != len(sizes) or sum(widths) != labels.shape[axis]:
        return Blocked("unknown-shape", f"where {node.name} splits the channels is not known")
    return Passed(tuple(np.split(labels, np.cumsum(widths)[:-1], axis)))


def padded(reading: Reading) -> Passed | Blocked:
    """Zeros, or copies of what is there, are put around channels."""
    node, rank = reading.node, reading.labels.ndim
    fill = stored(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None  # noqa: PLR2004
    filled = any(node.inputs[2:3]) and (fill is None or bool(np.any(fill.numpy())))
    tensor = stored(node.inputs[1]) if len(node.inputs) > 1 else None
    pads = node.attributes.get_ints("pads", ()) if tensor is None else tensor.numpy()
    if (
        reading.index
        or filled
        or any(node.inputs[3:])
        or node.attributes.get_float("value", 0.0) != 0
    ):
        return not_proportional(reading)
    if (
        pads is None
        or len(pads) != 2 * rank
        or np.any(np.reshape(pads, (2, rank))[:, varying(reading.labels)])
    ):
        return not_proportional(reading)
    return Passed((reading.labels,))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Identity", "Abs", "Neg"), first_only),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), pool),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), reduced),
    **dict.fromkeys(("Add", "Sub"), added),
    **dict.fromkeys(("Mul", "Div"), multiplied),
    **dict.fromkeys(("Reshape", "Flatten"), reshaped),
    "Clip": clip,
    "Dropout": dropout,
    "MatMul": mixed,
    "Transpose": transposed,
    "Squeeze": squeezed,
    "Unsqueeze": unsqueezed,
    "Slice": cut,
    "Split": split,
    "Pad": padded,
}
"""Operators that channels pass."""

SUMS = ("Add", "Sub")
"""Operators that add, so that all they read must have the same scales."""

INDIFFERENT = ("Shape", "Size")
"""Operators that do not look at numbers."""
