"""Planted damage is found where it is and nowhere else; every number against NumPy or SciPy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from packlight.comparison import contrast
from packlight.comparison.groups import contrasts, parts, worst
from packlight.comparison.moved import class_names
from packlight.comparison.slices import slices
from packlight.errors import InputError
from packlight.metrics import METRICS, per_sample
from packlight.metrics.paired import contributions
from packlight.metrics.probabilities import calibration_error, nll_and_brier
from packlight.task import SampleTable

TOP1, TRIALS = METRICS["top1"], 100
MAE = METRICS["mae"]


def table(right, decisions=None, confidence=None, **more):
    right = np.asarray(right, bool)
    n = len(right)
    rows = np.stack([right, np.ones(n)], axis=1).astype(float)
    decided = np.where(right, 1, 0) if decisions is None else np.asarray(decisions)
    sure = np.zeros(n) if confidence is None else np.asarray(confidence)
    return SampleTable(rows, decided, right, np.arange(n), sure, **more)


def simulated(seed, n, lost, won=0.03, accuracy=0.9):
    """A pair of tables whose losses have the given rate for each sample (n,)."""
    rng = np.random.default_rng(seed)
    was = rng.random(n) < accuracy
    now = np.where(was, rng.random(n) >= lost, rng.random(n) < won * accuracy / (1 - accuracy))
    return table(was), table(now)


def columns(n, groups=10):
    """Ten classes of 200 and two halves of another kind."""
    return {
        "class": [f"c{i % groups}" for i in range(n)],
        "light": ["dark" if (i // groups) % 2 else "bright" for i in range(n)],
    }


def judged(before, after, of, seed=0):
    own = parts(TOP1, before, after, of, seed)
    shares = contributions(TOP1, before.rows, after.rows)
    return contrasts(own, shares, len(shares)), own


def flagged(found):
    return {f"{one.column}/{one.name}" for one in found if one.standing == "harder"}


def test_fifteen_points_more_in_a_group_of_200_are_found_in_95_of_100_trials():
    n = 2000
    of = columns(n)
    inside = np.array([name == "c3" for name in of["class"]])

    found = [
        flagged(judged(*simulated(seed, n, 0.03 + inside * 0.15 / 0.9), of)[0])
        for seed in range(TRIALS)
    ]

    assert sum("class/c3" in one for one in found) >= 95


@pytest.mark.parametrize("lost", [0.0, 0.03, 0.08])
def test_without_damage_in_a_group_any_is_flagged_in_at_most_5_of_100_trials(lost):
    n = 2000
    of = columns(n)

    found = [flagged(judged(*simulated(seed, n, lost), of)[0]) for seed in range(TRIALS)]

    assert sum(bool(one) for one in found) <= 5


def test_a_group_that_changes_often_both_ways_is_not_taken_for_one_that_loses():
    n = 2000
    of = columns(n)
    noisy = np.array([name == "c3" for name in of["class"]])

    found = [
        flagged(judged(*simulated(seed, n, *[0.01 + noisy * 0.09] * 2), of)[0])
        for seed in range(TRIALS)
    ]

    assert sum(bool(one) for one in found) <= 5


def test_the_interval_of_the_worst_group_holds_its_true_drop_though_it_was_picked():
    n, of = 2000, columns(2000)
    naive, honest = 0, 0
    for seed in range(300):
        before, after = simulated(seed, n, np.full(n, 0.05), won=0.05)
        _, own = judged(before, after, {"class": of["class"]})
        picked = max(own, key=lambda part: part.drop.value)
        wide = worst(TOP1, before, after, own).drop
        naive += picked.drop.low <= 0.0 <= picked.drop.high
        honest += wide.low <= 0.0 <= wide.high

    assert naive / 300 < 0.9
    assert honest / 300 >= 0.94


def test_groups_carry_scipys_p_and_small_ones_are_not_judged():
    before, after = simulated(1, 400, np.full(400, 0.1))
    of = {"size": ["few" if i < 20 else "many" if i < 300 else "rest" for i in range(400)]}

    found, _ = judged(before, after, of)

    few, many, rest = found
    assert (few.standing, few.q, few.extra_q, few.extra) == ("too small", 1, 1, None)
    for one, places in ((many, slice(20, 300)), (rest, slice(300, 400))):
        lost = int((before.right & ~after.right)[places].sum())
        won = int((~before.right & after.right)[places].sum())
        gap = before.right.astype(float) - after.right
        outside = np.ones(400, bool)
        outside[places] = False
        tests = [stats.ttest_ind(gap[places], gap[outside], equal_var=v) for v in (True, False)]
        assert one.p == pytest.approx(stats.binomtest(lost, lost + won).pvalue)
        assert one.extra_p == pytest.approx(max(test.pvalue for test in tests))
        assert one.drop.value == pytest.approx((lost - won) / one.n)
    np.testing.assert_allclose(
        [many.q, rest.q], stats.false_discovery_control([many.p, rest.p])
    )  # fmt: skip


def statistics(n, seed):
    rng = np.random.default_rng(seed + 10_000)
    return {"input_mean": rng.random(n), "input_spread": rng.random(n)}


def test_a_planted_slice_of_two_conditions_is_found_and_confirmed():
    n, hits = 3000, 0
    for seed in range(40):
        inputs = statistics(n, seed)
        hurt = (inputs["input_mean"] <= 0.25) & (inputs["input_spread"] > 0.5)
        before, after = simulated(seed, n, 0.03 + hurt * 0.25)
        found, tried = slices(contributions(TOP1, before.rows, after.rows), {}, inputs, seed)
        assert tried >= len(found)
        best = found[0].rule if found else ""
        hits += "input_mean <= 0.2" in best and "input_spread > 0." in best

    assert hits >= 38


def test_slices_of_nothing_are_confirmed_in_at_most_5_of_100_trials():
    n, of = 1000, columns(1000)

    found = 0
    for seed in range(TRIALS):
        before, after = simulated(seed, n, np.full(n, 0.05))
        shares = contributions(TOP1, before.rows, after.rows)
        found += bool(slices(shares, of, statistics(n, seed), seed)[0])

    assert found <= 5


def test_a_slice_is_told_by_the_half_that_did_not_choose_it():
    n = 4000
    inputs = statistics(n, 0)
    hurt = inputs["input_mean"] > 0.9
    before, after = simulated(0, n, 0.02 + hurt * 0.3)
    shares = contributions(TOP1, before.rows, after.rows)

    (best, *_), _ = slices(shares, {}, inputs, seed=5)

    order = np.random.default_rng(5).permutation(n)
    cut = np.quantile(inputs["input_mean"][order[: n // 2]], 0.9)
    check = order[n // 2 :]
    inside = inputs["input_mean"][check] > cut
    assert best.rule == f"input_mean > {cut:.4g}"
    assert best.n == inside.sum()
    assert best.drop.value == pytest.approx(shares[check][inside].mean())
    halves = shares[check][inside], shares[check][~inside]
    assert best.p == pytest.approx(
        max(stats.ttest_ind(*halves, equal_var=same).pvalue for same in (True, False)), rel=1e-6
    )
    assert best.extra.low > 0.2
    again = slices(shares, {}, inputs, seed=5)
    assert again == slices(shares, {}, inputs, seed=5)


def classified(seed=0, n=600, classes=5):
    """Two models' probabilities, targets, and their tables."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, n)
    logits = rng.normal(0, 1, (n, classes)) + 2 * np.eye(classes)[targets]
    chances = []
    for noise in (0, 1.2):
        e = np.exp(logits + rng.normal(0, 1, logits.shape) * noise)
        chances.append(e / e.sum(axis=1, keepdims=True))
    made = []
    far = np.array([jensenshannon(*pair) ** 2 for pair in zip(*chances, strict=True)])
    for one in chances:
        nll, brier = nll_and_brier(one, targets)
        decided = one.argmax(axis=1)
        made.append(table(decided == targets, decided, one.max(axis=1),
                          details={"nll": nll, "brier": brier}))  # fmt: skip
    return chances, targets, made[0], replace(made[1], samples={"divergence": far})


