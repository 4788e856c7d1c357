"""Whether the ranges of an integer model fit the data that it is judged by.

Ranges come from calibration samples. Where much more of other data lies outside of them than of the
calibration samples themselves, which ranges may cut off on purpose, the samples were not like it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packlight.evaluation.exactness import spread
from packlight.model import Model, nodes, stored_tensor
from packlight.records import SessionOptions
from packlight.runtime import Steps, stream
from packlight.task import Task

MORE, SOME = 3.0, 0.001
"""A share outside is worth a word where it is so many times that in calibration, and so much."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value whose range does not fit.

    Attributes:
        value: its name.
        share: of its numbers outside of the range, in the data judged by.
        calibrated: the same in the calibration samples.
    """

    value: str
    share: float
    calibrated: float


class Outside:
    """Counts numbers outside of a range.

    Args:
        low: end of the range.
        high: end of the range.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.count = self.total = 0

    def update(self, value: NDArray[np.generic]) -> None:
        """Take in the numbers of one call; those that are not finite are outside."""
        numbers = np.asarray(value, np.float32)
        inside = (numbers >= self.low) & (numbers <= self.high)
        self.total += inside.size
        self.count += inside.size - int(np.count_nonzero(inside))

    @property
    def share(self) -> float:
        """Of the numbers seen; 0 where none were."""
        return self.count / self.total if self.total else 0.0


def misfits(
    model: Model, task: Task, options: SessionOptions, *, limit: int = 32
) -> tuple[Misfit, ...]:
    """Values of which much more lies outside of their range than in calibration, worst first.

    Args:
        model: with QuantizeLinear of stored scales; others have no ranges.
        task: its samples, and the calibration samples that they are set beside.
        options: of the sessions.
        limit: samples of each at most, evenly spread.
    """
    ends = dict(ranges(model))
    if not ends or not task.calibration:
        return ()
    seen = counted(model, task.samples, task.state, ends, (options, limit))
    before = counted(model, task.calibration, task.state, ends, (options, limit))
    found = [Misfit(name, seen[name].share, before[name].share) for name in ends]
    poor = [one for one in found if one.share > MORE * one.calibrated + SOME]
    return tuple(sorted(poor, key=lambda one: (-one.share, one.value)))


def ranges(model: Model) -> Iterator[tuple[str, tuple[float, float]]]:
    """What is quantized with a stored scale for the whole value, and the ends of its range."""
    for node in nodes(model.graph):
        if node.op_type != "QuantizeLinear" or len(node.inputs) <= ZERO:
            continue
        value, scale, zero = node.inputs[: ZERO + 1]
        step, point = (None if v is None else stored_tensor(v) for v in (scale, zero))
        if value is None or step is None or point is None or step.size != 1:
            continue
        size, middle = float(step.numpy().item()), int(point.numpy().item())
        least, most = np.iinfo(point.numpy().dtype).min, np.iinfo(point.numpy().dtype).max
        edges = (least - middle - 0.5) * size, (most - middle + 0.5) * size
        yield str(value.name), edges


ZERO = 2
"""Input of QuantizeLinear that is the zero point."""


def counted(
    model: Model,
    samples: Sequence[Steps],
    state: Mapping[str, str],
    ends: Mapping[str, tuple[float, float]],
    how: tuple[SessionOptions, int],
) -> Mapping[str, Outside]:
    """Numbers outside of every range, over some samples."""
    found = {name: Outside(*edges) for name, edges in ends.items()}
    options, limit = how
    few = (samples[index] for index in spread(len(samples), limit))
    for values in stream(model, list(ends), few, state, options):
        for name, value in values.items():
            found[name].update(value)
    return found


def sentence(found: Sequence[Misfit]) -> str:
    """What was found, for people; empty where all ranges fit."""
    if not found:
        return ""
    worst = found[0]
    return (
        f"ranges do not fit this data: {worst.share:.1%} of '{worst.value}' lies outside of its "
        f"range ({worst.calibrated:.1%} in calibration), and {len(found) - 1} more values are like "
        "it; calibrate with samples like those it is judged by"
    )
