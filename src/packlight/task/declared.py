"""Whether arrays and samples fit what a model declares to take."""

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
    """The declared shape, None for each free axis; None where not even the rank is known."""
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def declared_dtype(value: ir.Value) -> np.dtype[np.generic]:
    """The type that an input takes.

    Raises:
        TaskError: the model does not say.
    """
    if value.dtype is None:
        raise TaskError(f"the model does not say what type its input '{value.name}' takes")
    return value.dtype.numpy()


def dims_text(dims: Dims) -> str:
    """A shape for people."""
    return "[" + ", ".join("any" if dim is None else str(dim) for dim in dims) + "]"


def fits(dims: Dims, shape: Sequence[int]) -> bool:
    """Whether a shape is one that the declared dimensions allow."""
    return len(dims) == len(shape) and all(
        want is None or want == size for want, size in zip(dims, shape, strict=True)
    )


def check_task(task: Task, model: Model) -> Task:
    """The task itself, once its first samples and its state fit the model.

    Raises:
        TaskError: they do not.
    """
    for output, fed in task.state.items():
        if output not in model.outputs() or fed not in model.inputs():
            raise TaskError(
                f"the state of task '{task.name}' carries an output to an input; the model has "
                f"outputs {', '.join(model.outputs())} and inputs {', '.join(model.inputs())}, "
                f"the task says '{output}' -> '{fed}'"
            )
    check_steps(task.samples[0], model, f"sample 0 of task '{task.name}'")
    if len(task.calibration):
        check_steps(task.calibration[0], model, f"calibration sample 0 of task '{task.name}'")
    return task


def check_steps(steps: Steps, model: Model, where: str) -> None:
    """Refuse a sample whose first call does not feed the model what it declares."""
    if isinstance(steps, Mapping) or not len(steps):
        raise TaskError(f"a sample is a sequence of calls, each a mapping by input name; {where} "
                        f"is {'a mapping: put it in a tuple' if steps else 'empty'}")  # fmt: skip
    feeds, wanted = steps[0], model.inputs()
    if set(feeds) != set(wanted):
        raise TaskError(
            f"a call feeds the inputs {', '.join(wanted)}; {where} feeds {', '.join(feeds)}"
        )
    for name, value in wanted.items():
        check_feed(np.asarray(feeds[name]), value, f"input '{name}' in {where}")


def check_feed(array: NDArray[np.generic], value: ir.Value, where: str) -> None:
    """Refuse an array of another type or shape than an input takes."""
    dtype, dims = declared_dtype(value), declared_dims(value)
    if array.dtype != dtype and dtype.kind not in "OU":
        raise TaskError(f"{where} takes {dtype.name}; got {array.dtype.name}")
    if dims is not None and not fits(dims, array.shape):
        raise TaskError(f"{where} has shape {dims_text(dims)}; got {list(array.shape)}")
    if is_float(array.dtype) and not np.isfinite(array.astype(np.float64)).all():
        raise TaskError(f"{where} must be finite; it holds NaN or infinity")
