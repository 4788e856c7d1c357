"""Operators with weights that integer kernels can compute, and refusals of the remaining ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cache, partial

import onnx_ir as ir

from packlight.compression.sites.weight_roles import (
    SUMMED_AXES,
    Role,
    constant_values,
    stored,
    weight_roles,
)
from packlight.compression.sites.weight_sites import (
    Weight,
    float32_refusal,
    not_stored_refusal,
    weight_site,
)
from packlight.model import nodes
from packlight.records.variant import Refusal

MATRIX = 2


def integer_sites(
    graph: ir.Model, float_reason: Callable[[ir.Node], str]
) -> Iterator[tuple[ir.Node, Weight] | Refusal]:
    """Every operator with arithmetic on weights, and its weight, or a refusal.

    Args:
        graph: the model.
        float_reason: why an operator stays in float whatever its weight is; empty where it may
            change.
    """
    roles = list(weight_roles(graph))
    constants = cache(partial(constant_values, graph))
    weights = {id(r.node): (r, v) for r, v in roles if r.index == 1}
    tables = {id(r.node) for r, v in roles if r.node.op_type == "Gather" and stored(v) is not None}
    for node in nodes(graph):
        if node.op_type in SUMMED_AXES and (node.op_type != "Gather" or id(node) in tables):
            why = float_reason(node)
            role, value = weights.get(id(node), (None, None))
            if why:
                yield Refusal(str(node.name), "no-kernel", why)
            else:
                yield _integer_site(graph, node, role, value, constants())


def _integer_site(
    graph: ir.Model,
    node: ir.Node,
    role: Role | None,
    value: ir.Value | None,
    constants: Collection[int],
) -> tuple[ir.Node, Weight] | Refusal:
    name = str(node.name)
    if role is None or value is None or stored(value) is None:
        return not_stored_refusal(graph, name, value, constants)
    weight = weight_site(value, (role,))
    if isinstance(weight, Refusal):
        return weight
    refusal = float32_refusal(weight)
    if refusal is not None:
        return refusal
    if node.op_type == "MatMul" and len(weight.shape) != MATRIX:
        reason = f"its weight has shape {weight.shape}, not (in, out)"
        return Refusal(name, "unsupported-shape", reason)
    if node.op_type == "Gemm" and not _is_plain_gemm(node):
        reason = "it scales or transposes what it reads"
        return Refusal(name, "unsupported-attributes", reason, "run it as MatMul and Add")
    return node, weight


def _is_plain_gemm(node: ir.Node) -> bool:
    """Check that a Gemm neither scales nor transposes its input."""
    attributes = node.attributes
    factors = [attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    return factors == [1.0, 1.0] and not attributes.get_int("transA", 0)
