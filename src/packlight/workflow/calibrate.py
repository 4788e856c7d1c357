"""Let methods look at the calibration samples of a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from packlight.compress.compress import Stream
from packlight.model import Model
from packlight.records import SessionOptions
from packlight.runtime import Steps, ahead, stream
from packlight.task import Task
from packlight.workflow.progress import Progress
from packlight.workflow.spool import Spool


def calibration(task: Task, options: SessionOptions, progress: Progress) -> Stream:
    """What streams the values of chosen tensors over the calibration samples."""
    samples = Spool(task.calibration)

    def watched(most: int) -> Iterator[Steps]:
        total = len(task.calibration)
        few = min(most or total, total)
        for place in range(few):
            progress("calibrating", place, few)
            yield samples[place * total // few]

    def values(
        model: Model, names: Sequence[str], most: int
    ) -> Iterable[Mapping[str, NDArray[np.generic]]]:
        return ahead(stream(model, names, watched(most), task.state, options))

    return Stream(values, frozenset(task.state))
