"""Choose a variant from measurements: budgets, labels, front, best variant, and misses."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from packlight.comparison import pareto_front
from packlight.errors import RecipeError
from packlight.metrics import FIDELITY_METRICS, Metric
from packlight.presentation.verdict import needs_more_memory
from packlight.records import Budget, Limit, Measurement, Meets, Miss, VariantResult, Verdict
from packlight.records.budget import COSTS, LOSSES, ON_DEVICE, check_sense
from packlight.records.exploration import Goal

TENTH = 0.1
"""Loss of quality that counts as much as a cost of e times its bound."""
TEN_DECIBELS = 10.0
"""Missing signal to noise, in dB, that counts as much as that."""

MEASURED = (
    "size",
    "download",
    "latency",
    "latency_p90",
    "latency_p99",
    "latency_ratio",
    "peak_memory",
)
FRONT = ("size", "latency", "drop")
SLOWER = "slower"
FASTER = "faster"
LARGER = "larger"
MORE_MEMORY = "more memory"


def check_names(budget: Budget, metric: Metric) -> None:
    """Refuse a bound on an unknown metric or from the wrong side, before anything is measured.

    Args:
        budget: limits.
        metric: of the task.

    Raises:
        RecipeError: a budget is not possible; the message names the metrics.
    """
    metrics = {**FIDELITY_METRICS, metric.name: metric}
    check_measured(budget, (*MEASURED, *ON_DEVICE.values(), *LOSSES, *metrics))
    for floor in budget.floors:
        if floor.metric in metrics:
            check_sense(floor, higher_is_better=metrics[floor.metric].higher_is_better)


def check_measured(budget: Budget, measured: Collection[str]) -> None:
    """Refuse a bound on a metric that is not measured.

    Raises:
        RecipeError: a metric is not measured; the message names those that are.
    """
    for limit in budget.all():
        if limit.metric not in measured:
            raise RecipeError(
                f"'{limit.text}' bounds '{limit.metric}', which is not measured here; there are "
                f"{', '.join(sorted(set(measured)))}"
            )


def with_verdict(
    result: VariantResult, budget: Budget, original: Mapping[str, Measurement]
) -> VariantResult:
    """Add kept budgets, verdict and labels to a result."""
    if result.error:
        return replace(result, verdict="misses")
    missing = [limit for limit in budget.all() if limit.judged_by not in result.metrics]
    if missing:
        texts = ", ".join(limit.text for limit in missing)
        return replace(result, verdict="misses", error=f"its outputs cannot be checked for {texts}")
    meets = {
        limit.text: limit.met(result.metrics[limit.judged_by], original) for limit in budget.all()
    }
    labels = (*result.labels, *_cost_labels(result.metrics, original))
    return replace(result, meets=meets, verdict=verdict(meets), labels=labels)


def _cost_labels(
    metrics: Mapping[str, Measurement], original: Mapping[str, Measurement]
) -> tuple[str, ...]:
    """Labels for a slower, faster or larger variant."""
    labels = {
        LARGER: metrics["size"].value > original["size"].value,
        MORE_MEMORY: needs_more_memory(metrics, original),
    }
    ratio = metrics.get("latency_ratio")
    if ratio is not None:
        labels = {SLOWER: ratio.low > 1, FASTER: ratio.high < 1, **labels}
    return tuple(label for label, holds in labels.items() if holds)


def verdict(meets: Mapping[str, Meets]) -> Verdict:
    """Verdict for all budgets together."""
    if not meets:
        return "unjudged"
    if "no" in meets.values():
        return "misses"
    if "unclear" in meets.values():
        return "undecided"
    return "fits"


def front(results: Sequence[VariantResult]) -> tuple[str, ...]:
    """Ids that no other result beats on size, latency and drop at once."""
    points = {
        result.id: {name: result.metrics[name].value for name in FRONT}
        for result in results
        if not result.error
    }
    return pareto_front(points, minimize=FRONT)


def best(
    results: Sequence[VariantResult], allow_slower: bool, goal: Goal = "balance"
) -> VariantResult | None:
    """Choose the result that is best for a goal among those that meet every budget, or may.

    By default it has the smallest product of size and latency. Of results that are nearly alike
    the simpler recipe is taken, then the smaller drop. A result that is slower than the original
    is excluded unless allowed.
    """
    tried = [result for result in results if not (result.error or result.same_as)]
    allowed = [result for result in tried if allow_slower or SLOWER not in result.labels]
    for accepted in ("fits", "unjudged", "undecided"):
        candidates = [result for result in allowed if result.verdict == accepted]
        if candidates:
            return simplest(candidates, goal)
    return None


def simplest(candidates: Sequence[VariantResult], goal: Goal) -> VariantResult:
    """The result with the least cost, or one nearly as good of a simpler recipe."""
    least = min(goal_cost(result, goal) for result in candidates)
    near = [r for r in candidates if goal_cost(r, goal) <= least + NEAR_TIES[goal]]
    return min(near, key=lambda result: (_complexity(result), rank(result)))


NEAR_TIES: Mapping[Goal, float] = {
    "balance": 0.0, "size": 0.005, "latency": 0.01, "quality": 0.0, "energy": 0.01,
}  # fmt: skip
"""Logarithms of a cost's ratio, or dB, within which the simpler recipe is taken."""


