"""Plan a model: can it ship, by which route, before training and before any data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packlight.api.isolated import apart
from packlight.records import Budget, Device, Plan, parse_budget
from packlight.sources.input_shapes import Shapes, shapes_of
from packlight.sources.opening import is_code

if TYPE_CHECKING:
    from packlight.sources.opening import AnyModel, AnyTask


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is asked of a plan.

    Attributes:
        called: what a command would call the model.
        budget: what must be kept, besides what the device lets an application have.
        device: a name, the path of a description, or a value; the description nearest this machine
            where it is empty.
        unit: of the device, that computes; its CPU where it is empty.
        inputs: shapes of inputs with open dimensions.
        choices: ``OPERATOR=STEP`` for single operators.
    """

    called: str
    budget: Budget
    device: str | Device
    unit: str
    inputs: Mapping[str, tuple[int, ...]]
    choices: tuple[str, ...]


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
    request = PlanRequest(
        called=model if isinstance(model, str) else "",
        budget=budget if isinstance(budget, Budget) else parse_budget(budget),
        device=device if isinstance(device, Device) else str(device),
        unit=unit,
        inputs=shapes_of(inputs),
        choices=tuple(choices),
    )
    if task is None and isinstance(model, str | Path) and not is_code(str(model)):
        return apart("plan", model, request, Plan)
    from packlight.api.plan_detail import planned_here  # noqa: PLC0415  loaded where it is used

    return planned_here(model, request, task)
