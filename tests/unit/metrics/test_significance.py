"""Tests and intervals against SciPy, closed forms and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from packlight.metrics import METRICS, per_sample
from packlight.metrics.intervals import tango_interval
from packlight.metrics.paired import contributions, decision_rate, drop, drop_test, widen
from packlight.metrics.significance import (
    benjamini_hochberg,
    clustered_mcnemar,
    mcnemar,
    mean_differences,
    paired_interval,
    paired_t,
    sidak_width,
    slice_sums,
)

P = st.lists(st.floats(0, 1), min_size=1, max_size=30)
SHARE = METRICS["top1"]
SCORE = per_sample(lambda outputs, target: 0.0, "score", bounded=True)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test_of_the_changes(lost, won):
    oracle = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0

    assert mcnemar(lost, won) == pytest.approx(oracle, rel=1e-9)
    assert mcnemar(lost, won) == mcnemar(won, lost)


@given(P)
def test_adjusted_p_are_scipys_false_discovery_control(values):
    np.testing.assert_allclose(
        benjamini_hochberg(values), stats.false_discovery_control(values), atol=1e-12
    )


def test_means_are_told_apart_by_the_weaker_of_welchs_and_students_tests_of_scipy():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 200) + np.arange(200) / 200
    inside = rng.random((200, 12)) < np.linspace(0.1, 0.9, 12)

    gap = mean_differences(*slice_sums(values, inside))

    for column, mask in enumerate(inside.T):
        both = [
            stats.ttest_ind(values[mask], values[~mask], equal_var=same) for same in (True, False)
        ]
        ends = [oracle.confidence_interval() for oracle in both]
        assert gap.p[column] == pytest.approx(max(oracle.pvalue for oracle in both))
        assert abs(gap.score[column]) == pytest.approx(min(abs(one.statistic) for one in both))
        assert gap.value[column] - gap.half[column] == pytest.approx(min(end.low for end in ends))
        assert gap.value[column] + gap.half[column] == pytest.approx(max(end.high for end in ends))
    once = stats.ttest_1samp(values, 0)
    assert paired_t(values) == pytest.approx(once.pvalue)
    assert values.mean() + paired_interval(values) == pytest.approx(once.confidence_interval().high)


def test_what_never_varies_differs_surely_or_not_at_all():
    inside = np.array([[True, True]] * 3 + [[False, False]] * 4)
    one = mean_differences(*slice_sums(np.array([1.0] * 3 + [0.0] * 4), inside[:, :1]))
    none = mean_differences(*slice_sums(np.ones(7), inside[:, :1]))
    alone = mean_differences(*slice_sums(np.arange(7.0), np.arange(7)[:, None] == 0))

    assert one.p[0] < 1e-5
    assert none.p[0] == alone.p[0] == 1
    assert paired_t(np.zeros(9)) == 1
    assert paired_t(np.ones(9)) == 0


def test_joint_intervals_hold_together_and_only_just():
    rng, tries, groups = np.random.default_rng(0), 20_000, 14
    drawn = np.abs(rng.standard_normal((tries, groups)))

    together = (drawn <= sidak_width(groups)).all(axis=1).mean()

    assert 0.945 <= together <= 0.955
    assert sidak_width(1) == pytest.approx(stats.norm.ppf(0.975))


def test_a_cluster_of_decisions_counts_as_one():
    rng, tries = np.random.default_rng(0), 2000
    signs = rng.choice([-5.0, 0.0, 5.0], size=(tries, 100), p=[0.1, 0.8, 0.1])

    found = np.mean([clustered_mcnemar(row) <= 0.05 for row in signs])

    pooled = [mcnemar(int(5 * (row < 0).sum()), int(5 * (row > 0).sum())) <= 0.05 for row in signs]
    assert 0.03 <= found <= 0.07
    assert np.mean(pooled) > 0.3
    assert clustered_mcnemar(np.zeros(4)) == 1


def outcomes(rng, n, tries, lost, won):
    """Right before and right now (tries, n), with true rates of losses and wins."""
    draw = rng.random((tries, n))
    was = draw < 0.9
    now = was & (draw >= lost) | ~was & (draw >= 1 - won)
    return was, now


@pytest.mark.parametrize(("n", "lost", "won"), [(300, 0.08, 0.04), (1000, 0.03, 0.01),
                                                (500, 0.05, 0.05)])  # fmt: skip
def test_intervals_of_drops_of_shares_hold_the_truth_in_93_to_97_of_100(n, lost, won):
    was, now = outcomes(np.random.default_rng(1), n, 1000, lost, won)
    counts = np.stack([(was & ~now).sum(axis=1), (~was & now).sum(axis=1)], axis=1)
    ends = {(a, b): tango_interval(a, b, n) for a, b in counts.tolist()}

    held = [ends[a, b][0] <= lost - won <= ends[a, b][1] for a, b in counts.tolist()]

    assert 0.93 <= np.mean(held) <= 0.97
    one = np.ones(n)
    found, _ = drop(SHARE, np.stack([was[0], one], 1), np.stack([now[0], one], 1), seed=0)
    assert (found.low, found.high) == ends[tuple(counts[0].tolist())]


def test_bootstrap_intervals_of_drops_hold_the_truth_in_93_to_97_of_100():
    rng, n, tries, true = np.random.default_rng(2), 150, 1000, 0.04
    before = rng.beta(5, 2, (tries, n))
    after = before - true + rng.normal(0, 0.15, (tries, n)) * before / before.mean()
    one = np.ones(n)

    held = 0
    for was, now in zip(before, after, strict=True):
        found, _ = drop(SCORE, np.stack([was, one], 1), np.stack([now, one], 1), seed=0)
        held += found.low <= true <= found.high

    assert 0.93 <= held / tries <= 0.97


@pytest.mark.parametrize("name", ["mae", "rmse", "f1"])
def test_parts_in_the_drop_add_up_to_it_and_have_its_standard_error(name):
    rng, n, metric = np.random.default_rng(3), 400, METRICS[name]
    if name == "f1":
        counts = [rng.multinomial(1, [0.4, 0.3, 0.1, 0.05, 0.1, 0.05], n) for _ in range(2)]
        before, after = (table.astype(float) for table in counts)
    else:
        before, after = (np.stack([rng.exponential(1, n), np.ones(n)], 1) for _ in range(2))

    parts = contributions(metric, before, after)

    found, detectable = drop(metric, before, after, seed=0)
    assert parts.mean() == pytest.approx(found.value, abs=1e-9)
    assert 2.8 * parts.std() / np.sqrt(n) == pytest.approx(detectable, rel=0.12)
    if metric.formula is not None and name == "mae":
        exact = (after[:, 0] - before[:, 0]) / before[:, 0].mean()
        moved = found.value * (before[:, 0] / before[:, 0].mean() - 1)
        np.testing.assert_allclose(parts, exact - moved, atol=1e-6)


def test_each_kind_of_metric_has_its_own_test_of_the_drop():
    rng, one = np.random.default_rng(4), np.ones(40)
    was, now = (rng.random((2, 40)) < 0.8).astype(float)
    share = np.stack([was, one], 1), np.stack([now, one], 1)
    lost, won = int((was > now).sum()), int((was < now).sum())
    values = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))

    assert drop_test(SHARE, *share, drop(SHARE, *share, 0)[0]) == (
        mcnemar(lost, won), "exact McNemar test",
    )  # fmt: skip
    score = (share[0] * [0.5, 1], share[1] * [0.5, 1])
    p, test = drop_test(SCORE, *score, drop(SCORE, *score, 0)[0])
    assert test == "paired t test"
    assert p == pytest.approx(stats.ttest_rel(score[0][:, 0], score[1][:, 0]).pvalue)
    whole = METRICS["pearson"]
    loss = drop(whole, *values, 0)[0]
    p, test = drop_test(whole, *values, loss)
    assert test == "bootstrap, as if normal"
    assert (p <= 0.05) == (loss.low > 0 or loss.high < 0)


def test_a_rate_is_wilsons_or_knows_that_decisions_of_a_sample_go_together():
    rng = np.random.default_rng(5)
    flags = np.repeat(rng.random(100) < 0.2, 10)
    owner = np.repeat(np.arange(100), 10)

    apart, together = (
        decision_rate(flags, np.arange(1000), 1000, 0),
        decision_rate(flags, owner, 100, 0),
    )

    oracle = stats.binomtest(int(flags.sum()), 1000).proportion_ci(method="wilson")
    assert (apart.low, apart.high) == pytest.approx((oracle.low, oracle.high))
    assert together.value == apart.value
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_wider_intervals_of_shares_are_computed_anew_and_others_stretched():
    one = np.ones(100)
    same = np.stack([one, one], 1), np.stack([one, one], 1)
    none = drop(SHARE, *same, 0)[0]

    wide = widen(SHARE, *same, none, 3.0)

    assert wide.high == pytest.approx(9 / 109)
    rng = np.random.default_rng(6)
    pair = tuple(np.stack([rng.random(100), one], 1) for _ in range(2))
    loss = drop(SCORE, *pair, 0)[0]
    twice = widen(SCORE, *pair, loss, 2 * 1.959963984540054)
    assert twice.high - twice.value == pytest.approx(2 * (loss.high - loss.value))
