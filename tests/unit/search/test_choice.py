"""The choice among measured variants, on made-up measurements."""

import dataclasses
import re

import pytest

from packlight import plan
from packlight.errors import RecipeError
from packlight.metrics import metric_by_name
from packlight.records import Measurement, VariantResult, counted, parse_budget
from packlight.search import choice


def between(value, low, high, unit="1"):
    return Measurement(value, unit, low, high, "measured", 100)


def result(name, size, ratio, drop, labels=()):
    """A variant; ratio and drop are (value, low, high)."""
    metrics = {
        "size": counted(size, "B"),
        "latency": between(*(number * 1e-3 for number in ratio), "s"),
        "latency_ratio": between(*ratio),
        "drop": between(*drop),
    }
    return VariantResult(name, "o", name, name, "", labels=labels, metrics=metrics)


ORIGINAL = result("original", 1000, (1, 1, 1), (0, 0, 0))
SMALL = result("small", 150, (1, 0.98, 1.02), (0.002, -0.001, 0.005))
FAST = result("fast", 280, (0.6, 0.55, 0.65), (0.001, -0.002, 0.004))
SLOW = result("slow", 100, (1.4, 1.3, 1.5), (0.0, -0.001, 0.001))
RUINED = result("ruined", 90, (0.5, 0.45, 0.55), (0.3, 0.25, 0.35))
UNSURE = result("unsure", 120, (1, 0.95, 1.05), (0.008, 0.002, 0.014))
BUDGET = parse_budget(["size<=0.3x", "drop<=1%"])


def judged(*results, budget=BUDGET):
    return [choice.with_verdict(each, budget, ORIGINAL.metrics) for each in results]


def test_the_verdict_follows_the_intervals():
    found = judged(SMALL, RUINED, UNSURE, ORIGINAL)

    assert [each.verdict for each in found] == ["fits", "misses", "undecided", "misses"]
    assert found[2].meets == {"size<=0.3x": "yes", "drop<=1%": "unclear"}


def test_slower_and_faster_are_said_only_when_the_interval_leaves_one():
    labels = {each.name: each.labels for each in judged(SMALL, FAST, SLOW)}

    assert labels == {"small": (), "fast": ("faster",), "slow": ("slower",)}


def test_the_best_saves_most_of_size_times_latency_among_those_that_fit():
    best = choice.best(judged(ORIGINAL, SMALL, FAST, RUINED, UNSURE), allow_slower=False)

    assert best.name == "small"


def test_a_slower_variant_is_chosen_only_when_allowed():
    found = judged(SLOW, FAST)

    assert choice.best(found, allow_slower=False).name == "fast"
    assert choice.best(found, allow_slower=True).name == "slow"


def test_an_undecided_variant_is_chosen_only_where_none_fits():
    assert choice.best(judged(UNSURE, RUINED), allow_slower=False).name == "unsure"
    assert choice.best(judged(RUINED), allow_slower=False) is None


def test_a_variant_that_failed_is_never_chosen():
    failed = VariantResult("f", "o", "failed", "failed", "", error="it could not be made")

    assert choice.best(judged(failed), allow_slower=True) is None


def test_the_nearest_miss_weighs_factors_of_cost_against_points_of_loss():
    budget = parse_budget(["size<=0.01x", "drop<=0.001%"])
    found = judged(ORIGINAL, SMALL, RUINED, budget=budget)

    nearest = choice.nearest(found, budget, ORIGINAL.metrics, slower=False)

    assert nearest.name == "small"
    misses = choice.misses(nearest, budget, ORIGINAL.metrics)
    assert [miss.budget for miss in misses] == ["size<=0.01x", "drop<=0.001%"]
    assert misses[0].by == pytest.approx(140)


def test_a_budget_finer_than_the_samples_is_called_so():
    budget = parse_budget(["drop<=0.01%"])
    (shown,) = judged(SMALL, budget=budget)

    (told,) = choice.too_fine(budget, shown, floor=0.003, detectable=0.006)

    assert "0.30%" in told
    assert not choice.too_fine(BUDGET, judged(SMALL)[0], floor=0.003, detectable=0.006)


def test_the_front_leaves_out_what_another_beats_on_everything():
    worse = result("worse", 200, (1.01, 0.99, 1.03), (0.003, 0, 0.006))

    assert set(choice.front(judged(SMALL, FAST, worse))) == {"small", "fast"}


def test_a_bound_on_what_is_not_measured_names_what_is():
    with pytest.raises(RecipeError, match=r"bounds 'beauty'.*drop.*size"):
        choice.check_names(parse_budget(["beauty>=0.5"]), metric_by_name("top1"))
    choice.check_names(
        parse_budget(["top1>=0.5", "latency<=8ms", "flips<=5%"]), metric_by_name("top1")
    )


@pytest.mark.parametrize(
    ("metric", "text", "told"),
    [("top1", "top1<=0.9", "higher is better for 'top1': write 'top1>=..."),
     ("mae", "mae>=0.9", "lower is better for 'mae': write 'mae<=...")],
)  # fmt: skip
def test_a_metric_is_bounded_on_the_side_on_which_it_gets_worse(metric, text, told):
    with pytest.raises(RecipeError, match=re.escape(told)):
        choice.check_names(parse_budget([text]), metric_by_name(metric))
    with pytest.raises(RecipeError, match=re.escape(told)):
        plan("zoo:fashion", [text], "pixel-8")


def test_a_slow_machine_meanwhile_does_not_make_a_variant_miss_a_relative_latency():
    budget = parse_budget(["latency<=0.9x"])
    late = {**FAST.metrics, "latency": between(2e-3, 1.9e-3, 2.1e-3, "s")}

    (found,) = judged(dataclasses.replace(FAST, metrics=late), budget=budget)

    assert found.verdict == "fits"


def test_a_variant_without_what_a_budget_bounds_fails_with_a_sentence():
    (found,) = judged(SMALL, budget=parse_budget(["flips<=5%"]))

    assert (found.verdict, found.error) == (
        "misses",
        "its outputs cannot be checked for flips<=5%",
    )
    assert choice.best([found], allow_slower=True) is None


def test_variants_that_fit_but_are_slower_are_named_where_nothing_else_fits():
    (told,) = choice.slower_fits(judged(SLOW, RUINED), None)

    assert "slow" in told
    assert "--allow-slower" in told
    assert choice.slower_fits(judged(SLOW, SMALL), judged(SMALL)[0]) == []
