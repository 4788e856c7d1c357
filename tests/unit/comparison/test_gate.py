"""Budgets judged one by one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.comparison.gate import judge, samples_needed
from packlight.errors import RecipeError
from packlight.metrics.intervals import wilson_interval
from packlight.records import Measurement, counted, parse_budget


def limit(text: str):
    return parse_budget([text]).all()[0]


def share(right: int, n: int) -> Measurement:
    low, high = wilson_interval(right, n)
    return Measurement(right / n, "1", low, high, "measured", n)


SIZE = {"size": counted(1000, "B")}


def test_a_budget_is_met_missed_or_unclear_by_its_whole_interval():
    for value, meets in ((0.001, "yes"), (0.02, "no"), (0.011, "unclear")):
        new = {"drop": Measurement(value, "1", value - 0.002, value + 0.002, "measured", 500)}
        assert judge(limit("drop<=1%"), {}, new).meets == meets


@pytest.mark.parametrize(
    ("value", "unclear", "passed"),
    [
        (0.009, "fail", False), (0.009, "pass", True), (0.009, "estimate", True),
        (0.011, "fail", False), (0.011, "pass", True), (0.011, "estimate", False),
    ],
)  # fmt: skip
def test_an_unclear_budget_is_treated_as_asked(value, unclear, passed):
    new = {"drop": Measurement(value, "1", 0.0, 0.03, "measured", 500)}
    assert judge(limit("drop<=1%"), {}, new, unclear=unclear).passed is passed


@pytest.mark.parametrize("unclear", ["fail", "pass", "estimate"])
def test_a_budget_that_is_surely_kept_or_missed_ignores_the_treatment(unclear):
    kept = {"size": counted(900, "B")}
    missed = {"size": counted(1100, "B")}
    assert judge(limit("size<=1x"), SIZE, kept, unclear=unclear).passed
    assert not judge(limit("size<=1x"), SIZE, missed, unclear=unclear).passed


@given(st.floats(0, 0.5), st.sampled_from(["size<=1x", "top1>=80%"]))
def test_a_tolerance_never_fails_what_passes_without(tolerance, text):
    new = {"size": counted(1000, "B"), "top1": share(850, 1000)}
    without = judge(limit(text), SIZE, new)
    assert without.passed
    assert judge(limit(text), SIZE, new, tolerance=tolerance).passed


def test_a_tolerance_widens_by_its_share():
    new = {"size": counted(1040, "B")}
    assert not judge(limit("size<=1x"), SIZE, new, tolerance=0.03).passed
    assert judge(limit("size<=1x"), SIZE, new, tolerance=0.05).passed


@pytest.mark.parametrize(("value", "bound"), [(0.90, 0.905), (0.5, 0.51), (0.97, 0.966)])
def test_the_samples_asked_for_decide_a_share(value, bound):
    """With so many samples of the same share, Wilson's interval ends at the bound."""
    few = share(round(1000 * value), 1000)
    needed = samples_needed(few, bound)
    enough = share(round(1.2 * needed * value), round(1.2 * needed))
    half = share(round(0.5 * needed * value), round(0.5 * needed))
    assert not enough.low <= bound <= enough.high
    assert half.low <= bound <= half.high


def test_no_number_of_samples_decides_an_estimate_on_the_bound():
    assert samples_needed(share(50, 100), 0.5) is None
    assert samples_needed(share(50, 100), 0.5 + 1e-6) is None


@given(st.floats(0.51, 0.59))
def test_a_closer_bound_needs_more_samples(bound):
    m = share(500, 1000)
    assert samples_needed(m, bound) <= (samples_needed(m, 0.5 + (bound - 0.5) / 2) or math.inf)


def test_what_was_not_measured_is_named():
    with pytest.raises(RecipeError, match=r"'latency<=1x' bounds 'latency_ratio'.*there are size"):
        judge(limit("latency<=1x"), SIZE, SIZE)


def test_a_multiple_of_what_the_base_lacks_is_refused():
    with pytest.raises(RecipeError, match="not measured for both"):
        judge(limit("peak_memory<=1x"), {}, {"peak_memory": counted(1, "B")})


def test_numbers_of_samples_are_round():
    needed = [samples_needed(share(500, 1000), bound) for bound in np.linspace(0.505, 0.53, 20)]
    assert all(len(str(n).rstrip("0")) <= 2 for n in needed)
