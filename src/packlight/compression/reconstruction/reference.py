"""Reference graphs, whose values are the targets of weights that are rounded sequentially."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from packlight.compression.sites.weight_sites import WeightSite
from packlight.model import graphs, nodes
from packlight.runtime.calibration import Calibrator


@dataclass(frozen=True, slots=True)
class RoundingReferences:
    """The graphs whose values are targets.

    A weight that was rounded before and lies behind compensated for errors already, and was fitted
    to its inputs. So weights before it are to give just those inputs; weights behind all of these
    can compensate for the errors of all.

    Attributes:
        current: the graph that the step starts from.
        original: before the steps ahead of this one.
        last: operators behind all whose weights compensated for errors in these.
    """

    current: ir.Model
    original: ir.Model
    last: frozenset[str]

    @classmethod
    def of(cls, graph: ir.Model, calibrator: Calibrator) -> RoundingReferences:
        """Of a step that is about to edit a graph."""
        reference = calibrator.reference
        if reference is None:
            current = graph.clone()
            return cls(current, current, frozenset())
        names = [str(node.name) for node in nodes(graph)]
        compensated = [i for i, name in enumerate(names) if name in reference.compensated]
        current = graph.clone() if compensated else reference.graph
        last = names[max(compensated, default=-1) + 1 :]
        return cls(current, reference.graph, frozenset(last))

    def target_of(self, sites: Sequence[WeightSite]) -> ir.Model:
        """The graph whose values are the targets of some weights."""
        if all(site.operator in self.last for site in sites):
            return self.original
        return self.current


def value_names(graph: ir.Model | None) -> set[str]:
    """Names of a graph's inputs and computed values; none where there is no graph."""
    if graph is None:
        return set()
    inputs = {str(value.name) for inner in graphs(graph) for value in inner.inputs}
    return inputs | {str(value.name) for node in nodes(graph) for value in node.outputs}
