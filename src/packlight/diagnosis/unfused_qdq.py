"""QuantizeLinear and DequantizeLinear that a session runs by themselves, by cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from packlight.backends.capabilities import capabilities, effective_attributes
from packlight.model import Model, nodes, producer_of, stored_tensor
from packlight.records import OperatorCost, Profile

PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})

MISSING = "no-integer-kernel"
UNFUSED = "unfused-pairs"
WEIGHTS = "weights-unpacked-at-every-run"


@dataclass(slots=True)
class UnfusedPairs:
    """Pairs that run by themselves for one reason.

    Attributes:
        pairs: costs of each.
        around: operators that they stand around.
        lost: seconds by which those take longer than in the reference.
    """

    pairs: list[OperatorCost] = field(default_factory=list)
    around: set[str] = field(default_factory=set)
    lost: float = 0.0


def pairs_by_cause(
    model: Model, before: Profile, after: Profile, matched: Mapping[str, str]
) -> dict[str, UnfusedPairs]:
    """Pairs with kernels of their own, by cause.

    Args:
        model: the variant.
        before: measured costs of the reference.
        after: measured costs of the variant.
        matched: by operator of the variant, that of the reference.
    """
    costs = {cost.name: cost for cost in after.operators}
    running = [node for node in nodes(model.graph) if _has_kernel(costs.get(str(node.name)))]
    unfused = [node for node in running if node.op_type in PAIRS]
    active = {
        reader for node in unfused if not _restores_weight(node) for reader in _readers_behind(node)
    }
    causes = {cause: UnfusedPairs() for cause in (MISSING, UNFUSED, WEIGHTS)}
    for node in unfused:
        neighbors = _readers_behind(node) or _makers_before(node)
        group = causes[cause_of(node, neighbors, active)]
        group.pairs.append(costs[str(node.name)])
        group.around.update(str(neighbor.name) for neighbor in (*neighbors, *_makers_before(node)))
    _count_losses(causes, before, costs, matched)
    return causes


def _has_kernel(cost: OperatorCost | None) -> bool:
    return cost is not None and cost.placement == "kernel" and cost.latency is not None


def cause_of(node: ir.Node, neighbors: list[ir.Node], active: set[ir.Node]) -> str:
    """Say why a pair runs by itself."""
    if neighbors and not any(map(_takes_pairs, neighbors)):
        return MISSING
    if _restores_weight(node) and active.isdisjoint(neighbors):
        return WEIGHTS
    return UNFUSED


def _takes_pairs(node: ir.Node) -> bool:
    runtime = capabilities("onnxruntime")
    op_type = str(node.op_type)
    if op_type in runtime.clipping:
        return True
    return runtime.computes_in_integers(op_type, effective_attributes(node))


def _restores_weight(node: ir.Node) -> bool:
    source = node.inputs[0]
    is_restore = node.op_type == "DequantizeLinear" and source is not None
    return is_restore and source is not None and stored_tensor(source) is not None


def _readers_behind(node: ir.Node) -> list[ir.Node]:
    """Operators that read what a pair gives, seen through further pairs."""
    readers: list[ir.Node] = []
    pending = [use.node for use in node.outputs[0].uses()]
    for reader in pending:
        if reader.op_type in PAIRS:
            pending += [use.node for use in reader.outputs[0].uses()]
        elif reader not in readers:
            readers.append(reader)
    return readers


def _makers_before(node: ir.Node) -> list[ir.Node]:
    maker = producer_of(node.inputs[0])
    while maker is not None and maker.op_type in PAIRS:
        maker = producer_of(maker.inputs[0])
    if maker is None:
        return []
    return [maker]


def _count_losses(
    causes: Mapping[str, UnfusedPairs],
    before: Profile,
    costs: Mapping[str, OperatorCost],
    matched: Mapping[str, str],
) -> None:
    """Add up by how much the operators around pairs became slower; each counts once, in place."""
    seconds = {cost.name: cost.latency.value for cost in before.operators if cost.latency}
    names = {cost.name for cost in before.operators}
    counted: set[str] = set()
    for group in causes.values():
        for name in sorted(group.around - counted):
            reference = matched.get(name, "")
            cost = costs.get(name)
            if reference in names and cost is not None and cost.latency is not None:
                group.lost += max(0.0, cost.latency.value - seconds.get(reference, 0.0))
        counted |= group.around
