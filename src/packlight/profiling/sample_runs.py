"""Profiles at the shapes of a sample, and the time of each operator on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from packlight.errors import InputError
from packlight.model import Model, Shape, nodes
from packlight.model.map_types import may_be_tensor
from packlight.profiling.kernel_shares import with_latency
from packlight.profiling.node_tags import tag_nodes
from packlight.profiling.profile import profile as count_costs
from packlight.records import Profile, SessionOptions
from packlight.runtime import Feeds, Steps, stream
from packlight.runtime.kernel_times import time_kernels
from packlight.runtime.nested_graphs import infer_types
from packlight.task import Task

MOST_STEPS = 8
"""Calls of a sample that are timed."""

INTEGER_LIMIT = 2
"""Random integers stay below this, so that they are valid indices nearly everywhere."""

NOTHING_RUNS = (
    "there is no latency to measure: all outputs of this model are computed when it is loaded"
)


@dataclass(frozen=True, slots=True)
class Timing:
    """Settings for latency measured on this machine.

    Attributes:
        options: of the sessions.
        seconds: to spend on measuring.
        seed: of random inputs and of intervals.
    """

    options: SessionOptions
    seconds: float
    seed: int


def profile_for_task(
    model: Model, inputs: Mapping[str, Sequence[int]], task: Task | None
) -> Profile:
    """Count the costs of every operator.

    Args:
        model: the model.
        inputs: shapes of inputs; they override those of the task's first sample.
        task: its first sample gives the shapes of the other inputs; it is run once if shapes
            depend on its values.
    """
    if task is None:
        return count_costs(model, inputs)
    input_shapes = {name: value.shape for name, value in task.samples[0][0].items()}
    shapes = {**input_shapes, **inputs}
    profile = count_costs(model, shapes)
    if profile.unknown and shapes == input_shapes:
        return count_costs(model, shapes, sample_shapes(model, task))
    return profile


def sample_shapes(model: Model, task: Task) -> dict[str, Shape]:
    """Shapes of all values at the first call of a task's first sample."""
    typed = infer_types(model.clone())
    computed = [
        str(value.name)
        for node in nodes(typed)
        for value in node.outputs
        if value.name and may_be_tensor(value)
    ]
    names = [*model.inputs(), *computed]
    sample = task.samples[0][:1]
    steps = stream(model, names, [sample], task.state, SessionOptions(arithmetic="exact"))
    return {name: tuple(value.shape) for outputs in steps for name, value in outputs.items()}


def measure_operators(model: Model, profile: Profile, task: Task | None, timing: Timing) -> Profile:
    """Add the time that each operator takes on this machine to a profile.

    Args:
        model: the model.
        profile: its profile, with the shapes of inputs.
        task: its first sample is run; random inputs without a task, or if the profile has other
            shapes.
        timing: settings of the measurement.

    Raises:
        InputError: a shape is open, an input cannot be random, the model fails, or nothing runs.
    """
    if timing.options.arithmetic == "exact":
        raise InputError("latency needs the runtime's arithmetic; 'exact' cannot be measured")
    if all(operator.at_load for operator in profile.operators):
        raise InputError(NOTHING_RUNS)
    tagged = tag_nodes(model)
    sample, state = sample_of(model, profile, task, timing.seed)
    carried = {tagged.renamed[output]: into for output, into in state.items()}
    kernels = time_kernels(tagged.model, sample, carried, timing.options, seconds=timing.seconds)
    if not any(run.seconds for run in kernels.runs):
        raise InputError(NOTHING_RUNS)
    return with_latency(profile, tagged, kernels, timing.seed)


def sample_of(
    model: Model, profile: Profile, task: Task | None, seed: int
) -> tuple[Steps, Mapping[str, str]]:
    """First sample if it has the profile's shapes, else random inputs; and the task's state."""
    if task is not None:
        steps: Steps = task.samples[0][:MOST_STEPS]
        if all(profile.inputs[name] == array.shape for name, array in steps[0].items()):
            return steps, task.state
    return [random_inputs(model, profile.inputs, seed)], {}


def random_inputs(model: Model, shapes: Mapping[str, Sequence[int | None]], seed: int) -> Feeds:
    """Random inputs: normal floats, integers 0 and 1, and true for booleans.

    Raises:
        InputError: a shape is open, or an input is of another type.
    """
    random = np.random.default_rng(seed)
    feeds = {}
    for name, value in model.inputs().items():
        shape = [size for size in shapes.get(name, (None,)) if size is not None]
        if len(shape) != len(shapes.get(name, (None,))):
            raise InputError(
                f"to measure a model all shapes must be known, and input '{name}' is open: give "
                f"--input {name}=SIZES, or a task"
            )
        dtype = value.dtype
        if dtype is None or dtype == ir.DataType.STRING:
            raise InputError(
                f"input '{name}' holds {dtype}, which cannot be drawn at random: give a task"
            )
        kind = dtype.numpy()
        if dtype.is_floating_point():
            feeds[name] = random.standard_normal(shape).astype(kind)
        elif dtype == ir.DataType.BOOL:
            feeds[name] = np.ones(shape, kind)
        else:
            feeds[name] = random.integers(0, INTEGER_LIMIT, shape).astype(kind)
    return feeds
