"""Operators that may compute in integers beside others whose weights are small.

Seconds of each operator are measured in floats and in integers; what conversions and operators
without weights add is spread over the operators in integers, so that all together take what was
measured of the whole model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packlight.model import Model
from packlight.profiling.sample_runs import Timing, measure_operators, profile_for_task
from packlight.records import VariantResult
from packlight.search.bench import Bench
from packlight.search.mixes import IntegerSite


@dataclass(frozen=True, slots=True)
class OperatorSeconds:
    """Seconds of operators, as a project stores them.

    Attributes:
        variant: id.
        seconds: by the operator's name.
    """

    variant: str
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        """Seconds of all operators."""
        return sum(self.seconds.values())


def operator_seconds(bench: Bench, model: Model) -> dict[str, float]:
    """Measure the seconds of every operator of a model."""
    profile = profile_for_task(model, {}, bench.task)
    timing = Timing(bench.options, bench.seconds, bench.seed)
    timed = measure_operators(model, profile, bench.task, timing)
    return {
        operator.name: operator.latency.value
        for operator in timed.operators
        if operator.latency is not None
    }


def integer_sites(
    static: VariantResult,
    floats: OperatorSeconds,
    integers: OperatorSeconds,
    *,
    base: int,
    damage: float,
) -> dict[str, IntegerSite]:
    """What it takes for each operator to compute in integers.

    Args:
        static: the variant whose operators all compute in integers, as far as they can.
        floats: seconds of the model in floats.
        integers: seconds of that variant.
        base: bytes of the model's file in floats.
        damage: relative squared error of that variant's outputs.
    """
    changes = {c.operator: c for c in static.changes if c.method == "static" and c.before}
    if not changes or not floats.total:
        return {}
    ratio = static.metrics["latency_ratio"].value
    unit = 1.0 / floats.total
    own = sum(integers.seconds.get(name, 0.0) for name in changes)
    others = sum(value for name, value in floats.seconds.items() if name not in changes)
    extra = ratio / unit - own - others
    grown = static.metrics["size"].value - base
    grown -= sum(change.after - change.before for change in static.changes)
    sites = {}
    for name, change in changes.items():
        seconds = integers.seconds.get(name, 0.0)
        seconds += extra * (seconds / own if own else 1 / len(changes))
        sites[name] = IntegerSite(
            size=change.after - change.before + grown / len(changes),
            damage=damage / len(changes),
            floats=floats.seconds.get(name, 0.0) * unit,
            integers=seconds * unit,
        )
    return sites
