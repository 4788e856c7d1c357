"""The race over fresh sessions, on simulated openings."""

import numpy as np
import pytest

from packlight.runtime import compare_latency, compare_latency_with_reference
from packlight.runtime.clock import paired_latency, ratio_over_rounds

SAMPLE = [{"x": np.zeros(1, np.float32)}]


class Time:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def opener(self, durations):
        """Opens sessions that take so long, one opening after the other."""
        durations = iter(durations)
        time = self

        class Timed:
            def __init__(self):
                self.duration = next(durations)

            def run_steps(self, steps, state):
                time.now += self.duration

        return Timed


def test_a_known_ratio_is_recovered_over_fresh_sessions():
    time = Time()

    found = compare_latency(
        time.opener([0.01] * 5), time.opener([0.007] * 5), [SAMPLE], {}, seconds=1.0, clock=time
    )

    assert found["latency_ratio"].value == pytest.approx(0.7)
    assert found["latency"].value == pytest.approx(0.007)
    assert found["latency_reference"].value == pytest.approx(0.01)


def test_one_race_tells_the_latency_of_both():
    time = Time()
    openers = time.opener([0.01] * 5), time.opener([0.007] * 5)

    base, own = compare_latency_with_reference(*openers, [SAMPLE], {}, seconds=1.0, clock=time)

    assert base["latency"].value == pytest.approx(0.01)
    assert base["latency"] == own["latency_reference"]
    assert base["latency"].n == own["latency"].n
    assert set(base) == {"latency", "latency_p90", "latency_p99"}


def test_openings_that_differ_widen_the_interval():
    time = Time()
    spread = [0.0100, 0.0101, 0.0099, 0.0102, 0.0098]

    found = compare_latency(
        time.opener([0.01] * 5), time.opener(spread), [SAMPLE], {}, seconds=1.0, clock=time
    )

    assert found["latency_ratio"].low < 0.99
    assert found["latency_ratio"].high > 1.01


def test_intervals_contain_one_for_equal_models_whose_openings_differ():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        rounds = []
        for _ in range(5):
            levels = rng.normal(0, 0.005, 2)
            rounds.append(np.exp(levels + rng.normal(-6, 0.05, (60, 2))))
        every = np.concatenate(rounds)
        within = paired_latency(every[:, 0], every[:, 1], seed)["latency_ratio"]
        found = ratio_over_rounds(rounds, within)
        hits += found.low <= 1 <= found.high
    assert hits >= 186
