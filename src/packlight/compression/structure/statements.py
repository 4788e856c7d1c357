"""Statements about channels that several operators have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from packlight.compression.sites.weight_roles import stored
from packlight.compression.structure.couplings import Couplings, Fixed, Positions


def fixed_by(node: ir.Node, why: str) -> Fixed:
    """The reason that an operator does something to an axis."""
    return Fixed("unsupported-axes", f"{node.name}, a {node.op_type}, {why}")


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """An input of an operator; None where it has fewer."""
    return next(iter(node.inputs[index : index + 1]), None)


def numbers_of(value: ir.Value | None) -> list[int] | None:
    """Stored integers as a list; None where they are computed."""
    tensor = stored(value)
    if tensor is None:
        return None
    return [int(number) for number in np.asarray(tensor.numpy()).reshape(-1)]


def join_repeated(couplings: Couplings, value: ir.Value, output: ir.Value, axis: int) -> None:
    """Join an axis with that of a result, unless it is one number that is repeated."""
    positions = couplings.positions(value, axis)
    target = couplings.positions(output, axis)
    single = Fixed("unsupported-axes", "an axis of one number is repeated for all channels")
    if positions is not None and positions.size == 1:
        couplings.fix(positions, single)
        if target is not None and target.size == 1:
            couplings.fix(target, single)
        return
    couplings.join(positions, target, single)


def fix_all(node: ir.Node, couplings: Couplings) -> None:
    """Fix all that an operator reads and gives."""
    for value in (*node.inputs, *node.outputs):
        couplings.fix_value(value, fixed_by(node, "reads or gives a value of unknown shape"))


def join_all(couplings: Couplings, value: ir.Value | None, output: ir.Value | None) -> None:
    """Join all axes of two values of one rank."""
    rank = couplings.rank(value)
    if rank is None or rank != couplings.rank(output):
        couplings.fix_value(value, unknown_shape())
        couplings.fix_value(output, unknown_shape())
        return
    for axis in range(rank):
        couplings.join_axes(value, axis, output, axis)


def unknown_shape() -> Fixed:
    """The reason that a shape is unknown."""
    return Fixed("unknown-shape", "its channels reach a value of unknown shape")


def join_groups(
    couplings: Couplings, sides: Sequence[Positions | None], groups: int, fixed: Fixed
) -> None:
    """State that channels of one group, of all sides, are removed together."""
    first = sides[0]
    if first is None or any(side is None or side.size % groups for side in sides):
        for side in sides:
            couplings.fix(side, fixed)
        return
    heads = first.reshape(groups, -1)[:, :1]
    for side in sides:
        assert side is not None
        members = side.reshape(groups, -1)
        couplings.join(np.broadcast_to(heads, members.shape).ravel(), members.ravel(), fixed)
