"""Latency of one session against another: interleaved, with intervals that know about drift."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.records.measurement import Measurement
from packlight.runtime.bootstrap import measured, resampled
from packlight.runtime.calls import Session, Steps

Clock = Callable[[], float]
Seconds = NDArray[np.float64]

LEAST, MOST = 30, 2000
"""Runs of each session: enough for an interval, and no more than it can use."""

WARM_UP = 3
"""Runs of each session before any that counts: memory is allocated, weights are packed."""

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
    """Latency of a candidate beside that of a reference, in one process, run by run.

    The order is reference, candidate, candidate, reference, and so on, so that a steady drift of
    the machine cancels. Both runs of a pair get the same sample; the samples take turns.

    Args:
        reference: the original.
        candidate: what is measured.
        samples: at least one.
        state: by output, the input that it feeds at the next step.
        seconds: to spend; more where that does not suffice for 30 pairs, less after 2000.
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
    taken = interleaved([reference, candidate], samples, state, seconds, clock)
    return compared(taken[:, 0], taken[:, 1], seed)


def latency_of(
    session: Session,
    samples: Sequence[Steps],
    state: Mapping[str, str],
    *,
    seconds: float = 2.0,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> dict[str, Measurement]:
    """Latency of one session by itself: ``latency``, ``latency_p90`` and ``latency_p99``.

    Arguments and errors are those of ``time_against``.
    """
    return alone(interleaved([session], samples, state, seconds, clock)[:, 0], seed)


def alone(taken: Seconds, seed: int) -> dict[str, Measurement]:
    """``latency``, ``latency_p90`` and ``latency_p99`` from the seconds of one session (runs,)."""
    return quantiles(taken, spread_of(taken, resampled(len(taken), seed)))


def interleaved(
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
    taken: list[list[float]] = []
    with undisturbed():
        start = clock()
        while len(taken) < LEAST or (len(taken) < MOST and clock() - start < seconds):
            for turn in (order, reversed(order)):
                steps = samples[len(taken) % len(samples)]
                row = [0.0] * len(sessions)
                for index in turn:
                    row[index] = timed(sessions[index], steps, state, clock)
                taken.append(row)
    return np.array(taken)


def timed(session: Session, steps: Steps, state: Mapping[str, str], clock: Clock) -> float:
    """Seconds for one call of the model, on average over the steps of a sample."""
    start = clock()
    session.run_steps(steps, state)
    return (clock() - start) / len(steps)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection meanwhile."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def frozen() -> Iterator[None]:
    """Spare what is there already from garbage collection, which comes before every timing."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def compared(reference: Seconds, candidate: Seconds, seed: int) -> dict[str, Measurement]:
    """Measurements from paired seconds, in the order they were taken.

    Args:
        reference: (pairs,).
        candidate: (pairs,).
        seed: of the bootstrap.
    """
    runs = len(reference)
    indices = resampled(runs, seed)
    spread = spread_of(candidate, indices)
    base = np.median(reference[indices], axis=1)
    middle = float(np.median(reference))
    ratio = float(np.median(candidate)) / middle
    return {
        **quantiles(candidate, spread),
        "latency_reference": measured(middle, base, "s", runs),
        "latency_ratio": measured(ratio, spread[0] / base, "1", runs),
    }


def spread_of(taken: Seconds, indices: NDArray[np.intp]) -> Seconds:
    """The quantiles of ``QUANTILES`` of each resample, (quantiles, resamples)."""
    return np.quantile(taken[indices], list(QUANTILES.values()), axis=1)


def quantiles(taken: Seconds, spread: Seconds) -> dict[str, Measurement]:
    """The quantiles of ``QUANTILES``, each with its interval."""
    values = np.quantile(taken, list(QUANTILES.values()))
    return {
        name: measured(float(value), row, "s", len(taken))
        for name, value, row in zip(QUANTILES, values, spread, strict=True)
    }
