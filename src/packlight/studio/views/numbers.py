"""Measurements with their text, and titles of measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from packlight.presentation.numbers import (
    drop_scale,
    metric_scale,
    show_drop,
    show_named_interval,
    show_named_value,
    show_number,
)
from packlight.records import Measurement
from packlight.records.budget import COSTS, LOSSES, Budget, Limit
from packlight.records.measurement import Meets
from packlight.report.labels import name_of
from packlight.studio.pages import BudgetLine, MetricTitle, Number
from packlight.studio.pages.overview import Better

LOWER_IS_BETTER = frozenset(
    (*COSTS, *LOSSES, "latency_p90", "latency_p99", "latency_ratio", "latency_reference", "kl")
)
TITLES: Mapping[str, str] = {
    "latency_ratio": "Latency, times the original",
    "latency_p90": "Latency, 90th percentile",
    "latency_p99": "Latency, 99th percentile",
    "latency_reference": "Latency of the original beside it",
    "snr": "Signal to noise at the outputs",
    "snr_exact": "Signal to noise, exact arithmetic",
    "snr_runtime": "Signal to noise of the runtime",
    "agreement": "Agreement with the original",
    "cosine": "Cosine to the original",
    "kl": "KL divergence from the original",
}
ORDER = (
    "size", "drop", "latency_ratio", "latency", "peak_memory", "download", "flips",
    "worst_group_drop", "energy",
)  # fmt: skip
"""Measurements that people ask for first."""


def number(name: str, measurement: Measurement, metric: str = "") -> Number:
    """A measurement as a metric of this name is read.

    Args:
        name: of the measurement.
        measurement: itself.
        metric: of the task, whose drops are in points or in percent.
    """
    text = show_named_value(name, measurement)
    interval = show_named_interval(name, measurement)
    if metric and name in ("drop", "worst_group_drop"):
        whole = show_drop(metric, measurement)
        text, bracket, end = whole.partition(" [")
        interval = bracket.lstrip() + end
    return Number(
        value=measurement.value,
        low=measurement.low,
        high=measurement.high,
        how=measurement.how,
        n=measurement.n,
        text=text,
        interval=interval,
    )


def numbers(metrics: Mapping[str, Measurement], metric: str = "") -> dict[str, Number]:
    """Measurements by name."""
    return {name: number(name, measurement, metric) for name, measurement in metrics.items()}


def title_of(name: str) -> str:
    """Name of a measurement for people."""
    return TITLES.get(name) or name_of(name)


def better(name: str) -> Better:
    """The direction in which a measurement is better."""
    plain = name.removeprefix("device_")
    if plain in LOWER_IS_BETTER:
        return "lower"
    return "higher"


def metric_titles(
    variants: Iterable[Mapping[str, Measurement]], metric: str = ""
) -> tuple[MetricTitle, ...]:
    """Titles of the measurements that variants have, those asked for first first.

    Args:
        variants: measurements of each.
        metric: of the task, which comes after the costs and the drop.
    """
    largest: dict[str, Measurement] = {}
    for metrics in variants:
        for name, measurement in metrics.items():
            known = largest.get(name)
            if known is None or abs(measurement.value) > abs(known.value):
                largest[name] = measurement
    order = [*ORDER, metric]
    names = sorted(largest, key=lambda name: (rank(name, order), name))
    titles = []
    for name in names:
        measurement = largest[name]
        scale = metric_scale(name, measurement.unit, abs(measurement.value))
        label = scale.label.strip()
        if name in ("drop", "worst_group_drop"):
            label = drop_scale(metric).label.strip()
        titles.append(
            MetricTitle(name, title_of(name), measurement.unit, scale.size, label, better(name))
        )
    return tuple(titles)


def rank(name: str, order: list[str]) -> int:
    """Position of a name; behind the end where it has none."""
    return order.index(name) if name in order else len(order)


def budget_lines(
    budget: Budget,
    original: Mapping[str, Measurement],
    reached: Mapping[str, Measurement],
    metric: str,
    meets: Mapping[str, Meets],
) -> tuple[BudgetLine, ...]:
    """Budgets with the measurements of a variant."""
    return tuple(
        _budget_line(limit, original, reached.get(limit.judged_by), metric, meets)
        for limit in budget.all()
    )


def _budget_line(
    limit: Limit,
    original: Mapping[str, Measurement],
    measurement: Measurement | None,
    metric: str,
    meets: Mapping[str, Meets],
) -> BudgetLine:
    name = limit.judged_by
    unit = "1"
    reached = None
    if measurement is not None:
        unit = measurement.unit
        reached = number(name, measurement, metric)
    elif name in original:
        unit = original[name].unit
    bound = None
    bound_text = ""
    if not limit.relative or name in original:
        bound = limit.bound(original)
        bound_text = show_number(name, bound, unit)
    return BudgetLine(
        text=limit.text,
        metric=name,
        title=title_of(name),
        sense=limit.sense,
        bound=bound,
        bound_text=bound_text,
        reached=reached,
        meets=meets.get(limit.text, "unclear"),
    )
