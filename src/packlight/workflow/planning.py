"""Plan a model: tidy and count it, and look at every route to a device."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packlight.advice import for_plan
from packlight.model import Model
from packlight.plan.plan import plan as plan_of
from packlight.plan.planner import Planner, Target
from packlight.plan.sizes import Tidied
from packlight.plan.whatif import WhatIf, parse_choice
from packlight.profile import parse_inputs
from packlight.records import Budget, Device, Plan, parse_budget
from packlight.runtime import machine
from packlight.workflow.exported import exported, is_code
from packlight.workflow.profiling import profile_of
from packlight.workflow.units import device_and_unit
from packlight.workflow.verbs import AnyModel, AnyTask, source_of, task_for

Shapes = Mapping[str, Sequence[int]] | Sequence[str]

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


@unhindered()
def plan(
    model: AnyModel,
    budget: Sequence[str] | Budget = (),
    device: str | Path | Device = "",
    *,
    task: AnyTask | None = None,
    inputs: Shapes = (),
    unit: str = "",
    choices: Sequence[str] = (),
) -> Plan:
    """Say whether a model can ship on a device, and how, before training and before any data.

    Args:
        model: its weights may be random; FILE.py:FUNCTION or module:function names a PyTorch
            network.
        budget: what must be kept, besides what the device lets an application have.
        device: a name, the path of a description, or a value; the description nearest this machine
            where it is empty.
        task: its first sample says the shapes of inputs; nothing else of it is used.
        inputs: shapes of inputs with open dimensions.
        unit: of the device, that computes: ``cpu``, ``gpu`` or ``npu``.
        choices: ``OPERATOR=STEP`` for single operators; they make one more route, ``as chosen``.

    Raises:
        InputError: the model, the budget, the device or a choice cannot be used.
    """
    shapes = inputs if isinstance(inputs, Mapping) else parse_inputs(inputs)
    if isinstance(model, str) and is_code(model):
        opened, shapes = exported(model, shapes), {}
    else:
        opened = source_of(model, runs=task is not None).model
    data = None if task is None else task_for(task, opened)
    tidied, target = Tidied.of(opened), target_of(device, unit, limits_of(budget))
    profile = profile_of(tidied.model, shapes, data)
    called = model if isinstance(model, str) else ""
    found = plan_of(tidied, profile, target, [*map(parse_choice, choices)], called)
    return replace(found, lessons=for_plan(found))


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
    tidied = Tidied.of(model)
    profile = profile_of(tidied.model, inputs or {}, None)
    return WhatIf(Planner(tidied, profile, target_of(device, unit, Budget())))


def target_of(device: str | Path | Device, unit: str, budget: Budget) -> Target:
    """What a model must run on; the description nearest this machine where none is named."""
    return Target(*device_and_unit(device or like_this(), unit), budget)


def limits_of(budget: Sequence[str] | Budget) -> Budget:
    """A budget from its texts."""
    return budget if isinstance(budget, Budget) else parse_budget(budget)


def like_this() -> str:
    """The description nearest this machine."""
    here = machine()
    for architecture, feature, name in LIKE:
        if here.architecture.lower() == architecture and any(feature in f for f in here.features):
            return name
    return "x86-laptop-avx2"