def test_flips_churn_and_trust_are_what_numpy_says():
    (one, other), targets, before, after = classified()

    found = contrast(TOP1, before, after, {}, variant="v", reference="r", distance="js")

    was, now = one.argmax(1), other.argmax(1)
    assert found.drop.value == pytest.approx((was == targets).mean() - (now == targets).mean())
    rates = {name: rate.value for name, rate in found.rates.items()}
    assert rates["lost"] == pytest.approx(((was == targets) & (now != targets)).mean())
    assert rates["won"] == pytest.approx(((was != targets) & (now == targets)).mean())
    assert rates["changed"] == pytest.approx(
        ((was != targets) & (now != targets) & (was != now)).mean()
    )
    assert rates["churn"] == pytest.approx((was != now).mean())
    assert found.p == found.rates_p
    assert found.test == found.rates_test == "exact McNemar test"
    hot = np.eye(5)[targets]
    for index, chances in enumerate((one, other)):
        told = {name: (s.before, s.after)[index].value for name, s in found.trust.items()}
        assert told["confidence"] == pytest.approx(chances.max(1).mean())
        assert told["nll"] == pytest.approx(-np.log(chances[np.arange(600), targets]).mean())
        assert told["brier"] == pytest.approx(((chances - hot) ** 2).sum(1).mean())
        assert told["calibration_error"] == pytest.approx(plain_error(chances, targets))
    for shift in found.trust.values():
        assert shift.change.low <= shift.change.value <= shift.change.high
        assert shift.change.value == pytest.approx(shift.after.value - shift.before.value)
    order = ("lost", "won", "changed", "same")
    ranks = [(order.index(told.outcome), -told.divergence) for told in found.moved]
    assert ranks == sorted(ranks)
    lost = np.flatnonzero((was == targets) & (now != targets))
    furthest = lost[np.argsort(-after.samples["divergence"][lost])]
    assert [told.sample for told in found.moved] == furthest[:20].tolist()
    assert all(told.before == str(was[told.sample]) for told in found.moved)


