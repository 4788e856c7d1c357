"""Arithmetic of every operator, and how often it runs in one run of the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir as ir

from packlight.model import operators
from packlight.profiling.counts import Around, Count, UnknownError, Work
from packlight.profiling.expanded_graph import Expanded, bodies_of
from packlight.profiling.load_time import is_constant
from packlight.profiling.mac_formulas import MACS, MICROSOFT_MACS
from packlight.profiling.other_ops import MICROSOFT_OTHER_OPS, OTHER_OPS, stored_integer
from packlight.profiling.shape_values import ELSE, TAKEN, THEN, sizes_of
from packlight.profiling.stand_ins import MICROSOFT, is_replaced

COUNTS: Mapping[str, Mapping[str, Count]] = {
    "": {**OTHER_OPS, **MACS},
    MICROSOFT: {**MICROSOFT_OTHER_OPS, **MICROSOFT_MACS},
}
"""By domain and operator; one not listed is shown as unknown."""


class Counter:
    """Counts the operators of an expanded model.

    Args:
        expanded: the model.
        constant: its values that are the same at every run.

    Attributes:
        work: by operator, for one execution; absent where it is not known.
        why: by operator whose arithmetic is not known, why.
        runs: by operator, executions in one run of the model.
        notes: what was assumed.
    """

    def __init__(self, expanded: Expanded, constant: Collection[ir.Value]) -> None:
        self.expanded, self.constant = expanded, constant
        self.work: dict[ir.Node, Work] = {}
        self.why: dict[ir.Node, str] = {}
        self.runs: dict[ir.Node, int] = {}
        self.notes: list[str] = []
        self.known: dict[ir.Graph, tuple[int, int]] = {}
        self.values = by_name(expanded.graph.graph)
        self.seen: set[ir.Node] = set()
        for node in expanded.origin:
            self.measure(node)
        self.spread(expanded.graph.graph, 1)

    def measure(self, node: ir.Node) -> None:
        """Count one execution of an operator, without what is in its bodies."""
        around = self.around(node)
        if around is None:
            self.work[node] = Work()
            return
        counted = around.node
        count = COUNTS.get(counted.domain, {}).get(counted.op_type)
        if count is None:
            self.why[node] = f"the arithmetic of {operator_type(counted)} is not known"
            return
        try:
            self.work[node] = count(around)
        except UnknownError as error:
            self.why[node] = f"{operator_type(counted)} cannot be counted: {error}"
        except (IndexError, ValueError, ZeroDivisionError):
            self.why[node] = f"the shapes around it are none that {operator_type(counted)} can have"

    def around(self, node: ir.Node) -> Around | None:
        """The operator to count with its shapes: the one this stands for, once, or this one."""
        origin = self.expanded.origin[node]
        read, given = list(node.inputs), list(node.outputs)
        if is_replaced(origin):
            if origin in self.seen:
                return None
            self.seen.add(origin)
            node = origin
            read = [None if v is None else self.values.get(str(v.name)) for v in origin.inputs]
            given = [self.values.get(str(v.name), v) for v in origin.outputs]
        return Around(node, tuple(map(shape, read)), tuple(map(shape, given)))

    def unit(self, graph: ir.Graph) -> tuple[int, int]:
        """Multiply-accumulates and other operations of one execution of a body."""
        if graph not in self.known:
            total = [0, 0]
            for node in graph:
                if not is_constant(node, self.constant):
                    work = self.work.get(node, Work())
                    total[0] += work.macs
                    total[1] += work.other_ops
                    for body, times in self.bodies(node):
                        macs, other = self.unit(body)
                        total[0] += times * macs
                        total[1] += times * other
            self.known[graph] = (total[0], total[1])
        return self.known[graph]

    def spread(self, graph: ir.Graph, times: int) -> None:
        """Write down how often each operator of a graph runs, those in bodies included."""
        for node in graph:
            self.runs[node] = 0 if is_constant(node, self.constant) else times
            for body, each in self.bodies(node):
                self.spread(body, times * each)
            if times and bodies_of(node) and TAKEN not in node.metadata_props:
                self.notes.append(self.said(node))

    def bodies(self, node: ir.Node) -> list[tuple[ir.Graph, int]]:
        """The bodies of an operator, each with how often one execution runs it."""
        found = bodies_of(node)
        if (node.domain, node.op_type) != ("", "If"):
            return [(body, trips(node) or 1) for body in found]
        parts = {name: node.attributes.get_graph(name) for name in (THEN, ELSE)}
        taken = node.metadata_props.get(TAKEN) or max(
            parts, key=lambda name: self.unit(parts[name])
        )
        return [(body, int(name == taken)) for name, body in parts.items()]

    def said(self, node: ir.Node) -> str:
        """What is assumed of an operator with bodies."""
        name = f"{node.op_type} '{self.expanded.origin[node].name}'"
        if node.op_type == "If":
            taken = next(body for body, times in self.bodies(node) if times)
            branch = THEN if taken is node.attributes.get_graph(THEN) else ELSE
            return f"{name} counts its {branch}, the costlier one"
        times = trips(node)
        if times is None:
            return f"{name} counts once: how often it runs is data"
        return f"{name} counts {times:,} times, which is what it is told at most"


def trips(node: ir.Node) -> int | None:
    """How often a loop runs its body; None where data says."""
    if node.op_type == "Scan":
        states = len(node.inputs) - node.attributes.get_int("num_scan_inputs", 1)
        axes = node.attributes.get_ints("scan_input_axes", [0])
        sizes = shape(node.inputs[states])
        return None if sizes is None else sizes[axes[0]]
    around = Around(node, (), ())
    most = stored_integer(around, 0) if node.op_type == "Loop" else None
    return most if most is not None and 0 <= most < ENDLESS else None


ENDLESS = 2**31 - 1
"""A number of iterations from which on a loop ends by its condition."""


def shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """A value's shape, if it is there and known."""
    return None if value is None else sizes_of(value)


def operator_type(node: ir.Node) -> str:
    """An operator's type, with its domain where that is not the standard one."""
    return f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)


def by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    """Values by name, those of the main graph first."""
    found = {str(value.name): value for value in (*graph.inputs, *graph.initializers.values())}
    for node in operators(graph):
        for value in node.outputs:
            found.setdefault(str(value.name), value)
    return found
