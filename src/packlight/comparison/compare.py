"""What changed from a base to others: differences, ratios, flips and the front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packlight.comparison.conditions import differences
from packlight.comparison.flips import flips
from packlight.comparison.pareto import pareto_front
from packlight.records import Comparison, Contrast, Evaluation, Measurement, VariantResult
from packlight.records.budget import COSTS, LOSSES
from packlight.task import SampleTable

RATIOS = {*COSTS, "latency_p90", "latency_p99"}
AGAINST_REFERENCE = {*LOSSES, "latency_ratio", "agreement", "snr", "kl", "cosine"}
"""What is measured against the reference already, so that it is its own delta."""

NO_EVALUATIONS: Mapping[str, Evaluation] = {}
FRONT = ("size", "latency", "drop")


def compare(
    base: VariantResult,
    others: Sequence[VariantResult],
    tables: Mapping[str, SampleTable],
    groups: Mapping[str, Sequence[str]],
    *,
    evaluations: Mapping[str, Evaluation] = NO_EVALUATIONS,
    contrasts: Sequence[Contrast] = (),
) -> Comparison:
    """Put variants beside their base.

    Args:
        base: the reference.
        others: evaluated on the same task.
        tables: by variant id; a variant without one, or without decisions, gets no flips.
        groups: by column, the group of each sample.
        evaluations: by variant id; a variant that was judged otherwise than the base, on other data
            or another machine, is not ranked: it gets no deltas and is not on the front.
        contrasts: of the variants with the base.

    Returns:
        Deltas are ratios for costs and differences for quality; flips; and the ids on the front of
        size, latency and drop, as far as all of them have these. The interval of a ratio or a
        difference is made of the two intervals and so is too wide; ``drop`` and ``latency_ratio``
        are paired.
    """
    unlike = conditions(base, others, evaluations)
    everyone = [one for one in (base, *others) if not one.error and one.id not in unlike]
    names = [name for name in FRONT if all(name in result.metrics for result in everyone)]
    points = {
        result.id: {name: result.metrics[name].value for name in names} for result in everyone
    }
    return Comparison(
        base=base,
        others=tuple(others),
        deltas={other.id: deltas(base, other) for other in others if other.id not in unlike},
        flips=tuple(
            flips(other.id, tables[base.id], tables[other.id], groups)
            for other in others
            if has_decisions(base.id, tables) and has_decisions(other.id, tables)
        ),
        front=pareto_front(points, minimize=names) if names else (),
        contrasts=tuple(contrasts),
        unlike=unlike,
    )


def conditions(
    base: VariantResult, others: Sequence[VariantResult], evaluations: Mapping[str, Evaluation]
) -> dict[str, tuple[str, ...]]:
    """By variant id, what differs from how the base was judged; only those where something does."""
    if base.id not in evaluations:
        return {}
    found = {
        other.id: differences(evaluations[base.id], evaluations[other.id])
        for other in others
        if other.id in evaluations
    }
    return {key: told for key, told in found.items() if told}


def has_decisions(key: str, tables: Mapping[str, SampleTable]) -> bool:
    """Whether a variant has a table with decisions."""
    return key in tables and bool(tables[key].owner.size)


def deltas(base: VariantResult, other: VariantResult) -> dict[str, Measurement]:
    """The difference or ratio of every measurement that both have."""
    return {
        name: delta(name, base.metrics[name], found)
        for name, found in other.metrics.items()
        if name in base.metrics
    }


def delta(name: str, base: Measurement, other: Measurement) -> Measurement:
    """One measurement against the base's."""
    if name in AGAINST_REFERENCE:
        return other
    if name in RATIOS and base.low > 0:
        return ratio(base, other)
    return difference(base, other)


def ratio(base: Measurement, other: Measurement) -> Measurement:
    """Other over base."""
    return Measurement(
        other.value / base.value, "1", other.low / base.high, other.high / base.low,
        other.how, min(base.n, other.n),
    )  # fmt: skip


def difference(base: Measurement, other: Measurement) -> Measurement:
    """Other minus base."""
    return Measurement(
        other.value - base.value, other.unit, other.low - base.high, other.high - base.low,
        other.how, min(base.n, other.n),
    )  # fmt: skip