def test_samples_that_changed_most_carry_the_names_of_their_classes():
    _, targets, before, after = classified()
    names = np.array(["cup", "fork", "knife", "plate", "spoon"])
    columns = {"light": [str(sample % 2) for sample in range(600)], "thing": names[targets]}

    found = contrast(TOP1, before, after, columns, variant="v", reference="r", distance="js")

    assert [(told.before, told.after) for told in found.moved] == [
        (names[before.decisions[told.sample]], names[after.decisions[told.sample]])
        for told in found.moved
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda groups, targets: np.where(targets == 1, "cup", groups),  # two classes, one name
        lambda groups, targets: np.where(np.arange(600) == 7, "plate 2", groups),  # two names
        lambda groups, targets: np.full(600, "cup"),  # all alike
    ],
)
def test_a_column_that_is_not_the_classes_names_none(spoil):
    _, targets, before, _ = classified()
    names = np.array(["cup", "fork", "knife", "plate", "spoon"])[targets]
    right = np.ones(600, bool)
    sure = replace(before, decisions=targets, right=right)

    assert len(class_names(sure, {"thing": names})) == 5
    assert class_names(sure, {"thing": spoil(names, targets)}) == {}


def plain_error(chances, targets, bins=15):
    order = np.argsort(chances.max(1), kind="stable")
    sure, right = chances.max(1)[order], (chances.argmax(1) == targets)[order]
    return sum(
        abs(right[part].mean() - sure[part].mean()) * len(part) / len(order)
        for part in np.array_split(np.arange(len(order)), bins)
    )


def test_a_model_that_means_what_it_says_has_next_to_no_calibration_error():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 200_000)
    right = rng.random(200_000) < sure

    assert calibration_error(sure, right)[0] < 0.01
    assert calibration_error(np.minimum(sure + 0.1, 1), right)[0] > 0.07
    once = np.ones((2, 200_000))
    np.testing.assert_allclose(
        calibration_error(sure, right, once), calibration_error(sure, right)[0]
    )


def test_a_lower_likelihood_is_told_with_an_interval_that_excludes_none():
    *_, before, after = classified(n=1500)

    change = contrast(TOP1, before, after, {}, variant="v", reference="r").trust["nll"].change

    assert change.low > 0
    gap = after.details["nll"] - before.details["nll"]
    half = 1.96 * gap.std() / np.sqrt(1500)
    assert change.low == pytest.approx(gap.mean() - half, abs=0.25 * half)
    assert change.high == pytest.approx(gap.mean() + half, abs=0.25 * half)


def errors(values):
    return SampleTable(
        np.stack([values, np.ones(len(values))], 1), np.zeros(0), np.zeros(0, bool),
        np.zeros(0, np.int64), np.zeros(0),
    )  # fmt: skip


