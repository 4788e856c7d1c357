"""Budgets: what parses, what is refused, and when a measurement keeps one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.errors import RecipeError
from packlight.records import Measurement, counted, parse_budget


@pytest.mark.parametrize(
    ("text", "metric", "sense", "value", "relative"),
    [
        ("size<=2MB", "size", "<=", 2e6, False),
        ("size<=2MiB", "size", "<=", 2 * 1024**2, False),
        ("size<=300kB", "size", "<=", 3e5, False),
        ("size<=300KB", "size", "<=", 3e5, False),
        ("size<=17B", "size", "<=", 17, False),
        ("size<=0.3x", "size", "<=", 0.3, True),
        ("size <= .5x", "size", "<=", 0.5, True),
        ("download<=1e-3GB", "download", "<=", 1e6, False),
        ("peak_memory<=20MB", "peak_memory", "<=", 2e7, False),
        ("latency<=8ms", "latency", "<=", 8e-3, False),
        ("latency<=250us", "latency", "<=", 2.5e-4, False),
        ("latency<=1x", "latency", "<=", 1, True),
        ("energy<=5mJ", "energy", "<=", 5e-3, False),
        ("drop<=1%", "drop", "<=", 0.01, False),
        ("drop<=0.01", "drop", "<=", 0.01, False),
        ("drop<=-1%", "drop", "<=", -0.01, False),
        ("worst_group_drop<=3%", "worst_group_drop", "<=", 0.03, False),
        ("flips<=5%", "flips", "<=", 0.05, False),
        ("top1>=90%", "top1", ">=", 0.9, False),
        ("mae<=0.3", "mae", "<=", 0.3, False),
        ("top1>=0.9x", "top1", ">=", 0.9, True),
    ],
)
def test_a_budget_reads_in_si_units(text, metric, sense, value, relative):
    (limit,) = parse_budget([text]).all()

    assert (limit.metric, limit.sense, limit.relative) == (metric, sense, relative)
    assert limit.value == pytest.approx(value, rel=1e-12)
    assert limit.text == text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("small", "a budget is METRIC<=VALUE"),
        ("size<2MB", "a budget is METRIC<=VALUE"),
        ("size<=", "a budget is METRIC<=VALUE"),
        ("size<=nanMB", "a budget is METRIC<=VALUE"),
        ("top-1>=1", "a budget is METRIC<=VALUE"),
        ("size<=1.5.2MB", "needs a number"),
        ("size<=2e", "needs a number"),
        ("size<=1e999MB", "needs a number"),
        ("size<=2mb", "needs a number with one of the units"),
        ("size<=2", "needs a unit that fits size, as in 'size<=2MB'"),
        ("size<=30%", "needs a unit that fits size"),
        ("latency<=8MB", "needs a unit that fits latency, as in 'latency<=8ms'"),
        ("latency<=10", "needs a unit that fits latency"),
        ("energy<=1s", "needs a unit that fits energy"),
        ("drop<=0.5x", "needs a unit that fits drop"),
        ("drop<=1ms", "needs a unit that fits drop"),
        ("top1>=5ms", "'top1>=5ms' bounds 'top1', but the costs in ms are: latency"),
        ("Size<=2MB", "bounds 'Size', but the costs in MB are: size, download, peak_memory"),
        ("size>=2MB", "'size' is bounded from above"),
        ("drop>=1%", "'drop' is bounded from above"),
    ],
)
def test_what_is_no_budget_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(RecipeError, match=sentence):
        parse_budget([text])


def test_costs_are_limits_and_all_else_are_floors():
    budget = parse_budget(["drop<=1%", "size<=2MB", "top1>=0.9", "latency<=1x"])

    assert [limit.metric for limit in budget.limits] == ["size", "latency"]
    assert [limit.metric for limit in budget.floors] == ["drop", "top1"]


ORDERED = st.tuples(*[st.floats(-1e6, 1e6)] * 3).map(sorted)


@given(ORDERED, st.floats(-1e6, 1e6))
def test_a_bound_is_met_where_the_whole_interval_keeps_it(ends, bound):
    low, value, high = ends
    number = Measurement(value, "1", low, high, "measured", 9)

    met = number.meets(bound)

    assert (met == "yes") == (high <= bound)
    assert (met == "no") == (low > bound)
    assert (met == "unclear") == (low <= bound < high)


@given(ORDERED)
def test_the_negative_of_the_negative_is_the_number(ends):
    low, value, high = ends
    number = Measurement(value, "1", low, high, "measured", 9)

    assert number.negative().negative() == number
    assert number.negative().low <= number.negative().value <= number.negative().high


@pytest.mark.parametrize(
    ("text", "low", "high", "met"),
    [
        ("size<=0.5x", 500, 500, "yes"),
        ("size<=0.5x", 501, 501, "no"),
        ("size<=500B", 499, 501, "unclear"),
        ("size<=500B", 400, 500, "yes"),
        ("top1>=0.9", 0.9, 0.95, "yes"),
        ("top1>=0.9", 0.85, 0.95, "unclear"),
        ("top1>=0.9", 0.8, 0.89, "no"),
        ("top1>=0.9x", 0.73, 0.8, "yes"),
    ],
)
def test_a_limit_is_met_in_view_of_interval_and_original(text, low, high, met):
    original = {"size": counted(1000, "B"), "top1": counted(0.8)}
    (limit,) = parse_budget([text]).all()

    assert limit.met(Measurement((low + high) / 2, "1", low, high, "measured", 9), original) == met


@pytest.mark.parametrize(("ratio", "met"), [(0.9, "yes"), (1.1, "no")])
def test_a_multiple_of_the_latency_is_held_against_the_paired_ratio(ratio, met):
    original = {"latency": counted(1e-3, "s"), "latency_ratio": counted(1.0)}
    (limit,) = parse_budget(["latency<=1x"]).all()

    assert limit.judged_by == "latency_ratio"
    assert limit.met(counted(ratio), original) == met
    assert parse_budget(["latency<=8ms"]).limits[0].judged_by == "latency"


def test_quantiles_of_the_latency_are_bounded_in_seconds():
    (limit,) = parse_budget(["latency_p99<=8ms"]).all()

    assert limit.value == pytest.approx(8e-3)


def test_a_single_text_is_one_bound():
    assert parse_budget("size<=2MB") == parse_budget(["size<=2MB"])
