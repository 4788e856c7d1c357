"""Profile a model that is loaded in this process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from packlight.api.profile import ProfileRequest
from packlight.disk import scratch_folder
from packlight.model import Model, save
from packlight.profiling.sample_runs import Timing, measure_operators, profile_for_task
from packlight.records import Profile, counted
from packlight.sources.opening import AnyModel, AnyTask, Opened, Source, source_of, task_or_none


def profile_file(opened: Opened, request: ProfileRequest) -> Profile:
    """Profile a file without running the model.

    Raises:
        InputError: the device cannot be used, or an input cannot have such a shape.
    """
    profile = profile_for_task(opened.model, request.inputs, None)
    source = Source.of(opened)
    profile = _with_sizes(profile, source.size, source.files if request.download else ())
    return _with_prediction(profile, opened.model, request)


def profile_in_process(
    model: AnyModel, task: AnyTask | None, request: ProfileRequest, timing: Timing | None
) -> Profile:
    """Profile a model in this process: a value, with a task's code, or measured.

    Raises:
        InputError: the model, the task or the device cannot be used, an input cannot have such a
            shape, or the model fails when it is measured.
    """
    source = source_of(model, runs=timing is not None or task is not None)
    data = task_or_none(task, source.model)
    profile = profile_for_task(source.model, request.inputs, data)
    if timing is not None:
        profile = measure_operators(source.model, profile, data, timing)
    profile = _with_prediction(_with_sizes(profile, source.size, ()), source.model, request)
    if not request.download:
        return _with_sizes(profile, source.size, ())
    if not isinstance(model, Model):
        return _with_sizes(profile, source.size, source.files)
    with scratch_folder() as folder:
        save(model, folder / "model.onnx")
        return _with_sizes(profile, source.size, folder.iterdir())


def _with_prediction(profile: Profile, model: Model, request: ProfileRequest) -> Profile:
    """Add the latency that is predicted on the device of a request, if it names one.

    Raises:
        InputError: the device cannot be used.
    """
    if not request.device and not request.unit:
        return profile
    # All methods load with it.
    from packlight.planning.cost.operator_latency import (  # noqa: PLC0415
        device_target,
        with_latency_bounds,
    )

    target = device_target(request.device, request.unit)
    return profile if target is None else with_latency_bounds(profile, model, *target)


def _with_sizes(profile: Profile, size: int, files: Iterable[Path]) -> Profile:
    """Add the size of the model's files, and of their download, to a profile.

    Args:
        profile: the profile.
        size: bytes of the model's files.
        files: to compress for the download size; empty to leave it out.
    """
    download = {}
    if paths := list(files):
        from packlight.store.files import deflated_size  # noqa: PLC0415  a database loads with it

        download["download"] = counted(sum(map(deflated_size, paths)), "B")
    return replace(profile, totals={**profile.totals, "size": counted(size, "B"), **download})