def test_numbers_have_quantiles_of_errors_and_a_sign_test():
    rng = np.random.default_rng(0)
    was = rng.exponential(1, 500)
    now = was * np.exp(rng.normal(0.1, 0.1, 500))

    found = contrast(MAE, errors(was), errors(now), {}, variant="v", reference="r")

    assert found.form == "values"
    for name, level in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("most", 1.0)):
        assert found.spread[name].before.value == pytest.approx(np.quantile(was, level))
        assert found.spread[name].after.value == pytest.approx(np.quantile(now, level))
    worse = int((now > was).sum())
    assert found.rates["worse"].value == pytest.approx(worse / 500)
    assert found.rates_p == pytest.approx(stats.binomtest(worse, 500).pvalue)
    assert found.test == "paired t test"
    assert found.trust == {}


def test_scores_where_more_is_better_are_told_from_their_low_end():
    values = np.linspace(0, 1, 101)
    metric = per_sample(lambda outputs, target: 0.0, "score", bounded=True)

    found = contrast(
        metric, errors(values), errors(values / 2), {}, variant="v", reference="r"
    )  # fmt: skip

    assert found.spread["p90"].before.value == pytest.approx(0.1)
    assert found.spread["most"].after.value == 0
    assert found.rates["worse"].value == pytest.approx(100 / 101)


def test_what_cannot_be_judged_is_said():
    rng = np.random.default_rng(0)
    pair = [
        SampleTable(rng.normal(size=(50, 2)), np.zeros(0), np.zeros(0, bool),
                    np.zeros(0, np.int64), np.zeros(0))
        for _ in range(2)
    ]  # fmt: skip
    of = {"half": ["a" if i < 10 else "b" for i in range(50)]}

    whole = contrast(METRICS["pearson"], *pair, of, variant="v", reference="r")
    few = contrast(TOP1, table(np.ones(50)), table(np.ones(50)), of, variant="v", reference="r")

    assert "1 of 2 groups have fewer than 30 samples and are not judged" in whole.notes
    assert "not a function of sums" in whole.notes[1]
    assert whole.groups[1].extra is None
    assert few.notes[-1] == "slices need at least 120 samples; there are 50"
    assert few.detectable == pytest.approx(3 / 50)
    with pytest.raises(InputError, match="same samples; the reference has 3, 'v' has 4"):
        contrast(TOP1, table([1, 1, 1]), table([1] * 4), {}, variant="v", reference="r")


def losses_of(nats, tokens):
    """A table of texts with the loss of all their tokens, and how many these are."""
    rows = np.stack([nats, tokens], axis=1).astype(float)
    nothing = np.zeros(0)
    return SampleTable(rows, nothing, nothing.astype(bool), nothing.astype(int), nothing)


def test_the_loss_of_tokens_is_told_as_perplexity_too_with_paired_intervals():
    rng = np.random.default_rng(0)
    tokens = rng.integers(20, 90, 300)
    was = tokens * rng.normal(3.0, 0.4, 300)
    before, after = losses_of(was, tokens), losses_of(was + 0.05 * tokens, tokens)

    found = contrast(METRICS["nll"], before, after, {}, variant="v", reference="r").level

    per_token = was.sum() / tokens.sum()
    assert found["nll"].before.value == pytest.approx(per_token)
    assert found["nll"].change.value == pytest.approx(0.05)
    assert found["nll"].change.high - found["nll"].change.low < 1e-9
    assert found["perplexity"].after.value == pytest.approx(np.exp(per_token + 0.05))
    for end in ("low", "value", "high"):
        assert getattr(found["perplexity"].before, end) == pytest.approx(
            np.exp(getattr(found["nll"].before, end))
        )
    assert found["perplexity"].change.low > 0


@pytest.mark.parametrize("name", ["top1", "mae"])
def test_the_level_of_a_metric_changes_by_its_drop(name):
    metric = METRICS[name]
    before, after = simulated(3, 400, 0.1)

    found = contrast(metric, before, after, {}, variant="v", reference="r")

    change, sign = found.level[name].change, -1 if metric.higher_is_better else 1
    scale = 1 if metric.bounded else found.level[name].before.value
    assert change.value == pytest.approx(sign * found.drop.value * scale)
    assert change.low <= change.value <= change.high
    assert list(found.level) == [name]
