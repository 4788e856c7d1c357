"""Look at every route to a device, and say which suffices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from packlight.plan.planner import Planner, Target
from packlight.plan.routes import ROUTES, Route
from packlight.plan.sizes import Tidied
from packlight.plan.whatif import KEEP, Choice, WhatIf
from packlight.plan.words import Case, recommendation
from packlight.records.budget import Limit
from packlight.records.measurement import Measurement, Meets
from packlight.records.plan import Damage, Effort, Plan, PlanOption
from packlight.records.profile import Profile
from packlight.records.recipe import Recipe, Step, parse_recipe


def plan(model: Tidied, profile: Profile, target: Target, choices: Sequence[Choice] = ()) -> Plan:
    """Whether a model can ship on a device, and how.

    Args:
        model: its weights may be random.
        profile: of it, tidied.
        target: what it must run on, within what.
        choices: for single operators, as one more route.
    """
    planner, limits = Planner(model, profile, target), target.limits
    original = planner.original()
    chosen = [as_chosen(planner, choices)] if choices else []
    options = (*chosen, *(planner.option(route) for route in ROUTES))
    ready = [one for one in (original, *options) if one.recipe or one is original]
    shrink = dict(shrinks(ready, limits, original.predicted))
    waiting = planner.predictor.waiting()
    case = Case(profile.model, target.device, original, options, limits, shrink, waiting)
    return Plan(
        model=profile.model,
        device=f"{target.device.name}, {target.unit}",
        budgets=tuple(limit.text for limit in limits),
        original=original.predicted,
        options=options,
        feasible=best((original, *options)),
        recommendation=tuple(recommendation(case)),
        shrink=shrink,
    )


def as_chosen(planner: Planner, choices: Sequence[Choice]) -> PlanOption:
    """The route of choices for single operators."""
    costs = WhatIf(planner).choose(choices)
    steps = [choice for choice in reversed(choices) if choice.step != KEEP]
    samples = any("static" in choice.step or "gptq" in choice.step for choice in steps)
    effort = Effort("calibration samples", "minutes") if samples else Effort("no data", "seconds")
    text = "" if len(steps) < len(choices) else recipe_of(steps).text()
    route = Route("as chosen", text, "", "float32", effort, Damage("unknown", "nobody tried it"))
    return planner.judged(route, costs, (), ())


def recipe_of(choices: Sequence[Choice]) -> Recipe:
    """A recipe of choices; what an earlier step stores, later ones leave alone."""
    steps = [(parse_recipe(choice.step).steps[0], choice.where) for choice in choices]
    return Recipe(tuple(Step(step.method, step.config, where) for step, where in steps))


def best(options: Sequence[PlanOption]) -> Meets:
    """Whether one of the routes that can be taken keeps every budget."""
    verdicts = {one.verdict for one in options if one.recipe or one is options[0]}
    return "yes" if "yes" in verdicts else "unclear" if "unclear" in verdicts else "no"


def shrinks(
    ready: Sequence[PlanOption], limits: Sequence[Limit], original: Mapping[str, Measurement]
) -> Iterator[tuple[str, float]]:
    """For budgets that nothing keeps, the share of its cost that would be left."""
    for limit in limits:
        found = [one.predicted[limit.metric] for one in ready if limit.metric in one.predicted]
        if found and all(one.meets.get(limit.text) == "no" for one in ready):
            yield limit.text, limit.bound(original) / min(cost.low for cost in found)
