"""Where size, arithmetic, memory and time go, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packlight.api.isolated import apart
from packlight.records import Device, Profile, SessionOptions
from packlight.sources.input_shapes import Shapes, shapes_of

if TYPE_CHECKING:
    from packlight.sources.opening import AnyModel, AnyTask

OPTIONS = SessionOptions()


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """What is asked of a profile.

    Attributes:
        inputs: shapes of inputs with open dimensions.
        download: whether to count the bytes of a download.
        device: to predict times for, and what bounds them; none where it is empty.
        unit: of the device, that computes; its CPU where it is empty.
    """

    inputs: Mapping[str, tuple[int, ...]]
    download: bool
    device: str | Device
    unit: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How times are measured on this machine.

    Attributes:
        options: of the sessions.
        seconds: to spend.
        seed: of random inputs and of intervals.
    """

    options: SessionOptions
    seconds: float
    seed: int


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
    """Where size, arithmetic, memory and time go.

    Args:
        model: to look at.
        task: its first sample says the shapes of inputs, and is what runs where time is measured.
        inputs: shapes of inputs with open dimensions, as ``{"image": (1, 3, 224, 224)}`` or
            ``["image=1,3,224,224"]``. Without them and a task, an input of which only the first
            dimension is open counts with a batch of 1.
        download: whether to count the bytes of a download, which takes a second for each 30 MB.
        measure: whether to run the model here and measure the time of each operator.
        device: to predict times for, and what bounds them; none where it is empty.
        unit: of the device, that computes; its CPU where it is empty.
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
    if task is None and not measure and isinstance(model, str | Path):
        return apart("profile", model, request, Profile)
    from packlight.api.profile_detail import profiled_here  # noqa: PLC0415  loaded where it is used

    timing = Timing(options, seconds, seed) if measure else None
    return profiled_here(model, task, request, timing)
