"""Let methods look at the calibration samples of a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from packlight.compression.compress import Stream
from packlight.model import Model
from packlight.records import SessionOptions
from packlight.runtime import Steps, ahead, stream
from packlight.runtime.calibration.resume import Relay
from packlight.runtime.disk_cache import Spool
from packlight.runtime.progress import Progress
from packlight.task import Task


def calibration(task: Task, options: SessionOptions, progress: Progress) -> Stream:
    """What streams the values of chosen tensors over the calibration samples."""
    samples = Spool(task.calibration)

    def watched(most: int) -> Iterator[Steps]:
        total = len(task.calibration)
        few = min(most or total, total)
        for place in range(few):
            progress("calibrating", place, few)
            yield samples[place * total // few]

    relay = Relay(partial(watched, 0), options, progress)

    def values(
        model: Model, names: Sequence[str], most: int
    ) -> Iterable[Mapping[str, NDArray[np.generic]]]:
        if most or task.state:
            return ahead(stream(model, names, watched(most), task.state, options))
        return ahead(relay.values(model, names))

    return Stream(values, frozenset(task.state))
