"""The clock on scripted times, and its intervals on simulated noise."""

import gc

import numpy as np
import onnx_ir as ir
import pytest

from packlight.errors import TaskError
from packlight.model import Model
from packlight.records import SessionOptions
from packlight.runtime import latency_of, open_session, time_against
from packlight.runtime.clock import LEAST_RUNS, MOST_RUNS, garbage_collection_off, paired_latency

SAMPLE = [{"x": np.zeros(1, np.float32)}]


class Time:
    """Time that passes only while a session runs."""

    def __init__(self):
        self.now = 0.0
        self.runs = []

    def __call__(self):
        return self.now

    def session(self, name, duration):
        """A real session that takes the seconds that a function of the runs so far says."""
        x, y = ir.val("x", ir.DataType.FLOAT, (1,)), ir.val("y", ir.DataType.FLOAT, (1,))
        node = ir.Node("", "Identity", [x], outputs=[y])
        graph = ir.Graph([x], [y], nodes=[node], opset_imports={"": 13})
        return Timed(open_session(Model(ir.Model(graph, ir_version=8), name), SessionOptions()),
                     self, name, duration)  # fmt: skip


class Timed:
    def __init__(self, session, time, name, duration):
        self.session, self.time, self.name, self.duration = session, time, name, duration

    def run_steps(self, steps, state):
        outputs = self.session.run_steps(steps, state)
        self.time.now += self.duration(len(self.time.runs))
        self.time.runs.append((self.name, len(steps), gc.isenabled()))
        return outputs


def timed(reference, candidate, samples=(SAMPLE,), **kwargs):
    time = Time()
    sessions = time.session("reference", reference), time.session("candidate", candidate)
    return time, time_against(*sessions, list(samples), {}, clock=time, **kwargs)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 3.0])
def test_a_known_ratio_is_recovered(ratio):
    _, found = timed(lambda _: 0.004, lambda _: 0.004 * ratio)

    assert found["latency_ratio"].value == pytest.approx(ratio)
    assert found["latency_ratio"].low == pytest.approx(ratio)
    assert found["latency_ratio"].high == pytest.approx(ratio)
    assert found["latency_reference"].value == pytest.approx(0.004)
    for name in ("latency", "latency_p90", "latency_p99"):
        assert found[name].value == pytest.approx(0.004 * ratio)
        assert (found[name].unit, found[name].how) == ("s", "measured")


def test_a_known_ratio_is_recovered_under_drift():
    """The machine gets three times slower meanwhile, for both."""

    def slower(run):
        return 0.001 * (1 + run / 500)

    _, found = timed(slower, lambda run: 0.8 * slower(run))

    assert found["latency_ratio"].value == pytest.approx(0.8, rel=0.01)
    assert found["latency_ratio"].low < 0.8 < found["latency_ratio"].high < 1


def test_sessions_take_turns_in_reversing_order_without_garbage_collection():
    assert gc.isenabled()

    time, _ = timed(lambda _: 0.01, lambda _: 0.01)

    counted = time.runs[-2 * LEAST_RUNS :]
    names = [name[0] for name, _, _ in counted]
    assert names[:8] == ["r", "c", "c", "r", "r", "c", "c", "r"]
    assert names.count("r") == names.count("c")
    assert not any(collecting for _, _, collecting in counted)
    assert gc.isenabled()


def test_garbage_collection_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError), garbage_collection_off():
        raise ZeroDivisionError
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("duration", "pairs"), [(10.0, LEAST_RUNS), (1e-6, MOST_RUNS), (0.005, 200)]
)
def test_the_number_of_pairs_follows_the_seconds_within_bounds(duration, pairs):
    _, found = timed(lambda _: duration, lambda _: duration, seconds=2.0)

    assert found["latency"].n == pytest.approx(pairs, abs=2)


def test_latency_is_that_of_one_call_and_samples_take_turns():
    time, found = timed(
        lambda _: 0.006, lambda _: 0.012, samples=[SAMPLE * 3, SAMPLE * 3], seconds=0.1
    )

    assert found["latency"].value == pytest.approx(0.004)
    assert found["latency_reference"].value == pytest.approx(0.002)
    assert {steps for _, steps, _ in time.runs} == {3}


