"""Compare the ranges of an integer model with the evaluation data.

Ranges come from calibration samples, and may cut off some of their numbers on purpose. Where a much
larger share of the evaluation data lies outside, the calibration samples were not representative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packlight.evaluation.exactness import evenly_spread
from packlight.model import Model, nodes, stored_tensor
from packlight.records import SessionOptions
from packlight.runtime import Steps, stream
from packlight.task import Task

TIMES_CALIBRATION = 3.0
SMALLEST_SHARE = 0.001
"""A share outside is reported from this multiple of the share in calibration, plus this share."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value whose range does not fit.

    Attributes:
        value: its name.
        share: share of its numbers outside of the range, in the evaluation data.
        calibrated: share outside of the range in the calibration samples.
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
        self.low = low
        self.high = high
        self.count = self.total = 0

    def update(self, value: NDArray[np.generic]) -> None:
        """Count the numbers of one call; those that are not finite are outside."""
        numbers = np.asarray(value, np.float32)
        inside = (numbers >= self.low) & (numbers <= self.high)
        self.total += inside.size
        self.count += inside.size - int(np.count_nonzero(inside))

    @property
    def share(self) -> float:
        """Share outside of all numbers; 0 where there were none."""
        return self.count / max(self.total, 1)


def misfits(
    model: Model, task: Task, options: SessionOptions, *, limit: int = 32
) -> tuple[Misfit, ...]:
    """Values with a much larger share outside of their range than in calibration, worst first.

    Args:
        model: with QuantizeLinear of stored scales; other models have no ranges.
        task: its samples and calibration samples.
        options: of the sessions.
        limit: samples of each at most, evenly spread.
    """
    ends = dict(ranges(model))
    if not ends or not task.calibration:
        return ()
    evaluated = _count_outside(model, task.samples, task.state, ends, (options, limit))
    calibrated = _count_outside(model, task.calibration, task.state, ends, (options, limit))
    shares = [Misfit(name, evaluated[name].share, calibrated[name].share) for name in ends]
    poor = [
        misfit
        for misfit in shares
        if misfit.share > TIMES_CALIBRATION * misfit.calibrated + SMALLEST_SHARE
    ]
    return tuple(sorted(poor, key=lambda misfit: (-misfit.share, misfit.value)))


def ranges(model: Model) -> Iterator[tuple[str, tuple[float, float]]]:
    """Values quantized with a stored scale for the whole tensor, and the ends of their range."""
    for node in nodes(model.graph):
        if node.op_type != "QuantizeLinear" or len(node.inputs) <= ZERO_POINT:
            continue
        value, scale, zero_point = node.inputs[: ZERO_POINT + 1]
        if value is None or scale is None or zero_point is None:
            continue
        step = stored_tensor(scale)
        middle = stored_tensor(zero_point)
        if step is None or middle is None or step.size != 1:
            continue
        size = float(step.numpy().item())
        zero = int(middle.numpy().item())
        codes = np.iinfo(middle.numpy().dtype)
        yield str(value.name), ((codes.min - zero - 0.5) * size, (codes.max - zero + 0.5) * size)


ZERO_POINT = 2
"""Input of QuantizeLinear that is the zero point."""


def _count_outside(
    model: Model,
    samples: Sequence[Steps],
    state: Mapping[str, str],
    ends: Mapping[str, tuple[float, float]],
    how: tuple[SessionOptions, int],
) -> Mapping[str, Outside]:
    """Count numbers outside of every range, over evenly spread samples."""
    counts = {name: Outside(*edges) for name, edges in ends.items()}
    options, limit = how
    subset = (samples[index] for index in evenly_spread(len(samples), limit))
    for values in stream(model, list(ends), subset, state, options):
        for name, value in values.items():
            counts[name].update(value)
    return counts


def sentence(misfits: Sequence[Misfit]) -> str:
    """State the result for people; empty where all ranges fit."""
    if not misfits:
        return ""
    worst = misfits[0]
    return (
        f"ranges do not fit this data: {worst.share:.1%} of '{worst.value}' lies outside of its "
        f"range ({worst.calibrated:.1%} in calibration), and {len(misfits) - 1} more values are "
        "affected; calibrate with samples like the evaluation data"
    )
