"""Profile a model at the shapes that a person or a real sample gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packlight.model import Model, Shape, nodes
from packlight.profile import profile
from packlight.records import Profile, SessionOptions, counted
from packlight.runtime import stream
from packlight.task import Task
from packlight.workflow.bench import deflated


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


def with_files(found: Profile, size: int, files: Iterable[Path]) -> Profile:
    """A profile with the size of the files as they are, and of a download of them.

    Args:
        found: the profile.
        size: bytes of the model's files.
        files: to compress as for a download; none where that is not asked.
    """
    packed = [deflated(path) for path in files]
    download = {"download": counted(sum(packed), "B")} if packed else {}
    return replace(found, totals={**found.totals, "size": counted(size, "B"), **download})