def test_the_same_times_and_seed_give_the_same_numbers():
    times = np.random.default_rng(0).lognormal(-6, 0.1, 10_000)
    runs = [
        timed(lambda run: times[run], lambda run: times[run], seed=seed)[1] for seed in (1, 1, 2)
    ]

    assert runs[0] == runs[1]
    assert runs[0]["latency_ratio"].low != runs[2]["latency_ratio"].low


def test_one_session_by_itself_is_timed_too():
    time = Time()
    found = latency_of(time.session("alone", lambda run: 0.001 * (1 + run % 2)), [SAMPLE], {},
                       clock=time)  # fmt: skip

    assert set(found) == {"latency", "latency_p90", "latency_p99"}
    assert 0.001 <= found["latency"].value <= 0.002
    assert found["latency_p99"].value == pytest.approx(0.002)


def test_real_time_is_measured_in_order_p50_p90_p99():
    time = Time()
    sessions = time.session("a", lambda _: 0), time.session("b", lambda _: 0)

    found = time_against(*sessions, [SAMPLE], {}, seconds=0.05)

    values = [found[name].value for name in ("latency", "latency_p90", "latency_p99")]
    assert 0 < values[0] <= values[1] <= values[2]
    assert all(m.low <= m.value <= m.high for m in found.values())


def test_no_samples_is_refused():
    with pytest.raises(TaskError, match="at least one sample"):
        timed(lambda _: 1, lambda _: 1, samples=())


def correlated(rng, pairs, memory):
    """Noise of unit variance in which each value resembles the one before."""
    noise = rng.standard_normal(pairs)
    for index in range(1, pairs):
        noise[index] = memory * noise[index - 1] + np.sqrt(1 - memory**2) * noise[index]
    return noise


def independent(rng, pairs):
    return [np.exp(0.1 * rng.standard_normal(pairs)) for _ in range(2)]


def spikes(rng, pairs):
    return [
        1
        + 0.02 * rng.standard_normal(pairs)
        + (rng.random(pairs) < 0.05) * rng.exponential(0.5, pairs)
        for _ in range(2)
    ]


def shared(rng, pairs):
    """Noise of the machine, which hits neighbours alike."""
    machine = correlated(rng, pairs, 0.9)
    return [np.exp(0.1 * machine + 0.02 * rng.standard_normal(pairs)) for _ in range(2)]


def apart(rng, pairs):
    """Each session has noise of its own, with memory."""
    return [np.exp(0.1 * correlated(rng, pairs, 0.5)) for _ in range(2)]


def drift(rng, pairs):
    machine = np.linspace(0, 0.3, pairs)
    return [np.exp(machine + 0.05 * rng.standard_normal(pairs)) for _ in range(2)]


def regimes(rng, pairs):
    """A clock rate that jumps between two values."""
    machine = 0.4 * (correlated(rng, pairs, 0.98) > 0)
    return [np.exp(machine + 0.03 * rng.standard_normal(pairs)) for _ in range(2)]


@pytest.mark.parametrize("noise", [independent, spikes, shared, apart, drift, regimes])
@pytest.mark.parametrize(("pairs", "trials"), [(LEAST_RUNS, 100), (300, 50)])
def test_the_interval_of_equal_sessions_contains_one_in_nine_of_ten_trials(noise, pairs, trials):
    rng = np.random.default_rng(17)

    ratios = [paired_latency(*noise(rng, pairs), seed)["latency_ratio"] for seed in range(trials)]

    assert sum(ratio.low <= 1 <= ratio.high for ratio in ratios) >= 0.9 * trials


def test_a_tenth_faster_is_seen_in_the_noise_of_a_usual_machine():
    rng = np.random.default_rng(5)

    ratios = []
    for seed in range(20):
        reference, candidate = shared(rng, 300)
        ratios.append(paired_latency(reference, 0.9 * candidate, seed)["latency_ratio"])

    assert all(ratio.high < 1 for ratio in ratios)
