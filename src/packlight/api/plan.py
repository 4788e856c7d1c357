"""Plan a model: feasibility on a device and routes to it, before training and without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packlight.records import Budget, Device, Plan, parse_budget
from packlight.sources.code import is_code
from packlight.sources.device_unit import device_and_unit
from packlight.sources.input_shapes import Shapes, shapes_of

if TYPE_CHECKING:
    from packlight.sources.opening import AnyModel, AnyTask


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """Arguments of ``plan``, as the child process takes them.

    Attributes:
        called: name of the model in printed commands.
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
    """Predict if and how a model can ship on a device, before training and without data.

    Args:
        model: its weights may be random; FILE.py:FUNCTION or module:function names a PyTorch
            network.
        budget: to keep, besides the memory and storage that the device allows.
        device: a name, the path of a description, or a value; the description nearest this machine
            if empty.
        task: its first sample gives the shapes of inputs; nothing else is used.
        inputs: shapes of inputs with open dimensions.
        unit: of the device, that computes: ``cpu``, ``gpu`` or ``npu``.
        choices: ``OPERATOR=STEP`` for single operators; they make one more route, ``as chosen``.

    Raises:
        InputError: the model, the budget, the device or a choice cannot be used.
    """
    request = PlanRequest(
        called=model if isinstance(model, str) else "",
        budget=parse_budget(budget),
        device=device if isinstance(device, Device) else str(device),
        unit=unit,
        inputs=shapes_of(inputs),
        choices=tuple(choices),
    )
    if request.device:
        device_and_unit(request.device, unit)  # a wrong name is found before anything loads
    if task is None and isinstance(model, str | Path) and not is_code(str(model)):
        from packlight.api.isolated import run_isolated  # noqa: PLC0415  slow to load

        return run_isolated("plan", model, request, Plan)
    from packlight.api.plan_in_process import plan_in_process  # noqa: PLC0415  heavy

    return plan_in_process(model, request, task)
