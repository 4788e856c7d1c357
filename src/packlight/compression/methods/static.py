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

import numpy as np
import onnx_ir as ir

from packlight.backends.capabilities import Capabilities, policy
from packlight.compression.encoding.stored_values import StoredValues
from packlight.compression.method import Method
from packlight.compression.qdq import placement
from packlight.compression.qdq.activation_grids import activation_grids
from packlight.compression.qdq.input_levels import GRID, lead
from packlight.compression.qdq.insertion import (
    Pairs,
    integer_bias,
    integer_weight,
    least_scale,
    stored_bias,
)
from packlight.compression.qdq.integer_weights import (
    Reader,
    blank,
    grow,
    nearest,
    rounded,
    weight_granularity,
)
from packlight.compression.sites.integer_sites import integer_sites
from packlight.compression.sites.weight_sites import Weight, weight_defect
from packlight.records.configs import StaticInt8
from packlight.records.storage import IntegerArithmetic, Note
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

BYTE = 8


def stays_float(config: StaticInt8, node: ir.Node) -> bool:
    """Whether an operator is named by ``skip``."""
    return bool(config.skip) and re.fullmatch(config.skip, str(node.name)) is not None


def storage_of(config: StaticInt8, reader: Reader, activation_bits: int) -> IntegerArithmetic:
    """How an operator with a weight computes.

    A weight that others read too goes to the nearest, for it has no inputs of its own.
    """
    notes = [Note("int16-safe")] if config.portable else []
    rounding = config.rounding
    readers = tuple(str(node.name) for node, _ in reader.weight.value.uses())
    if rounding == "gptq" and len(readers) > 1:
        rounding = "nearest"
        notes.append(Note("shared-weight", readers))
    return IntegerArithmetic(
        activation_bits=activation_bits,
        ranges="calibration",
        bits=config.bits,
        granularity=weight_granularity(config, reader.node),
        rounding=rounding,
        notes=tuple(notes),
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


def sites(graph: ir.Model, config: StaticInt8) -> Iterator[Site | Refusal]:
    """Every operator with arithmetic on weights, or why it stays in float."""
    for found in integer_sites(graph, partial(kernelless, policy(config.runtime).runtime)):
        yield found if isinstance(found, Refusal) else Site(*found)


def kernelless(runtime: Capabilities, node: ir.Node) -> str:
    """That a runtime has no kernel for an operator; empty where it has one."""
    told = f"{runtime.title} has no integer kernel with fixed ranges for {node.op_type}"
    if node.op_type in runtime.weight_operators:
        return ""
    return told


def apply(
    graph: ir.Model, found: Sequence[Site], calibrator: Calibrator, config: StaticInt8
) -> list[Change | Refusal]:
    """Put a grid on every value that integer operators read or give, and on weights and biases."""
    kept, done = ends_left(graph, found, config)
    if not kept:
        return done
    led = list[ir.Node]()
    if config.first == "levels":
        kept, led, without = levelled(graph, kept, calibrator)
        done += without
    runtime_policy = policy(config.runtime)
    floats = partial(stays_float, config)
    place = partial(placement.place_pairs, graph, floats=floats, policy=runtime_policy)
    plan = place([site.node for site in kept])
    grids = activation_grids(graph, plan, calibrator, config)
    grids |= {name: GRID for node in led if grids.get(name := plan.source(node), GRID).bits == BYTE}
    unseen = set(plan.ranges()) - set(grids)
    missed = [site for site in kept if unseen & touched(plan, site.node)]
    ready = [site for site in kept if not unseen & touched(plan, site.node)]
    reason, remedy = "no calibration sample reaches it", "add samples that do"
    done += [Refusal(site.operator, "no-samples", reason, remedy) for site in missed]
    if unseen:
        plan = place([site.node for site in ready], unseen)
    pairs = Pairs(grids, StoredValues(graph), runtime_policy.runtime.codes.removesuffix("8"))
    readers = [reader_of(site, pairs) for site in ready]
    for node in plan.unweighted:
        pairs.on_inputs(node)
    for value in plan.written.values():
        pairs.on_output(value)
    done += encoded(graph, readers, pairs, calibrator, config)
    done += [
        Change(str(node.name), "static", IntegerArithmetic(BYTE, "calibration"))
        for node in plan.unweighted
    ]
    left = placement.float_operators(graph, plan, floats)
    done += [
        Refusal(str(node.name), code, f"it stays in float: {reason}") for node, code, reason in left
    ]
    return done


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
    graph: ir.Model, found: Sequence[Site], config: StaticInt8
) -> tuple[list[Site], list[Change | Refusal]]:
    """Operators that are to compute in integers, and refusals of those that are asked to stay."""
    first, last = placement.first_and_last(graph, [site.node for site in found])
    kept, refused = list[Site](), list[Change | Refusal]()
    for site in found:
        if config.first == "float" and site.node in first:
            reason = "it reads the model's input, and first=float"
            refused.append(Refusal(site.operator, "first-operator", reason))
        elif config.last == "float" and site.node in last:
            reason = "nothing behind it has a weight, and last=float"
            refused.append(Refusal(site.operator, "last-operator", reason))
        elif stays_float(config, site.node):
            refused.append(Refusal(site.operator, "skipped", "skip= names it"))
        else:
            kept.append(site)
    return kept, refused


def reader_of(site: Site, pairs: Pairs) -> Reader:
    """Put a grid on what an operator reads."""
    return Reader(site.weight, least_scale(site.node, pairs.on_inputs(site.node, 0)))


def encoded(
    graph: ir.Model,
    readers: Sequence[Reader],
    pairs: Pairs,
    calibrator: Calibrator,
    config: StaticInt8,
) -> Iterator[Change]:
    """Round every weight, and store it and its bias in integers.

    A weight that others read too goes to the nearest, for it has no inputs of its own.
    """
    learns = config.rounding == "gptq" or config.bias
    alone = [one for one in readers if learns and len(one.weight.value.uses()) == 1]
    if config.bias:
        grow(alone)
    storages = [storage_of(config, one, pairs.grid_of(one.node).bits) for one in readers]
    own = {}
    if not calibrator.sizes_only:
        own = dict(zip(map(id, alone), rounded(graph, alone, calibrator, config), strict=True))
    for reader, storage in zip(readers, storages, strict=True):
        one = own.get(id(reader)) or (blank if calibrator.sizes_only else nearest)(reader, config)
        integer_weight(reader.node, reader.weight, one.codes, one.scale, pairs.stock)
        integer_bias(reader.node, pairs.grid_of(reader.node), one.scale, pairs.stock)
        size = reader.weight.tensor.nbytes
        yield Change(reader.operator, "static", storage, size, size // 4 + one.scale.nbytes)


def touched(plan: placement.Plan, node: ir.Node) -> set[str]:
    """Names of the values whose ranges an operator needs."""
    return {plan.source(node), plan.root(str(plan.behind(node).name))}


def unfit(site: Site) -> Refusal | None:
    """Why the numbers of a weight or its bias cannot be used; None where they can."""
    bias = stored_bias(site.node)
    if bias is not None and not np.isfinite(bias).all():
        reason = "its bias holds numbers that are NaN or infinite"
        return Refusal(site.operator, "not-finite", reason)
    return weight_defect(site.weight)


METHOD = Method(
    summary="compute in 8-bit integers with ranges from calibration samples",
    config=StaticInt8,
    opset=lambda config: 21 if config.wide else 13,
    sites=sites,
    apply=apply,
    uses_data=lambda _: True,
    inspect=unfit,
)
