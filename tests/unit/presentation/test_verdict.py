import dataclasses

import pytest

from packlight.presentation.verdict import headline, sentence
from packlight.records import (
    Machine,
    Measurement,
    Miss,
    Outcome,
    SessionOptions,
    VariantResult,
    counted,
    parse_budget,
)


def measured(value, half):
    return Measurement(value, "1", value - half, value + half, "measured", 5000)


DROP, RATIO = measured(0.005, 0.003), measured(0.81, 0.03)


def small(drop=DROP, ratio=RATIO, meets="yes"):
    metrics = {"size": counted(500_000, "B"), "latency_ratio": ratio, "drop": drop,
               "top1": measured(0.915, 0.007)}  # fmt: skip
    return VariantResult(
        "b", "a", "weights:4", "weights:4", "f", {"drop<=1%": meets}, metrics=metrics
    )


def outcome(*others, best="b", verdict="fits", misses=()):
    metrics = {"size": counted(2_000_000, "B"), "top1": measured(0.92, 0.007)}
    base = VariantResult("a", "", "fashion", "original", "f", metrics=metrics)
    return Outcome(
        best=best,
        verdict=verdict,
        misses=misses,
        warnings=(),
        front=(),
        variants=(base, *others),
        budget=parse_budget(["drop<=1%"]),
        metric="top1",
        detectable=0.007,
        model="fashion",
        task="zoo:fashion",
        samples=5000,
        calibration=1000,
        session=SessionOptions(),
        machine=Machine("Linux", "CPU", "x86_64", 2, 2**33, (), False, "3.12", "1.31"),
        project="p",
    )


def test_a_choice_is_told_with_what_it_saves_and_what_it_costs():
    assert sentence(outcome(small())) == (
        "weights:4 meets every budget. Its file is 4.0 times smaller: 500 kB instead of 2.00 MB. "
        "It is faster: 0.81x [0.78, 0.84] the original's latency. "
        "top1 worsens by 0.5 points [0.2, 0.8] (92.0 % before, 91.5 % now), 5,000 samples."
    )


@pytest.mark.parametrize(
    ("ratio", "word"),
    [
        (measured(0.9, 0.05), "It is faster:"),
        (measured(1.2, 0.05), "It is slower:"),
        (measured(0.98, 0.05), "No measurable change in latency:"),
        (counted(1.0), "It is as fast:"),
    ],
)
def test_faster_and_slower_are_said_only_when_the_whole_interval_says_so(ratio, word):
    assert word in sentence(outcome(small(ratio=ratio)))


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        (measured(0.005, 0.003), "worsens by 0.5 points"),
        (measured(-0.005, 0.003), "improves by 0.5 points [0.2, 0.8]"),
        (measured(0.001, 0.003), "No significant change in top1: drop 0.1 points [-0.2, 0.4]"),
        (counted(0.0), "top1 is unchanged"),
        (counted(0.01), "worsens by 1.00 points"),
    ],
)
def test_a_drop_has_a_direction_only_when_its_interval_has_one(drop, words):
    assert words in sentence(outcome(small(drop=drop)))


def test_a_miss_names_the_budget_the_gap_and_the_nearest_variant():
    miss = Miss("size<=0.01x", 20_000, "b", "weights:4", counted(500_000, "B"), 480_000)
    told = sentence(outcome(small(), best=None, verdict="misses", misses=(miss,)))
    assert told == (
        "No variant meets every budget. size<=0.01x (20 kB) is missed by 480 kB: "
        "weights:4 is closest with 500 kB."
    )


def test_a_bound_that_says_its_unit_is_not_repeated():
    miss = Miss("drop<=1%", 0.01, "b", "weights:4", measured(0.03, 0.003), 0.02)
    told = sentence(outcome(small(), best=None, verdict="misses", misses=(miss,)))
    assert "drop<=1% is missed by 2 %: weights:4 is closest with 3.0 % [2.7, 3.3]." in told


def test_an_undecided_budget_is_called_uncertain_not_missed():
    miss = Miss("drop<=1%", 0.01, "b", "weights:4", measured(0.009, 0.003), -0.001)
    told = sentence(outcome(small(), best=None, verdict="undecided", misses=(miss,)))
    assert "some may" in told
    assert "drop<=1% is undecided: weights:4 is closest" in told
    chosen = sentence(outcome(small(meets="unclear"), verdict="undecided"))
    assert "weights:4 may meet every budget" in chosen
    assert chosen.endswith("Undecided: drop<=1%.")


def test_the_original_may_be_the_choice():
    assert sentence(outcome(best="a")).startswith("The original already meets every budget")


def test_what_was_not_measured_is_not_told():
    bare = dataclasses.replace(small(), metrics={})
    assert sentence(outcome(bare)) == "weights:4 meets every budget."


def with_memory(result, low, value, high):
    memory = Measurement(value, "B", low, high, "measured", 6)
    return dataclasses.replace(result, metrics={**result.metrics, "peak_memory": memory})


@pytest.mark.parametrize(
    ("low", "value", "high", "mentioned"),
    [
        (15e6, 15.5e6, 16e6, True),
        (7.5e6, 15.5e6, 16e6, False),  # not surely more
        (8.5e6, 9e6, 9.2e6, False),  # more, but not notably
        (3e6, 3.1e6, 3.2e6, False),
    ],
)
def test_a_choice_that_surely_needs_notably_more_memory_says_so_at_once(
    low, value, high, mentioned
):
    result = outcome(with_memory(small(), low, value, high))
    base = with_memory(result.variants[0], 7.4e6, 7.6e6, 7.8e6)
    first = headline(dataclasses.replace(result, variants=(base, *result.variants[1:])))
    assert ("2.0 times the memory, 15.5 MB instead of 7.6 MB." in first) is mentioned
    assert first.startswith("weights:4 meets every budget")


def test_what_was_measured_here_is_told_from_what_a_device_is_predicted_to_take():
    chosen = small()
    predicted = Measurement(0.02, "s", 0.01, 0.04, "estimated", 1)
    on_device = {**chosen.metrics, "device_latency": predicted}

    told = sentence(outcome(dataclasses.replace(chosen, metrics=on_device)))

    assert "It is faster on this machine: 0.81x" in told
