"""Compare variants with their base: differences, ratios, flips and the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from packlight.comparison.flips import flips
from packlight.comparison.pareto import pareto_front
from packlight.records import Comparison, Contrast, Evaluation, Measurement, VariantResult
from packlight.records.budget import COSTS, LOSSES
from packlight.task import SampleTable

RATIOS = {*COSTS, "latency_p90", "latency_p99"}
AGAINST_REFERENCE = {*LOSSES, "latency_ratio", "agreement", "snr", "kl", "cosine"}
"""Metrics measured against the reference already, which are their own delta."""

NO_EVALUATIONS: Mapping[str, Evaluation] = {}
FRONT = ("size", "latency", "drop")


def compare(
    base: VariantResult,
    variants: Sequence[VariantResult],
    tables: Mapping[str, SampleTable],
    groups: Mapping[str, Sequence[str]],
    *,
    evaluations: Mapping[str, Evaluation] = NO_EVALUATIONS,
    contrasts: Sequence[Contrast] = (),
) -> Comparison:
    """Compare variants with their base.

    Args:
        base: the reference.
        variants: evaluated on the same task.
        tables: by variant id; a variant without one, or without decisions, gets no flips.
        groups: by column, the group of each sample.
        evaluations: by variant id; a variant evaluated under other conditions than the base, on
            other data or another machine, is not ranked: it gets no deltas and no place on the
            front.
        contrasts: of the variants with the base.

    Returns:
        Deltas are ratios for costs and differences for quality; flips; and the ids on the front of
        size, latency and drop, as far as all variants have these. The interval of a ratio or a
        difference combines the two intervals and is too wide; ``drop`` and ``latency_ratio`` are
        paired.
    """
    unlike = conditions(base, variants, evaluations)
    comparable = [
        result for result in (base, *variants) if not result.error and result.id not in unlike
    ]
    names = [name for name in FRONT if all(name in result.metrics for result in comparable)]
    points = {
        result.id: {name: result.metrics[name].value for name in names} for result in comparable
    }
    return Comparison(
        base=base,
        others=tuple(variants),
        deltas={
            variant.id: deltas(base, variant) for variant in variants if variant.id not in unlike
        },
        flips=tuple(
            flips(variant.id, tables[base.id], tables[variant.id], groups)
            for variant in variants
            if _has_decisions(base.id, tables) and _has_decisions(variant.id, tables)
        ),
        front=pareto_front(points, minimize=names) if names else (),
        contrasts=tuple(contrasts),
        unlike=unlike,
    )


def conditions(
    base: VariantResult, variants: Sequence[VariantResult], evaluations: Mapping[str, Evaluation]
) -> dict[str, tuple[str, ...]]:
    """Differences in evaluation conditions, by id of the variants that have any."""
    if base.id not in evaluations:
        return {}
    unlike = {}
    for variant in variants:
        if variant.id in evaluations:
            unlike[variant.id] = differences(evaluations[base.id], evaluations[variant.id])
    return {variant: names for variant, names in unlike.items() if names}


def _has_decisions(key: str, tables: Mapping[str, SampleTable]) -> bool:
    return key in tables and bool(tables[key].owner.size)


def deltas(base: VariantResult, variant: VariantResult) -> dict[str, Measurement]:
    """The difference or ratio of every measurement that both results have."""
    return {
        name: _delta(name, base.metrics[name], measurement)
        for name, measurement in variant.metrics.items()
        if name in base.metrics
    }


def _delta(name: str, base: Measurement, variant: Measurement) -> Measurement:
    if name in AGAINST_REFERENCE:
        return variant
    if name in RATIOS and base.low > 0:
        return ratio(base, variant)
    return difference(base, variant)


def ratio(base: Measurement, variant: Measurement) -> Measurement:
    """Variant over base."""
    return Measurement(
        variant.value / base.value, "1", variant.low / base.high, variant.high / base.low,
        variant.how, min(base.n, variant.n),
    )  # fmt: skip


def difference(base: Measurement, variant: Measurement) -> Measurement:
    """Variant minus base."""
    return Measurement(
        variant.value - base.value, variant.unit, variant.low - base.high, variant.high - base.low,
        variant.how, min(base.n, variant.n),
    )  # fmt: skip


def _reference_of(evaluation: Evaluation) -> str:
    if evaluation.reference == evaluation.variant:
        return "none"
    return evaluation.reference


CONDITIONS: Mapping[str, Callable[[Evaluation], object]] = {
    "data": lambda evaluation: evaluation.data,
    "split": lambda evaluation: evaluation.split,
    "task code (preprocessing)": lambda evaluation: evaluation.code or "none",
    "seed": lambda evaluation: evaluation.seed,
    "arithmetic": lambda evaluation: evaluation.session.arithmetic,
    "threads": lambda evaluation: evaluation.session.threads,
    "accuracy level": lambda evaluation: evaluation.session.matmul_accuracy,
    "machine": lambda evaluation: evaluation.machine or "unknown",
    "reference": _reference_of,
}
"""Conditions that must be equal, by name."""


def differences(first: Evaluation, second: Evaluation) -> tuple[str, ...]:
    """Conditions that differ, as ``seed: 0 and 1``; empty where none does.

    ``data`` is a digest of the samples as the model gets them, so it differs with preprocessing
    too; the digest of the task's own code, where it has any, shows which of the two changed.
    """
    unlike = []
    for name, read in CONDITIONS.items():
        if name == "reference" and first.reference == second.reference:
            continue
        if read(first) != read(second):
            unlike.append(f"{name}: {read(first)} and {read(second)}")
    return tuple(unlike)
