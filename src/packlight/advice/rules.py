"""Rules that choose lessons for a plan, a result or a finding, with a reason and a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

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

SMALL_DROP = 0.01
MANY_FLIPS = 0.02
"""Share of decisions whose change matters although the drop is small."""

WORST_GROUP_FACTOR = 2.0
"""Acceptable ratio of the worst group's drop to that of all samples."""

GROUP_DROP = 0.03
"""Drop of a group from which on a lesson is due."""

NO_FASTER = 0.95
SLOWER = 1.05
"""Latency ratios from which on a variant is not faster, or slower."""

SMALLER = 0.9
"""Share of the original's bytes below which a variant counts as smaller."""

LOW_BITS = 4

LARGE_DROP = 0.05
"""Drop from which on few bits were too few."""

Reason = tuple[str, str, Measurement | None]
"""Id of a lesson, a reason, and a number."""


@dataclass(frozen=True, slots=True)
class Case:
    """A variant, its original, and the minimum detectable drop."""

    base: VariantResult
    variant: VariantResult
    detectable: float

    @property
    def name(self) -> str:
        """Name of the variant."""
        return self.variant.name

    def metric(self, name: str) -> Measurement | None:
        """A measurement of the variant."""
        return self.variant.metrics.get(name)


def _advice_for(reasons: Iterable[Reason]) -> tuple[Advice, ...]:
    by_id = {lesson.id: lesson for lesson in lessons()}
    advice: dict[str, Advice] = {}
    for key, because, number in reasons:
        lesson = by_id[key]
        advice.setdefault(key, Advice(lesson.id, lesson.text, lesson.source, because, number))
    return tuple(advice.values())


def advice_for_results(
    base: VariantResult, variants: Sequence[VariantResult], detectable: float = 0.0
) -> tuple[Advice, ...]:
    """Lessons for measurements of variants and their original.

    Args:
        base: the original.
        variants: compared with it.
        detectable: the minimum detectable drop; 0 where unknown.
    """
    return _advice_for(
        reason
        for rule in RESULT_RULES
        for variant in variants
        for reason in rule(Case(base, variant, detectable))
    )


def _hidden_change(case: Case) -> Iterator[Reason]:
    drop = case.metric("drop")
    flips = case.metric("flips")
    if drop is None or flips is None:
        return
    if drop.value <= SMALL_DROP and flips.low > MANY_FLIPS:
        yield "one-number-hides", f"{case.name} loses next to nothing and decides otherwise", flips


def _uneven_damage(case: Case) -> Iterator[Reason]:
    drop = case.metric("drop")
    worst = case.metric("worst_group_drop")
    if drop is None or worst is None:
        return
    if worst.value >= GROUP_DROP and worst.value > WORST_GROUP_FACTOR * max(drop.value, 0.0):
        yield "groups-suffer", f"the worst group of {case.name} loses more than all together", worst


def _smaller_not_faster(case: Case) -> Iterator[Reason]:
    """Fewer bytes, no less time."""
    ratio = case.metric("latency_ratio")
    size = case.metric("size")
    base_size = case.base.metrics.get("size")
    if ratio is None or size is None or base_size is None:
        return
    if size.value > SMALLER * base_size.value:
        return
    if ratio.low > SLOWER:
        yield "fallbacks", f"{case.name} is smaller and slower", ratio
    elif ratio.low > NO_FASTER:
        yield "size-is-not-speed", f"{case.name} is smaller and no faster", ratio


def _too_few_bits(case: Case) -> Iterator[Reason]:
    drop = case.metric("drop")
    widths = _stored_widths(case.variant.recipe)
    if drop is not None and drop.low > LARGE_DROP and widths and min(widths) <= LOW_BITS:
        yield "below-four-bits", f"{case.name} has {min(widths):g} bits and loses", drop


def _stored_widths(recipe: str) -> list[float]:
    """Bits of a weight in each step of a recipe's text that stores codes, on average if mixed."""
    if not recipe:
        return []
    configs = [step.config for step in parse_recipe(recipe).steps]
    return [
        config.mixed or config.bits
        for config in configs
        if isinstance(config, WeightOnly | Palette)
    ]


def _too_few_samples(case: Case) -> Iterator[Reason]:
    drop = case.metric("drop")
    if drop is not None and case.detectable > GROUP_DROP:
        number = counted(case.detectable, n=drop.n)
        yield "evaluate-before", "these samples cannot tell a smaller drop from none", number


def runtime_differs(case: Case) -> Iterator[Reason]:
    """The runtime's results differ from the model's definition."""
    if "runtime differs" in case.variant.labels:
        number = case.metric("snr_runtime")
        yield "hardware-decides", f"{case.name} computes something else on this machine", number


RESULT_RULES: Sequence[Callable[[Case], Iterator[Reason]]] = (
    runtime_differs, _hidden_change, _uneven_damage, _smaller_not_faster, _too_few_bits,
    _too_few_samples,
)  # fmt: skip
"""Rules for measured variants, the most urgent first."""


def advice_for_plan(plan: Plan) -> tuple[Advice, ...]:
    """Lessons for a plan."""
    return _advice_for(reason for rule in PLAN_RULES for reason in rule(plan))


def _nothing_fits(plan: Plan) -> Iterator[Reason]:
    if plan.feasible != "no":
        return
    share = min(plan.shrink.values(), default=None)
    number = counted(share) if share is not None else None
    yield "smaller-problem-first", "no route meets every budget", number
    yield "start-early", "what is left needs training", None


def _only_estimated(plan: Plan) -> Iterator[Reason]:
    time = plan.original.get("latency")
    if time is not None and time.how == "estimated":
        yield "estimate-first", f"the time on {plan.device} is an estimate", time


PLAN_RULES: Sequence[Callable[[Plan], Iterator[Reason]]] = (_nothing_fits, _only_estimated)
"""Rules for plans."""


def with_lessons(finding: Finding) -> Finding:
    """A finding with the ids of the lessons on its cause."""
    return replace(finding, lessons=_lessons_by_cause().get(finding.cause, ()))


def advice_for_findings(findings: Sequence[Finding]) -> tuple[Advice, ...]:
    """Lessons for diagnosed causes, each once."""
    return _advice_for(
        (finding.lessons[0], f"{finding.cause} was found", None)
        for finding in findings
        if finding.lessons
    )


def _lessons_by_cause() -> Mapping[str, tuple[str, ...]]:
    ids: dict[str, tuple[str, ...]] = {}
    for lesson in lessons():
        for cause in lesson.causes:
            ids[cause] = (*ids.get(cause, ()), lesson.id)
    return ids
