"""Plan a model that is loaded in this process: simplify and count it, and evaluate every route."""

from __future__ import annotations

import contextlib
import gc
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packlight.advice import advice_for_plan
from packlight.api.plan import PlanRequest
from packlight.metrics import metric_by_name
from packlight.model import Model, check_shapes, file_size, stored_size
from packlight.planning.feasibility import Planner, Target
from packlight.planning.plan import plan as plan_of
from packlight.planning.routes import ROUTES, Choice, parse_choice
from packlight.planning.size.exact_size import Simplified, least_opset
from packlight.planning.size.files import Files, original_file
from packlight.planning.size.value_checks import ValueChecks
from packlight.planning.what_if import WhatIf
from packlight.profiling.sample_runs import profile_for_task
from packlight.records import Budget, Device, Plan, Recipe, parse_recipe
from packlight.records.budget import LOSSES, check_sense
from packlight.runtime.hardware import instruction_sets
from packlight.runtime.isolation.fork import can_fork, forked
from packlight.sources.code import is_code
from packlight.sources.device_unit import device_and_unit
from packlight.sources.opening import AnyModel, AnyTask, Opened, source_of, task_for
from packlight.sources.torch_network import exported
from packlight.task import Task

NEAREST_DEVICES: Sequence[tuple[str, str, str]] = (
    ("x86_64", "vnni", "x86-laptop-vnni"),
    ("x86_64", "", "x86-laptop-avx2"),
    ("amd64", "", "x86-laptop-avx2"),
    ("arm64", "", "iphone-15-pro"),
    ("aarch64", "", "raspberry-pi-5"),
)
"""Architecture, processor feature, and the nearest device description."""


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Turn off the garbage collector, which takes half of the time for large graphs."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def plan_file(opened: Opened, request: PlanRequest) -> Plan:
    """Plan a file in the child process; files of routes are counted in parallel.

    Raises:
        InputError: the device or a choice cannot be used, or shapes in the model disagree.
    """
    target, choices = _target_and_choices(request, None)
    check_shapes(opened.model)
    original = original_file(opened.model, stored_size(opened.path))
    checks = ValueChecks(opened.model.graph)
    raised_files = Files(Simplified(opened.model), checks)
    raised_recipes = [recipe for recipe in recipes() if raised_files.raises_opset(recipe)]
    whole_recipes = [recipe for recipe in recipes() if raised_files.has_integers(recipe)]
    usual_recipes = [
        recipe for recipe in recipes() if recipe not in [*raised_recipes, *whole_recipes]
    ]
    is_last_use = not choices and _is_last_use_of(opened.model, [*whole_recipes, *usual_recipes])
    files = Files(Simplified(opened.model, is_last_use), checks)
    with forked(lambda: raised_files.count_all(raised_recipes)) as from_newer:
        model = files.sizes.model  # simplified, which those of a newer opset do not start from
        with (
            forked(lambda: files.count_all(whole_recipes, last=True)) as from_whole,
            forked(lambda: files.count_all(usual_recipes[::2])) as from_usual,
            forked(lambda: files.count_all(usual_recipes[1::2])) as from_more,
        ):
            profile = profile_for_task(model, request.inputs, None)
            files.counted |= {**from_newer(), **from_whole(), **from_usual(), **from_more()}
    return with_lessons(plan_of(files, profile, target, original, choices, called=request.called))


def _is_last_use_of(model: Model, recipes: Sequence[Recipe]) -> bool:
    """Tell if recipes start from a model simplified at its own opset, so that it needs no copy.

    Recipes that start from a newer opset run in a process with a separate copy.
    """
    opset = max(map(least_opset, recipes), default=0)
    return can_fork() and opset <= model.opset()


def plan_for(model: Model, size: int, request: PlanRequest, data: Task | None) -> Plan:
    """Plan a loaded model.

    Args:
        model: loaded.
        size: bytes of its file, external data included.
        request: arguments of the plan.
        data: its first sample gives the shapes of inputs.

    Raises:
        InputError: the device or a choice cannot be used, or shapes in the model disagree.
    """
    target, choices = _target_and_choices(request, data)
    check_shapes(model)
    original = original_file(model, size)
    files = Files(Simplified(model))
    profile = profile_for_task(files.sizes.model, request.inputs, data)
    return with_lessons(plan_of(files, profile, target, original, choices, called=request.called))


def with_lessons(plan: Plan) -> Plan:
    """Add lessons from the literature that fit a plan."""
    return replace(plan, lessons=advice_for_plan(plan))


def _target_and_choices(request: PlanRequest, data: Task | None) -> tuple[Target, list[Choice]]:
    """Read the target and the choices for single operators from a request.

    Raises:
        InputError: the device or a choice cannot be used, or a budget bounds an unknown metric or
            bounds a metric from the side on which it only improves.
    """
    task_metrics = {data.metric.name: data.metric} if data is not None else {}
    for floor in request.budget.floors:
        if floor.metric not in LOSSES:
            metric = task_metrics.get(floor.metric) or metric_by_name(floor.metric)
            check_sense(floor, higher_is_better=metric.higher_is_better)
    target = target_of(request.device, request.unit, request.budget)
    return target, [*map(parse_choice, request.choices)]


def recipes() -> list[Recipe]:
    """Recipes of all routes."""
    return [parse_recipe(route.recipe) for route in ROUTES]


@_without_collector()
def plan_in_process(model: AnyModel, request: PlanRequest, task: AnyTask | None) -> Plan:
    """Plan a model in this process: a value, a PyTorch network, or with a task's code."""
    data = None
    if isinstance(model, str) and is_code(model):
        file = f"{model.rpartition(':')[2]}.onnx"
        network = exported(model, request.inputs)
        size = file_size(network.graph)
        plan = plan_for(network, size, replace(request, inputs={}, called=file), data)
        next_step = f"Export the network to {file} first, with torch.onnx.export(..., dynamo=True)."
        return replace(plan, recommendation=(*plan.recommendation, next_step))
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
    """Prepare predictions for choices per operator, each within milliseconds.

    Args:
        model: is simplified first.
        device: as for ``plan``.
        inputs: shapes of inputs with open dimensions.
        unit: of the device, that computes.
    """
    original = original_file(model, file_size(model.graph))
    files = Files(Simplified(model))
    profile = profile_for_task(files.sizes.model, inputs or {}, None)
    return WhatIf(Planner(files, profile, target_of(device, unit, Budget()), original))


def target_of(device: str | Path | Device, unit: str, budget: Budget) -> Target:
    """Target of a plan; the description nearest this machine if no device is named."""
    return Target(*device_and_unit(device or _nearest_device(), unit), budget)


def _nearest_device() -> str:
    machine = platform.machine().lower()
    flags = instruction_sets()
    for architecture, feature, name in NEAREST_DEVICES:
        if machine == architecture and any(feature in flag for flag in flags):
            return name
    return "x86-laptop-avx2"
