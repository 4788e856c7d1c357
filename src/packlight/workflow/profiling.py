"""Profile a model at the shapes that a real sample gives it."""

from __future__ import annotations

from collections.abc import Mapping

from packlight.model import Model, Shape, nodes
from packlight.profile import profile
from packlight.records import Profile, SessionOptions
from packlight.runtime import stream
from packlight.task import Task


def profile_of(model: Model, inputs: Mapping[str, tuple[int, ...]], task: Task | None) -> Profile:
    """Costs of every operator.

    Args:
        model: the model.
        inputs: shapes for inputs whose dimensions are open.
        task: its first sample is run once, so that every shape is known.
    """
    return profile(model, inputs, shapes_in_use(model, task) if task else {})


def shapes_in_use(model: Model, task: Task) -> dict[str, Shape]:
    """Shapes of all values at the first call of the first sample."""
    given = [str(value.name) for node in nodes(model.graph) for value in node.outputs if value.name]
    names = [*model.inputs(), *given]
    first = task.samples[0][:1]
    calls = stream(model, names, [first], task.state, SessionOptions(arithmetic="exact"))
    return {name: tuple(value.shape) for values in calls for name, value in values.items()}
