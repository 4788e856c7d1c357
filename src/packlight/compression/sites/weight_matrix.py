"""Any weight as groups of matrices (groups, out, in), and what it multiplies as (groups, n, in).

Rounding needs to know only this form: row by row, outputs are inner products with the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from packlight.compression.sites.weight_roles import Role, stored
from packlight.compression.sites.weight_sites import Weight

Array = NDArray[np.generic]
Floats = NDArray[np.float32]
SPATIAL = 2
"""Axes of a convolution's input before its spatial ones: batch and channels."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one weight becomes matrices and back.

    Attributes:
        shape: of the weight.
        split: shape with the groups, outputs and inputs apart.
        order: axes of ``split`` in the order groups, outputs, inputs.
        counts: how many axes of that order are groups, outputs and inputs.
    """

    shape: tuple[int, ...]
    split: tuple[int, ...]
    order: tuple[int, ...]
    counts: tuple[int, int, int]

    def matrices(self, weight: Array) -> Array:
        """(groups, out, in) from an array of the weight's shape."""
        moved = weight.reshape(self.split).transpose(self.order)
        return moved.reshape(self.sizes())

    def weight(self, matrices: Array) -> Array:
        """An array of the weight's shape from (groups, out, in)."""
        moved = tuple(self.split[axis] for axis in self.order)
        back = np.argsort(self.order)
        return matrices.reshape(moved).transpose(back).reshape(self.shape)

    def sizes(self) -> tuple[int, int, int]:
        """(groups, out, in)."""
        moved = [self.split[axis] for axis in self.order]
        first, second = self.counts[0], self.counts[0] + self.counts[1]
        return math.prod(moved[:first]), math.prod(moved[first:second]), math.prod(moved[second:])


def layout(role: Role, shape: tuple[int, ...]) -> Layout:
    """The layout of a weight in its role."""
    make = LAYOUTS.get(role.node.op_type, by_axes)
    return make(role, shape)


def layout_of(weight: Weight) -> Layout:
    """Layout of a weight as matrices."""
    return layout(weight.roles[0], weight.shape)


def by_axes(role: Role, shape: tuple[int, ...]) -> Layout:
    """Axes summed over are inputs, the last of the others is outputs, the rest are groups."""
    kept = [axis for axis in range(len(shape)) if axis not in role.summed]
    order = (*kept, *role.summed)
    return Layout(shape, shape, order, (len(kept) - 1, 1, len(role.summed)))


