"""Latency over several openings of both sessions, for no two openings run alike.

Where a session's memory lies decides up to a percent of its speed, for as long as it is open. So
the ratio is taken in rounds, each with sessions of its own, and its interval is that of the mean
of the rounds' logarithms by Student's t, or that within the rounds where this is wider.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from packlight.records.measurement import Measurement
from packlight.runtime.bootstrap import TAIL
from packlight.runtime.calls import Session, Steps
from packlight.runtime.clock import Clock, Seconds, alone, compared, frozen, interleaved

ROUNDS = 5
Opener = Callable[[], Session]


def race(
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
    """Latency of a candidate beside that of a reference, over fresh sessions of both.

    Args:
        reference: opens the original.
        candidate: opens what is measured.
        samples: at least one.
        state: by output, the input that it feeds at the next step.
        rounds: openings, at least 2.
        seconds: to spend in all, openings apart.
        seed: of the bootstrap.
        clock: seconds, from any start.

    Returns:
        What ``time_against`` gives, over all rounds together.

    Raises:
        TaskError: there are no samples, or they do not fit a session.
        ModelError: a model fails.
    """
    return race_both(
        reference, candidate, samples, state, rounds=rounds, seconds=seconds, seed=seed, clock=clock
    )[1]


def race_both(
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
    """The latency of the reference, as of ``latency_of``, and what ``race`` gives, from one race.

    Arguments and errors are those of ``race``.
    """
    with frozen():
        taken = [
            interleaved([reference(), candidate()], samples, state, seconds / rounds, clock)
            for _ in range(rounds)
        ]
    every = np.concatenate(taken)
    found = compared(every[:, 0], every[:, 1], seed)
    found["latency_ratio"] = over_rounds(taken, found["latency_ratio"])
    return alone(every[:, 0], seed), found


def over_rounds(taken: Sequence[Seconds], within: Measurement) -> Measurement:
    """The ratio over rounds, each of (pairs, 2), no surer than within them."""
    from scipy.special import stdtrit  # noqa: PLC0415  scipy takes long to load

    logs = np.array([np.log(np.median(pairs[:, 1]) / np.median(pairs[:, 0])) for pairs in taken])
    middle, count = float(logs.mean()), len(logs)
    reach = float(stdtrit(count - 1, 1 - TAIL) * logs.std(ddof=1) / np.sqrt(count))
    reach = max(reach, float(np.log(within.high / within.low)) / 2)
    ends = np.exp([middle, middle - reach, middle + reach])
    value, low, high = (float(end) for end in ends)
    return Measurement(value, "1", low, high, "measured", within.n)
