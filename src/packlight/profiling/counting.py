"""Arithmetic of every operator, and its executions in one run of the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir as ir

from packlight.model import operator_type, operators
from packlight.profiling.counts import Count, OpenShapeError, OperatorShapes, UnknownError, Work
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
        constant: its values that are equal at every run.

    Attributes:
        work: by operator, for one execution; absent where it is not known.
        why: reason by operator whose arithmetic is not known.
        runs: by operator, executions in one run of the model.
        notes: assumptions.
    """

    def __init__(self, expanded: Expanded, constant: Collection[ir.Value]) -> None:
        self.expanded = expanded
        self.constant = constant
        self.work: dict[ir.Node, Work] = {}
        self.why: dict[ir.Node, str] = {}
        self.runs: dict[ir.Node, int] = {}
        self.notes: list[str] = []
        self._body_work: dict[ir.Graph, tuple[int, int]] = {}
        self.values = by_name(expanded.graph.graph)
        self._last = {origin: node for node, origin in expanded.origin.items()}
        for node in expanded.origin:
            self.measure(node)
        self.count_runs(expanded.graph.graph, 1)

    def measure(self, node: ir.Node) -> None:
        """Count one execution of an operator, without its bodies."""
        shapes = self.shapes_to_count(node)
        if shapes is None:
            self.work[node] = Work()
            return
        counted = shapes.node
        count = COUNTS.get(counted.domain, {}).get(counted.op_type)
        if count is None:
            self.why[node] = f"the arithmetic of {operator_type(counted)} is not known"
            return
        try:
            self.work[node] = count(shapes)
        except OpenShapeError as error:
            self.why[node] = str(error)
        except UnknownError as error:
            self.why[node] = f"{operator_type(counted)} cannot be counted: {error}"
        except (IndexError, ValueError, ZeroDivisionError):
            self.why[node] = f"the shapes around it are not valid for {operator_type(counted)}"

    def shapes_to_count(self, node: ir.Node) -> OperatorShapes | None:
        """The operator with its shapes, or its original; None for further parts of an original."""
        origin = self.expanded.origin[node]
        if not is_replaced(origin):
            return OperatorShapes(
                node, tuple(map(sizes_of, node.inputs)), tuple(map(sizes_of, node.outputs))
            )
        if node is not self._last[origin]:  # a part before it may be constant, as a Transpose is
            return None
        inputs = [value and self.values.get(str(value.name)) for value in origin.inputs]
        outputs = [self.values.get(str(value.name), value) for value in origin.outputs]
        return OperatorShapes(origin, tuple(map(sizes_of, inputs)), tuple(map(sizes_of, outputs)))

    def body_work(self, graph: ir.Graph) -> tuple[int, int]:
        """Multiply-accumulates and other operations of one execution of a body."""
        if graph not in self._body_work:
            macs = 0
            other_ops = 0
            for node in graph:
                if is_constant(node, self.constant):
                    continue
                work = self.work.get(node, Work())
                macs += work.macs
                other_ops += work.other_ops
                for body, times in self.bodies(node):
                    inner_macs, inner_other_ops = self.body_work(body)
                    macs += times * inner_macs
                    other_ops += times * inner_other_ops
            self._body_work[graph] = (macs, other_ops)
        return self._body_work[graph]

    def count_runs(self, graph: ir.Graph, times: int) -> None:
        """Count the executions of each operator of a graph, those in bodies included."""
        for node in graph:
            self.runs[node] = 0 if is_constant(node, self.constant) else times
            for body, body_runs in self.bodies(node):
                self.count_runs(body, times * body_runs)
            if times and bodies_of(node) and TAKEN not in node.metadata_props:
                self.notes.append(self.assumption(node))

    def bodies(self, node: ir.Node) -> list[tuple[ir.Graph, int]]:
        """The bodies of an operator, each with its runs in one execution."""
        if (node.domain, node.op_type) != ("", "If"):
            return [(body, trips(node) or 1) for body in bodies_of(node)]
        branches = {name: node.attributes.get_graph(name) for name in (THEN, ELSE)}
        chosen = node.metadata_props.get(TAKEN)
        if not chosen:
            chosen = max(branches, key=lambda name: self.body_work(branches[name]))
        return [(body, int(name == chosen)) for name, body in branches.items()]

    def assumption(self, node: ir.Node) -> str:
        """The assumption about an operator with bodies, as a sentence."""
        name = f"{node.op_type} '{self.expanded.origin[node].name}'"
        if node.op_type == "If":
            chosen = next(body for body, times in self.bodies(node) if times)
            branch = THEN if chosen is node.attributes.get_graph(THEN) else ELSE
            return f"{name} counts its {branch}, the costlier one"
        times = trips(node)
        if times is None:
            return f"{name} counts once: its number of runs depends on data"
        return f"{name} counts {times:,} times, its upper limit"


def trips(node: ir.Node) -> int | None:
    """Runs of a loop's body; None where they depend on data."""
    if node.op_type == "Scan":
        states = len(node.inputs) - node.attributes.get_int("num_scan_inputs", 1)
        axes = node.attributes.get_ints("scan_input_axes", [0])
        sizes = sizes_of(node.inputs[states])
        if sizes is None:
            return None
        return sizes[axes[0]]
    if node.op_type != "Loop":
        return None
    limit = stored_integer(OperatorShapes(node, (), ()), 0)
    if limit is not None and 0 <= limit < ENDLESS:
        return limit
    return None


ENDLESS = 2**31 - 1
"""Iterations from which on a loop counts as ended by its condition."""


def by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    """Values by name, those of the main graph first."""
    values = {str(value.name): value for value in (*graph.inputs, *graph.initializers.values())}
    for node in operators(graph):
        for value in node.outputs:
            values.setdefault(str(value.name), value)
    return values
