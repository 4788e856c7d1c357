"""Budgets that no variant can keep, found before costly stages, and what would have to change.

Each is far beyond what the cheapest variants of its kind reach: integers for time, stored codes for
bytes, the original itself for quality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packlight.presentation.numbers import show_bytes, show_named_value
from packlight.records import Budget, Limit, Measurement, Recipe, VariantResult, parse_recipe
from packlight.records.budget import ON_DEVICE
from packlight.search.device_costs import DeviceCosts, predicted_on_all

FAR = 1.5
"""Times a bound from which what the cheapest variants need is out of reach."""

LEAST_DOWNLOAD = 0.75
"""Share of a file's bytes that its download has at least."""

CHEAPEST = (
    "",
    "simplify+static",
    "simplify+dynamic",
    "simplify+float16",
    "simplify+weights:8",
    "simplify+weights:4",
)
"""Recipes of which one is the fastest, or takes the least memory, on any device."""

REMEDIES: Mapping[str, str] = {
    "latency": "a faster device, more threads or a network with less arithmetic",
    "peak_memory": "smaller inputs or a network with smaller activations",
    "energy": "another device or a network with less arithmetic",
}
"""Beside a wider budget, by the cost that is missed."""


def floors_beyond_original(base: VariantResult, budget: Budget) -> list[Limit]:
    """Floors that the original itself surely misses; what is made from it keeps none of them."""
    return [floor for floor in budget.floors if base.meets.get(floor.text) == "no"]


def floor_advice(floor: Limit, base: VariantResult) -> str:
    """What would have to change for a floor that the original misses."""
    reached = show_named_value(floor.judged_by, base.metrics[floor.judged_by])
    return (
        f"'{floor.text}' is beyond the original, which has {reached}: compression keeps what a "
        "model can do and adds nothing. Lower the floor, or train the model further."
    )


def limits_beyond_results(
    budget: Budget, results: Sequence[VariantResult], original: Mapping[str, Measurement]
) -> list[tuple[Limit, VariantResult]]:
    """Limits on time, memory or energy that even the best result is far from, with that result.

    Args:
        budget: of the search.
        results: the original and the cheapest variants.
        original: measurements of the original.
    """
    found = []
    usable = [result for result in results if not (result.error or result.same_as)]
    for limit in budget.limits:
        if limit.metric in ("size", "download"):
            continue
        best = min(usable, key=lambda result: result.metrics[limit.judged_by].low)
        if best.metrics[limit.judged_by].low > FAR * limit.bound(original):
            found.append((limit, best))
    return found


def limit_advice(limit: Limit, name: str, reached: Measurement) -> str:
    """What would have to change for a limit that the best variant is far from."""
    cost = next((cost for cost, on in ON_DEVICE.items() if on == limit.metric), limit.metric)
    remedy = REMEDIES.get(cost.removesuffix("_ratio"), "another model")
    return (
        f"'{limit.text}' is out of reach: of what needs least, {name or 'the original'} needs "
        f"{show_named_value(limit.judged_by, reached)}. Allow that much, or use {remedy}."
    )


def limits_beyond_devices(
    budget: Budget, devices: Sequence[DeviceCosts], original: Mapping[str, Measurement]
) -> list[tuple[Limit, str, Measurement]]:
    """Limits on predicted costs that no cheap recipe is near, with the best recipe and its cost.

    The recipe is empty where the original needs least.

    Args:
        budget: of the search.
        devices: that costs are predicted for.
        original: measurements of the original.
    """
    names = set(ON_DEVICE.values())
    limits = [limit for limit in budget.limits if limit.judged_by in names]
    if not (devices and limits):
        return []
    predicted = {}
    for text in CHEAPEST:
        recipe = parse_recipe(text) if text else None
        if recipe is None or _runs_on_all(devices, recipe):
            predicted[text] = predicted_on_all(devices, recipe)
    found = []
    for limit in limits:
        costs = {
            name: metrics[limit.judged_by]
            for name, metrics in predicted.items()
            if limit.judged_by in metrics
        }
        best = min(costs, key=lambda name: costs[name].value, default=None)
        if best is not None and costs[best].low > limit.bound(original):
            found.append((limit, best, costs[best]))
    return found


def _runs_on_all(devices: Sequence[DeviceCosts], recipe: Recipe) -> bool:
    return all(costs.refusal(recipe) is None for costs in devices)


def size_advice(least: float, allowed: float, what: str = "any mix of forms gives") -> str:
    """What would have to change where the smallest file is too large."""
    return (
        f"The smallest file that {what} has {show_bytes(least)}, and {show_bytes(allowed)} are "
        "allowed. Allow more, or train a model with fewer weights."
    )
