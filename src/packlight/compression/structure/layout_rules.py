"""Rules of operators that move elements: which positions are the same channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from packlight.compression.structure.couplings import Couplings, Fixed, Positions
from packlight.compression.structure.statements import (
    fix_all,
    fixed_by,
    numbers_of,
    unknown_shape,
)


def couple_concat(node: ir.Node, couplings: Couplings) -> None:
    """Channels of all inputs, one after the other."""
    output = node.outputs[0]
    rank = couplings.rank(output)
    values = [value for value in node.inputs if value is not None]
    if rank is None or any(couplings.rank(value) != rank for value in values):
        fix_all(node, couplings)
        return
    joined = node.attributes.get_int("axis", 0) % max(rank, 1)
    for value in values:
        for axis in range(rank):
            if axis != joined:
                couplings.join_axes(value, axis, output, axis)
    _join_pieces(node, couplings, output, values, joined)


def couple_split(node: ir.Node, couplings: Couplings) -> None:
    """Channels of the input, cut apart."""
    value = node.inputs[0]
    rank = couplings.rank(value)
    if value is None or rank is None:
        fix_all(node, couplings)
        return
    cut = node.attributes.get_int("axis", 0) % max(rank, 1)
    for output in node.outputs:
        for axis in range(rank):
            if axis != cut:
                couplings.join_axes(value, axis, output, axis)
    _join_pieces(node, couplings, value, list(node.outputs), cut)


def _join_pieces(
    node: ir.Node,
    couplings: Couplings,
    whole: ir.Value,
    pieces: Sequence[ir.Value],
    axis: int,
) -> None:
    """State that the positions of pieces, one after the other, are those of the whole."""
    parts = [couplings.positions(piece, axis) for piece in pieces]
    fixed = fixed_by(node, "joins or cuts an axis of unknown size")
    known = [part for part in parts if part is not None]
    if len(known) == len(parts) and known:
        couplings.join(np.concatenate(known), couplings.positions(whole, axis), fixed)
        return
    for part in (*known, couplings.positions(whole, axis)):
        couplings.fix(part, fixed)


def couple_transpose(node: ir.Node, couplings: Couplings) -> None:
    """Axes in another order."""
    value = node.inputs[0]
    rank = couplings.rank(value)
    if rank is None:
        fix_all(node, couplings)
        return
    order = node.attributes.get_ints("perm", list(reversed(range(rank))))
    for axis, source in enumerate(order):
        couplings.join_axes(value, source, node.outputs[0], axis)


def couple_reshape(node: ir.Node, couplings: Couplings) -> None:
    """Axes that become one, or one that becomes several, are removed along the first of them."""
    value = node.inputs[0]
    output = node.outputs[0]
    before = couplings.shape(value)
    after = couplings.shape(output)
    computed = node.op_type == "Reshape" and numbers_of(node.inputs[1]) is None
    zeros = node.attributes.get_int("allowzero", 0) != 0
    if before is None or after is None or computed or zeros:
        why = "takes a shape that is computed" if computed else "reads or gives an unknown shape"
        for end in (value, output):
            couplings.fix_value(end, Fixed("unknown-shape", f"{node.name}, a Reshape, {why}",
                                           "run simplify first"))  # fmt: skip
        return
    for ours, theirs in aligned_axes(before, after):
        _join_segment(node, couplings, (value, ours), (output, theirs))


Axes = tuple[int, ...]


def aligned_axes(
    before: Sequence[int | None], after: Sequence[int | None]
) -> list[tuple[Axes, Axes]]:
    """Runs of axes with equal numbers of elements, from the last on.

    Open axes stay together with all before them.

    >>> aligned_axes((None, 12, 8), (None, 3, 4, 8))
    [((2,), (3,)), ((1,), (1, 2)), ((0,), (0,))]
    """
    segments = []
    left = len(before)
    right = len(after)
    while left and right:
        ours = [left - 1]
        theirs = [right - 1]
        sizes = [before[left - 1], after[right - 1]]
        while sizes[0] != sizes[1] and None not in sizes:
            side, axes, source = (0, ours, before) if sizes[0] < sizes[1] else (1, theirs, after)  # type: ignore[operator]
            if axes[-1] == 0:
                break
            axes.append(axes[-1] - 1)
            size = source[axes[-1]]
            sizes[side] = None if size is None else sizes[side] * size  # type: ignore[operator]
        if sizes[0] != sizes[1] or (None in sizes and (len(ours) > 1 or len(theirs) > 1)):
            break
        segments.append((tuple(reversed(ours)), tuple(reversed(theirs))))
        left = ours[-1]
        right = theirs[-1]
    if left or right:
        segments.append((tuple(range(left)), tuple(range(right))))
    return segments


def _join_segment(
    node: ir.Node,
    couplings: Couplings,
    source: tuple[ir.Value | None, Axes],
    target: tuple[ir.Value, Axes],
) -> None:
    """Join the leading axes of a segment; the others stay."""
    if not _equal_counts(couplings, source, target):
        for value, axes in (source, target):
            for axis in axes:
                couplings.fix_axis(value, axis, fixed_by(node, "merges axes of unknown size"))
        return
    sides = []
    for value, axes in (source, target):
        shape = couplings.shape(value)
        assert shape is not None
        sides.append((value, [axis for axis in axes if shape[axis] != 1]))
        for axis in axes:
            if shape[axis] == 1:
                couplings.fix_axis(value, axis, fixed_by(node, "has one number along it"))
    (value, ours), (output, theirs) = sides
    if len(ours) == len(theirs) == 1:
        couplings.join_axes(value, ours[0], output, theirs[0])
    elif len(ours) == 1 or len(theirs) == 1:
        many = sides[len(ours) == 1]
        single = sides[len(ours) != 1]
        couplings.postpone(partial(_join_merged, node, couplings, many, single))
    else:
        for end, own_axes in sides:
            for axis in own_axes:
                couplings.fix_axis(end, axis, fixed_by(node, "mixes it with others"))


def _join_merged(
    node: ir.Node,
    couplings: Couplings,
    many: tuple[ir.Value | None, Sequence[int]],
    single: tuple[ir.Value | None, Sequence[int]],
    is_fixed: Callable[[Positions], bool],
) -> None:
    """Join the first axis that can lose channels with the axis that it is merged into.

    The others stay, so that what remains is as regular as before.
    """
    value, axes = many
    parts = [couplings.positions(value, axis) for axis in axes]
    merged = [couplings.positions(single[0], axis) for axis in single[1]]
    sizes = [0 if part is None else part.size for part in parts]
    if not merged or merged[0] is None or math.prod(sizes) != merged[0].size:
        for part in (*parts, *merged):
            couplings.fix(part, fixed_by(node, "merges axes of unknown size"))
        return
    free = [index for index, part in enumerate(parts) if part is not None and not is_fixed(part)]
    chosen = free[0] if free else 0
    for index, part in enumerate(parts):
        if index != chosen:
            couplings.fix(part, fixed_by(node, "merges it with another axis"))
    part = parts[chosen]
    assert part is not None
    shape = [size if index == chosen else 1 for index, size in enumerate(sizes)]
    couplings.join(np.broadcast_to(part.reshape(shape), sizes).ravel(), merged[0], unknown_shape())


def _equal_counts(
    couplings: Couplings, source: tuple[ir.Value | None, Axes], target: tuple[ir.Value, Axes]
) -> bool:
    """Check that both sides of a segment have the same known number of elements, or one axis."""
    counts = []
    for value, axes in (source, target):
        shape = couplings.shape(value)
        sizes = [None if shape is None else shape[axis] for axis in axes]
        counts.append(None if None in sizes else math.prod(size or 0 for size in sizes))
    if None in counts:
        return len(source[1]) == len(target[1]) == 1
    return counts[0] == counts[1]
