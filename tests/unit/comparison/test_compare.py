"""Fronts, deltas and flips, against brute force and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.comparison import compare, flips, pareto_front
from packlight.errors import InputError
from packlight.records import Measurement, VariantResult, counted
from packlight.task import SampleTable

POINTS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2),
    st.fixed_dictionaries({key: st.integers(0, 4).map(float) for key in ("size", "drop", "score")}),
    max_size=12,
)


def beats(one, other):
    no_worse = (
        one["size"] <= other["size"]
        and one["drop"] <= other["drop"]
        and one["score"] >= other["score"]
    )
    return no_worse and one != other


@given(POINTS)
def test_the_front_is_exactly_what_nothing_beats(points):
    front = pareto_front(points, minimize=("size", "drop"), maximize=("score",))

    expected = [
        key for key, own in points.items()
        if not any(beats(other, own) for other in points.values())
    ]  # fmt: skip
    assert list(front) == expected


@given(POINTS)
def test_whoever_is_not_on_the_front_is_beaten_by_someone_who_is(points):
    front = pareto_front(points, minimize=("size", "drop"), maximize=("score",))

    for key, own in points.items():
        assert key in front or any(beats(points[other], own) for other in front)


def test_a_point_without_a_number_is_refused():
    with pytest.raises(InputError, match="'b' has none"):
        pareto_front({"a": {"size": 1.0}, "b": {}}, minimize=["size"])


def table(decisions, right, confidence=None):
    n = len(decisions)
    sure = np.zeros(n) if confidence is None else np.array(confidence)
    right = np.array(right, bool)
    rows = np.stack([right, np.ones(n)], axis=1).astype(float)
    return SampleTable(rows, np.array(decisions), right, np.arange(n), sure)


def test_flips_count_lost_won_and_changed_and_name_the_surest_losses_first():
    base = table([0, 1, 2, 3, 4], [1, 1, 0, 0, 1], [0.5, 0.9, 0.1, 0.2, 0.6])
    other = table([9, 9, 2, 9, 4], [0, 0, 1, 0, 1])

    found = flips("v", base, other, {"light": ["day", "day", "night", "night", "night"]})

    assert (found.lost, found.won, found.changed, found.n) == (2, 1, 1, 5)
    assert found.examples == (1, 0)
    assert found.by_group == {"light/day": 1.0, "light/night": pytest.approx(-1 / 3)}


def test_tables_of_other_samples_are_refused():
    with pytest.raises(InputError, match="same samples"):
        flips("v", table([0], [1]), table([0, 1], [1, 1]), {})


def result(key, size, latency, drop, **metrics):
    return VariantResult(
        id=key, parent="", name=key, recipe=key, file="",
        metrics={"size": counted(size, "B"), "latency": latency, "drop": counted(drop), **metrics},
    )  # fmt: skip


def seconds(value, low, high):
    return Measurement(value, "s", low, high, "measured", 9)


def test_costs_are_compared_as_ratios_and_quality_as_differences():
    base = result(
        "a", 100, seconds(2, 1, 4), 0.0, top1=Measurement(0.9, "1", 0.8, 1, "measured", 50)
    )
    other = result(
        "b", 25, seconds(1, 1, 2), 0.1, top1=Measurement(0.8, "1", 0.7, 0.9, "measured", 50)
    )

    found = compare(base, [other], {}, {})

    deltas = found.deltas["b"]
    assert deltas["size"] == counted(0.25)
    assert (deltas["latency"].value, deltas["latency"].low, deltas["latency"].high) == (
        0.5,
        0.25,
        2,
    )
    assert deltas["latency"].unit == "1"
    assert deltas["top1"].value == pytest.approx(-0.1)
    assert deltas["top1"].low <= -0.1 <= deltas["top1"].high
    assert deltas["drop"] == counted(0.1)
    assert found.front == ("a", "b")
    assert found.flips == ()


def test_a_beaten_or_failed_variant_is_not_on_the_front():
    base = result("a", 100, seconds(2, 2, 2), 0.0)
    worse = result("b", 120, seconds(3, 3, 3), 0.1)
    failed = VariantResult(id="c", parent="a", name="c", recipe="c", file="", error="it overflows")

    found = compare(base, [worse, failed], {"a": table([1], [1]), "b": table([0], [0])}, {})

    assert found.front == ("a",)
    assert [(one.variant, one.lost) for one in found.flips] == [("b", 1)]
    assert found.deltas["c"] == {}
