"""``packlight export`` and ``packlight check`` of a bundle, in a process."""

from __future__ import annotations

import json
import shutil

import pytest

from packlight.errors import InputError
from packlight.exporting import formats
from packlight.records import from_json
from packlight.records.export import Bundle, BundleCheck


@pytest.fixture(scope="module")
def bundle(run, few, smaller, tmp_path_factory):
    """A bundle of the model with 8-bit weights, and what the command printed."""
    folder = tmp_path_factory.mktemp("export")
    done = run(
        "export", smaller, "--to", "onnx", "-o", folder / "bundle", "--task", few,
        "--samples", "40", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "bundle", done.stdout


def test_an_export_says_what_it_stored_and_how_it_compares(bundle):
    _, printed = bundle
    assert "grid 8" in printed
    assert "40, 0 of them random" in printed
    assert "It computes what the ONNX model computes." in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_a_check_takes_a_bundle_alone(bundle, run):
    folder, _ = bundle
    done = run("check", folder, "--budget", "size<=1x", "--budget", "drop<=50%", cwd=folder.parent)
    assert done.returncode == 0, done.stdout
    marks = [line.split()[0] for line in done.stdout.splitlines() if "<=" in line]
    assert marks == ["pass", "pass"]


def test_a_budget_that_the_samples_do_not_decide_is_called_so(bundle, run):
    folder, _ = bundle
    done = run("check", folder, "--budget", "drop<=1%", cwd=folder.parent)
    assert done.returncode == 1
    assert "drop<=1% is unclear" in done.stdout


def test_a_damaged_bundle_exits_with_1_and_names_the_file(bundle, run, tmp_path):
    folder = shutil.copytree(bundle[0], tmp_path / "copy")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    done = run("check", folder, "--json", cwd=tmp_path)
    assert done.returncode == 1
    checked = from_json(BundleCheck, json.loads(done.stdout))
    assert checked.problems == ("'model.onnx' has changed",)


def test_a_variant_of_a_project_brings_its_recipe_and_its_quality(project, run, tmp_path):
    folder, _ = project
    done = run(
        "export", f"{folder}:simplify+weights:8", "--to", "onnx", "-o", "bundle", "--samples", "4",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    bundle = from_json(Bundle, json.loads(done.stdout))
    assert bundle.recipe == "simplify+weights:8"
    assert {"size<=0.3x", "drop<=5%"} <= set(bundle.budgets)
    assert bundle.groups
    card = (tmp_path / "bundle" / "model-card.md").read_text("utf-8")
    assert "`size<=0.3x`" in card
    assert (tmp_path / "bundle" / "recipe.json").is_file()


def test_a_model_of_the_zoo_brings_its_license(run, tmp_path):
    done = run("export", "zoo:fashion", "--to", "onnx", "-o", "b", "--no-parity", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "b" / "LICENSES.txt").read_text("utf-8")
    assert "train_fashion.py" in text
    assert "is not stated" not in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "gguf"], "a format is one of onnx, ort"),
        (["--to", "tflite"], "'tflite' is written by litert"),
        (["--to", "onnx", "--bind", "batch"], "a binding is NAME=VALUE"),
        (["--to", "onnx", "--bind", "depth=3"], "no input or open dimension 'depth'"),
        (["--to", "onnx", "--bind", "image=1,1,28,30"], "does not fit"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(arguments, sentence, smaller, run, tmp_path):
    done = run("export", smaller, *arguments, "-o", "bundle", cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_a_refusal_names_a_weight_and_the_nearest_recipe(run, tmp_path):
    made = run("compress", "zoo:fashion", "--recipe", "palette:4", "-o", "p.onnx", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    done = run("export", "p.onnx", "--to", "ort", "-o", "bundle", cwd=tmp_path)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "it has no palette of 4 bits for Conv: use weights:8, or --expand" in said


def test_a_missing_extra_is_one_sentence_with_the_command(monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"pip install 'packlight\[litert\]'"):
        formats.format_by_name("litert")
