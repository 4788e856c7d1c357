"""Edit distances, error rates, token losses and distances between outputs."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy.spatial.distance import jensenshannon

from packlight.errors import TaskError
from packlight.metrics import METRICS, error_rate, greedy_ctc
from packlight.metrics.divergence import distance, distance_for
from packlight.metrics.sequences import edit_distance

TEXT = st.text("abc", max_size=8)


def by_definition(one, other):
    @cache
    def steps(i, j):
        if not i or not j:
            return i + j
        same = one[i - 1] == other[j - 1]
        return min(steps(i - 1, j) + 1, steps(i, j - 1) + 1, steps(i - 1, j - 1) + (not same))

    return steps(len(one), len(other))


@given(TEXT, TEXT)
def test_edit_distance_is_its_recursive_definition(one, other):
    assert edit_distance(one, other) == by_definition(one, other)


def test_best_paths_drop_repeats_and_blanks():
    path = [0, 1, 1, 0, 1, 2, 2, 0]

    assert greedy_ctc({"y": np.eye(3, dtype=np.float32)[path][None]}).tolist() == [1, 1, 2]
    assert greedy_ctc({"y": np.zeros((1, 0, 3), np.float32)}).tolist() == []


def decode(outputs):
    return "".join("-abc"[symbol] for symbol in greedy_ctc(outputs))


def test_a_character_error_rate_is_edits_over_characters_of_all_targets():
    metric = error_rate(decode)
    outputs = [{"y": np.eye(4)[path][None]} for path in ([1, 2, 3], [1, 0, 1], [3, 3, 3])]

    rows = np.array([
        metric.row(one, target) for one, target in zip(outputs, ["abc", "abab", "b"], strict=True)
    ])  # fmt: skip

    assert metric.total(rows) == pytest.approx((0 + 2 + 1) / (3 + 4 + 1))
    assert metric.form == "sequences"
    assert metric.right(metric.decide(outputs[0]), "abc").tolist() == [True]
    words = error_rate(lambda outputs: "one two", "wer", words=True)
    assert words.row({}, "one three two").tolist() == [1, 3]


def test_the_loss_of_tokens_is_their_negative_log_likelihood():
    logits = np.random.default_rng(0).normal(0, 2, (1, 7, 11)).astype(np.float32)
    tokens = np.arange(7)
    metric = METRICS["nll"]

    row = metric.row({"logits": logits}, tokens)

    chances = special.log_softmax(logits[0].astype(np.float64), axis=1)
    assert row == pytest.approx([-chances[tokens, tokens].sum(), 7])
    assert (metric.form, metric.unit, metric.higher_is_better) == ("classes", "nat", False)
    with pytest.raises(TaskError, match="from 0 to 10"):
        metric.row({"logits": logits}, tokens + 8)


NOBODY = np.zeros(0)


def test_the_distance_fits_the_output():
    rng = np.random.default_rng(1)
    logits = {"y": rng.normal(size=(1, 4))}
    other = {"y": rng.normal(size=(1, 4))}
    told = {
        "top1": "Jensen-Shannon", "cosine": "1 - cosine", "mae": "RMS difference",
    }  # fmt: skip
    assert {name: distance_for(METRICS[name], logits) for name in told} == told
    assert distance_for(error_rate(decode), logits) == "edit distance"
    assert distance_for(METRICS["top1"], {"y": np.array([3])}) == "edit distance"
    assert distance_for(METRICS["mae"], {"y": np.array([[0.25, 0.75]])}) == "Jensen-Shannon"

    chances = [special.softmax(one["y"][0]) for one in (logits, other)]
    found = distance("Jensen-Shannon", other, logits, NOBODY, NOBODY)
    assert found == pytest.approx(jensenshannon(*chances) ** 2)
    gap = logits["y"] - other["y"]
    rms = distance("RMS difference", other, logits, NOBODY, NOBODY)
    assert rms == pytest.approx(np.sqrt((gap**2).mean()))
    angle = 1 - (logits["y"] @ other["y"].T).item() / np.prod(
        [np.linalg.norm(one["y"]) for one in (logits, other)]
    )
    assert distance("1 - cosine", other, logits, NOBODY, NOBODY) == pytest.approx(angle)
    texts = np.array(["kitten"]), np.array(["sitting"])
    assert distance("edit distance", logits, other, *texts) == pytest.approx(3 / 7)


@pytest.mark.parametrize("kind", ["Jensen-Shannon", "1 - cosine", "RMS difference"])
def test_nothing_lies_apart_from_itself(kind):
    outputs = {"y": np.random.default_rng(2).normal(size=(3, 5))}

    assert distance(kind, outputs, outputs, NOBODY, NOBODY) == pytest.approx(0, abs=1e-12)
