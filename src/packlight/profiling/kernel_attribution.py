"""Attribute each kernel to an operator, and find out where the other operators went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from packlight.profiling.counts import names
from packlight.profiling.kernel_mapping import LAYOUT_OPS, KernelMapping
from packlight.records import OperatorCost
from packlight.records.profile import Placement
from packlight.runtime.kernel_times import Kernel

SERVE = LAYOUT_OPS | names(
    "QuantizeLinear DequantizeLinear Identity Dropout Pad Slice Expand Constant"
)
"""Operators that do not lead a kernel which computes others."""

COPIES = names("Identity Dropout")
NO_WORK = (LAYOUT_OPS | COPIES) | names("Slice Expand Flatten Concat Gather Shape Size")
"""Operators that disappear where a kernel of another type takes over unchanged."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelAttribution:
    """The operator that leads each kernel.

    Attributes:
        of_kernel: by kernel, the index of the operator that its time is shown at.
        into: by index of a fused operator, the index of the operator it is fused into.
        placements: of each operator.
        kernels: of the optimized graph, in order.
    """

    of_kernel: Mapping[ir.Node, int]
    into: Mapping[int, int]
    placements: Sequence[Placement]
    kernels: Sequence[ir.Node]


def attribute_kernels(mapping: KernelMapping, costs: Sequence[OperatorCost]) -> KernelAttribution:
    """Choose the operator that leads each kernel, and place every operator."""
    index_of = {node: index for index, node in enumerate(mapping.tagged.operators)}
    leads: dict[ir.Node, ir.Node] = {}
    for kernel, members in mapping.members.items():
        ranks = {
            node: _lead_rank(node, kernel, costs[index_of[node]], -index_of[node])
            for node in members
        }
        if ranks:
            leads[kernel] = max(members, key=ranks.__getitem__)
    into: dict[int, int] = {}
    placements = []
    for index, node in enumerate(mapping.tagged.operators):
        kernel_of_node = mapping.owner.get(node)
        if kernel_of_node is None:
            placements.append(_unowned_placement(loaded=node in mapping.loaded))
            continue
        lead = leads[kernel_of_node]
        placements.append(placement(node, kernel_of_node, lead))
        if placements[-1] == "fused":
            into[index] = index_of[lead]
    of_kernel = {}
    for kernel in mapping.kernels:
        served = mapping.counts_for(kernel)
        if served is not None:
            producer = mapping.outputs[served][0].producer()
            assert producer is not None
            of_kernel[kernel] = index_of[leads[mapping.owner[producer]]]
    return KernelAttribution(of_kernel, into, placements, mapping.kernels)


def _lead_rank(
    node: ir.Node, kernel: ir.Node, cost: OperatorCost, early: int
) -> tuple[float, bool, bool, float, int]:
    same_type = node.op_type in kernel.op_type
    leads = node.op_type not in SERVE
    return cost.macs or 0, same_type, leads, cost.other_ops or 0, early


def _unowned_placement(*, loaded: bool) -> Placement:
    if loaded:
        return "at load"
    return "removed"


def placement(node: ir.Node, kernel: ir.Node, lead: ir.Node) -> Placement:
    """Placement of an operator that belongs to a kernel."""
    if node is lead:
        return "kernel"
    unchanged = kernel.domain == "" and kernel.op_type == lead.op_type
    if node.op_type in COPIES or (unchanged and node.op_type in NO_WORK):
        return "removed"
    return "fused"


def operator_indices(timed: Sequence[Kernel], attribution: KernelAttribution) -> list[int | None]:
    """The index of the operator of each timed kernel; None where there is none.

    A kernel without a name is identified by its type and its order.
    """
    named = {(node.name, node.op_type): node for node in attribution.kernels if node.name}
    nameless: dict[str, list[ir.Node]] = defaultdict(list)
    for node in reversed(attribution.kernels):
        if not node.name:
            nameless[node.op_type].append(node)
    nodes: dict[Kernel, ir.Node] = {}
    for kernel in sorted(timed, key=lambda kernel: kernel.node_index):
        match = named.get((kernel.name, kernel.op))
        if match is None and nameless[kernel.op]:
            match = nameless[kernel.op].pop()
        if match is not None:
            nodes[kernel] = match
    return [
        attribution.of_kernel.get(nodes[kernel]) if kernel in nodes else None for kernel in timed
    ]
