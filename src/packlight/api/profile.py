"""Profile a model: size, operations, memory and latency of each operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packlight.records import Device, Profile, SessionOptions
from packlight.sources.device_unit import device_and_unit
from packlight.sources.input_shapes import Shapes, shapes_of

if TYPE_CHECKING:
    from packlight.sources.opening import AnyModel, AnyTask

OPTIONS = SessionOptions()


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """Arguments of ``profile``, as the child process takes them."""

    inputs: Mapping[str, tuple[int, ...]]
    download: bool
    device: str | Device
    unit: str


def profile(
    model: AnyModel,
    task: AnyTask | None = None,
    *,
    inputs: Shapes = (),
    download: bool = False,
    measure: bool = False,
    device: str | Path | Device = "",
    unit: str = "",
    options: SessionOptions = OPTIONS,
    seconds: float = 2.0,
    seed: int = 0,
) -> Profile:
    """Count size, operations, memory and, where asked for, latency of each operator.

    Args:
        model: to profile.
        task: its first sample gives the shapes of inputs, and is run if latency is measured.
        inputs: shapes of inputs with open dimensions, as ``{"image": (1, 3, 224, 224)}`` or
            ``["image=1,3,224,224"]``. Without them and a task, an input of which only the first
            dimension is open counts with a batch of 1.
        download: whether to count the bytes of a download, which takes a second for each 30 MB.
        measure: whether to measure the latency of each operator on this machine.
        device: to predict latency for; none if empty.
        unit: of the device, that computes; its CPU if empty.
        options: of the sessions that are measured.
        seconds: to spend on measuring.
        seed: of random inputs and of intervals.

    Raises:
        InputError: the model, the task or the device cannot be used, an input cannot have such a
            shape, or the model fails when it is measured.
    """
    request = ProfileRequest(
        inputs=shapes_of(inputs),
        download=download,
        device=device if isinstance(device, Device) else str(device),
        unit=unit,
    )
    if request.device:
        device_and_unit(request.device, unit)  # a wrong name is found before anything loads
    if task is None and not measure and isinstance(model, str | Path):
        from packlight.api.isolated import run_isolated  # noqa: PLC0415  slow to load

        return run_isolated("profile", model, request, Profile)
    from packlight.api.profile_in_process import profile_in_process  # noqa: PLC0415  heavy
    from packlight.profiling.sample_runs import Timing  # noqa: PLC0415  heavy

    timing = Timing(options, seconds, seed) if measure else None
    return profile_in_process(model, task, request, timing)
