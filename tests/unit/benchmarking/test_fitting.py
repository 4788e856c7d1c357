"""Curves recover what timings were made from, and their intervals hold what was not seen."""

import math

import numpy as np
import pytest

from packlight.backends.onnxruntime.kernel_call import KINDS, RUN, Call
from packlight.benchmarking import kernel_seconds
from packlight.benchmarking.curve_fit import Roof, Timing, fit_curves
from packlight.benchmarking.device import efficiency, roof_of, typical_share
from packlight.benchmarking.latency import (
    expand_features,
    latency_of_calls,
    polynomial_terms,
    scale_features,
)
from packlight.records import Citation, Curve, Device, Runtime, Unit

ROOF = Roof({"float32": 40e9, "int8": 160e9}, 20e9)
OVERHEAD, RUNNING, NOISE = 1.5e-6, 9e-6, 0.06
LOW = {"matmul": (1.0, 5.0, 5.0, 14.0), "add": (7.0, 14.0), "softmax": (2.0, 3.0, 14.0)}
HIGH = {"matmul": (9.0, 11.0, 11.0, 24.0), "add": (20.0, 24.0), "softmax": (10.0, 10.0, 24.0)}


def planted(kind: str) -> Curve:
    random = np.random.default_rng(len(kind))
    count = len(KINDS[kind].features)
    size = (count + 1) * (count + 2) // 2
    bends = random.normal(0, 0.08, size - count - 1)
    coefficients = [0.7, *random.normal(0, 0.3, count), *bends]
    return Curve(
        KINDS[kind].features, LOW[kind], HIGH[kind], tuple(map(float, coefficients)), 0.1, 9
    )


TRUTH = {f"{kind}:float32": planted(kind) for kind in LOW}


def true_seconds(call: Call) -> float:
    curve = TRUTH[call.curve]
    ratio = math.exp(float(polynomial_terms(call.shape, curve) @ np.array(curve.coefficients)))
    return OVERHEAD + ROOF.seconds(call) * ratio


def drawn(random: np.random.Generator, kind: str) -> Call:
    shape = random.uniform(LOW[kind], HIGH[kind])
    numbers = 2 ** shape[:-1]
    macs = float(np.prod(numbers)) if kind == "matmul" else 0.0
    moved = 8 * float(np.prod(numbers)) if kind != "matmul" else 4 * float(
        numbers[0] * numbers[1] + numbers[1] * numbers[2] + numbers[0] * numbers[2])  # fmt: skip
    return Call(kind, "float32", macs, moved, tuple(map(float, shape)))


def timing(random: np.random.Generator, *kinds: str, composite: bool = False) -> Timing:
    made = {drawn(random, kind): int(random.integers(1, 5)) for kind in kinds}
    exact = RUNNING + sum(times * true_seconds(call) for call, times in made.items())
    noisy = exact * math.exp(random.normal(0, NOISE))
    return Timing({**made, RUN: 1}, noisy, composite)


