"""Profile a model at the shapes that a person or a real sample gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from packlight.api.measured_profile import measured_profile
from packlight.api.profile import ProfileRequest, Timing
from packlight.model import Model, Shape, nodes, save
from packlight.planning.cost.operator_latency import target_of, with_bounds
from packlight.profiling import profile
from packlight.records import Profile, SessionOptions, counted
from packlight.runtime import stream
from packlight.sources.opening import AnyModel, AnyTask, Opened, Source, source_of, task_for
from packlight.store.deflate import deflated_size
from packlight.task import Task


def profile_of(model: Model, inputs: Mapping[str, Sequence[int]], task: Task | None) -> Profile:
    """Costs of every operator.

    Args:
        model: the model.
        inputs: shapes of inputs; they go before those of the task's sample.
        task: its first sample says the shapes of the other inputs; the sample is run once where
            shapes depend on its numbers too.
    """
    if task is None:
        return profile(model, inputs)
    fed = {name: value.shape for name, value in task.samples[0][0].items()}
    asked = {**fed, **inputs}
    found = profile(model, asked)
    if found.unknown and asked == fed:
        return profile(model, asked, shapes_in_use(model, task))
    return found


def shapes_in_use(model: Model, task: Task) -> dict[str, Shape]:
    """Shapes of all values at the first call of the first sample."""
    given = [str(value.name) for node in nodes(model.graph) for value in node.outputs if value.name]
    names = [*model.inputs(), *given]
    first = task.samples[0][:1]
    calls = stream(model, names, [first], task.state, SessionOptions(arithmetic="exact"))
    return {name: tuple(value.shape) for values in calls for name, value in values.items()}


def profiled(opened: Opened, request: ProfileRequest) -> Profile:
    """The profile that is asked for, without running the model.

    Raises:
        InputError: the device cannot be used, or an input cannot have such a shape.
    """
    target = target_of(request.device, request.unit)
    found = profile_of(opened.model, request.inputs, None)
    bounded = found if target is None else with_bounds(found, opened.model, *target)
    source = Source.of(opened)
    return with_files(bounded, source.size, source.files if request.download else ())


def profiled_here(
    model: AnyModel, task: AnyTask | None, request: ProfileRequest, timing: Timing | None
) -> Profile:
    """A profile in this process: of a value, with a task's own code, or measured.

    Raises:
        InputError: the model, the task or the device cannot be used, an input cannot have such a
            shape, or the model fails when it is measured.
    """
    target = target_of(request.device, request.unit)
    source = source_of(model, runs=timing is not None or task is not None)
    data = None if task is None else task_for(task, source.model)
    found = profile_of(source.model, request.inputs, data)
    if timing is not None:
        found = measured_profile(source.model, found, data, timing)
    if target is not None:
        found = with_bounds(found, source.model, *target)
    if not request.download:
        return with_files(found, source.size, ())
    with TemporaryDirectory(prefix="packlight-") as folder:
        if isinstance(model, Model):
            save(model, Path(folder) / "model.onnx")
        files = Path(folder).iterdir() if isinstance(model, Model) else source.files
        return with_files(found, source.size, files)


def with_files(found: Profile, size: int, files: Iterable[Path]) -> Profile:
    """A profile with the size of the files as they are, and of a download of them.

    Args:
        found: the profile.
        size: bytes of the model's files.
        files: to compress as for a download; none where that is not asked.
    """
    packed = [deflated_size(path) for path in files]
    download = {"download": counted(sum(packed), "B")} if packed else {}
    return replace(found, totals={**found.totals, "size": counted(size, "B"), **download})
