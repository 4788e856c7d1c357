"""The Python API mirrors the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import packlight
from packlight.api.compare import distinct_names
from packlight.zoo import data_path


def test_every_public_name_is_there_and_listed():
    for name in packlight.__all__:
        assert getattr(packlight, name) is not None
    assert set(packlight.__all__) <= set(dir(packlight))
    with pytest.raises(AttributeError, match="frobnicate"):
        packlight.frobnicate  # noqa: B018


def test_no_folder_has_the_name_of_a_verb():
    folders = {path.name for path in Path(packlight.__file__).parent.iterdir() if path.is_dir()}
    assert not folders & set(packlight.__all__)


def test_what_is_compressed_in_memory_is_what_is_written(tmp_path):
    model = packlight.load("zoo:fashion")
    before = model.digest
    made = packlight.compress(model, "simplify+weights:8")
    written = packlight.compress("zoo:fashion", "simplify+weights:8", tmp_path / "m.onnx")
    assert made.variant.id == written.variant.id
    assert made.after == written.after == (tmp_path / "m.onnx").stat().st_size
    assert packlight.load("zoo:fashion").digest == before == model.digest


@pytest.mark.slow
def test_a_search_from_values_gives_the_ids_of_one_from_names(project, few, tmp_path):
    _, found = project
    model = packlight.load("zoo:fashion")
    study = packlight.fit(
        model,
        packlight.load_task(str(few), model),
        ["size<=0.3x"],
        tmp_path / "P",
        recipes=["simplify+weights:8"],
        seconds=0.05,
    )
    wanted = [variant["id"] for variant in found["variants"][:2]]
    assert [result.id for result in study] == wanted


def test_a_value_is_compared_and_evaluated_like_a_file(few):
    made = packlight.compress("zoo:fashion", "weights:4")
    found = packlight.compare("zoo:fashion", [made.model], few, seconds=0.05)
    judged = packlight.evaluate(made.model, few, reference="zoo:fashion")
    assert found.others[0].id == judged.variant
    assert found.others[0].metrics["drop"] == judged.metrics["drop"]


def test_remarks_about_the_data_reach_every_verb():
    model = packlight.load("zoo:fashion")
    whole = packlight.load_task(str(data_path("fashion", ".npz")), model)
    leaky = replace(whole, samples=whole.samples[:20], targets=whole.targets[:20],
                    groups={}, calibration=whole.samples[:2])  # fmt: skip
    judged = packlight.evaluate(model, leaky)
    found = packlight.compare(
        model, [packlight.compress(model, "simplify").model], leaky, seconds=0.01
    )
    assert judged.warnings == found.warnings == leaky.notes
    assert "also test samples" in leaky.notes[-1]


def test_progress_counts_up_to_its_total(few, tmp_path):
    seen = []
    packlight.fit(
        "zoo:fashion", few, ["size<=1x"], tmp_path / "P", recipes=["simplify"], seconds=0.05,
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    what, done, total = seen[-1]
    assert what == "done" and done == total > 0
    assert all(0 <= done <= total for _, done, total in seen)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (["a/x.onnx", "b/y.onnx"], ["x", "y"]),
        (["a/x.onnx", "b/x.onnx"], ["a/x.onnx", "b/x.onnx"]),
        (["a/x.onnx", "a/x.onnx"], ["x", "x"]),
    ],
)
def test_models_are_called_as_short_as_they_can_be_told_apart(text, names):
    assert distinct_names(text) == names


@pytest.mark.parametrize("kind", [str, Path])
def test_the_file_to_write_is_named_by_a_text_or_a_path(kind, tmp_path):
    out = tmp_path / "small.onnx"
    made = packlight.compress("zoo:fashion", "simplify+weights:8", kind(out))
    assert made.variant.file == str(out)
    assert out.stat().st_size == made.after
