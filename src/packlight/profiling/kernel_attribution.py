"""Which operator stands for each kernel, and what became of the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from packlight.profiling.counts import names
from packlight.profiling.kernel_mapping import MOVERS, Placing
from packlight.records import OperatorCost
from packlight.records.profile import Placement
from packlight.runtime.kernel_times import Kernel

SERVE = MOVERS | names("QuantizeLinear DequantizeLinear Identity Dropout Pad Slice Expand Constant")
"""Operators that a kernel is not named after where it computes others."""

COPIES = names("Identity Dropout")
NO_WORK = (MOVERS | COPIES) | names("Slice Expand Flatten Concat Gather Shape Size")
"""Operators of which nothing is left where a kernel of another type takes their place unchanged."""


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """Which operator stands for each kernel.

    Attributes:
        of_kernel: by kernel, the place of the operator that its time is shown at.
        into: by place of an operator that is fused, the place of the one it is fused into.
        placements: of each operator.
        kernels: of the optimised graph, in order.
    """

    of_kernel: Mapping[ir.Node, int]
    into: Mapping[int, int]
    placements: Sequence[Placement]
    kernels: Sequence[ir.Node]


def heads_of(placing: Placing, costs: Sequence[OperatorCost]) -> Heads:
    """The operator that stands for each kernel, and what became of every operator."""
    at = {node: place for place, node in enumerate(placing.marked.operators)}
    leads = {
        kernel: max(members, key=lambda node: rank(node, kernel, costs[at[node]], -at[node]))
        for kernel, members in placing.members.items()
        if members
    }
    into, placements = {}, []
    for place, node in enumerate(placing.marked.operators):
        kernel = placing.owner.get(node)
        lead = None if kernel is None else leads[kernel]
        placements.append(placement(node, kernel, lead, loaded=node in placing.loaded))
        if lead is not None and placements[-1] == "fused":
            into[place] = at[lead]
    of_kernel = {}
    for kernel in placing.kernels:
        serves = placing.counts_for(kernel)
        if serves is not None:
            maker = placing.given[serves][0].producer()
            assert maker is not None
            of_kernel[kernel] = at[leads[placing.owner[maker]]]
    return Heads(of_kernel, into, placements, placing.kernels)


def rank(
    node: ir.Node, kernel: ir.Node, cost: OperatorCost, early: int
) -> tuple[float, bool, bool, float, int]:
    """How much an operator stands for a kernel: by its products, its type, its other arithmetic."""
    own_type, serves = node.op_type in kernel.op_type, node.op_type in SERVE
    return cost.macs or 0, own_type, not serves, cost.other_ops or 0, early


def placement(
    node: ir.Node, kernel: ir.Node | None, lead: ir.Node | None, *, loaded: bool
) -> Placement:
    """What became of an operator."""
    if kernel is None or lead is None:
        return "at load" if loaded else "removed"
    if node is lead:
        return "kernel"
    unchanged = kernel.domain == "" and kernel.op_type == lead.op_type
    gone = node.op_type in COPIES or (unchanged and node.op_type in NO_WORK)
    return "removed" if gone else "fused"


def placed(seen: Sequence[Kernel], heads: Heads) -> list[int | None]:
    """The place of the operator that each timed kernel counts for; None where none is known.

    A kernel without a name is told by its type and its order.
    """
    named = {(str(one.name), one.op_type): one for one in heads.kernels if one.name}
    nameless: dict[str, list[ir.Node]] = defaultdict(list)
    for one in reversed(heads.kernels):
        if not one.name:
            nameless[one.op_type].append(one)
    found: dict[Kernel, ir.Node | None] = {}
    for kernel in sorted(seen, key=lambda one: one.node_index):
        node = named.get((kernel.name, kernel.op))
        rest = nameless[kernel.op]
        found[kernel] = node if node is not None else rest.pop() if rest else None
    nodes = [found[kernel] for kernel in seen]
    return [None if node is None else heads.of_kernel.get(node) for node in nodes]
