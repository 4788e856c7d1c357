"""Integer arithmetic with ranges fixed beforehand: 8-bit activations, 8-bit or 7-bit weights.

Every activation x becomes a uint8 code with x = (code - zero_point) * scale, every weight an int8
code on a symmetric grid per output channel, every bias an int32 code with the product of both
scales. Source: Jacob et al. (CVPR 2018); the ONNX operators QuantizeLinear-13 and
DequantizeLinear-13.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir

from packlight.backends.capabilities import Capabilities, policy
from packlight.compression.encoding.stored_values import StoredValues
from packlight.compression.method import Method
from packlight.compression.qdq import placement
from packlight.compression.qdq.input_levels import GRID, number_levels
from packlight.compression.qdq.insertion import (
    Pairs,
    integer_bias,
    integer_weight,
    least_scale,
    stored_bias,
)
from packlight.compression.qdq.integer_weights import (
    Codes,
    Reader,
    add_biases,
    blank_codes,
    round_by_samples,
    round_to_nearest,
    weight_granularity,
)
from packlight.compression.qdq.placement import activation_grids
from packlight.compression.qdq.resize_axes import write_out_axes
from packlight.compression.qdq.shared_weights import refuse_divided_weights, with_common_scales
from packlight.compression.sites.integer_sites import integer_sites
from packlight.compression.sites.weight_sites import MIN_WEIGHT_SIZE, Weight, weight_defect
from packlight.model import Model
from packlight.profiling import profile
from packlight.records.configs import StaticInt8
from packlight.records.granularity import PerChannel
from packlight.records.name_pattern import name_pattern
from packlight.records.storage import IntegerArithmetic, Note
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

BYTE = 8


def _stays_float(config: StaticInt8, node: ir.Node) -> bool:
    return bool(config.skip) and name_pattern(config.skip).fullmatch(str(node.name))


def _storage(config: StaticInt8, reader: Reader, activation_bits: int) -> IntegerArithmetic:
    """Arithmetic of an operator with a weight.

    A weight that others read too goes to the nearest, for it has no inputs of its own.
    """
    notes = [Note("int16-safe")] * config.portable
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
    """Every operator with arithmetic on weights, and refusals of those that stay in float."""
    for site in integer_sites(graph, partial(_missing_kernel, policy(config.runtime).runtime)):
        if isinstance(site, Refusal):
            yield site
        else:
            yield _scale_refusal(config, *site) or Site(*site)


def _scale_refusal(config: StaticInt8, node: ir.Node, weight: Weight) -> Refusal | None:
    """Refusal of a weight whose scales lie along several axes; None where it can have them."""
    per_channel = isinstance(weight_granularity(config, node), PerChannel)
    if not per_channel or weight.lies_along_one_axis:
        return None
    reason = "DequantizeLinear has scales along one axis; its outputs lie along several"
    remedy = "make it one operator for each group, or use per=tensor"
    return Refusal(str(node.name), "unsupported-axes", reason, remedy)


def _missing_kernel(runtime: Capabilities, node: ir.Node) -> str:
    """Sentence that a runtime has no kernel for an operator; empty where it has one."""
    if node.op_type in runtime.weight_operators:
        return ""
    return f"{runtime.title} has no integer kernel with fixed ranges for {node.op_type}"


def apply(
    graph: ir.Model, sites: Sequence[Site], calibrator: Calibrator, config: StaticInt8
) -> list[Change | Refusal]:
    """Put a grid on every value that integer operators read or give, and on weights and biases."""
    chosen, results = _without_float_ends(graph, sites, config, counts=not calibrator.sizes_only)
    chosen, divided = refuse_divided_weights(chosen)
    results += divided
    if not chosen:
        return results
    write_out_axes(graph)
    numbered: list[ir.Node] = []
    if config.first == "levels":
        chosen, numbered = _number_levels(graph, chosen, calibrator, results)
    runtime_policy = policy(config.runtime)
    floats = partial(_stays_float, config)
    place_pairs = partial(placement.place_pairs, graph, floats=floats, policy=runtime_policy)
    plan = place_pairs([site.node for site in chosen])
    grids = activation_grids(graph, plan, calibrator, config)
    for node in numbered:
        name = plan.source(node)
        if grids.get(name, GRID).bits == BYTE:
            grids[name] = GRID
    unseen = set(plan.ranges()) - set(grids)
    ready = []
    for site in chosen:
        if unseen.isdisjoint(_ranges(plan, site.node)):
            ready.append(site)
        else:
            reason = "no calibration sample reaches it"
            results.append(Refusal(site.operator, "no-samples", reason, "add samples that do"))
    if unseen:
        ready, divided = refuse_divided_weights(ready)
        results += divided
        plan = place_pairs([site.node for site in ready], unseen)
    pairs = Pairs(grids, StoredValues(graph), runtime_policy.runtime.codes.removesuffix("8"))
    readers = with_common_scales([_reader(site, pairs) for site in ready])
    for node in plan.unweighted:
        pairs.on_inputs(node)
    for value in plan.written.values():
        pairs.on_output(value)
    results += _encode_weights(graph, readers, pairs, calibrator, config)
    storage = IntegerArithmetic(BYTE, "calibration")
    results += [Change(str(node.name), "static", storage) for node in plan.unweighted]
    for node, code, reason in placement.float_operators(graph, plan, floats):
        results.append(Refusal(str(node.name), code, f"it stays in float: {reason}"))
    return results


def _number_levels(
    graph: ir.Model,
    sites: Sequence[Site],
    calibrator: Calibrator,
    results: list[Change | Refusal],
) -> tuple[list[Site], list[ir.Node]]:
    """The sites, and the operators that read numbers of levels now; adds refusals of others."""
    first, _ = placement.first_and_last(graph, [site.node for site in sites])
    changed: list[Site] = []
    numbered: list[ir.Node] = []
    for site in sites:
        weight = site.weight
        if site.node in first:
            weight, refusal = number_levels(graph, site.node, weight, calibrator)
            if refusal is None:
                numbered.append(site.node)
            else:
                results.append(refusal)
        changed.append(Site(site.node, weight))
    return changed, numbered


def _without_float_ends(
    graph: ir.Model, sites: Sequence[Site], config: StaticInt8, *, counts: bool
) -> tuple[list[Site], list[Change | Refusal]]:
    """Operators that are to compute in integers, and refusals of those that the config excepts.

    Args:
        graph: the model.
        sites: operators that can compute in integers.
        config: of the step.
        counts: whether refusals say how much arithmetic stays in float.
    """
    first, last = placement.first_and_last(graph, [site.node for site in sites])
    float_first = [site for site in sites if config.first == "float" and site.node in first]
    float_last = [site for site in sites if config.last == "float" and site.node in last]
    ends = {str(site.node.name) for site in (*float_first, *float_last)}
    cost = _float_arithmetic(graph, sites, ends) if ends and counts else ""
    chosen: list[Site] = []
    refusals: list[Change | Refusal] = []
    for site in sites:
        if site in float_first:
            reason = f"it reads the model's input, and first=float{cost}"
            remedy = "first=integer is faster where that is much"
            refusals.append(Refusal(site.operator, "first-operator", reason, remedy))
        elif site in float_last:
            reason = f"nothing behind it has a weight, and last=float{cost}"
            remedy = "last=integer is faster where that is much"
            refusals.append(Refusal(site.operator, "last-operator", reason, remedy))
        elif _stays_float(config, site.node):
            refusals.append(Refusal(site.operator, "skipped", "skip= names it"))
        else:
            chosen.append(site)
    return chosen, refusals


def _float_arithmetic(graph: ir.Model, sites: Sequence[Site], ends: Collection[str]) -> str:
    """How much of the arithmetic stays in float at the ends of a model, as a clause."""
    if all(site.operator in ends for site in sites):
        return ": so does every operator that could compute in integers"
    able = {site.operator for site in sites}
    macs = {
        operator.name: operator.macs
        for operator in profile(Model(graph, ""), {}).operators
        if operator.name in able and operator.macs is not None
    }
    total = sum(macs.values())
    if len(macs) < len(able) or not total:
        return ""
    share = sum(count for name, count in macs.items() if name in ends) / total
    return f": {share:.0%} of the arithmetic that integers could do"


def _reader(site: Site, pairs: Pairs) -> Reader:
    return Reader(site.weight, least_scale(site.node, pairs.on_inputs(site.node, 0)))


def _encode_weights(
    graph: ir.Model,
    readers: Sequence[Reader],
    pairs: Pairs,
    calibrator: Calibrator,
    config: StaticInt8,
) -> Iterator[Change]:
    """Round every weight, and store it and its bias in integers.

    A weight that others read too goes to the nearest, for it has no inputs of its own. It is
    stored once for all of them, and its bytes are those of the first.
    """
    learns = config.rounding == "gptq" or config.bias
    observed = [reader for reader in readers if learns and reader.has_own_inputs]
    if config.bias:
        add_biases(observed)
    storages = [_storage(config, reader, pairs.grid_of(reader.node).bits) for reader in readers]
    learned = round_by_samples(graph, observed, calibrator, config)
    round_simply = blank_codes if calibrator.sizes_only else round_to_nearest
    codes_of: dict[int, Codes] = {}
    for reader, storage in zip(readers, storages, strict=True):
        weight = reader.weight
        rounded = codes_of.get(id(weight.value)) or learned.get(reader)
        if rounded is None:
            rounded = round_simply(reader, config)
        integer_weight(reader.node, weight, rounded.codes, rounded.scale, pairs.stock)
        integer_bias(reader.node, pairs.grid_of(reader.node), rounded.scale, pairs.stock)
        before = after = 0
        if id(weight.value) not in codes_of:
            before = weight.tensor.nbytes
            after = before // 4 + rounded.scale.nbytes
        codes_of[id(weight.value)] = rounded
        yield Change(reader.operator, "static", storage, before, after)


def _ranges(plan: placement.Plan, node: ir.Node) -> set[str]:
    return {plan.source(node), plan.root(str(plan.behind(node).name))}


def _defect(site: Site) -> Refusal | None:
    """Reason why the numbers of a weight or its bias cannot be used; None where they can."""
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
    inspect=_defect,
    least_size=MIN_WEIGHT_SIZE,
)
