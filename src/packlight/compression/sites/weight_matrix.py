"""Any weight as groups of matrices (groups, out, in), and its inputs as (groups, n, in).

Rounding needs to know only this form: row by row, outputs are inner products with the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx_ir as ir
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from packlight.compression.sites.weight_roles import Role, before_casts, role_tensor, stored
from packlight.compression.sites.weight_sites import Weight

Array = NDArray[np.generic]
Floats = NDArray[np.float32]
SPATIAL = 2
"""Axes of a convolution's input before its spatial ones: batch and channels."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Conversion of one weight to matrices and back.

    Attributes:
        shape: of the weight.
        split: shape with separate axes for groups, outputs and inputs.
        order: axes of ``split`` in the order groups, outputs, inputs.
        counts: axes of that order that are groups, outputs and inputs.
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
        outputs = self.counts[0]
        inputs = outputs + self.counts[1]
        return (
            math.prod(moved[:outputs]),
            math.prod(moved[outputs:inputs]),
            math.prod(moved[inputs:]),
        )


def role_layout(role: Role, shape: tuple[int, ...]) -> Layout:
    """The layout of a weight in its role."""
    return _LAYOUTS.get(role.kind, _layout_by_axes)(role, shape)


def weight_layout(weight: Weight) -> Layout:
    """Layout of a weight as matrices."""
    return role_layout(weight.roles[0], weight.shape)


def observed_inputs(weight: Weight) -> list[tuple[Role, tuple[ir.Value, ...]]]:
    """The values that a weight multiplies, for each operator that reads it.

    None where those of one are unknown, or where operators read it as different matrices, so that
    their Hessians cannot be added up.
    """
    layouts = {role_layout(role, weight.shape) for role in weight.roles}
    inputs = [(role, input_values(role)) for role in weight.roles]
    if len(layouts) > 1 or not all(values for _, values in inputs):
        return []
    return inputs


def _layout_by_axes(role: Role, shape: tuple[int, ...]) -> Layout:
    """Axes summed over are inputs, the last remaining axis is outputs, those before are groups."""
    outer = [axis for axis in range(len(shape)) if axis not in role.summed]
    order = (*outer, *role.summed)
    return Layout(shape, shape, order, (len(outer) - 1, 1, len(role.summed)))


