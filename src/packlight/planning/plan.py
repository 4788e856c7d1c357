"""Look at every route to a device, and say which suffices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from packlight.compression.compress import uses_data
from packlight.planning.feasibility import Planner, Target
from packlight.planning.recommendation import Case, recommendation, running
from packlight.planning.routes import ROUTES, Dtype, Route
from packlight.planning.size.files import Files, Original
from packlight.planning.size.parts import INTEGER, computes_in_integers
from packlight.planning.what_if import KEEP, Choice, Part, WhatIf
from packlight.records.budget import Limit
from packlight.records.configs import WeightOnly
from packlight.records.measurement import Measurement, Meets
from packlight.records.plan import CHOSEN, Damage, Effort, Plan, PlanOption
from packlight.records.profile import Profile
from packlight.records.recipe import Recipe, parse_recipe


def plan(
    files: Files,
    profile: Profile,
    target: Target,
    own: Original,
    choices: Sequence[Choice] = (),
    *,
    called: str = "",
) -> Plan:
    """Whether a model can ship on a device, and how.

    Args:
        files: of the model, simplified, that recipes make; its weights may be random.
        profile: of it, simplified.
        target: what it must run on, within what.
        own: the file as the user has it.
        choices: for single operators, as one more route.
        called: what a command would call the model; its name where that is empty.
    """
    planner, limits = Planner(files, profile, target, own), target.limits
    original = planner.original()
    chosen = [as_chosen(planner, choices)] if choices else []
    options = (*chosen, *(planner.option(route) for route in ROUTES))
    ready = [one for one in (original, *options) if not one.trains]
    shrink = dict(shrinks(running(ready), limits, original.predicted))
    waiting = planner.predictor.waiting()
    opened = [name for name, sizes in profile.inputs.items() if None in sizes]
    case = Case(
        model=called or profile.model,
        device=target.device,
        original=original,
        options=options,
        limits=limits,
        shrink=shrink,
        waiting=waiting,
        graph=planner.operators,
        opened=opened,
        unknown=profile.unknown,
        foreign=planner.foreign,
        quantized=len(planner.quantized),
    )
    return Plan(
        model=profile.model,
        device=f"{target.device.name}, {target.unit}",
        budgets=tuple(limit.text for limit in limits),
        original=original.predicted,
        options=options,
        feasible=best((original, *options)),
        recommendation=tuple(recommendation(case)),
        shrink=shrink,
        meets=original.meets,
    )


def as_chosen(planner: Planner, choices: Sequence[Choice]) -> PlanOption:
    """The route of choices for single operators."""
    what_if = WhatIf(planner)
    costs = what_if.choose(choices)
    steps = [*written(choices, what_if.parts(choices))]
    recipe = recipe_of(steps)
    samples = uses_data(recipe)
    effort = Effort("calibration samples", "minutes") if samples else Effort("no data", "seconds")
    text = recipe.text() if steps else ""
    plain = Route(CHOSEN, text, "", "float32", effort, Damage("unknown", "nobody tried it"))
    ways = [replace(plain, stores=stored_as(choice.step), computes=computed_in(choice.step))
            for choice in steps]  # fmt: skip
    route = next((way for way in ways if list(planner.barred(way))), plain)
    option = planner.judged(route, costs, (), what_if.refused(choices))
    return replace(option, changed=what_if.changed(choices))


def written(choices: Sequence[Choice], parts: Mapping[int, Sequence[Part]]) -> Iterator[Choice]:
    """The steps of choices one by one, later choices first, without what later ones keep.

    A step that finds nothing, as one of a choice of which later ones leave nothing, is left out:
    ``compress`` refuses it.

    Args:
        choices: all of them.
        parts: what they do, by their places.
    """
    kept: list[str] = []
    for place in reversed(range(len(choices))):
        choice = choices[place]
        if choice.step == KEEP:
            kept.append(choice.where)
            continue
        but = f"^(?!.*({'|'.join(kept)})).*" if kept else ""
        where = f"{but}({choice.where})" if but else choice.where
        for step in parse_recipe(choice.step).steps if place in parts else ():
            if step.method in ACROSS or finds(step.method, parts[place]):
                yield Choice(where, step.text())


ACROSS = (*INTEGER, "equalize")
"""Methods that look at several operators at once, so that a part alone does not show what they do.
"""


def finds(method: str, parts: Sequence[Part]) -> bool:
    """Whether a method finds what it could change, be it that it refuses it."""
    changes = any(change.method == method for part in parts for change in part.changes)
    return changes or any(left.method == method for part in parts for left in part.refusals)


def stored_as(step: str) -> str:
    """What a runtime must know how to keep, for a step."""
    found = parse_recipe(step).steps[0]
    if isinstance(found.config, WeightOnly):
        return "int8" if found.config.bits > INT4 else "int4"
    kinds = {"static": "int8", "dynamic": "int8", "equalize": ""}
    return kinds.get(found.method, found.method)


INT4 = 4
"""Bits of the narrower integers that runtimes keep."""


def computed_in(step: str) -> Dtype:
    """Data type of the products after a step."""
    return "int8" if computes_in_integers(step) else "float32"


def recipe_of(choices: Sequence[Choice]) -> Recipe:
    """A recipe of choices; what an earlier step stores, later ones leave alone."""
    steps = [replace(parse_recipe(choice.step).steps[0], where=choice.where) for choice in choices]
    return Recipe(tuple(steps))


def best(options: Sequence[PlanOption]) -> Meets:
    """Whether one of the routes that can be taken keeps every budget."""
    verdicts = {one.verdict for one in options if not one.trains}
    return "yes" if "yes" in verdicts else "unclear" if "unclear" in verdicts else "no"


def shrinks(
    ready: Sequence[PlanOption], limits: Sequence[Limit], original: Mapping[str, Measurement]
) -> Iterator[tuple[str, float]]:
    """For budgets that nothing keeps, the share of its cost that would be left."""
    for limit in limits:
        cost = limit.judged_by
        found = [one.predicted[cost] for one in ready if cost in one.predicted]
        if found and all(one.meets.get(limit.text) == "no" for one in ready):
            yield limit.text, limit.bound(original) / min(one.low for one in found)
