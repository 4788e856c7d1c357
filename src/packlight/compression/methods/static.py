"""Integer arithmetic with ranges fixed beforehand: 8-bit activations, 8-bit or 7-bit weights.

Every activation x becomes a uint8 code with x = (code - zero_point) * scale, every weight an int8
code on a symmetric grid per output channel, every bias an int32 code with the product of both
scales. Source: Jacob et al. (CVPR 2018); the ONNX operators QuantizeLinear-13 and
DequantizeLinear-13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import onnx_ir as ir

from packlight.backends.capabilities import Capabilities, Runtime
from packlight.backends.policy import Policy, policy
from packlight.compression.encoding.stored_values import StoredValues
from packlight.compression.grids.ranges import Rule
from packlight.compression.grids.uniform import Range
from packlight.compression.method import Method
from packlight.compression.qdq import placement
from packlight.compression.qdq.activation_grids import AUTO, activation_grids
from packlight.compression.qdq.input_levels import GRID, lead
from packlight.compression.qdq.insertion import (
    Pairs,
    integer_bias,
    integer_weight,
    least_scale,
    stored_bias,
)
from packlight.compression.qdq.integer_weights import Reader, blank, grow, nearest, rounded
from packlight.compression.sites.integer_sites import integer_sites
from packlight.compression.sites.weight_sites import Weight, weight_defect
from packlight.errors import RecipeError
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

BYTE = 8
HALF = 50.0


@dataclass(frozen=True, slots=True)
class Static:
    """Compute in 8-bit integers with ranges from calibration samples.

    Attributes:
        bits: of a weight.
        range: of an activation: ``minmax`` keeps every value seen, ``percentile`` cuts off rare
            ones, ``mse`` has the least squared error, ``kl`` keeps the distribution best.
        percentile: share of the values kept at each end, in percent, with range=percentile.
        per: one scale for each output ``channel`` of a weight, or for the whole ``tensor``.
        rounding: of weights, to the ``nearest``, or by ``gptq``, where errors are made up for by
            the other weights of the same output.
        search: how wide the grid of a weight is: ``minmax``, or of least squared error, each error
            counted alike (``mse``) or by its inputs (``moments``).
        bias: whether biases take up what integers do to the means of outputs.
        portable: whether weights are chosen so that x86 processors without VNNI, which add pairs
            of products in 16 bits, never saturate.
        first: whether operators that read the model's inputs compute in ``integer``, stay in
            ``float``, or compute in integers on the numbers of their input's ``levels``, where
            it has 256 evenly spaced ones in each channel, as photos have.
        last: whether operators behind which there is no other weight stay in ``float``.
        skip: operators that stay in float: a regular expression that their names match as a whole.
        wide: operators that read activations of 16 bits: a regular expression that their names
            match as a whole, or ``auto`` for those of which 8 bits lose most. What else reads
            these values reads 16 bits too.
        runtime: whose fusions decide where pairs go, and of which type activations are.
    """

    bits: Literal[7, 8] = 8
    range: Rule = "mse"
    percentile: float = 99.99
    per: Literal["channel", "tensor"] = "channel"
    rounding: Literal["nearest", "gptq"] = "gptq"
    search: Range = "mse"
    bias: bool = True
    portable: bool = True
    first: Literal["integer", "float", "levels"] = "integer"
    last: Literal["integer", "float"] = "integer"
    skip: str = ""
    wide: str = ""
    runtime: Runtime = "onnxruntime"

    def __post_init__(self) -> None:
        if not HALF < self.percentile <= 100:  # noqa: PLR2004
            raise RecipeError(
                f"static,percentile= is above 50 and at most 100; got {self.percentile}"
            )
        for name, text in (("skip", self.skip), ("wide", self.wide)):
            try:
                re.compile(text)
            except re.error as error:
                raise RecipeError(
                    f"static,{name}='{text}' is no regular expression: {error}"
                ) from error

    def is_float(self, node: ir.Node) -> bool:
        """Whether an operator is named by ``skip``."""
        return bool(self.skip) and re.fullmatch(self.skip, str(node.name)) is not None

    def is_wide(self, node: ir.Node) -> bool:
        """Whether an operator is named by ``wide``."""
        named = bool(self.wide) and self.wide != AUTO
        return named and re.fullmatch(self.wide, str(node.name)) is not None

    @property
    def policy(self) -> Policy:
        """Operators that get pairs for the runtime."""
        return policy(self.runtime)

    def per_of(self, node: ir.Node) -> Literal["channel", "tensor"]:
        """Who shares a scale of an operator's weight."""
        return self.per if node.op_type in self.policy.runtime.per_channel else "tensor"

    def words(self, node: ir.Node, bits: int) -> str:
        """What is done to an operator with a weight that reads activations of so many bits."""
        how = "by gptq" if self.rounding == "gptq" else "to nearest"
        safe = ", pairs within 16 bits" if self.portable else ""
        weights = f"int{self.bits} weights per {self.per_of(node)} {how}{safe}"
        return f"{bits}-bit integers, {weights}"


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
    for found in integer_sites(graph, partial(kernelless, config.policy.runtime)):
        yield found if isinstance(found, Refusal) else Site(*found)


def kernelless(runtime: Capabilities, node: ir.Node) -> str:
    """That a runtime has no kernel for an operator; empty where it has one."""
    told = f"{runtime.title} has no integer kernel with fixed ranges for {node.op_type}"
    return "" if node.op_type in runtime.weight_operators else told