def _conv_layout(role: Role, shape: tuple[int, ...]) -> Layout:
    """(out, in / groups, ...kernel)."""
    groups = role.node.attributes.get_int("group", 1)
    split = (groups, shape[0] // groups, *shape[1:])
    return Layout(shape, split, tuple(range(len(split))), (1, 1, len(shape) - 1))


def _conv_transpose_layout(role: Role, shape: tuple[int, ...]) -> Layout:
    """(in, out / groups, ...kernel): every output at every kernel position is a row."""
    groups = role.node.attributes.get_int("group", 1)
    split = (groups, shape[0] // groups, *shape[1:])
    order = (0, *range(2, len(split)), 1)
    return Layout(shape, split, order, (1, len(split) - 2, 1))


_LAYOUTS: dict[str, Callable[[Role, tuple[int, ...]], Layout]] = {
    "Conv": _conv_layout,
    "ConvTranspose": _conv_transpose_layout,
}


def input_values(role: Role) -> tuple[ir.Value, ...]:
    """The values that a weight multiplies; none where they are unknown."""
    node = role.node
    if role.kind in ("", "Gather"):
        return ()
    values = [node.inputs[0]]
    if role.kind == "MatMul":
        values = [node.inputs[1 - role.index]]
    elif _is_recurrence(role):
        values = _hidden_states(node)
    return tuple(value for value in values if value is not None and value.name)


RECURRENCE = 2
INITIAL_STATE = 5
STATES = 3
"""Axes of states: directions, batch and hidden; states of all steps have one more before."""


def _is_recurrence(role: Role) -> bool:
    return role.kind in ("LSTM", "GRU", "RNN") and role.index == RECURRENCE


def _hidden_states(node: ir.Node) -> list[ir.Value | None]:
    """The states that the recurrence weight multiplies: the initial one, and those of all steps.

    Where the operator has neither, the last state stands for them.
    """
    initial = next(iter(node.inputs[INITIAL_STATE : INITIAL_STATE + 1]), None)
    if initial is not None and _is_constant(initial):
        initial = None
    all_steps, last = (*node.outputs, None, None)[:2]
    if all_steps is not None and all_steps.name:
        return [initial, all_steps]
    return [initial or last]


_MOVING = ("Expand", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze")
"""Operators that move or repeat the elements of their first input."""


def _is_constant(value: ir.Value) -> bool:
    """Check that the elements of a value do not depend on the inputs of the model."""
    producer = value.producer()
    if producer is None or stored(value) is not None:
        return stored(value) is not None
    if producer.op_type == "ConstantOfShape":
        return True
    source = producer.inputs[0] if producer.op_type in _MOVING else None
    return source is not None and _is_constant(source)


Limit = Callable[[int], int]
"""Size of an input row -> most rows to use; of more rows, evenly spaced ones are used."""


def input_matrices(role: Role, value: Floats, limit: Limit) -> Floats:
    """Rows of a value that the matrices of a weight multiply.

    Args:
        role: of the weight.
        value: one of ``input_values`` at one call; in the body of a Loop or Scan the values of all
            iterations, along an additional first axis.
        limit: most rows of a group.

    Returns:
        (groups, n, in), or (1, n, in) where all groups read the same.
    """
    make = {"Conv": _patch_matrices, "ConvTranspose": _channel_matrices}.get(role.kind)
    if make is not None:
        return make(role.node, value, limit)
    if role.kind == "MatMul":
        return _limit_rows(_product_matrices(role, value), limit)
    if role.kind == "Gemm" and role.node.attributes.get_int("transA", 0) == 1:
        value = np.swapaxes(value, -1, -2)
    if _is_recurrence(role):
        return _state_matrices(role.node, value, limit)
    return _limit_rows(value.reshape(1, -1, value.shape[-1]), limit)


MATRIX = 2


def _product_matrices(role: Role, value: Floats) -> Floats:
    """All rows that the weight of a MatMul multiplies: (groups, n, in) or (1, n, in).

    Source: ONNX, MatMul, which is ``numpy.matmul``: leading axes are aligned from the right, and a
    vector is a matrix of one row or one column.
    """
    if _is_vector(role.node.inputs[1 - role.index], value):
        value = np.atleast_2d(value)
    elif role.index == 0:
        value = np.swapaxes(value, -1, -2)
    if role.rank == MATRIX:
        return value.reshape(1, -1, value.shape[-1])
    weight = role_tensor(role)
    assert weight is not None, "products whose weight is computed are no sites"
    return _split_groups(value, tuple(int(size) for size in weight.shape.numpy()[:-MATRIX]))


def _is_vector(operand: ir.Value | None, value: Floats) -> bool:
    """Check for an operand of one axis; iterations of a Loop add one to its value."""
    if operand is None or operand.shape is None:
        return value.ndim == 1
    return value.ndim == 1 or (value.ndim == MATRIX and len(operand.shape) == 1)


def _split_groups(value: Floats, leading: tuple[int, ...]) -> Floats:
    """Rows of a value (..., n, in) for each matrix of a weight: (groups, n, in).

    Axes that the weight lacks, or along which it has one matrix for all, are more rows of a group.

    Args:
        value: operand of the product.
        leading: axes of the weight before its matrices.

    Returns:
        (groups, n, in), or (1, n, in) where all groups read the same.
    """
    value = value.reshape((1,) * (len(leading) + MATRIX - value.ndim) + value.shape)
    last = value.ndim - 1
    group_axes = [last - 1 - len(leading) + axis for axis, size in enumerate(leading) if size > 1]
    row_axes = [axis for axis in range(last) if axis not in group_axes]
    sizes = [value.shape[axis] for axis in group_axes]
    rows = value.transpose(*group_axes, *row_axes, last).reshape(*sizes, -1, value.shape[last])
    if max(sizes, default=1) > 1:
        sizes = [size for size in leading if size > 1]
    matrix = rows.shape[-MATRIX:]
    return np.broadcast_to(rows, (*sizes, *matrix)).reshape(-1, *matrix)


def _state_matrices(node: ir.Node, value: Floats, limit: Limit) -> Floats:
    """States (directions, batch, hidden), of all steps with an axis of steps before.

    Nothing multiplies the states after the last step.
    """
    if value.ndim == STATES or not node.outputs[0].name:
        moved = np.moveaxis(value, -STATES, 0)
        return _limit_rows(moved.reshape(len(moved), -1, value.shape[-1]), limit)
    reverse = node.attributes.get_string("direction", "forward") == "reverse"
    rows = []
    for direction in range(value.shape[-STATES]):
        steps = slice(1, None) if reverse or direction else slice(None, -1)
        states = value[..., steps, direction, :, :]
        rows.append(states.reshape(-1, value.shape[-1]))
    return _limit_rows(np.stack(rows), limit)


def _limit_rows(value: Floats, limit: Limit) -> Floats:
    """Evenly spaced rows of each group."""
    count = value.shape[1]
    most = limit(value.shape[2])
    if count <= most:
        return value
    return value[:, _evenly_spaced(count, most)]


@lru_cache(maxsize=64)
def _evenly_spaced(count: int, most: int) -> NDArray[np.int64]:
    """So many indices of a count, evenly spaced; the same at most calls of a model."""
    chosen = np.linspace(0, count - 1, most).astype(np.int64)
    chosen.flags.writeable = False
    return chosen


def _merge_into_batch(value: Floats, rank: int) -> Floats:
    """A value of so many axes; axes before them become part of the batch."""
    return value.reshape(-1, *value.shape[value.ndim + 1 - rank :])


def _channel_matrices(node: ir.Node, value: Floats, limit: Limit) -> Floats:
    """Channels at each position, (groups, positions, in / groups)."""
    groups = node.attributes.get_int("group", 1)
    value = _merge_into_batch(value, SPATIAL + len(_kernel_shape(node)))
    split = value.reshape(value.shape[0], groups, value.shape[1] // groups, -1)
    moved = split.transpose(1, 0, 3, 2)
    return _limit_rows(moved.reshape(groups, -1, moved.shape[-1]), limit)


def _patch_matrices(node: ir.Node, value: Floats, limit: Limit) -> Floats:
    """Patches that a kernel reads (im2col), (groups, positions, in / groups x kernel)."""
    kernel = _kernel_shape(node)
    rank = len(kernel)
    value = _merge_into_batch(value, SPATIAL + rank)
    strides = node.attributes.get_ints("strides", [1] * rank)
    dilations = node.attributes.get_ints("dilations", [1] * rank)
    edges = _padding(node, value.shape, kernel, strides, dilations)
    if any(before or after for before, after in edges):
        value = _padded(value, edges)
    reach = [(size - 1) * gap + 1 for size, gap in zip(kernel, dilations, strict=True)]
    axes = tuple(range(SPATIAL, SPATIAL + rank))
    windows = sliding_window_view(value, reach, axis=axes)
    positions = tuple(slice(None, None, step) for step in strides)
    points = tuple(slice(None, None, gap) for gap in dilations)
    windows = windows[:, :, *positions, *points]
    return _sample_patches(windows, node.attributes.get_int("group", 1), rank, limit)


def _padded(value: Floats, edges: Sequence[tuple[int, int]]) -> Floats:
    """A value (batch, channels, ...) with zeros around; ``numpy.pad`` takes far longer."""
    sizes = value.shape[SPATIAL:]
    around = [before + size + after for size, (before, after) in zip(sizes, edges, strict=True)]
    padded = np.zeros((*value.shape[:SPATIAL], *around), value.dtype)
    inner = [slice(before, before + size) for size, (before, _) in zip(sizes, edges, strict=True)]
    padded[:, :, *inner] = value
    return padded


def _sample_patches(windows: Floats, groups: int, rank: int, limit: Limit) -> Floats:
    """Evenly spaced patches from windows (batch, channels, ...positions, ...kernel)."""
    batch, depth = windows.shape[:SPATIAL]
    positions = windows.shape[SPATIAL : SPATIAL + rank]
    count = math.prod(positions)
    size = math.prod(windows.shape[SPATIAL + rank :])
    most = max(1, limit(depth // groups * size) // batch)
    chosen = _evenly_spaced(count, min(count, most))
    index = np.unravel_index(chosen, positions)
    selection: tuple[slice | NDArray[np.intp], ...] = (slice(None), slice(None), *index)
    picked = windows[selection]
    split = picked.reshape(batch, groups, depth // groups, len(chosen), size)
    moved = split.transpose(1, 0, 3, 2, 4)
    return np.ascontiguousarray(moved).reshape(groups, -1, depth // groups * size)


def _kernel_shape(node: ir.Node) -> tuple[int, ...]:
    weight = stored(before_casts(node.inputs[1]))
    assert weight is not None, "convolutions whose weight is computed are no sites"
    return tuple(int(size) for size in weight.shape.numpy()[SPATIAL:])


def _padding(
    node: ir.Node,
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]]:
    """Zeros before and after each spatial axis."""
    rank = len(kernel)
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    if automatic == "VALID":
        return [(0, 0)] * rank
    if automatic == "NOTSET":
        pads = node.attributes.get_ints("pads", [0] * 2 * rank)
        return [(pads[axis], pads[axis + rank]) for axis in range(rank)]
    edges = []
    for axis in range(rank):
        size = shape[SPATIAL + axis]
        step = strides[axis]
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = max(0, (-(-size // step) - 1) * step + reach - size)
        less = total // 2
        more = total - less
        edges.append((less, more) if automatic == "SAME_UPPER" else (more, less))
    return edges


def input_key(role: Role) -> tuple[object, ...]:
    """Key of the rows that an operator reads from a value; equal keys mean equal rows."""
    node = role.node
    if node.op_type == "MatMul" and role.index == 1 and role.rank == MATRIX:
        return ("rows",)
    if node.op_type == "Gemm" and not node.attributes.get_int("transA", 0):
        return ("rows",)
    return (id(node), role.index)
