"""The GELU as models write it out, found so that one kernel computes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from packlight.exporting.litert.lowering import Lowering
from packlight.exporting.litert.values import Value, value_of

TOLERANCE = 1e-4
"""Relative difference up to which a stored number is taken for a constant."""

PAIR = 2


@dataclass(frozen=True, slots=True, eq=False)
class Gelu:
    """A GELU in pieces.

    Attributes:
        source: its input.
        output: of the last operator.
        absorbed: operators that it consists of.
    """

    source: ir.Value
    output: ir.Value
    absorbed: tuple[ir.Node, ...]


def match_gelu(lowering: Lowering, node: ir.Node) -> Gelu | None:
    """The GELU that begins with an operator, x / sqrt(2); else None.

    The products of x, 0.5 and 1 + erf(x / sqrt(2)) may stand in any order.
    """
    source = _scaled(lowering, node)
    if source is None:
        return None
    error = lowering.only_reader(node.outputs[0])
    if error is None or error.op_type != "Erf":
        return None
    added = lowering.only_reader(error.outputs[0])
    if added is None or added.op_type != "Add" or not _has_constant(lowering, added, 1.0):
        return None
    first = lowering.only_reader(added.outputs[0])
    if first is None or first.op_type != "Mul":
        return None
    return _product(lowering, source, (node, error, added), added.outputs[0], first)


def _product(
    lowering: Lowering,
    source: ir.Value,
    pieces: tuple[ir.Node, ...],
    gate: ir.Value,
    first: ir.Node,
) -> Gelu | None:
    """The rest of a GELU from its gate, 1 + erf(x / sqrt(2))."""
    other = _other(first, gate)
    if other is None:
        return None
    if _is_half(lowering, other.producer(), source):
        return Gelu(source, first.outputs[0], (*pieces, first))
    second = lowering.only_reader(first.outputs[0])
    if second is None or second.op_type != "Mul":
        return None
    last = _other(second, first.outputs[0])
    scaled_last = other is source and _is_constant(lowering, last, 0.5)
    scaled_first = last is source and _is_constant(lowering, other, 0.5)
    if not scaled_last and not scaled_first:
        return None
    return Gelu(source, second.outputs[0], (*pieces, first, second))


def _is_half(lowering: Lowering, node: ir.Node | None, source: ir.Value) -> bool:
    """Tell whether an operator computes half of a value."""
    if node is None or node.op_type != "Mul" or source not in node.inputs:
        return False
    return _has_constant(lowering, node, 0.5)


def write_gelu(lowering: Lowering, gelu: Gelu) -> None:
    """Write the kernel and bind its output."""
    value = lowering.values[gelu.source]
    layout = lowering.common_layout([value])
    tensor = lowering.unary("GELU", lowering.form(value, layout), approximate=False)
    result: Value = value_of("", tensor, layout)
    lowering.bind(gelu.output, result)
    for node in gelu.absorbed:
        lowering.absorbed.add(node)
        lowering.values.setdefault(node.outputs[0], result)


def _scaled(lowering: Lowering, node: ir.Node) -> ir.Value | None:
    """x of x / sqrt(2)."""
    if node.domain or len(node.inputs) != PAIR:
        return None
    if node.op_type == "Div" and _is_constant(lowering, node.inputs[1], math.sqrt(2)):
        return node.inputs[0]
    if node.op_type != "Mul":
        return None
    for value in node.inputs:
        if value is not None and _is_constant(lowering, value, math.sqrt(0.5)):
            return _other(node, value)
    return None


def _other(node: ir.Node, value: ir.Value) -> ir.Value | None:
    others = [source for source in node.inputs if source is not value]
    if len(others) != 1:
        return None
    return others[0]


def _has_constant(lowering: Lowering, node: ir.Node, number: float) -> bool:
    return any(_is_constant(lowering, value, number) for value in node.inputs)


def _is_constant(lowering: Lowering, source: ir.Value | None, number: float) -> bool:
    value = lowering.value(source)
    if value is None or value.array is None or value.size != 1 or value.dtype != "float32":
        return False
    return math.isclose(float(value.array.reshape(-1)[0]), number, rel_tol=TOLERANCE)
