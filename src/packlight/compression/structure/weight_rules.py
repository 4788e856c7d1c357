"""Rules of operators with weights: which positions are the same channel."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from packlight.compression.structure.couplings import Couplings
from packlight.compression.structure.statements import (
    fix_all,
    fixed_by,
    input_at,
    join_groups,
    join_repeated,
)

SPATIAL = 2
MATRIX = 2


def couple_conv(node: ir.Node, couplings: Couplings) -> None:
    """Inputs and outputs of a convolution; those in groups go with their group."""
    groups = node.attributes.get_int("group", 1)
    weight = node.inputs[1]
    _fix_around_channels(node, couplings, weight)
    read = couplings.positions(node.inputs[0], 1)
    given = couplings.positions(node.outputs[0], 1)
    outputs = couplings.positions(weight, 0)
    inputs = couplings.positions(weight, 1)
    open_shape = fixed_by(node, "has channels of unknown number")
    couplings.join(given, outputs, open_shape)
    if groups == 1:
        couplings.join(read, inputs, open_shape)
    else:
        couplings.fix(inputs, fixed_by(node, "has the same inputs in each of its groups"))
        join_groups(couplings, (read, outputs), groups, open_shape)
    if len(node.inputs) > SPATIAL:
        couplings.join(couplings.positions(node.inputs[2], 0), outputs, open_shape)


def couple_conv_transpose(node: ir.Node, couplings: Couplings) -> None:
    """Inputs and outputs of a transposed convolution."""
    groups = node.attributes.get_int("group", 1)
    weight = node.inputs[1]
    _fix_around_channels(node, couplings, weight)
    given = couplings.positions(node.outputs[0], 1)
    outputs = couplings.positions(weight, 1)
    open_shape = fixed_by(node, "has channels of unknown number")
    couplings.join(couplings.positions(node.inputs[0], 1), couplings.positions(weight, 0),
                   open_shape)  # fmt: skip
    if groups == 1:
        couplings.join(given, outputs, open_shape)
    else:
        couplings.fix(outputs, fixed_by(node, "has the same outputs in each of its groups"))
        join_groups(couplings, (couplings.positions(weight, 0), given), groups, open_shape)
    if len(node.inputs) > SPATIAL:
        couplings.join(couplings.positions(node.inputs[2], 0), given, open_shape)


def _fix_around_channels(node: ir.Node, couplings: Couplings, weight: ir.Value | None) -> None:
    """Fix batch, places and kernel of a convolution."""
    places = fixed_by(node, "slides along it")
    for value in (node.inputs[0], node.outputs[0]):
        for axis in (0, *range(SPATIAL, couplings.rank(value) or 0)):
            couplings.fix_axis(value, axis, places)
    for axis in range(SPATIAL, couplings.rank(weight) or 0):
        couplings.fix_axis(weight, axis, places)


def couple_gemm(node: ir.Node, couplings: Couplings) -> None:
    """Rows, inputs and columns of a product with a bias."""
    left, right = node.inputs[:2]
    output = node.outputs[0]
    row, inner = (1, 0) if node.attributes.get_int("transA", 0) else (0, 1)
    inputs, column = (1, 0) if node.attributes.get_int("transB", 0) else (0, 1)
    couplings.join_axes(left, row, output, 0)
    couplings.join_axes(left, inner, right, inputs)
    couplings.join_axes(right, column, output, 1)
    bias = input_at(node, 2)
    for axis in range(1, (couplings.rank(bias) or 0) + 1):
        assert bias is not None
        join_repeated(couplings, bias, output, -axis)


def couple_matmul(node: ir.Node, couplings: Couplings) -> None:
    """Rows, inputs and columns of a product; leading axes are repeated."""
    left, right = node.inputs
    output = node.outputs[0]
    ranks = [couplings.rank(value) for value in (left, right, output)]
    if any(rank is None or rank < MATRIX for rank in ranks):
        for value in (left, right, output):
            couplings.fix_value(value, fixed_by(node, "multiplies a vector"))
        return
    assert left is not None
    assert right is not None
    couplings.join_axes(left, -1, right, -2)
    couplings.join_axes(left, -2, output, -2)
    couplings.join_axes(right, -1, output, -1)
    for value, rank in zip((left, right), ranks, strict=False):
        for axis in range(MATRIX + 1, (rank or 0) + 1):
            join_repeated(couplings, value, output, -axis)


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


HIDDEN_INPUTS = (5, 6)


def couple_recurrent(node: ir.Node, couplings: Couplings) -> None:
    """Units of all gates and directions are removed together."""
    if node.attributes.get_int("layout", 0) or input_at(node, 7) is not None:
        fix_all(node, couplings)
        return
    weight, recurrence = node.inputs[1:3]
    couplings.join_axes(node.inputs[0], 2, weight, 2)
    units = couplings.positions(recurrence, 2)
    open_shape = fixed_by(node, "has units of unknown number")
    for value, copies in ((weight, 1), (recurrence, 1), (input_at(node, 3), 2)):
        rows = couplings.positions(value, 1)
        if units is None or rows is None:
            couplings.fix(units, open_shape) if value is not None else None
            couplings.fix(rows, open_shape)
            continue
        couplings.join(np.tile(units, GATES[node.op_type] * copies), rows, open_shape)
    states = [input_at(node, index) for index in HIDDEN_INPUTS]
    states += [value for value in node.outputs if value.name]
    for value in states:
        if value is not None:
            couplings.join(couplings.positions(value, -1), units, open_shape)
            for axis in range((couplings.rank(value) or 1) - 1):
                couplings.fix_axis(value, axis, fixed_by(node, "steps along it"))
    for axis in range(2):
        couplings.fix_axis(node.inputs[0], axis, fixed_by(node, "steps along it"))


def couple_gather(node: ir.Node, couplings: Couplings) -> None:
    """Rows of a table, whose width has channels."""
    table = node.inputs[0]
    indices = couplings.rank(node.inputs[1])
    rank = couplings.rank(table)
    if rank is None or indices is None:
        fix_all(node, couplings)
        return
    axis = node.attributes.get_int("axis", 0) % max(rank, 1)
    couplings.fix_axis(table, axis, fixed_by(node, "picks along it"))
    couplings.fix_value(node.inputs[1], fixed_by(node, "reads it as indices"))
    for picked in range(indices):
        couplings.fix_axis(node.outputs[0], axis + picked, fixed_by(node, "picks along it"))
    for other in range(rank):
        if other != axis:
            shifted = other if other < axis else other + indices - 1
            couplings.join_axes(table, other, node.outputs[0], shifted)
