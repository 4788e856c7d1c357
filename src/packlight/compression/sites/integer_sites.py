"""Operators with weights that integer kernels can compute, or why they stay in float."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from packlight.compression.sites.weight_roles import SUMMED, Role, roles, stored
from packlight.compression.sites.weight_sites import Weight, not_stored, weight_site
from packlight.model import nodes
from packlight.records.variant import Refusal

MATRIX = 2


def integer_sites(
    graph: ir.Model, kept: Callable[[ir.Node], str]
) -> Iterator[tuple[ir.Node, Weight] | Refusal]:
    """Every operator with arithmetic on weights, and its weight, or why it stays in float.

    Args:
        graph: the model.
        kept: why an operator stays in float whatever its weight is; empty where it need not.
    """
    known = list(roles(graph))
    weights = {id(r.node): (r, v) for r, v in known if r.index == 1}
    tables = {id(r.node) for r, v in known if r.node.op_type == "Gather" and stored(v) is not None}
    for node in nodes(graph):
        if node.op_type in SUMMED and (node.op_type != "Gather" or id(node) in tables):
            why = kept(node)
            role, value = weights.get(id(node), (None, None))
            if why:
                yield Refusal(str(node.name), "no-kernel", why)
            else:
                yield integer_site(node, role, value)


def integer_site(
    node: ir.Node, role: Role | None, value: ir.Value | None
) -> tuple[ir.Node, Weight] | Refusal:
    """An operator with its weight, or why it stays in float."""
    name = str(node.name)
    if role is None or value is None or stored(value) is None:
        return not_stored(name, value)
    weight = weight_site(value, (role,))
    if isinstance(weight, Refusal):
        return weight
    if node.op_type == "MatMul" and len(weight.shape) != MATRIX:
        reason = f"its weight has shape {weight.shape}, not (in, out)"
        return Refusal(name, "unsupported-shape", reason)
    if node.op_type == "Gemm" and not plain_gemm(node):
        reason = "it scales or transposes what it reads"
        return Refusal(name, "unsupported-attributes", reason, "run it as MatMul and Add")
    return node, weight


def plain_gemm(node: ir.Node) -> bool:
    """Whether a Gemm is a product and a sum, as integer kernels compute it."""
    given = node.attributes
    factors = given.get_float("alpha", 1.0) == 1.0 and given.get_float("beta", 1.0) == 1.0
    return factors and not given.get_int("transA", 0)
