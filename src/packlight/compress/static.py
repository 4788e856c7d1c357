"""Integer arithmetic with ranges fixed beforehand: 8-bit activations, 8-bit or 7-bit weights.

Every activation x becomes a uint8 code with x = (code - zero_point) * scale, every weight an int8
code on a symmetric grid per output channel, every bias an int32 code with the product of both
scales. Source: Jacob et al. (CVPR 2018); the ONNX operators QuantizeLinear-13 and
DequantizeLinear-13.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from packlight.compress import placement
from packlight.compress.qdq import (
    Pairs,
    integer_bias,
    integer_weight,
    least_scale,
    stored_bias,
)
from packlight.compress.ranges import Histogram, affine
from packlight.compress.roles import SUMMED, Role, roles, stored
from packlight.compress.sites import Weight, not_stored, unusable, weight_site
from packlight.compress.stock import Stock
from packlight.errors import RecipeError
from packlight.method import Look, Method, Statistic
from packlight.model import nodes
from packlight.records.variant import Change, Refusal

INTEGER = ("Conv", "Gemm", "MatMul")
"""Operators for which ONNX Runtime's CPU has kernels on 8-bit codes."""

MATRIX = 2
HALF = 50.0


@dataclass(frozen=True, slots=True)
class Static:
    """Compute in 8-bit integers with ranges from calibration samples.

    Attributes:
        bits: of a weight. 7 keeps the sums of pairs of products within 16 bits, which x86
            processors without VNNI need.
        range: ``minmax`` keeps every value seen, ``percentile`` cuts off rare ones.
        percentile: share of the values kept at each end, in percent, with range=percentile.
        per: one scale for each output ``channel`` of a weight, or for the whole ``tensor``.
    """

    bits: Literal[7, 8] = 8
    range: Literal["minmax", "percentile"] = "minmax"
    percentile: float = 99.99
    per: Literal["channel", "tensor"] = "channel"

    def __post_init__(self) -> None:
        if not HALF < self.percentile <= 100:  # noqa: PLR2004
            raise RecipeError(
                f"static,percentile= is above 50 and at most 100; got {self.percentile}"
            )


@dataclass(frozen=True, slots=True)
class Site:
    """An operator with a stored weight that an integer kernel can compute.

    Attributes:
        node: the operator.
        weight: what it reads.
    """

    node: ir.Node
    weight: Weight

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return str(self.node.name)


def sites(graph: ir.Model, config: Static) -> Iterator[Site | Refusal]:
    """Every operator with arithmetic on weights, or why it stays in float."""
    del config
    known = list(roles(graph))
    weights = {id(r.node): (r, v) for r, v in known if r.index == 1}
    tables = {id(r.node) for r, v in known if r.node.op_type == "Gather" and stored(v) is not None}
    for node in nodes(graph):
        if node.op_type in SUMMED and (node.op_type != "Gather" or id(node) in tables):
            yield site(node, *weights.get(id(node), (None, None)))


def site(node: ir.Node, role: Role | None, value: ir.Value | None) -> Site | Refusal:
    """One operator as a site, or why it stays in float."""
    name = str(node.name)
    if node.op_type not in INTEGER:
        what = f"ONNX Runtime's CPU has no integer kernel with fixed ranges for {node.op_type}"
        return Refusal(name, what)
    if role is None or value is None or stored(value) is None:
        return not_stored(name, value)
    weight = weight_site(value, (role,))
    if isinstance(weight, Refusal):
        return weight
    if node.op_type == "MatMul" and len(weight.shape) != MATRIX:
        return Refusal(name, f"its weight has shape {weight.shape}, not (in, out)")
    if node.op_type == "Gemm" and not plain_gemm(node):
        return Refusal(name, "it scales or transposes what it reads", "run it as MatMul and Add")
    return Site(node, weight)


def plain_gemm(node: ir.Node) -> bool:
    """Whether a Gemm is a product and a sum, as integer kernels compute it."""
    given = node.attributes
    factors = given.get_float("alpha", 1.0) == 1.0 and given.get_float("beta", 1.0) == 1.0
    return factors and not given.get_int("transA", 0)


def apply(
    graph: ir.Model, found: Sequence[Site], look: Look, config: Static
) -> list[Change | Refusal]:
    """Put a grid on every value that integer operators read or give, and on weights and biases."""
    first = placement.place(graph, [site.node for site in found])
    observed = {name: Histogram() for name in first.ranges()}
    look(graph, {name: [histogram] for name, histogram in observed.items()})
    unseen = {name for name, statistic in observed.items() if not reached(statistic)}
    ready, done = list[Site](), list[Change | Refusal]()
    for site in found:
        if unseen & touched(first, site.node):
            reason = "no calibration sample reaches it"
            done.append(Refusal(site.operator, reason, "add samples that do"))
        else:
            ready.append(site)
    plan = placement.place(graph, [site.node for site in ready], unseen)
    grids = {
        name: affine(observed[name], config.range, config.percentile) for name in plan.ranges()
    }
    grids |= {name: grids[source] for name, source in plan.same.items()}
    pairs = Pairs(grids, Stock(graph))
    done += [encode(site, pairs, config) for site in ready]
    for node in plan.carriers:
        pairs.on_inputs(node)
        done.append(Change(str(node.name), "static", "8-bit integers, no weight"))
    for value in plan.given.values():
        pairs.on_output(value)
    return done


def touched(plan: placement.Plan, node: ir.Node) -> set[str]:
    """Names of the values whose ranges an operator needs."""
    return {plan.source(node), str(placement.behind_activation(node).name)}


def reached(statistic: Statistic) -> bool:
    """Whether a histogram saw any number."""
    assert isinstance(statistic, Histogram)
    return bool(statistic.counts.any())


def encode(site: Site, pairs: Pairs, config: Static) -> Change:
    """Put grids on what one operator reads."""
    before = site.weight.tensor.nbytes
    grid = pairs.on_inputs(site.node, 0)
    least = least_scale(site.node, grid)
    scale = integer_weight(site.node, site.weight, config, least, pairs.stock)
    integer_bias(site.node, grid, scale, pairs.stock)
    what = f"8-bit integers, int{config.bits} weights per {config.per}"
    return Change(site.operator, "static", what, before, before // 4 + scale.nbytes)


def unfit(site: Site) -> str:
    """What is wrong with the numbers of a weight or its bias; empty when nothing is."""
    bias = stored_bias(site.node)
    if bias is not None and not np.isfinite(bias).all():
        return "its bias holds numbers that are NaN or infinite"
    return unusable(site.weight)


METHOD = Method(
    name="static",
    summary="compute in 8-bit integers with ranges from calibration samples",
    config=Static,
    opset=lambda _: 13,
    sites=sites,
    apply=apply,
    uses_data=lambda _: True,
    inspect=unfit,
)
