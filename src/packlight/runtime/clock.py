"""Latency of one session against another: interleaved, with intervals that allow for drift.

Where a session's memory lies decides up to a percent of its speed, for as long as it is open. So
``compare_latency`` takes the ratio in rounds, each with new sessions; its interval is that of the
mean of the rounds' logarithms by Student's t, or that within the rounds where this is wider.

Runs that follow each other resemble each other, so intervals within a session come from the
circular block bootstrap of Politis and Romano (1992). With few blocks its percentiles are too
narrow; they are stretched about the estimate as Student's t is wider than the normal distribution,
with one degree of freedom less than there are blocks.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.records.measurement import Measurement, Unit
from packlight.runtime.calls import Session, Steps

Clock = Callable[[], float]
Seconds = NDArray[np.float64]

LEAST_RUNS = 30
MOST_RUNS = 2000
"""Runs of each session: enough for an interval, and no more than it needs."""

WARM_UP = 3
"""Runs of each session before those that count: they allocate memory and pack weights."""

RESAMPLES = 1000
TAIL = 0.025
"""Probability beyond each end of a 95 % interval."""

ROUNDS = 5
Opener = Callable[[], Session]

QUANTILES = {"latency": 0.5, "latency_p90": 0.9, "latency_p99": 0.99}


def time_against(
    reference: Session,
    candidate: Session,
    samples: Sequence[Steps],
    state: Mapping[str, str],
    *,
    seconds: float = 2.0,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> dict[str, Measurement]:
    """Measure the latency of a candidate and a reference in one process, in alternating runs.

    The order is reference, candidate, candidate, reference, and so on, so that a steady drift of
    the machine cancels. Both runs of a pair get the same sample; the samples take turns.

    Args:
        reference: the original.
        candidate: the session to measure.
        samples: at least one.
        state: by output, the input that it feeds at the next step.
        seconds: to spend; more until there are 30 pairs, less after 2000.
        seed: of the bootstrap.
        clock: seconds, from any start.

    Returns:
        ``latency`` (median), ``latency_p90`` and ``latency_p99`` of the candidate and
        ``latency_reference``, in seconds for one call of the model, and ``latency_ratio``,
        candidate by reference; all with 95 % intervals.

    Raises:
        TaskError: there are no samples, or they do not fit a session.
        ModelError: a model fails.
    """
    rounds = interleaved_seconds([reference, candidate], samples, state, seconds, clock)
    return paired_latency(rounds[:, 0], rounds[:, 1], seed)


def latency_of(
    session: Session,
    samples: Sequence[Steps],
    state: Mapping[str, str],
    *,
    seconds: float = 2.0,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> dict[str, Measurement]:
    """Measure the latency of one session: ``latency``, ``latency_p90`` and ``latency_p99``.

    Arguments and errors are those of ``time_against``.
    """
    runs = interleaved_seconds([session], samples, state, seconds, clock)
    return latency_quantiles(runs[:, 0], seed)


def compare_latency(
    reference: Opener,
    candidate: Opener,
    samples: Sequence[Steps],
    state: Mapping[str, str],
    *,
    rounds: int = ROUNDS,
    seconds: float = 2.0,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> dict[str, Measurement]:
    """Measure the latency of a candidate and a reference over several openings of both.

    Args:
        reference: opens the original.
        candidate: opens the model to measure.
        samples: at least one.
        state: by output, the input that it feeds at the next step.
        rounds: openings, at least 2.
        seconds: to spend in all, without the openings.
        seed: of the bootstrap.
        clock: seconds, from any start.

    Returns:
        The measurements of ``time_against``, over all rounds.

    Raises:
        TaskError: there are no samples, or they do not fit a session.
        ModelError: a model fails.
    """
    return compare_latency_with_reference(
        reference, candidate, samples, state, rounds=rounds, seconds=seconds, seed=seed, clock=clock
    )[1]


def compare_latency_with_reference(
    reference: Opener,
    candidate: Opener,
    samples: Sequence[Steps],
    state: Mapping[str, str],
    *,
    rounds: int = ROUNDS,
    seconds: float = 2.0,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
    """Measure as ``compare_latency`` does, and report the reference's latency quantiles as well.

    Returns:
        The latency of the reference as of ``latency_of``, and the result of ``compare_latency``.
    """
    with frozen_heap():
        seconds_of_rounds = [
            interleaved_seconds([reference(), candidate()], samples, state, seconds / rounds, clock)
            for _ in range(rounds)
        ]
    pairs = np.concatenate(seconds_of_rounds)
    latency = paired_latency(pairs[:, 0], pairs[:, 1], seed)
    latency["latency_ratio"] = ratio_over_rounds(seconds_of_rounds, latency["latency_ratio"])
    return latency_quantiles(pairs[:, 0], seed), latency


def ratio_over_rounds(seconds_of_rounds: Sequence[Seconds], within: Measurement) -> Measurement:
    """The ratio over rounds of (pairs, 2), its interval at least as wide as that within them."""
    from scipy.special import stdtrit  # noqa: PLC0415  scipy takes long to load

    medians = np.array([np.median(pairs, axis=0) for pairs in seconds_of_rounds])
    logs = np.log(medians[:, 1] / medians[:, 0])
    middle = float(logs.mean())
    count = len(logs)
    reach = float(stdtrit(count - 1, 1 - TAIL) * logs.std(ddof=1) / np.sqrt(count))
    reach = max(reach, float(np.log(within.high / within.low)) / 2)
    ends = np.exp([middle, middle - reach, middle + reach])
    value, low, high = (float(end) for end in ends)
    return Measurement(value, "1", low, high, "measured", within.n)


def latency_quantiles(seconds: Seconds, seed: int) -> dict[str, Measurement]:
    """Median, 90th and 99th percentile of runs in order of time, with intervals."""
    return _quantiles(seconds, _resampled_quantiles(seconds, resample_indices(len(seconds), seed)))


def interleaved_seconds(
    sessions: Sequence[Session],
    samples: Sequence[Steps],
    state: Mapping[str, str],
    seconds: float,
    clock: Clock,
) -> Seconds:
    """Seconds for one call of the model, (rounds, sessions), in rounds of alternating direction."""
    if not samples:
        raise TaskError("latency is measured on at least one sample; none came")
    for session in sessions:
        for _ in range(WARM_UP):
            session.run_steps(samples[0], state)
    order = range(len(sessions))
    rounds: list[list[float]] = []
    with garbage_collection_off():
        start = clock()
        while len(rounds) < LEAST_RUNS or (len(rounds) < MOST_RUNS and clock() - start < seconds):
            for turn in (order, reversed(order)):
                steps = samples[len(rounds) % len(samples)]
                row = [0.0] * len(sessions)
                for index in turn:
                    row[index] = time_call(sessions[index], steps, state, clock)
                rounds.append(row)
    return np.array(rounds)


def time_call(session: Session, steps: Steps, state: Mapping[str, str], clock: Clock) -> float:
    """Seconds for one call of the model, on average over the steps of a sample."""
    start = clock()
    session.run_steps(steps, state)
    return (clock() - start) / len(steps)


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    """Switch garbage collection off for a ``with`` block."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Exempt existing objects from garbage collection, which comes before every timing."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def paired_latency(reference: Seconds, candidate: Seconds, seed: int) -> dict[str, Measurement]:
    """Measurements from paired seconds in order of time.

    Args:
        reference: (pairs,).
        candidate: (pairs,).
        seed: of the bootstrap.
    """
    runs = len(reference)
    indices = resample_indices(runs, seed)
    spread = _resampled_quantiles(candidate, indices)
    base = np.median(reference[indices], axis=1)
    middle = float(np.median(reference))
    ratio = float(np.median(candidate)) / middle
    return {
        **_quantiles(candidate, spread),
        "latency_reference": with_interval(middle, base, "s", runs),
        "latency_ratio": with_interval(ratio, spread[0] / base, "1", runs),
    }