def timings(count: int, seed: int) -> list[Timing]:
    random = np.random.default_rng(seed)
    singles = [timing(random, kind) for _ in range(count) for kind in LOW]
    return singles + [timing(random, *LOW, composite=True) for _ in range(count // 2)]


def device(found) -> Device:
    said = Citation("measured", "made up for a test")
    unit = Unit(ROOF.peak, ("onnxruntime",), efficiency([], found, ROOF), found.overhead, 1, 1.0)
    runtimes = {"onnxruntime": Runtime(("float32",), "onnxruntime")}
    paths = ("units", "bandwidth", "curves", "runtimes")
    return Device("made", "made", "measured", "none", {"cpu": unit}, runtimes,
                  dict.fromkeys(paths, said), ROOF.bandwidth, curves=found.curves)  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    return fit_curves(timings(60, 0), ROOF)


def test_planted_curves_are_recovered(fitted):
    random = np.random.default_rng(7)
    here = device(fitted)
    for kind in LOW:
        calls = [drawn(random, kind) for _ in range(100)]
        errors = [math.log(kernel_seconds(call, here)[1] / true_seconds(call)) for call in calls]
        assert np.median(np.abs(errors)) < 0.06
        assert fitted.curves[f"{kind}:float32"].features == KINDS[kind].features


def test_planted_overheads_are_recovered(fitted):
    ratio = fitted.curves[RUN.curve].coefficients[0]
    assert fitted.overhead * math.exp(ratio) == pytest.approx(RUNNING, rel=0.2)
    assert kernel_seconds(RUN, device(fitted))[1] == pytest.approx(RUNNING, rel=0.2)


def test_spreads_are_those_of_the_noise(fitted):
    assert NOISE / 2 < np.std(fitted.residuals) < 3 * NOISE
    for curve in fitted.curves.values():
        assert NOISE / 2 < curve.spread < 4 * NOISE


def test_intervals_hold_single_kernels_that_were_not_seen(fitted):
    random, here, held = np.random.default_rng(11), device(fitted), []
    for kind in LOW:
        for _ in range(100):
            call = drawn(random, kind)
            low, _, high = kernel_seconds(call, here)
            fixed = fitted.overhead
            real = OVERHEAD + (true_seconds(call) - OVERHEAD) * math.exp(random.normal(0, NOISE))
            held.append(low <= real <= high or abs(real - low) < fixed)
    assert np.mean(held) >= 0.9


def test_intervals_hold_whole_models_that_were_not_seen(fitted):
    random, here = np.random.default_rng(13), device(fitted)
    unseen = [timing(random, *LOW, composite=True) for _ in range(100)]
    said = [latency_of_calls(one.calls, here) for one in unseen]
    held = [m.low <= one.seconds <= m.high for m, one in zip(said, unseen, strict=True)]
    assert np.mean(held) >= 0.9
    wide = [m.high / m.low for m in said]
    assert np.median(wide) < 2


def test_a_few_wild_timings_hardly_change_curves(fitted):
    kept = timings(60, 0)
    wild = [Timing(one.calls, one.seconds * (20 if at % 20 == 0 else 1), one.composite)
            for at, one in enumerate(kept)]  # fmt: skip
    random, calm, noisy = np.random.default_rng(3), device(fitted), device(fit_curves(wild, ROOF))
    for kind in LOW:
        calls = [drawn(random, kind) for _ in range(50)]
        moved = [
            math.log(kernel_seconds(call, noisy)[1] / kernel_seconds(call, calm)[1])
            for call in calls
        ]
        assert np.median(np.abs(moved)) < 0.15


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_few_or_equal_timings_give_finite_curves_with_wide_spreads(count):
    one = timing(np.random.default_rng(5), "matmul")
    found = fit_curves([one] * count, ROOF)
    here = device(found)
    call = next(call for call in one.calls if call != RUN)
    low, middle, high = kernel_seconds(call, here)
    assert 0 < low < middle < high < math.inf
    assert latency_of_calls(one.calls, here).value == pytest.approx(one.seconds, rel=0.5)
    if count < 3:
        assert high / low > 3


def test_shapes_outside_what_was_measured_are_held_to_it():
    low, high = np.array([2.0, 3.0]), np.array([4.0, 3.0])
    held = scale_features(np.array([[2, 3], [4, 3], [9, 8], [3, 3]], float), low, high)
    assert held.tolist() == [[-1, 0], [1, 0], [1, 0], [0, 0]]
    assert expand_features(np.array([[2.0, 3.0]])).tolist() == [[1, 2, 3, 4, 6, 9]]


def test_the_roof_is_the_best_that_was_reached():
    product = Call("matmul", "float32", 4e6, 1e3, (0.0,) * 4)
    codes = Call("matmul", "int8", 8e6, 1e3, (0.0,) * 4)
    moving = Call("add", "float32", 0.0, 1e6, (0.0,) * 2)
    found = roof_of([Timing({product: 2, RUN: 1}, 1e-3), Timing({product: 1}, 1e-3),
                     Timing({codes: 1}, 1e-3), Timing({moving: 3}, 1e-3),
                     Timing({moving: 1, product: 1}, 1e-9)][:4])  # fmt: skip
    assert found == Roof({"float32": 8e9, "int8": 8e9}, 3e9)
    assert roof_of([]).bandwidth > 0


def test_shares_are_quantiles_and_never_above_the_roofline():
    found = typical_share([0.1 * k for k in range(1, 21)])
    assert found.low == pytest.approx(0.29)
    assert found.high == 1.0
    assert typical_share([]).low > 0
