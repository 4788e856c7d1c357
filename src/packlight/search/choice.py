"""From measurements to a choice: budgets met, labels, the front, the best, and the misses."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from packlight.comparison import pareto_front
from packlight.errors import RecipeError
from packlight.metrics import FIDELITY_METRICS, Metric
from packlight.records import Budget, Limit, Measurement, Meets, Miss, VariantResult, Verdict
from packlight.records.budget import COSTS, LOSSES, check_sense

TENTH = 0.1
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
SLOWER, FASTER, LARGER = "slower", "faster", "larger"


def check_names(budget: Budget, metric: Metric) -> None:
    """Refuse a bound on what no task measures, or from the wrong side, before anything is measured.

    Args:
        budget: what was asked.
        metric: of the task.

    Raises:
        RecipeError: naming what can be bounded.
    """
    metrics = {**FIDELITY_METRICS, metric.name: metric}
    check_measured(budget, (*MEASURED, *LOSSES, *metrics))
    for floor in budget.floors:
        if floor.metric in metrics:
            check_sense(floor, higher_is_better=metrics[floor.metric].higher_is_better)


def check_measured(budget: Budget, known: Collection[str]) -> None:
    """Refuse a bound on something that is not measured.

    Raises:
        RecipeError: naming what is.
    """
    for limit in budget.all():
        if limit.metric not in known:
            raise RecipeError(
                f"'{limit.text}' bounds '{limit.metric}', which is not measured here; there are "
                f"{', '.join(sorted(set(known)))}"
            )


def judged(
    result: VariantResult, budget: Budget, original: Mapping[str, Measurement]
) -> VariantResult:
    """A result with its budgets, its verdict and its labels."""
    if result.error:
        return replace(result, verdict="misses")
    missing = [limit for limit in budget.all() if limit.judged_by not in result.metrics]
    if missing:
        told = ", ".join(limit.text for limit in missing)
        return replace(result, verdict="misses", error=f"its outputs leave nothing to judge {told}")
    meets = {
        limit.text: limit.met(result.metrics[limit.judged_by], original) for limit in budget.all()
    }
    labels = (*result.labels, *cost_labels(result.metrics, original))
    return replace(result, meets=meets, verdict=verdict(meets), labels=labels)


def cost_labels(
    metrics: Mapping[str, Measurement], original: Mapping[str, Measurement]
) -> tuple[str, ...]:
    """What must be said of a variant's cost wherever it is shown."""
    ratio = metrics["latency_ratio"]
    speed = SLOWER if ratio.low > 1 else FASTER if ratio.high < 1 else ""
    size = LARGER if metrics["size"].value > original["size"].value else ""
    return tuple(label for label in (speed, size) if label)


def verdict(meets: Mapping[str, Meets]) -> Verdict:
    """One word for all budgets together."""
    if "no" in meets.values():
        return "misses"
    return "undecided" if "unclear" in meets.values() else "fits"


def front(results: Sequence[VariantResult]) -> tuple[str, ...]:
    """Ids that no other result beats on size, latency and drop at once."""
    points = {
        result.id: {name: result.metrics[name].value for name in FRONT}
        for result in results
        if not result.error
    }
    return pareto_front(points, minimize=FRONT)


def best(results: Sequence[VariantResult], allow_slower: bool) -> VariantResult | None:
    """The result that saves most among those that keep every budget, or may.

    What saves most has the smallest product of size and latency; of equals the one that loses
    least. A result whose latency is surely above the original's is left out unless allowed.
    """
    allowed = [r for r in results if not r.error and (allow_slower or SLOWER not in r.labels)]
    for wanted in ("fits", "undecided"):
        found = [result for result in allowed if result.verdict == wanted]
        if found:
            return min(found, key=saving)
    return None


def slower_fits(results: Sequence[VariantResult], chosen: VariantResult | None) -> list[str]:
    """A sentence about variants that keep every budget and are left out for being slower."""
    slower = [r for r in results if r.verdict == "fits" and SLOWER in r.labels]
    if not slower or (chosen is not None and chosen.verdict == "fits"):
        return []
    names = ", ".join(result.name for result in sorted(slower, key=saving))
    return [f"slower than the original, but within every budget: {names}. --allow-slower takes it."]


def saving(result: VariantResult) -> tuple[float, float, str]:
    """How a result is ranked: product of size and latency ratio, then drop."""
    size, ratio = result.metrics["size"].value, result.metrics["latency_ratio"].value
    return size * ratio, result.metrics["drop"].value, result.id


def nearest(
    results: Sequence[VariantResult],
    budget: Budget,
    original: Mapping[str, Measurement],
    slower: bool,
) -> VariantResult:
    """The result whose bounds are exceeded least, added up in proportion."""
    usable = [result for result in results if not result.error]
    allowed = [r for r in usable if slower or SLOWER not in r.labels] or usable

    def far(result: VariantResult) -> tuple[float, str]:
        over = [excess(limit, result.metrics[limit.judged_by], original) for limit in budget.all()]
        return sum(over), result.id

    return min(allowed, key=far)


def excess(limit: Limit, found: Measurement, original: Mapping[str, Measurement]) -> float:
    """How far a measurement is over a bound; 0 where it is not.

    Costs count by the logarithm of the factor, losses and scores by their points over a tenth, so
    that a bound near nothing does not outweigh all others.
    """
    gap = shortfall(limit, found, original)
    bound = limit.bound(original)
    if gap <= 0:
        return 0.0
    if limit.metric in COSTS:
        return math.log(found.value / bound) if bound > 0 else math.inf
    return gap / TENTH


def shortfall(limit: Limit, found: Measurement, original: Mapping[str, Measurement]) -> float:
    """How far a measurement is off a bound, in its unit; negative where it keeps it."""
    gap = found.value - limit.bound(original)
    return gap if limit.sense == "<=" else -gap


def misses(
    result: VariantResult, budget: Budget, original: Mapping[str, Measurement]
) -> tuple[Miss, ...]:
    """The budgets that a result does not surely keep."""
    return tuple(
        Miss(
            budget=limit.text,
            bound=limit.bound(original),
            nearest=result.id,
            name=result.name,
            found=result.metrics[limit.judged_by],
            by=shortfall(limit, result.metrics[limit.judged_by], original),
        )
        for limit in budget.all()
        if result.meets[limit.text] != "yes"
    )


def too_fine(budget: Budget, shown: VariantResult, floor: float, detectable: float) -> list[str]:
    """Sentences about bounds on loss that are finer than the samples can tell.

    Args:
        budget: what was asked.
        shown: the chosen result, or the nearest.
        floor: the smallest drop that these samples can tell from none in any variant.
        detectable: the same for the variant shown.
    """
    told = []
    for limit in budget.floors:
        if limit.metric != "drop":
            continue
        smallest = floor if limit.value < floor else detectable
        unclear = shown.meets.get(limit.text) == "unclear"
        if limit.value < floor or (unclear and limit.value < detectable):
            told.append(
                f"'{limit.text}' is finer than these samples can resolve: the smallest drop they "
                f"can tell from none is {smallest:.2%}. Use more samples or a wider budget."
            )
    return told
