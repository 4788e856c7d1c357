"""The graph whose values a weight aims at, where steps one after the other replace weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from packlight.compression.sites.weight_sites import WeightSite
from packlight.model import graphs, nodes
from packlight.runtime.calibration import Calibrator


@dataclass(frozen=True, slots=True)
class Aims:
    """The graphs whose values weights aim at.

    A weight that was rounded before and lies behind made up for losses already, and was fitted to
    what it was fed. So what lies before it is to give just that; what lies behind all of these can
    make up for what is left.

    Attributes:
        found: as the step found it.
        original: before the steps ahead of this one.
        last: operators behind all whose weights made up for losses in these.
    """

    found: ir.Model
    original: ir.Model
    last: frozenset[str]

    @classmethod
    def of(cls, graph: ir.Model, calibrator: Calibrator) -> Aims:
        """Of a step that is about to edit a graph."""
        if calibrator.reference is None:
            found = graph.clone()
            return cls(found, found, frozenset())
        original, names = calibrator.reference, [str(node.name) for node in nodes(graph)]
        settled = [place for place, name in enumerate(names) if name in original.compensated]
        found = graph.clone() if settled else original.graph
        return cls(found, original.graph, frozenset(names[max(settled, default=-1) + 1 :]))

    def meant(self, few: Sequence[WeightSite]) -> ir.Model:
        """The graph that some weights aim at."""
        return self.original if all(site.operator in self.last for site in few) else self.found


def value_names(graph: ir.Model | None) -> set[str]:
    """Names of what a graph is fed and computes; none where there is no graph."""
    if graph is None:
        return set()
    fed = {str(value.name) for one in graphs(graph) for value in one.inputs}
    return fed | {str(value.name) for node in nodes(graph) for value in node.outputs}
