"""The plan of a model that is loaded: tidy and count it, and look at every route to a device."""

from __future__ import annotations

import contextlib
import gc
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packlight.advice import advice_for_plan
from packlight.api.plan import PlanRequest
from packlight.api.profile_detail import profile_of
from packlight.compression import canonical_recipe
from packlight.metrics import metric_by_name
from packlight.model import Model, check_shapes, file_size, stored_size
from packlight.planning.feasibility import Planner, Target
from packlight.planning.plan import plan as plan_of
from packlight.planning.routes import ROUTES
from packlight.planning.size.files import Files, original_of
from packlight.planning.size.parts import Tidied, in_main_graph, least_opset
from packlight.planning.value_checks import Numbers
from packlight.planning.what_if import Choice, WhatIf, parse_choice
from packlight.records import Budget, Device, Plan, Recipe, parse_recipe
from packlight.records.budget import LOSSES, check_sense
from packlight.runtime.hardware import instruction_sets
from packlight.runtime.isolation.fork import can_fork, forked
from packlight.sources.device_unit import device_and_unit
from packlight.sources.opening import AnyModel, AnyTask, Opened, is_code, source_of, task_for
from packlight.sources.torch_network import exported
from packlight.task import Task

LIKE: Sequence[tuple[str, str, str]] = (
    ("x86_64", "vnni", "x86-laptop-vnni"),
    ("x86_64", "", "x86-laptop-avx2"),
    ("amd64", "", "x86-laptop-avx2"),
    ("arm64", "", "iphone-15-pro"),
    ("aarch64", "", "raspberry-pi-5"),
)
"""Architecture, a feature, and the description that is nearest such a machine."""


@contextlib.contextmanager
def unhindered() -> Iterator[None]:
    """Without the collector of cycles, which takes half of the time where graphs are large."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def planned(opened: Opened, request: PlanRequest) -> Plan:
    """The plan that is asked for of a file, in a process of its own: its parts at once.

    Raises:
        InputError: the device or a choice cannot be used, or shapes in the model disagree.
    """
    target, choices = asked(request, None)
    check_shapes(opened.model)
    own = original_of(opened.model, stored_size(opened.path))
    numbers = Numbers(opened.model.graph)
    raising = Files(Tidied(opened.model), numbers)
    newer = [recipe for recipe in recipes() if raising.is_newer(recipe)]
    whole = [recipe for recipe in recipes() if raising.is_whole(recipe)]
    others = [recipe for recipe in recipes() if recipe not in [*newer, *whole]]
    spare = not choices and is_spare(opened.model, [*whole, *others])
    files = Files(Tidied(opened.model, spare), numbers)
    with forked(lambda: raising.all_made(newer)) as from_newer:
        model = files.sizes.model  # tidied, which those of a newer opset do not start from
        with (
            forked(lambda: files.all_made(whole, last=True)) as from_whole,
            forked(lambda: files.all_made(others)) as from_others,
        ):
            profile = profile_of(model, request.inputs, None)
            files.known |= {**from_newer(), **from_whole(), **from_others()}
    return with_lessons(plan_of(files, profile, target, own, choices, called=request.called))


def is_spare(model: Model, recipes: Sequence[Recipe]) -> bool:
    """Whether recipes start from a model tidied at its own opset, so that no other is needed.

    Those that start from a newer one do so in a process with a copy of its own.
    """
    opset = max(map(least_opset, recipes), default=0)
    return can_fork() and opset <= model.opset() and in_main_graph(model.graph)


def plan_for(model: Model, size: int, request: PlanRequest, data: Task | None) -> Plan:
    """The plan that is asked for.

    Args:
        model: loaded.
        size: bytes of its file, external data included.
        request: what is asked.
        data: its first sample says the shapes of inputs.

    Raises:
        InputError: the device or a choice cannot be used, or shapes in the model disagree.
    """
    target, choices = asked(request, data)
    check_shapes(model)
    own, files = original_of(model, size), Files(Tidied(model))
    profile = profile_of(files.sizes.model, request.inputs, data)
    return with_lessons(plan_of(files, profile, target, own, choices, called=request.called))


def with_lessons(found: Plan) -> Plan:
    """A plan with what practitioners know that it calls for."""
    return replace(found, lessons=advice_for_plan(found))


def asked(request: PlanRequest, data: Task | None) -> tuple[Target, list[Choice]]:
    """What a model must run on and keep, and choices for single operators.

    Raises:
        InputError: the device or a choice cannot be used, or a budget bounds what nothing measures,
            or from the side on which a metric only gets better.
    """
    own = {} if data is None else {data.metric.name: data.metric}
    for floor in request.budget.floors:
        if floor.metric not in LOSSES:
            metric = own.get(floor.metric) or metric_by_name(floor.metric)
            check_sense(floor, higher_is_better=metric.higher_is_better)
    target = target_of(request.device, request.unit, request.budget)
    return target, [*map(parse_choice, request.choices)]


def recipes() -> list[Recipe]:
    """Those of all routes that have a method."""
    return [canonical_recipe(parse_recipe(route.recipe)) for route in ROUTES if route.recipe]


@unhindered()
def planned_here(model: AnyModel, request: PlanRequest, task: AnyTask | None) -> Plan:
    """A plan in this process: of a value, of a network's code, or with a task's own code."""
    data = None
    if isinstance(model, str) and is_code(model):
        file = f"{model.rpartition(':')[2]}.onnx"
        made = exported(model, request.inputs)
        size = file_size(made.graph)
        found = plan_for(made, size, replace(request, inputs={}, called=file), data)
        first = f"Export the network to {file} first, with torch.onnx.export(..., dynamo=True)."
        return replace(found, recommendation=(*found.recommendation, first))
    source = source_of(model, runs=task is not None)
    if task is not None:
        data = task_for(task, source.model)
    return plan_for(source.model, source.size, request, data)


def what_if(
    model: Model,
    device: str | Path | Device = "",
    *,
    inputs: Mapping[str, Sequence[int]] | None = None,
    unit: str = "",
) -> WhatIf:
    """Predictions for choices per operator, each within milliseconds once steps are prepared.

    Args:
        model: is tidied first.
        device: as for ``plan``.
        inputs: shapes of inputs with open dimensions.
        unit: of the device, that computes.
    """
    own, files = original_of(model, file_size(model.graph)), Files(Tidied(model))
    profile = profile_of(files.sizes.model, inputs or {}, None)
    return WhatIf(Planner(files, profile, target_of(device, unit, Budget()), own))


def target_of(device: str | Path | Device, unit: str, budget: Budget) -> Target:
    """What a model must run on; the description nearest this machine where none is named."""
    return Target(*device_and_unit(device or like_this(), unit), budget)


def like_this() -> str:
    """The description nearest this machine."""
    here, flags = platform.machine().lower(), instruction_sets()
    for architecture, feature, name in LIKE:
        if here == architecture and any(feature in flag for flag in flags):
            return name
    return "x86-laptop-avx2"
