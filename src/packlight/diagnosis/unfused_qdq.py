"""QuantizeLinear and DequantizeLinear that a session runs by themselves, by why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from packlight.model import Model, nodes, stored_tensor
from packlight.records import OperatorCost, Profile

PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
INTEGER = frozenset({
    "Conv", "MatMul", "Gemm", "Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Sigmoid",
    "LeakyRelu", "Softmax", "MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Resize",
    "Flatten", "Gather", "Relu", "Clip", "Slice", "Split", "Where",
})  # fmt: skip
"""Operators that ONNX Runtime's CPU computes in integers, or passes integers through, between
pairs. Source: its QDQ selectors and transformers."""

MISSING, UNFUSED, WEIGHTS = "no-integer-kernel", "unfused-pairs", "weights-unpacked-at-every-run"


@dataclass(slots=True)
class Loose:
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
) -> dict[str, Loose]:
    """Pairs with kernels of their own, by cause.

    Args:
        model: the variant.
        before: measured costs of the reference.
        after: measured costs of the variant.
        matched: by operator of the variant, that of the reference.
    """
    costs = {one.name: one for one in after.operators}
    every = [node for node in nodes(model.graph) if runs(costs.get(str(node.name)))]
    loose = [node for node in every if node.op_type in PAIRS]
    active = {
        reader for node in loose if not restores_weight(node) for reader in readers_behind(node)
    }
    found = {cause: Loose() for cause in (MISSING, UNFUSED, WEIGHTS)}
    for node in loose:
        around = readers_behind(node) or makers_before(node)
        group = found[cause_of(node, around, active)]
        group.pairs.append(costs[str(node.name)])
        group.around.update(str(one.name) for one in (*around, *makers_before(node)))
    count_losses(found, before, costs, matched)
    return found


def runs(one: OperatorCost | None) -> bool:
    """Whether an operator has a kernel of its own that took time."""
    return one is not None and one.placement == "kernel" and one.latency is not None


def cause_of(node: ir.Node, around: list[ir.Node], active: set[ir.Node]) -> str:
    """Why a pair runs by itself."""
    if around and all(one.op_type not in INTEGER for one in around):
        return MISSING
    alone = restores_weight(node) and active.isdisjoint(around)
    return WEIGHTS if alone else UNFUSED


def restores_weight(node: ir.Node) -> bool:
    """Whether a DequantizeLinear reads what is stored."""
    source = node.inputs[0]
    return node.op_type == "DequantizeLinear" and source is not None and is_stored(source)


def is_stored(value: ir.Value) -> bool:
    """Whether a value is stored."""
    return stored_tensor(value) is not None


def readers_behind(node: ir.Node) -> list[ir.Node]:
    """Operators that read what a pair gives, other pairs seen through."""
    found: list[ir.Node] = []
    rest = [use.node for use in node.outputs[0].uses()]
    for reader in rest:
        if reader.op_type in PAIRS:
            rest += [use.node for use in reader.outputs[0].uses()]
        elif reader not in found:
            found.append(reader)
    return found


def makers_before(node: ir.Node) -> list[ir.Node]:
    """The operator that gives what a pair reads, other pairs seen through."""
    source = node.inputs[0]
    maker = None if source is None else source.producer()
    while maker is not None and maker.op_type in PAIRS:
        source = maker.inputs[0]
        maker = None if source is None else source.producer()
    return [] if maker is None else [maker]


def count_losses(
    found: Mapping[str, Loose],
    before: Profile,
    costs: Mapping[str, OperatorCost],
    matched: Mapping[str, str],
) -> None:
    """Add up by how much the operators around pairs became slower; each counts once, in place."""
    was = {one.name: one.latency.value for one in before.operators if one.latency is not None}
    known = {one.name for one in before.operators}
    counted: set[str] = set()
    for group in found.values():
        for name in sorted(group.around - counted):
            reference = matched.get(name, "")
            one = costs.get(name)
            if reference in known and one is not None and one.latency is not None:
                group.lost += max(0.0, one.latency.value - was.get(reference, 0.0))
        counted |= group.around
