"""Plan: predict every route to a device and recommend one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from packlight.compression.calibration_data import uses_data
from packlight.planning.feasibility import Planner, Target
from packlight.planning.recommendation import Case, recommendation, runnable
from packlight.planning.routes import KEEP, MINUTES, ROUTES, SECONDS, Choice, Route
from packlight.planning.size.exact_size import INTEGER, computes_in_integers
from packlight.planning.size.files import Files, Original
from packlight.planning.what_if import ClusterEffect, WhatIf
from packlight.records.budget import Limit
from packlight.records.configs import WeightOnly
from packlight.records.measurement import Measurement, Meets
from packlight.records.plan import CHOSEN, Damage, Plan, PlanOption
from packlight.records.profile import Profile
from packlight.records.recipe import Recipe, parse_recipe

SEVERAL_OPERATORS = (*INTEGER, "equalize")
"""Methods that treat several operators together, so that one cluster's effect does not show all."""

STORED_TYPES = {
    "static": "int8",
    "dynamic": "int8",
    "equalize": "",
    "channels": "",
    "lowrank": "",
    "distill": "",
}
"""Storage that a runtime must support, by method; of others it has the method's name."""

INT4_BITS = 4


def plan(
    files: Files,
    profile: Profile,
    target: Target,
    original: Original,
    choices: Sequence[Choice] = (),
    *,
    called: str = "",
) -> Plan:
    """Tell whether a model can ship on a device, and by which route.

    Args:
        files: of the simplified model, for any recipe; its weights may be random.
        profile: of the simplified model.
        target: device, unit and budgets.
        original: the user's file.
        choices: for single operators, as one more route.
        called: what a command would call the model; its name where that is empty.
    """
    planner = Planner(files, profile, target, original)
    limits = target.limits
    unchanged = planner.original()
    options = tuple(planner.option(route) for route in ROUTES)
    if choices:
        options = (option_of_choices(planner, choices), *options)
    ready = runnable((unchanged, *options))
    shrink = dict(shrink_targets(ready, limits, unchanged.predicted))
    case = Case(
        model=called or profile.model,
        device=target.device,
        original=unchanged,
        options=options,
        limits=limits,
        shrink=shrink,
        memory_share=planner.predictor.memory_share(),
        graph_bytes=planner.graph_bytes,
        open_inputs=[name for name, sizes in profile.inputs.items() if None in sizes],
        unknown=profile.unknown,
        custom_operators=planner.custom_operators,
        quantized=len(planner.quantized),
    )
    return Plan(
        model=profile.model,
        device=f"{target.device.name}, {target.unit}",
        budgets=tuple(limit.text for limit in limits),
        original=unchanged.predicted,
        options=options,
        feasible=feasible((unchanged, *options)),
        recommendation=tuple(recommendation(case)),
        shrink=shrink,
        meets=unchanged.meets,
    )


def option_of_choices(planner: Planner, choices: Sequence[Choice]) -> PlanOption:
    """The option of choices for single operators."""
    what_if = WhatIf(planner)
    costs = what_if.choose(choices)
    steps = list(separate_steps(choices, what_if.effects_by_choice(choices)))
    recipe = recipe_of(steps)
    effort = SECONDS
    if uses_data(recipe):
        effort = MINUTES
    damage = Damage("unknown", "nobody tried it")
    route = Route(CHOSEN, recipe.text() if steps else "", "", "float32", effort, damage)
    for choice in steps:
        candidate = replace(route, stores=stored_type(choice.step))
        if computes_in_integers(choice.step):
            candidate = replace(candidate, computes="int8")
        if list(planner.runtime_refusals(candidate)):
            route = candidate
            break
    option = planner.assess(route, costs, (), what_if.refusals(choices))
    return replace(option, changed=what_if.changed_count(choices))


def separate_steps(
    choices: Sequence[Choice], effects: Mapping[int, Sequence[ClusterEffect]]
) -> Iterator[Choice]:
    """Single steps of choices, later choices first, without the operators that later ones keep.

    A step without a candidate site is left out, as of a choice that later ones override fully:
    ``compress`` refuses it.

    Args:
        choices: all of them.
        effects: of the choices, by index.
    """
    excluded: list[str] = []
    for index in reversed(range(len(choices))):
        choice = choices[index]
        if choice.step == KEEP:
            excluded.append(choice.where)
            continue
        where = choice.where
        if excluded:
            where = f"^(?!.*({'|'.join(excluded)})).*({choice.where})"
        clusters = effects.get(index)
        if clusters is None:
            continue
        for step in parse_recipe(choice.step).steps:
            applies = any(cluster.has_candidates(step.method) for cluster in clusters)
            if applies or step.method in SEVERAL_OPERATORS:
                yield Choice(where, step.text())


def stored_type(step: str) -> str:
    """Storage of weights that a runtime must support for a step."""
    first = parse_recipe(step).steps[0]
    if isinstance(first.config, WeightOnly):
        return "int8" if first.config.bits > INT4_BITS else "int4"
    return STORED_TYPES.get(first.method, first.method)


def recipe_of(choices: Sequence[Choice]) -> Recipe:
    """A recipe of choices; later steps leave alone what earlier ones store."""
    steps = [replace(parse_recipe(choice.step).steps[0], where=choice.where) for choice in choices]
    return Recipe(tuple(steps))


def feasible(options: Sequence[PlanOption]) -> Meets:
    """Best verdict of the routes."""
    verdicts = {option.verdict for option in options}
    for verdict in ("yes", "unclear"):
        if verdict in verdicts:
            return verdict
    return "no"


def shrink_targets(
    ready: Sequence[PlanOption], limits: Sequence[Limit], original: Mapping[str, Measurement]
) -> Iterator[tuple[str, float]]:
    """For each budget that no route meets, the share of its cost that may remain."""
    for limit in limits:
        cost = limit.judged_by
        costs = [option.predicted[cost] for option in ready if cost in option.predicted]
        if costs and all(option.meets.get(limit.text) == "no" for option in ready):
            yield limit.text, limit.bound(original) / min(measured.low for measured in costs)
