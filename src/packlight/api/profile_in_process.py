"""Profile a model that is loaded in this process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from packlight.api.profile import ProfileRequest
from packlight.disk import scratch_folder
from packlight.model import Model, save
from packlight.planning.cost.operator_latency import device_target, with_latency_bounds
from packlight.profiling.sample_runs import Timing, measure_operators, profile_for_task
from packlight.records import Profile, counted
from packlight.sources.opening import AnyModel, AnyTask, Opened, Source, source_of, task_for
from packlight.store.files import deflated_size


def profile_file(opened: Opened, request: ProfileRequest) -> Profile:
    """Profile a file without running the model.

    Raises:
        InputError: the device cannot be used, or an input cannot have such a shape.
    """
    target = device_target(request.device, request.unit)
    profile = profile_for_task(opened.model, request.inputs, None)
    source = Source.of(opened)
    profile = _with_sizes(profile, source.size, source.files if request.download else ())
    if target is not None:
        return with_latency_bounds(profile, opened.model, *target)
    return profile


def profile_in_process(
    model: AnyModel, task: AnyTask | None, request: ProfileRequest, timing: Timing | None
) -> Profile:
    """Profile a model in this process: a value, with a task's code, or measured.

    Raises:
        InputError: the model, the task or the device cannot be used, an input cannot have such a
            shape, or the model fails when it is measured.
    """
    target = device_target(request.device, request.unit)
    source = source_of(model, runs=timing is not None or task is not None)
    data = None if task is None else task_for(task, source.model)
    profile = profile_for_task(source.model, request.inputs, data)
    if timing is not None:
        profile = measure_operators(source.model, profile, data, timing)
    if target is not None:
        profile = _with_sizes(profile, source.size, ())
        profile = with_latency_bounds(profile, source.model, *target)
    if not request.download:
        return _with_sizes(profile, source.size, ())
    if not isinstance(model, Model):
        return _with_sizes(profile, source.size, source.files)
    with scratch_folder() as folder:
        save(model, folder / "model.onnx")
        return _with_sizes(profile, source.size, folder.iterdir())


def _with_sizes(profile: Profile, size: int, files: Iterable[Path]) -> Profile:
    """Add the size of the model's files, and of their download, to a profile.

    Args:
        profile: the profile.
        size: bytes of the model's files.
        files: to compress for the download size; empty to leave it out.
    """
    sizes = [deflated_size(path) for path in files]
    download = {"download": counted(sum(sizes), "B")} if sizes else {}
    return replace(profile, totals={**profile.totals, "size": counted(size, "B"), **download})