def apply(
    graph: ir.Model, found: Sequence[Site], calibrator: Calibrator, config: Static
) -> list[Change | Refusal]:
    """Put a grid on every value that integer operators read or give, and on weights and biases."""
    kept, done = ends_left(graph, found, config)
    if not kept:
        return done
    led = list[ir.Node]()
    if config.first == "levels":
        kept, led, without = levelled(graph, kept, calibrator)
        done += without
    place = partial(placement.place_pairs, graph, floats=config.is_float, policy=config.policy)
    plan = place([site.node for site in kept])
    grids = activation_grids(graph, plan, calibrator, config)
    grids |= {name: GRID for node in led if grids.get(name := plan.source(node), GRID).bits == BYTE}
    unseen = set(plan.ranges()) - set(grids)
    missed = [site for site in kept if unseen & touched(plan, site.node)]
    ready = [site for site in kept if not unseen & touched(plan, site.node)]
    reason, remedy = "no calibration sample reaches it", "add samples that do"
    done += [Refusal(site.operator, reason, remedy) for site in missed]
    if unseen:
        plan = place([site.node for site in ready], unseen)
    pairs = Pairs(grids, StoredValues(graph), config.policy.runtime.codes.removesuffix("8"))
    readers = [reader_of(site, pairs) for site in ready]
    for node in plan.unweighted:
        pairs.on_inputs(node)
    for value in plan.written.values():
        pairs.on_output(value)
    done += encoded(graph, readers, pairs, calibrator, config)
    done += [
        Change(str(node.name), "static", "8-bit integers, no weight") for node in plan.unweighted
    ]
    left = placement.float_operators(graph, plan, config.is_float)
    return [*done, *(Refusal(str(node.name), f"it stays in float: {why}") for node, why in left)]


def levelled(
    graph: ir.Model, kept: Sequence[Site], calibrator: Calibrator
) -> tuple[list[Site], list[ir.Node], list[Refusal]]:
    """Operators, those of them that read numbers of levels now, and why others do not."""
    first, _ = placement.first_and_last(graph, [site.node for site in kept])
    sites, led, refused = list[Site](), list[ir.Node](), list[Refusal]()
    for site in kept:
        if site.node not in first:
            sites.append(site)
            continue
        weight, refusal = lead(graph, site.node, site.weight, calibrator)
        sites.append(Site(site.node, weight))
        if refusal is None:
            led.append(site.node)
        else:
            refused.append(refusal)
    return sites, led, refused


def ends_left(
    graph: ir.Model, found: Sequence[Site], config: Static
) -> tuple[list[Site], list[Change | Refusal]]:
    """Operators that are to compute in integers, and refusals of those that are asked to stay."""
    first, last = placement.first_and_last(graph, [site.node for site in found])
    kept, refused = list[Site](), list[Change | Refusal]()
    for site in found:
        reasons = {
            "it reads the model's input, and first=float": config.first == "float"
            and site.node in first,
            "nothing behind it has a weight, and last=float": config.last == "float"
            and site.node in last,
            "skip= names it": config.is_float(site.node),
        }
        why = next((reason for reason, holds in reasons.items() if holds), "")
        if why:
            refused.append(Refusal(site.operator, why))
        else:
            kept.append(site)
    return kept, refused


def reader_of(site: Site, pairs: Pairs) -> Reader:
    """Put a grid on what an operator reads."""
    return Reader(site.weight, least_scale(site.node, pairs.on_inputs(site.node, 0)))


def encoded(
    graph: ir.Model, readers: Sequence[Reader], pairs: Pairs, calibrator: Calibrator, config: Static
) -> Iterator[Change]:
    """Round every weight, and store it and its bias in integers.

    A weight that others read too goes to the nearest, for it has no inputs of its own.
    """
    learns = config.rounding == "gptq" or config.bias
    alone = [one for one in readers if learns and len(one.weight.value.uses()) == 1]
    if config.bias:
        grow(alone)
    own = {}
    if not calibrator.sizes_only:
        own = dict(zip(map(id, alone), rounded(graph, alone, calibrator, config), strict=True))
    for reader in readers:
        one = own.get(id(reader)) or (blank if calibrator.sizes_only else nearest)(reader, config)
        integer_weight(reader.node, reader.weight, one.codes, one.scale, pairs.stock)
        integer_bias(reader.node, pairs.grid_of(reader.node), one.scale, pairs.stock)
        size = reader.weight.tensor.nbytes
        what = config.words(reader.node, pairs.grid_of(reader.node).bits)
        yield Change(reader.operator, "static", what, size, size // 4 + one.scale.nbytes)


def touched(plan: placement.Plan, node: ir.Node) -> set[str]:
    """Names of the values whose ranges an operator needs."""
    return {plan.source(node), plan.root(str(plan.behind(node).name))}


def unfit(site: Site) -> str:
    """What is wrong with the numbers of a weight or its bias; empty when nothing is."""
    bias = stored_bias(site.node)
    if bias is not None and not np.isfinite(bias).all():
        return "its bias holds numbers that are NaN or infinite"
    return weight_defect(site.weight)


METHOD = Method(
    name="static",
    summary="compute in 8-bit integers with ranges from calibration samples",
    config=Static,
    opset=lambda config: 21 if config.wide else 13,
    sites=sites,
    apply=apply,
    uses_data=lambda _: True,
    inspect=unfit,
)