def _resampled_quantiles(seconds: Seconds, indices: NDArray[np.intp]) -> Seconds:
    return np.quantile(seconds[indices], list(QUANTILES.values()), axis=1)


def _quantiles(seconds: Seconds, spread: Seconds) -> dict[str, Measurement]:
    values = np.quantile(seconds, list(QUANTILES.values()))
    return {
        name: with_interval(float(value), row, "s", len(seconds))
        for name, value, row in zip(QUANTILES, values, spread, strict=True)
    }


def _block_length(runs: int) -> int:
    return max(1, round(math.sqrt(runs)))


def resample_indices(runs: int, seed: int) -> NDArray[np.intp]:
    """Indices of resampled runs, (resamples, runs), drawn in blocks that wrap around."""
    length = _block_length(runs)
    blocks = -(-runs // length)
    starts = np.random.default_rng(seed).integers(0, runs, (RESAMPLES, blocks))
    indices = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)
    return np.asarray(indices[:, :runs] % runs, dtype=np.intp)


def _t_stretch(runs: int) -> float:
    blocks = -(-runs // _block_length(runs))
    from scipy.special import ndtri, stdtrit  # noqa: PLC0415  scipy takes long to load

    return float(stdtrit(max(blocks - 1, 1), 1 - TAIL) / ndtri(1 - TAIL))


def with_interval(value: float, spread: NDArray[np.float64], unit: Unit, runs: int) -> Measurement:
    """A positive estimate with the 95 % interval of its resampled values."""
    low, high = np.quantile(spread, [TAIL, 1 - TAIL])
    stretch = _t_stretch(runs)
    lowest = max(0.0, min(value, value + stretch * float(low - value)))
    highest = max(value, value + stretch * float(high - value))
    return Measurement(value, unit, lowest, highest, "measured", runs)
