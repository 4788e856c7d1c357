"""A bundle: what lies in it, that it is the same each time, and what its check finds."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from packlight.api.check_bundle import check_bundle
from packlight.api.export import export
from packlight.errors import ExportError, InputError, RecipeError
from packlight.exporting import onnx_format
from packlight.exporting.bundle import RECORD, load_bundle
from packlight.exporting.formats import WriteOptions
from packlight.model import save

RECIPE = "simplify+weights:8"


@pytest.fixture(scope="module")
def bundle(variant, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "small"
    return export(
        variant(RECIPE), "onnx", folder, task=data, bind=["batch=1"], samples=16, seconds=0.05
    )


@pytest.fixture
def copy(bundle, tmp_path):
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(bundle.folder, tmp_path / "copy"))


def test_a_bundle_lists_every_file_with_its_digest(bundle, copy):
    listed = {file.path: file for file in bundle.files}
    present = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()} - {
        RECORD
    }
    assert set(listed) == present
    for name, file in listed.items():
        content = (copy / name).read_bytes()
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_record_that_is_read_again_is_the_same(bundle):
    assert load_bundle(Path(bundle.folder)) == bundle


def test_a_card_says_what_it_is_and_how_it_compares(bundle, copy):
    card = (copy / "model-card.md").read_text("utf-8")
    assert bundle.parity is not None
    assert bundle.parity.passed
    for text in (bundle.digest, "batch = 1", "grid 8", "16 inputs (0 random)", "top1",
                 "executed here", bundle.machine.split(",")[0], "threads"):  # fmt: skip
        assert text in card


def test_examples_of_this_machine_were_executed(bundle):
    python = [snippet for snippet in bundle.snippets if snippet.language == "python"]
    assert python
    assert all(snippet.executed for snippet in python)


def test_licenses_name_what_is_not_known(copy):
    assert "license of the model itself is not stated" in (copy / "LICENSES.txt").read_text("utf-8")


def test_a_check_passes_a_bundle_as_it_was_written(bundle):
    checked = check_bundle(bundle.folder, ["size<=1x", "drop<=60%", "latency<=1000x"])
    assert checked.passed
    assert checked.problems == ()
    assert [budget.passed for budget in checked.budgets] == [True, True, True]


def test_a_check_fails_a_budget_that_the_bundle_misses(bundle):
    checked = check_bundle(bundle.folder, ["size<=0.5x"])
    assert not checked.passed
    assert [budget.passed for budget in checked.budgets] == [False]


def test_a_check_names_files_that_are_changed_missing_or_strange(copy):
    (copy / "model.onnx").write_bytes(b"something else")
    (copy / "LICENSES.txt").unlink()
    (copy / "more.txt").write_text("x")
    checked = check_bundle(copy)
    assert not checked.passed
    assert sorted(checked.problems) == [
        "'LICENSES.txt' is missing",
        "'model.onnx' has changed",
        "'more.txt' does not belong to the bundle",
    ]


def test_a_check_names_an_entry_that_leaves_the_bundle(copy):
    record = json.loads((copy / RECORD).read_text("utf-8"))
    (copy.parent / "outside.txt").write_text("x")
    record["files"][0]["path"] = "../outside.txt"
    (copy / RECORD).write_text(json.dumps(record))
    assert "'../outside.txt' is missing" in check_bundle(copy).problems


def test_a_check_fails_a_bundle_whose_file_differed(copy):
    record = json.loads((copy / RECORD).read_text("utf-8"))
    record["parity"]["passed"] = False
    (copy / RECORD).write_text(json.dumps(record))
    checked = check_bundle(copy)
    assert not checked.passed
    assert len(checked.problems) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"folder": 1}', "\0"])
def test_a_damaged_record_is_one_sentence(text, copy):
    (copy / RECORD).write_text(text)
    with pytest.raises(InputError, match="is damaged"):
        check_bundle(copy)


def test_a_folder_that_is_no_bundle_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no bundle"):
        check_bundle(tmp_path)


def test_a_budget_on_what_was_not_measured_is_one_sentence(bundle):
    with pytest.raises(RecipeError, match="memory"):
        check_bundle(bundle.folder, ["memory<=1MB"])


def test_a_bundle_is_never_written_over_something(bundle, variant, tmp_path):
    with pytest.raises(InputError, match="new or empty folder"):
        export(variant(RECIPE), "onnx", bundle.folder)
    with pytest.raises(InputError, match="parent folder"):
        export(variant(RECIPE), "onnx", tmp_path / "a" / "b")


def test_the_same_model_gives_the_same_bytes(format_, variant, data, tmp_path):
    """Files that hold a time or a random number are named in the record."""
    bundles = [
        export(variant("simplify"), format_.name, tmp_path / name, task=data, parity=False)
        for name in ("first", "second")
    ]
    files = [
        {file.path: file.sha256 for file in bundle.files if file.role == "model"}
        for bundle in bundles
    ]
    for name in bundles[0].timestamps:
        files[0].pop(name)
        files[1].pop(name)
    assert files[0] == files[1]


def test_no_export_touches_the_network_or_starts_a_program(
    format_, variant, data, tmp_path, monkeypatch
):
    """ExecuTorch alone starts one: the writer of flat buffers in its own package."""
    popen = subprocess.Popen

    def refuse(*_arguments, **_named):
        raise AssertionError("an export opened a socket or started a program")

    def start(command, *arguments, **named):
        assert Path(command[0]).name == "flatc", "an export started a program"
        return popen(command, *arguments, **named)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess, "Popen", start)
    export(variant("simplify"), format_.name, tmp_path / "bundle", task=data, parity=False)
    assert (tmp_path / "bundle" / RECORD).is_file()


def test_inputs_and_outputs_keep_their_names_or_the_record_says_so(
    format_, variant, data, tmp_path
):
    bundle = export(variant("simplify"), format_.name, tmp_path / "bundle", task=data, parity=False)
    names = {**bundle.reread.inputs, **bundle.reread.outputs}
    assert set(names) == {"image", "scores"}
    changed = {name: new for name, new in names.items() if name != new}
    assert changed.items() <= bundle.renamed.items()


def test_an_expanded_weight_is_in_the_record(variant, tmp_path):
    with pytest.raises(ExportError) as caught:
        export(variant("palette:4"), "ort", tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    refused = {refusal.subject for refusal in caught.value.refusals}
    bundle = export(variant("palette:4"), "ort", tmp_path / "b", expand=True, parity=False)
    expanded = {weight.name for weight in bundle.weights if weight.expanded}
    assert expanded == refused
    assert "expanded from palette 4" in (tmp_path / "b" / "model-card.md").read_text("utf-8")


def test_a_file_that_differs_fails_and_names_the_first_operator(
    variant, data, tmp_path, monkeypatch
):
    """A writer whose second convolution is wrong, as one with a false layout would be."""
    write = onnx_format.FORMAT.write

    def write_wrong(neutral, folder, options):
        graph = neutral.graph.clone()
        for value in graph.graph.initializers.values():
            if value.const_value.shape == (32, 16, 1, 1):
                reversed_weight = np.ascontiguousarray(value.const_value.numpy()[::-1])
                value.const_value = ir.Tensor(reversed_weight, name=value.name)
        return write(replace(neutral, graph=graph), folder, WriteOptions())

    monkeypatch.setattr(onnx_format, "FORMAT", replace(onnx_format.FORMAT, write=write_wrong))
    bundle = export(variant("simplify"), "onnx", tmp_path / "b", task=data, seconds=0)
    assert bundle.parity is not None
    assert not bundle.parity.passed
    first = bundle.parity.first_difference
    assert first is not None
    assert first.op_type == "Conv"
    assert first.before > first.decibels
    assert not check_bundle(tmp_path / "b").passed


def test_a_model_from_a_file_is_the_same_bundle(variant, data, tmp_path):
    save(variant(RECIPE), tmp_path / "small.onnx")
    made = [
        export(model, "onnx", tmp_path / name, task=data, samples=4, seconds=0)
        for name, model in (("a", variant(RECIPE)), ("b", tmp_path / "small.onnx"))
    ]
    assert made[0].digest == made[1].digest
    assert made[0].reread == made[1].reread