def goal_cost(result: VariantResult, goal: Goal) -> float:
    """What a goal keeps small: the logarithm of a cost, or dB of noise."""
    metrics = result.metrics
    if goal == "quality":
        return _quality_cost(metrics)
    if goal == "balance":
        return math.log(metrics["size"].value * metrics["latency_ratio"].value)
    names = {"size": "size", "latency": "latency_ratio", "energy": "energy"}
    device = ON_DEVICE.get(names[goal], names[goal])
    measured = metrics.get(device) or metrics.get(names[goal]) or metrics["latency_ratio"]
    return math.log(max(measured.value, 1e-30))


def _quality_cost(metrics: Mapping[str, Measurement]) -> float:
    """Noise of the outputs in dB, or the drop where outputs cannot be compared."""
    if "snr" in metrics:
        return -min(metrics["snr"].value, 1e6)
    return metrics["drop"].value


def _complexity(result: VariantResult) -> int:
    """Steps of a recipe."""
    return result.recipe.count("+")


def slower_fits(results: Sequence[VariantResult], chosen: VariantResult | None) -> list[str]:
    """Sentence about variants that meet every budget but are excluded because they are slower."""
    slower = [r for r in results if r.verdict == "fits" and SLOWER in r.labels]
    if not slower or (chosen is not None and chosen.verdict == "fits"):
        return []
    names = ", ".join(result.name for result in sorted(slower, key=rank))
    return [f"slower than the original, but within every budget: {names}. --allow-slower takes it."]


def rank(result: VariantResult) -> tuple[float, float, str]:
    """Sort key of a result: product of size and latency ratio, then drop."""
    cost = result.metrics["size"].value * result.metrics["latency_ratio"].value
    return cost, result.metrics["drop"].value, result.id


def nearest(
    results: Sequence[VariantResult],
    budget: Budget,
    original: Mapping[str, Measurement],
    slower: bool,
) -> VariantResult:
    """Result with the least sum of relative excesses over its bounds."""
    usable = [result for result in results if not (result.error or result.same_as)]
    allowed = [r for r in usable if slower or SLOWER not in r.labels] or usable

    def distance(result: VariantResult) -> tuple[float, str]:
        over = [excess(limit, result.metrics[limit.judged_by], original) for limit in budget.all()]
        return sum(over), result.id

    return min(allowed, key=distance)


def excess(limit: Limit, measurement: Measurement, original: Mapping[str, Measurement]) -> float:
    """Relative excess of a measurement over a bound; 0 if it keeps the bound.

    Costs count by the logarithm of the factor, decibels by tens, losses and scores by their points
    over a tenth, so that a bound near 0 does not outweigh all others.
    """
    gap = _shortfall(limit, measurement, original)
    bound = limit.bound(original)
    if gap <= 0:
        return 0.0
    if limit.metric in (*COSTS, *ON_DEVICE.values()):
        if bound > 0:
            return math.log(measurement.value / bound)
        return math.inf
    if measurement.unit == "dB":
        return gap / TEN_DECIBELS
    return gap / TENTH


def _shortfall(
    limit: Limit, measurement: Measurement, original: Mapping[str, Measurement]
) -> float:
    gap = measurement.value - limit.bound(original)
    return gap if limit.sense == "<=" else -gap


def misses(
    result: VariantResult, budget: Budget, original: Mapping[str, Measurement]
) -> tuple[Miss, ...]:
    """Budgets that a result misses or may miss."""
    return tuple(
        Miss(
            budget=limit.text,
            bound=limit.bound(original),
            nearest=result.id,
            name=result.name,
            found=result.metrics[limit.judged_by],
            by=_shortfall(limit, result.metrics[limit.judged_by], original),
        )
        for limit in budget.all()
        if result.meets[limit.text] != "yes"
    )


def _enough(samples: int, detectable: float, wanted: float) -> str:
    """How many samples would tell; the detectable drop shrinks by the root of their number.

    >>> _enough(1000, 0.02, 0.01)
    ', about 4,000,'
    """
    if wanted <= 0 or not samples:
        return ""
    return f", about {math.ceil(samples * (detectable / wanted) ** 2):,},"


def too_fine(budget: Budget, shown: VariantResult, floor: float, detectable: float) -> list[str]:
    """Sentences about bounds on the drop that are below the minimum detectable drop.

    Args:
        budget: limits.
        shown: the chosen result, or the nearest.
        floor: least minimum detectable drop of these samples for any variant.
        detectable: minimum detectable drop for the variant shown.
    """
    sentences = []
    for limit in budget.floors:
        if limit.metric != "drop":
            continue
        smallest = detectable
        is_unclear = shown.meets.get(limit.text) == "unclear"
        if limit.value < floor:
            smallest = floor
        elif not is_unclear or limit.value >= detectable:
            continue
        enough = _enough(shown.metrics["drop"].n, smallest, limit.value)
        sentences.append(
            f"'{limit.text}' is below the minimum detectable drop of these samples, "
            f"{smallest:.2%} (80 % power). Use more samples{enough} or a wider budget."
        )
    return sentences
