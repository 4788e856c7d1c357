"""Measure which operators of a model take the time of a run on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from packlight.api.profile import Timing
from packlight.errors import InputError
from packlight.model import Model
from packlight.profiling.kernel_shares import with_latency
from packlight.profiling.node_tags import marked
from packlight.records import Profile
from packlight.runtime import Feeds, Steps
from packlight.runtime.kernel_times import time_kernels
from packlight.task import Task

MOST_STEPS = 8
"""Calls of a sample that are timed; the rest would only take longer."""

INTEGERS = 2
"""Whole numbers that are drawn stay below this: valid indices nearly everywhere."""

NOTHING_RUNS = (
    "there is no time of a run to measure: all that this model gives is computed when it is loaded"
)


def measured_profile(
    model: Model,
    found: Profile,
    task: Task | None,
    timing: Timing,
) -> Profile:
    """A profile with the time that each operator takes on this machine.

    Args:
        model: the model.
        found: its profile, which says the shapes of inputs.
        task: whose first sample is run; random numbers where there is none, or where other shapes
            than its own were asked for.
        timing: how it is measured.

    Raises:
        InputError: a shape is open, an input cannot be drawn, the model fails, or nothing runs.
    """
    if timing.options.arithmetic == "exact":
        raise InputError("times are those of the runtime's arithmetic; 'exact' cannot be measured")
    if all(one.at_load for one in found.operators):
        raise InputError(NOTHING_RUNS)
    copy = marked(model)
    sample, state = sample_of(model, found, task, timing.seed)
    carried = {copy.renamed[output]: into for output, into in state.items()}
    kernels = time_kernels(copy.model, sample, carried, timing.options, seconds=timing.seconds)
    if not any(run.seconds for run in kernels.runs):
        raise InputError(NOTHING_RUNS)
    return with_latency(found, copy, kernels, timing.seed)


def sample_of(
    model: Model, found: Profile, task: Task | None, seed: int
) -> tuple[Steps, Mapping[str, str]]:
    """What the model is run on: a task's first sample where it has the profile's shapes."""
    if task is not None:
        steps: Steps = task.samples[0][:MOST_STEPS]
        if all(found.inputs[name] == array.shape for name, array in steps[0].items()):
            return steps, task.state
    return [drawn(model, found.inputs, seed)], {}


def drawn(model: Model, shapes: Mapping[str, Sequence[int | None]], seed: int) -> Feeds:
    """Random inputs: normal floats, whole numbers of 0 and 1, and true for truth values.

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
            feeds[name] = random.integers(0, INTEGERS, shape).astype(kind)
    return feeds