def conv_layout(role: Role, shape: tuple[int, ...]) -> Layout:
    """(out, in / groups, ...kernel)."""
    groups = role.node.attributes.get_int("group", 1)
    split = (groups, shape[0] // groups, *shape[1:])
    return Layout(shape, split, tuple(range(len(split))), (1, 1, len(shape) - 1))


def conv_transpose_layout(role: Role, shape: tuple[int, ...]) -> Layout:
    """(in, out / groups, ...kernel): every output at every place of the kernel is a row."""
    groups = role.node.attributes.get_int("group", 1)
    split = (groups, shape[0] // groups, *shape[1:])
    order = (0, *range(2, len(split)), 1)
    return Layout(shape, split, order, (1, len(split) - 2, 1))


LAYOUTS: dict[str, Callable[[Role, tuple[int, ...]], Layout]] = {
    "Conv": conv_layout,
    "ConvTranspose": conv_transpose_layout,
}


def sources(role: Role) -> tuple[ir.Value, ...]:
    """The values that hold what a weight multiplies; none where that is unknown."""
    node, index = role.node, role.index
    if node.op_type == "Gather":
        return ()
    if node.op_type == "MatMul":
        found = [node.inputs[1 - index]]
    elif is_recurrence(role):
        found = hidden(node)
    else:
        found = [node.inputs[0]]
    return tuple(value for value in found if value is not None and value.name)


RECURRENCE, INITIAL = 2, 5
STATES = 3
"""Axes of states: directions, batch and hidden; those of every step have one more before."""


def is_recurrence(role: Role) -> bool:
    """Whether a weight multiplies the states of its own operator."""
    return role.node.op_type in ("LSTM", "GRU", "RNN") and role.index == RECURRENCE


def hidden(node: ir.Node) -> list[ir.Value | None]:
    """The states that the recurrence weight multiplies: the first, and those of every step.

    Where the operator gives neither, the last stand for them.
    """
    given = node.inputs[INITIAL] if len(node.inputs) > INITIAL else None
    first = None if given is None or is_fixed(given) else given
    every, last = (*node.outputs, None, None)[:2]
    if every is not None and every.name:
        return [first, every]
    return [first or last]


MOVING = ("Expand", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze")
"""Operators that move or repeat the numbers of their first input."""


def is_fixed(value: ir.Value) -> bool:
    """Whether the numbers of a value do not depend on what the model is fed."""
    maker = value.producer()
    if maker is None or stored(value) is not None:
        return stored(value) is not None
    first = maker.inputs[0] if maker.op_type in MOVING else None
    return maker.op_type == "ConstantOfShape" or (first is not None and is_fixed(first))


Limit = Callable[[int], int]
"""How many inputs to take at most, for a weight of so many inputs; evenly spread ones of more."""


def inputs_of(role: Role, value: Floats, limit: Limit) -> Floats:
    """What the matrices of a weight are multiplied with.

    Args:
        role: of the weight.
        value: one of ``sources`` at one call; in the body of a Loop or Scan the values of all
            iterations, along an axis before its own.
        limit: inputs at most for each group.

    Returns:
        (groups, n, in), or (1, n, in) where all groups read the same.
    """
    make = {"Conv": patches, "ConvTranspose": channels}.get(role.node.op_type)
    if make is not None:
        return make(role.node, value, limit)
    if role.node.op_type == "MatMul":
        return thinned(factors(role, value), limit)
    if role.node.op_type == "Gemm" and role.node.attributes.get_int("transA", 0) == 1:
        value = np.swapaxes(value, -1, -2)
    if is_recurrence(role):
        return states(role.node, value, limit)
    return thinned(value.reshape(1, -1, value.shape[-1]), limit)


MATRIX = 2


def factors(role: Role, value: Floats) -> Floats:
    """What a product's weight multiplies, all of it: (groups, n, in) or (1, n, in).

    Source: ONNX, MatMul, which is ``numpy.matmul``: leading axes are aligned from the right, and a
    vector is a matrix of one row or one column.
    """
    if is_vector(role.node.inputs[1 - role.index], value):
        value = np.atleast_2d(value)
    elif role.index == 0:
        value = np.swapaxes(value, -1, -2)
    if role.rank == MATRIX:
        return value.reshape(1, -1, value.shape[-1])
    weight = stored(role.node.inputs[role.index])
    assert weight is not None, "products whose weight is computed are no sites"
    return in_groups(value, tuple(int(size) for size in weight.shape.numpy()[:-MATRIX]))


def is_vector(given: ir.Value | None, value: Floats) -> bool:
    """Whether an operator reads a vector, which iterations of a Loop may have piled up."""
    known = given.shape if given is not None else None
    return value.ndim == 1 or (value.ndim == MATRIX and known is not None and len(known) == 1)


def in_groups(value: Floats, leading: tuple[int, ...]) -> Floats:
    """What each of a weight's matrices sees of a value (..., n, in): (groups, n, in).

    Axes that the weight lacks, or along which it has one matrix for all, are more rows of a group.

    Args:
        value: as the product takes it.
        leading: axes of the weight before its matrices.

    Returns:
        (groups, n, in), or (1, n, in) where all groups see the same.
    """
    value = value.reshape((1,) * (len(leading) + MATRIX - value.ndim) + value.shape)
    last = value.ndim - 1
    own = [last - 1 - len(leading) + axis for axis, size in enumerate(leading) if size > 1]
    rows = [axis for axis in range(last) if axis not in own]
    sizes = [value.shape[axis] for axis in own]
    seen = value.transpose(*own, *rows, last).reshape(*sizes, -1, value.shape[last])
    every = [size for size in leading if size > 1] if max(sizes, default=1) > 1 else sizes
    return np.broadcast_to(seen, (*every, *seen.shape[-MATRIX:])).reshape(-1, *seen.shape[-MATRIX:])


def states(node: ir.Node, value: Floats, limit: Limit) -> Floats:
    """States (directions, batch, hidden); those of every step have an axis of steps before.

    Those after the last step are multiplied by nothing.
    """
    if value.ndim == STATES or not node.outputs[0].name:
        moved = np.moveaxis(value, -STATES, 0)
        return thinned(moved.reshape(len(moved), -1, value.shape[-1]), limit)
    turned = node.attributes.get_string("direction", "forward") == "reverse"
    found = []
    for direction in range(value.shape[-STATES]):
        steps = slice(1, None) if turned or direction else slice(None, -1)
        own = value[..., steps, direction, :, :]
        found.append(own.reshape(-1, value.shape[-1]))
    return thinned(np.stack(found), limit)


def thinned(value: Floats, limit: Limit) -> Floats:
    """Evenly spread rows of each group."""
    count, most = value.shape[1], limit(value.shape[2])
    if count <= most:
        return value
    return value[:, np.linspace(0, count - 1, most).astype(np.int64)]


def in_batch(value: Floats, rank: int) -> Floats:
    """A value of so many axes, with what comes before them taken into its batch."""
    return value.reshape(-1, *value.shape[value.ndim + 1 - rank :])


def channels(node: ir.Node, value: Floats, limit: Limit) -> Floats:
    """The channels at each place, (groups, places, in / groups)."""
    groups = node.attributes.get_int("group", 1)
    value = in_batch(value, SPATIAL + len(kernel_shape(node)))
    split = value.reshape(value.shape[0], groups, value.shape[1] // groups, -1)
    moved = split.transpose(1, 0, 3, 2)
    return thinned(moved.reshape(groups, -1, moved.shape[-1]), limit)


def patches(node: ir.Node, value: Floats, limit: Limit) -> Floats:
    """What a convolution's kernel sees at each place, (groups, places, in / groups x kernel)."""
    kernel = kernel_shape(node)
    rank = len(kernel)
    value = in_batch(value, SPATIAL + rank)
    strides = node.attributes.get_ints("strides", [1] * rank)
    dilations = node.attributes.get_ints("dilations", [1] * rank)
    edges = pads(node, value.shape, kernel, strides, dilations)
    if any(before or after for before, after in edges):
        value = np.pad(value, [(0, 0), (0, 0), *edges])
    reach = [(size - 1) * gap + 1 for size, gap in zip(kernel, dilations, strict=True)]
    axes = tuple(range(SPATIAL, SPATIAL + rank))
    windows = sliding_window_view(value, reach, axis=axes)
    places = tuple(slice(None, None, step) for step in strides)
    points = tuple(slice(None, None, gap) for gap in dilations)
    windows = windows[:, :, *places, *points]
    return spread_places(windows, node.attributes.get_int("group", 1), rank, limit)


def spread_places(windows: Floats, groups: int, rank: int, limit: Limit) -> Floats:
    """Patches at evenly spread places from windows (batch, channels, ...places, ...kernel)."""
    batch, depth = windows.shape[:SPATIAL]
    places = windows.shape[SPATIAL : SPATIAL + rank]
    count = math.prod(places)
    size = math.prod(windows.shape[SPATIAL + rank :])
    most = max(1, limit(depth // groups * size) // batch)
    chosen = np.linspace(0, count - 1, min(count, most)).astype(np.int64)
    index = np.unravel_index(chosen, places)
    where: tuple[slice | NDArray[np.intp], ...] = (slice(None), slice(None), *index)
    picked = windows[where]
    split = picked.reshape(batch, groups, depth // groups, len(chosen), size)
    moved = split.transpose(1, 0, 3, 2, 4)
    return np.ascontiguousarray(moved).reshape(groups, -1, depth // groups * size)


def kernel_shape(node: ir.Node) -> tuple[int, ...]:
    """Of a convolution, from its weight."""
    weight = stored(node.inputs[1])
    assert weight is not None, "convolutions whose weight is computed are no sites"
    return tuple(int(size) for size in weight.shape.numpy()[SPATIAL:])


def pads(
    node: ir.Node,
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]]:
    """Zeros before and after each spatial axis."""
    rank = len(kernel)
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    if automatic in ("NOTSET", "VALID"):
        given = (
            [0] * 2 * rank
            if automatic == "VALID"
            else node.attributes.get_ints("pads", [0] * 2 * rank)
        )
        return [(given[axis], given[axis + rank]) for axis in range(rank)]
    found = []
    for axis in range(rank):
        size, step = shape[SPATIAL + axis], strides[axis]
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = max(0, (-(-size // step) - 1) * step + reach - size)
        less, more = total // 2, total - total // 2
        found.append((less, more) if automatic == "SAME_UPPER" else (more, less))
    return found


def view(role: Role) -> tuple[object, ...]:
    """What tells apart how operators that read one value see it; equal for equal inputs."""
    node = role.node
    if node.op_type == "MatMul" and role.index == 1 and role.rank == MATRIX:
        return ("rows",)
    if node.op_type == "Gemm" and not node.attributes.get_int("transA", 0):
        return ("rows",)
    return (id(node), role.index)
