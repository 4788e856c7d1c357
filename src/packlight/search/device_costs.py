"""Costs of variants on a device that is described, predicted as ``plan`` predicts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from packlight.model import Model
from packlight.planning.feasibility import Planner, Target
from packlight.planning.plan import stored_type
from packlight.planning.routes import MINUTES, Dtype, Route
from packlight.planning.size.exact_size import INTEGER, Simplified
from packlight.planning.size.files import Files, original_file
from packlight.profiling.sample_runs import profile_for_task
from packlight.records import (
    Budget,
    Damage,
    Device,
    Limit,
    Measurement,
    PlanOption,
    Recipe,
    Refusal,
)
from packlight.records.budget import ON_DEVICE
from packlight.records.plan import RUNTIME
from packlight.task import Task

UNSTORED = ("simplify", "equalize")
"""Methods after which weights are stored as before."""


class DeviceCosts:
    """Predictions for one model on one device.

    Args:
        model: the original.
        size: bytes of its file.
        task: its first sample gives the shapes of inputs.
        device: a description.
        unit: of the device, that computes.
    """

    def __init__(self, model: Model, size: int, task: Task, device: Device, unit: str) -> None:
        self.target = Target(device, unit, Budget())
        files = Files(Simplified(model))
        profile = profile_for_task(files.sizes.model, {}, task)
        self.planner = Planner(files, profile, self.target, original_file(model, size))

    @property
    def name(self) -> str:
        """The device and its unit."""
        return f"{self.target.device.name}, {self.target.unit}"

    def limits(self, budget: Budget) -> Budget:
        """Budgets on this device, its own limits included.

        A bound on latency, memory or energy is about the device, where it is predicted.
        """
        target = replace(self.target, budget=budget)
        asked = {limit.text for limit in budget.all()}
        own = tuple(limit for limit in target.limits if limit.text not in asked)
        limits = tuple(map(_on_device, (*budget.limits, *own)))
        return Budget(limits, budget.floors)

    def original(self) -> dict[str, Measurement]:
        """Predicted costs of the original."""
        return _device_metrics(self.planner.original())

    def predict(self, recipe: Recipe) -> dict[str, Measurement]:
        """Predicted costs of a recipe's variant."""
        return _device_metrics(self.planner.option(_route_of(recipe, "")))

    def refusal(self, recipe: Recipe) -> Refusal | None:
        """Reason why the device cannot run a recipe's variant; None if it can."""
        for route in _routes(recipe):
            option = self.planner.assess(route, {}, (), ())
            if option.meets.get(RUNTIME) == "no":
                return option.refusals[0]
        return None


def predicted_on_all(
    devices: Sequence[DeviceCosts], recipe: Recipe | None
) -> dict[str, Measurement]:
    """Predicted costs of a recipe's variant on the device where each is highest.

    A budget on these must be kept by all devices.

    Args:
        devices: at least one.
        recipe: None for the original.
    """
    worst: dict[str, Measurement] = {}
    for costs in devices:
        predicted = costs.original() if recipe is None else costs.predict(recipe)
        for name, measured in predicted.items():
            if name not in worst or measured.value > worst[name].value:
                worst[name] = measured
    return worst


def limits_on_all(devices: Sequence[DeviceCosts], budget: Budget) -> Budget:
    """Budgets that every device sets, each once."""
    for costs in devices:
        budget = costs.limits(budget)
    return budget


def _on_device(limit: Limit) -> Limit:
    if limit.judged_by == "latency_ratio":
        return replace(limit, metric=ON_DEVICE["latency_ratio"], relative=False)
    return replace(limit, metric=ON_DEVICE.get(limit.metric, limit.metric))


def _device_metrics(option: PlanOption) -> dict[str, Measurement]:
    return {
        name: option.predicted[cost] for cost, name in ON_DEVICE.items() if cost in option.predicted
    }


def _routes(recipe: Recipe) -> Iterator[Route]:
    """A route for each way in which the recipe stores weights."""
    stored = [stored_type(step.text()) for step in recipe.steps if step.method not in UNSTORED]
    for storage in dict.fromkeys(stored):
        yield _route_of(recipe, storage)


def _route_of(recipe: Recipe, storage: str) -> Route:
    """A route of any recipe; the runtime refuses the storage that is named."""
    text = recipe.text()
    computes: Dtype = "float32"
    if any(step.method in INTEGER for step in recipe.steps):
        computes = "int8"
    elif any(step.method == "float16" for step in recipe.steps):
        computes = "float16"
    return Route(text, text, storage, computes, MINUTES, Damage("", ""))
