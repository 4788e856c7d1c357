"""Check arrays and samples against the declared inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics.fidelity import is_float
from packlight.model.model import Model

if TYPE_CHECKING:
    import onnx_ir as ir

    from packlight.runtime import Steps
    from packlight.task.task import Task

Dims = tuple[int | None, ...]


def declared_dims(value: ir.Value) -> Dims | None:
    """The declared shape, None for each free axis; None where the rank is unknown."""
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def type_name(value: ir.Value) -> str:
    """Name of the declared type for people; ``unknown`` where there is none."""
    if value.dtype is None:
        return "unknown"
    return value.dtype.name.lower()


def declared_dtype(value: ir.Value) -> np.dtype[np.generic]:
    """The declared type of an input.

    Raises:
        TaskError: the model declares none.
    """
    if value.dtype is None:
        raise TaskError(f"the model does not say what type its input '{value.name}' takes")
    return value.dtype.numpy()


def dims_text(dims: Dims) -> str:
    """A shape for people."""
    return "[" + ", ".join("any" if dim is None else str(dim) for dim in dims) + "]"


def shape_matches(dims: Dims, shape: Sequence[int]) -> bool:
    """Test whether the declared dimensions allow a shape."""
    return len(dims) == len(shape) and all(
        dim is None or dim == size for dim, size in zip(dims, shape, strict=True)
    )


def check_task(task: Task, model: Model) -> Task:
    """Check that the first samples and the state of a task fit the model, and return it.

    Raises:
        TaskError: they do not.
    """
    for output, target in task.state.items():
        if output not in model.outputs() or target not in model.inputs():
            raise TaskError(
                f"the state of task '{task.name}' carries an output to an input; the model has "
                f"outputs {', '.join(model.outputs())} and inputs {', '.join(model.inputs())}, "
                f"the task says '{output}' -> '{target}'"
            )
    _check_steps(task.samples[0], model, f"sample 0 of task '{task.name}'")
    if len(task.calibration):
        _check_steps(task.calibration[0], model, f"calibration sample 0 of task '{task.name}'")
    return task


def _check_steps(steps: Steps, model: Model, where: str) -> None:
    """Refuse a sample whose first call does not fit the declared inputs."""
    if isinstance(steps, Mapping) or not len(steps):
        fault = "a mapping: put it in a tuple" if steps else "empty"
        raise TaskError(
            f"a sample is a sequence of calls, each a mapping by input name; {where} is {fault}"
        )
    feeds = steps[0]
    inputs = model.inputs()
    if set(feeds) != set(inputs):
        raise TaskError(
            f"a call feeds the inputs {', '.join(inputs)}; {where} feeds {', '.join(feeds)}"
        )
    for name, value in inputs.items():
        _check_feed(np.asarray(feeds[name]), value, f"input '{name}' in {where}")


def _check_feed(array: NDArray[np.generic], value: ir.Value, where: str) -> None:
    """Refuse an array of another type or shape than an input takes."""
    dtype = declared_dtype(value)
    dims = declared_dims(value)
    if array.dtype != dtype and dtype.kind not in "OU":
        raise TaskError(f"{where} takes {dtype.name}; got {array.dtype.name}")
    if dims is not None and not shape_matches(dims, array.shape):
        raise TaskError(f"{where} has shape {dims_text(dims)}; got {list(array.shape)}")
    if is_float(array.dtype) and not np.isfinite(array.astype(np.float64)).all():
        raise TaskError(f"{where} must be finite; it holds NaN or infinity")
