"""A task says what its data is, and refuses data that does not fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.errors import TaskError
from packlight.metrics import METRICS
from packlight.task import ArraySamples, LazySamples, Task

FLOAT = np.dtype(np.float32)
PIXELS = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)


def samples(array=PIXELS):
    return ArraySamples({"x": array}, {"x": FLOAT})


def task(array=PIXELS, **given):
    return Task(
        "t", samples(array), METRICS["top1"], given.pop("targets", [0] * len(array)), **given
    )


def test_a_row_becomes_one_call_of_batch_1_in_the_models_type():
    (feeds,) = samples()[2]

    assert feeds["x"].dtype == np.float32
    assert feeds["x"].tolist() == [PIXELS[2].tolist()]


@given(st.slices(6))
def test_a_selection_is_what_a_list_gives(part):
    chosen = samples()[part]

    found = [steps[0]["x"].tolist() for steps in chosen]

    assert found == [[row.tolist()] for row in PIXELS[part]]


def test_samples_are_made_only_when_asked_for():
    made = []
    lazy = LazySamples(5, lambda index: made.append(index) or ({"x": np.zeros(1)},))

    part = lazy[1:4]
    assert made == []
    part[0]
    lazy[-1]
    assert made == [1, 4]
    with pytest.raises(IndexError):
        lazy[5]


@pytest.mark.parametrize(
    "other",
    [
        task(PIXELS + 1), task(targets=[1] * 6), task(targets=np.zeros(6)), task(PIXELS[:5]),
        task(groups={"g": list("abcdef")}), task(state={"y": "x"}), task(split="validation"),
        Task("t", samples(), METRICS["f1"], [0] * 6), Task("t", samples(), METRICS["agreement"]),
        task(code="other"),
    ],
)  # fmt: skip
def test_the_digest_tells_apart_all_that_an_evaluation_rests_on(other):
    assert other.digest != task().digest


def test_the_digest_does_not_depend_on_how_samples_are_made():
    lazy = LazySamples(6, lambda index: samples()[index])
    same = Task("another name", lazy, METRICS["top1"], [0] * 6, calibration=samples())

    assert same.digest == task().digest
    assert same.calibration_digest != ""
    assert task().calibration_digest == ""


def test_calibration_on_test_samples_is_warned_of():
    shared = task(calibration=samples(PIXELS[:2]), remarks=("one",))

    assert shared.notes[0] == "one"
    assert "2 calibration samples of task 't' are also test samples" in shared.notes[1]
    assert task(calibration=samples(PIXELS + 50)).notes == ()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Task("t", samples(PIXELS[:0]), METRICS["top1"]), "'t' has none"),
        (lambda: Task("t", samples(), METRICS["top1"], [0]), "6 samples and 1 targets"),
        (lambda: Task("t", samples(), METRICS["cosine"], [0] * 6), "compares with the reference"),
        (lambda: task(groups={"g": ["a"]}), "column 'g' of task 't' has 1"),
        (lambda: task(targets=[object()] * 6).digest, "a target is an array"),
    ],
)
def test_what_does_not_fit_together_is_refused(make, words):
    with pytest.raises(TaskError, match=words):
        make()
