"""Metrics agree with their definitions, and their intervals with the theory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import special, stats

from packlight.errors import TaskError
from packlight.metrics import METRICS, Metric, metric_by_name, per_dataset, per_sample
from packlight.metrics.intervals import (
    bootstrap_totals,
    draw_counts,
    is_share,
    tango_interval,
    wilson_interval,
)

CLASSES = 4
LOGITS = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 20), st.just(CLASSES)),
    elements=st.integers(-3, 3).map(float),
)  # fmt: skip


def total(metric, outputs, targets):
    pairs = zip(outputs, targets, strict=True)
    return metric.total(np.array([metric.row({"y": y[None]}, t) for y, t in pairs]))


def labelled(data, logits):
    return data.draw(arrays.arrays(np.int64, len(logits), elements=st.integers(0, CLASSES - 1)))


@given(st.data(), LOGITS)
def test_top_1_is_the_share_of_highest_scores_that_are_the_target(data, logits):
    targets = labelled(data, logits)

    assert total(METRICS["top1"], logits, targets) == pytest.approx(
        np.mean(logits.argmax(axis=1) == targets)
    )


@given(st.data(), LOGITS, st.integers(1, CLASSES - 1))
def test_top_k_is_the_share_of_targets_among_the_first_of_a_stable_sort(data, logits, k):
    targets = labelled(data, logits)

    ranked = np.argsort(-logits, axis=1, kind="stable")[:, :k]

    expected = np.mean([target in row for target, row in zip(targets, ranked, strict=True)])
    assert total(metric_by_name(f"top-{k}"), logits, targets) == pytest.approx(expected)


@given(st.data(), LOGITS)
def test_f1_is_the_mean_of_harmonic_means_of_precision_and_recall(data, logits):
    targets = labelled(data, logits)
    chosen = logits.argmax(axis=1)

    scores = []
    for label in set(targets.tolist()) | set(chosen.tolist()):
        hits = np.sum((chosen == label) & (targets == label))
        precision = hits / max(np.sum(chosen == label), 1)
        recall = hits / max(np.sum(targets == label), 1)
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    assert total(METRICS["f1"], logits, targets) == pytest.approx(np.mean(scores))


def test_binary_f1_judges_class_1_from_one_probability():
    outputs = np.array([[0.9], [0.8], [0.2], [0.6]])

    assert total(METRICS["f1_binary"], outputs, [1, 0, 1, 1]) == pytest.approx(2 / 3)


NUMBERS = arrays.arrays(
    np.float64, st.tuples(st.integers(3, 30), st.just(2)), elements=st.integers(-50, 50).map(float)
)


@given(NUMBERS)
def test_errors_and_correlations_agree_with_numpy_and_scipy(pairs):
    found, wanted = pairs[:, :1], pairs[:, 1]
    gap = found[:, 0] - wanted

    assert total(METRICS["mae"], found, wanted) == pytest.approx(np.abs(gap).mean())
    assert total(METRICS["rmse"], found, wanted) == pytest.approx(np.sqrt((gap**2).mean()))
    if np.ptp(found) and np.ptp(wanted):
        pearson, spearman = stats.pearsonr(*pairs.T)[0], stats.spearmanr(*pairs.T)[0]
        assert total(METRICS["pearson"], found, wanted) == pytest.approx(pearson)
        assert total(METRICS["spearman"], found, wanted) == pytest.approx(spearman)
    else:
        assert total(METRICS["pearson"], found, wanted) == 0


def compared(name, found, reference):
    return METRICS[name].total(METRICS[name].row({"y": found}, {"y": reference})[None])


@given(arrays.arrays(np.float64, (3, CLASSES), elements=st.floats(-8, 8)), st.integers(0, 9))
def test_kl_of_logits_is_scipys_and_nothing_for_the_same(logits, seed):
    other = logits + np.random.default_rng(seed).normal(0, 1, logits.shape)
    ours, theirs = special.softmax(other, axis=1), special.softmax(logits, axis=1)

    assert compared("kl", other, logits) == pytest.approx(
        special.rel_entr(theirs, ours).sum(axis=1).mean(), abs=1e-9
    )
    assert compared("kl", ours, theirs) == pytest.approx(compared("kl", other, logits), abs=1e-6)
    assert compared("kl", logits, logits) == 0


def test_noise_a_tenth_of_the_signal_is_20_db_and_none_is_the_ceiling():
    signal = np.array([[3.0, 4.0]])

    assert compared("snr", signal * 1.1, signal) == pytest.approx(20)
    assert compared("snr", signal, signal) == 150
    assert compared("snr", signal, np.zeros((1, 2))) == -150


def test_cosine_is_of_directions():
    assert compared("cosine", np.array([[2.0, 0.0]]), np.array([[5.0, 0.0]])) == pytest.approx(1)
    assert compared("cosine", np.array([[0.0, 1.0]]), np.array([[5.0, 0.0]])) == 0
    assert compared("cosine", np.zeros((1, 2)), np.zeros((1, 2))) == 1


def test_several_steps_in_a_sample_count_as_several_decisions():
    stacked = {"y": np.eye(3)[[0, 1, 2, 2]][:, None, :]}

    row = METRICS["top1"].row(stacked, [0, 1, 2, 0])

    assert row.tolist() == [3, 4]


def test_own_metrics_are_means_or_functions_of_everything():
    first = per_sample(lambda outputs, target: float(outputs["y"][0, 0] * target), "product")
    outputs, targets = np.arange(6.0).reshape(3, 2), [1, 2, 3]
    assert total(first, outputs, targets) == pytest.approx((0 + 4 + 12) / 3)

    def score(found, wanted):
        return float(found.shape == (3, 2) and found.sum() / wanted.sum())

    assert total(per_dataset(score, "share"), outputs, targets) == pytest.approx(15 / 6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metric_by_name("accuracy"), "a metric is one of"),
        (lambda: METRICS["top1"].row({"y": np.zeros((1, 3))}, 3), "from 0 to 2"),
        (lambda: METRICS["top1"].row({"y": np.zeros((1, 3))}, [0, 1]), "1 class indices"),
        (lambda: METRICS["top5"].row({"y": np.zeros((1, 3))}, 0), "more than 5 classes"),
        (lambda: METRICS["mae"].row({"y": np.zeros((1, 3))}, 1.0), "as many numbers"),
        (lambda: METRICS["mae"].row({"y": np.zeros((1, 1))}, "text"), "must be numbers"),
        (lambda: METRICS["spearman"].row({"y": np.zeros((1, 2))}, [1, 2]), "one number"),
        (lambda: METRICS["f1"].row({"y": np.zeros((1, 1), np.int64)}, 1), "class scores"),
        (lambda: Metric("drop", np.zeros, float), "not a cost or a loss"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(call, words):
    with pytest.raises(TaskError, match=words):
        call()


def test_the_fast_bootstrap_gives_what_drawing_rows_gives():
    rows = np.random.default_rng(0).normal(size=(40, 2)) ** 2
    metric = METRICS["rmse"]

    (fast,) = bootstrap_totals(metric, [rows], seed=5)

    slow = [
        metric.total(np.repeat(rows, count.astype(int), axis=0))
        for chunk in draw_counts(40, len(fast), seed=5)
        for count in chunk
    ]
    np.testing.assert_allclose(fast, slow)


@pytest.mark.parametrize("name", ["top1", "spearman"])
def test_draws_are_paired_and_the_same_for_the_same_seed(name):
    rows = np.random.default_rng(0).integers(0, 2, (50, 2)).astype(float)
    rows[:, 1] += name == "top1"

    one, other = bootstrap_totals(METRICS[name], [rows, rows], seed=3)

    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, bootstrap_totals(METRICS[name], [rows], seed=3)[0])
    assert not np.array_equal(one, bootstrap_totals(METRICS[name], [rows], seed=4)[0])


@given(st.integers(1, 200), st.data())
def test_wilsons_interval_holds_the_share_and_never_is_a_point(n, data):
    count = data.draw(st.integers(0, n))

    low, high = wilson_interval(count, n)

    assert 0 <= low <= count / n <= high <= 1
    assert high > low
    oracle = stats.binomtest(count, n).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


@pytest.mark.parametrize(("lost", "won"), [(0.02, 0.0), (0.0, 0.0), (0.05, 0.03), (0.2, 0.1)])
def test_the_interval_of_matched_shares_covers_the_truth_19_times_in_20(lost, won):
    rng, n, tries = np.random.default_rng(0), 200, 2000
    counts = rng.multinomial(n, [lost, won, 1 - lost - won], size=tries)

    ends = {(a, b): tango_interval(a, b, n) for a, b, _ in counts.tolist()}
    held = [ends[a, b][0] <= lost - won <= ends[a, b][1] for a, b, _ in counts.tolist()]

    assert np.mean(held) >= 0.92  # at 4 of 200, as Wilson's interval of a share; else 0.94


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_matched_intervals_mirror_each_other_and_hold_what_was_seen(more, lost, won):
    n = max(lost + won + more, 1)

    low, high = tango_interval(lost, won, n)

    assert -1 <= low <= (lost - won) / n <= high <= 1
    assert low < high
    assert tango_interval(won, lost, n) == pytest.approx((-high, -low))
    top = 1.959963984540054**2
    assert tango_interval(0, 0, n) == pytest.approx((-top / (n + top), top / (n + top)))


def test_only_yes_or_no_counts_as_a_share():
    yes = np.array([[1.0, 1.0], [0.0, 1.0]])

    assert is_share(METRICS["top1"], yes)
    assert not is_share(METRICS["top1"], yes * 2)
    assert not is_share(METRICS["cosine"], yes)
    assert not is_share(METRICS["mae"], yes)


def test_metrics_of_one_name_are_told_apart_by_what_they_compute():
    def scored(number, name="own", **given):
        return per_sample(lambda outputs, target: number, name, **given).code

    def recursive(depth):
        return recursive(depth - 1) if depth else 0.0

    assert scored(1.0) == scored(1.0)
    assert len({scored(1.0), scored(0.5), scored(1.0, higher_is_better=False)}) == 3
    assert per_sample(lambda o, t: 1.0, "own").code != per_sample(lambda o, t: 0.5, "own").code
    assert per_sample(lambda o, t: recursive(2), "own").code
    assert len({metric.code for metric in METRICS.values()}) == len(METRICS)
