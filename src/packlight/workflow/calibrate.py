"""Let methods look at the calibration samples of a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from packlight.compress.compress import Stream
from packlight.model import Model
from packlight.records import SessionOptions
from packlight.runtime import Steps, stream
from packlight.task import Task
from packlight.workflow.progress import Progress


def calibration(task: Task, options: SessionOptions, progress: Progress) -> Stream:
    """What streams the values of chosen tensors over the calibration samples."""

    def watched() -> Iterator[Steps]:
        for index, steps in enumerate(task.calibration):
            progress("calibrating", index, len(task.calibration))
            yield steps

    def values(model: Model, names: Sequence[str]) -> Iterable[Mapping[str, NDArray[np.generic]]]:
        return stream(model, names, watched(), task.state, options)

    return values
