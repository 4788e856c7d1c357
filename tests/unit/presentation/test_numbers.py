import doctest
import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from packlight.metrics import METRICS
from packlight.presentation import contrasts, numbers, verdict
from packlight.presentation.numbers import (
    POINTS,
    drop_scale,
    show,
    show_bytes,
    show_interval,
    show_named,
    show_number,
    show_seconds,
    show_share,
    show_value,
)
from packlight.records import Measurement, counted

FACTOR = {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9,
          "%": 0.01}  # fmt: skip


def measured(value, low, high, unit="1", how="measured"):
    return Measurement(value, unit, low, high, how, 100)


@pytest.mark.parametrize("module", [contrasts, numbers, verdict])
def test_the_examples_in_the_docstrings_hold(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (counted(2_138_400, "B"), "2.14 MB"),
        (counted(999_999, "B"), "1.00 MB"),
        (counted(17, "B"), "17 B"),
        (counted(0, "B"), "0 B"),
        (counted(0), "0 %"),
        (measured(-0.003, -0.0052, -0.0008), "-0.3 % [-0.5, -0.1]"),
        (measured(0.0, -0.001, 0.002), "0.0 % [-0.1, 0.2]"),
        (measured(0.4123, 0.36, 0.46), "41 % [36, 46]"),
        (measured(25.31, 24.9, 25.8, "dB"), "25.3 dB [24.9, 25.8]"),
        (measured(1.2e6, 1.1e6, 1.3e6, "B", "estimated"), "~1.20 MB [1.10, 1.30]"),
        (measured(math.inf, math.inf, math.inf, "dB"), "inf dB"),
    ],
)
def test_numbers_carry_their_unit_and_the_digits_that_the_interval_supports(found, told):
    assert show(found) == told


def test_a_metric_is_read_by_its_name():
    assert show_named("latency_ratio", counted(1)) == "1.00x"
    assert show_named("mae", measured(3.42, 3.3, 3.5)) == "3.42 [3.30, 3.50]"
    assert show_named("perplexity", measured(23.1, 22, 24)) == "23.1 [22.0, 24.0]"
    assert show_named("drop", measured(1.5, 1.4, 1.6)) == "150 % [140, 160]"
    assert show_number("latency_ratio", 1, "1") == "1x"


@given(st.floats(1, 1e12))
def test_bytes_read_back_within_the_last_digit(value):
    number, unit = show_bytes(value).split()
    assert float(number) * FACTOR[unit] == pytest.approx(value, rel=0.006, abs=0.5)
    assert 1 <= float(number) < 1000 or unit == "GB"


@given(st.floats(1e-8, 1e4))
def test_seconds_read_back_within_the_last_digit(value):
    number, unit = show_seconds(value).split()
    assert float(number) * FACTOR[unit] == pytest.approx(value, rel=0.006)


@given(st.floats(-10, 10).filter(lambda value: abs(value) > 1e-9))
def test_shares_read_back_within_the_last_digit(value):
    assert float(show_share(value).split()[0]) / 100 == pytest.approx(value, rel=0.006)


@given(st.floats(-1, 1), st.floats(1e-5, 0.5), st.floats(1e-5, 0.5))
def test_rounding_changes_an_interval_by_less_than_a_quarter_of_its_width(value, down, up):
    low, high = value - down, value + up
    assume(max(abs(low), abs(high)) < 1000 * (high - low))
    ends = [float(end) / 100 for end in show_interval(measured(value, low, high))[1:-1].split(",")]
    number = float(show_value(measured(value, low, high)).split()[0]) / 100
    for shown, true in zip((*ends, number), (low, high, value), strict=True):
        assert abs(shown - true) <= 0.25 * (high - low)


@given(st.floats(-1e-3, 1e-3), st.floats(1e-6, 1))
def test_no_zero_is_negative(value, half):
    told = show(measured(value, value - half, value + half))
    assert not re.search(r"-0(\.0*)?(?![.\d])", told)


def test_an_exact_number_has_no_interval():
    assert show_interval(counted(0.3)) == ""


@pytest.mark.parametrize("name", METRICS)
def test_the_drop_of_a_bounded_metric_is_in_points(name):
    assert (drop_scale(name) is POINTS) == METRICS[name].bounded
