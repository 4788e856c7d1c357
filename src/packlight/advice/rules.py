"""Which lesson a plan, a result or a finding calls for, and by which number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from packlight.advice.lessons import lessons
from packlight.records import (
    Advice,
    Finding,
    Measurement,
    Palette,
    Plan,
    VariantResult,
    WeightOnly,
    counted,
    parse_recipe,
)

KEPT, CHANGED = 0.01, 0.02
"""A drop that nobody minds, and a share of decisions that somebody does."""

UNEVEN = 2.0
"""Times the drop of all that the worst group's may be."""

GROUP = 0.03
"""Drop of a group from which on it is worth a word."""

NO_FASTER, SLOWER = 0.95, 1.05
"""Ratios of times from which on a variant is not faster, or slower."""

SMALLER = 0.9
"""Share of the original's bytes below which a variant counts as smaller."""

LOW_BITS = 4

LOST = 0.05
"""Drop from which on few bits were too few."""

Because = tuple[str, str, Measurement | None]
"""Lesson, why, and the number."""


def advised(found: Iterator[Because]) -> tuple[Advice, ...]:
    """Lessons with what called for them, each once."""
    known = {one.id: one for one in lessons()}
    kept: dict[str, Advice] = {}
    for lesson, because, number in found:
        one = known[lesson]
        kept.setdefault(lesson, Advice(one.id, one.text, one.source, because, number))
    return tuple(kept.values())


def for_results(
    base: VariantResult, others: Sequence[VariantResult], detectable: float = 0.0
) -> tuple[Advice, ...]:
    """Lessons for what was measured of variants beside their original.

    Args:
        base: the original.
        others: the variants.
        detectable: the smallest drop that the samples can tell from none; 0 where unknown.
    """
    return advised(
        because
        for rule in RESULT_RULES
        for one in others
        for because in rule(base, one, detectable)
    )


def hidden_change(base: VariantResult, one: VariantResult, detectable: float) -> Iterator[Because]:
    """The metric stayed, decisions changed."""
    del base, detectable
    drop, flips = one.metrics.get("drop"), one.metrics.get("flips")
    if drop is not None and flips is not None and drop.value <= KEPT and flips.low > CHANGED:
        yield "one-number-hides", f"{one.name} loses next to nothing and decides otherwise", flips


def uneven_damage(base: VariantResult, one: VariantResult, detectable: float) -> Iterator[Because]:
    """One group lost far more than all together."""
    del base, detectable
    drop, worst = one.metrics.get("drop"), one.metrics.get("worst_group_drop")
    if drop is None or worst is None:
        return
    if worst.value >= GROUP and worst.value > UNEVEN * max(drop.value, 0.0):
        yield "groups-suffer", f"the worst group of {one.name} loses more than all together", worst


def smaller_not_faster(
    base: VariantResult, one: VariantResult, detectable: float
) -> Iterator[Because]:
    """Fewer bytes, no less time."""
    del detectable
    ratio, size, whole = (
        one.metrics.get("latency_ratio"), one.metrics.get("size"), base.metrics.get("size"),
    )  # fmt: skip
    if ratio is None or size is None or whole is None or size.value > SMALLER * whole.value:
        return
    if ratio.low > SLOWER:
        yield "fallbacks", f"{one.name} is smaller and slower", ratio
    elif ratio.low > NO_FASTER:
        yield "size-is-not-speed", f"{one.name} is smaller and no faster", ratio


def too_few_bits(base: VariantResult, one: VariantResult, detectable: float) -> Iterator[Because]:
    """A large drop at few bits."""
    del base, detectable
    drop = one.metrics.get("drop")
    widths = stored_widths(one.recipe)
    if drop is not None and drop.low > LOST and widths and min(widths) <= LOW_BITS:
        yield "below-four-bits", f"{one.name} has {min(widths):g} bits and loses", drop


def stored_widths(recipe: str) -> list[float]:
    """Bits of a weight in each step of a recipe's text that stores codes, on average if mixed."""
    if not recipe:
        return []
    configs = [step.config for step in parse_recipe(recipe).steps]
    return [
        config.mixed or config.bits
        for config in configs
        if isinstance(config, WeightOnly | Palette)
    ]


def too_few_samples(
    base: VariantResult, one: VariantResult, detectable: float
) -> Iterator[Because]:
    """Samples that cannot tell small drops."""
    del base
    if detectable > GROUP and "drop" in one.metrics:
        number = counted(detectable, n=one.metrics["drop"].n)
        yield "evaluate-before", "these samples cannot tell a smaller drop from none", number


def differs(base: VariantResult, one: VariantResult, detectable: float) -> Iterator[Because]:
    """The runtime computes something else than the model says."""
    del base, detectable
    if "runtime differs" in one.labels:
        number = one.metrics.get("snr_runtime")
        yield "hardware-decides", f"{one.name} computes something else on this machine", number


RESULT_RULES: Sequence[Callable[[VariantResult, VariantResult, float], Iterator[Because]]] = (
    differs, hidden_change, uneven_damage, smaller_not_faster, too_few_bits, too_few_samples,
)  # fmt: skip
"""Rules for measured variants, the most pressing first."""


def for_plan(plan: Plan) -> tuple[Advice, ...]:
    """Lessons for what is feasible."""
    return advised(because for rule in PLAN_RULES for because in rule(plan))


def nothing_fits(plan: Plan) -> Iterator[Because]:
    """No route keeps the budgets."""
    if plan.feasible != "no":
        return
    share = min(plan.shrink.values(), default=None)
    number = None if share is None else counted(share)
    yield "smaller-problem-first", "no route keeps every budget", number
    yield "start-early", "what is left needs training", None


def only_estimated(plan: Plan) -> Iterator[Because]:
    """Times of a device that nobody measured."""
    time = plan.original.get("latency")
    if time is not None and time.how == "estimated":
        yield "estimate-first", f"the time on {plan.device} is an estimate", time


PLAN_RULES: Sequence[Callable[[Plan], Iterator[Because]]] = (nothing_fits, only_estimated)
"""Rules for plans."""


def for_finding(finding: Finding) -> Finding:
    """A finding with the ids of the lessons that belong to its cause."""
    return replace(finding, lessons=by_cause().get(finding.cause, ()))


def for_findings(found: Sequence[Finding]) -> tuple[Advice, ...]:
    """What practitioners know about diagnosed causes, each lesson once."""
    return advised(
        (lesson, f"{one.cause} was found", None) for one in found for lesson in one.lessons[:1]
    )


def by_cause() -> Mapping[str, tuple[str, ...]]:
    """Lessons by cause."""
    found: dict[str, tuple[str, ...]] = {}
    for one in lessons():
        for cause in one.causes:
            found[cause] = (*found.get(cause, ()), one.id)
    return found
