"""Layers, findings, lessons and robustness from the command line."""

import csv
import json

import numpy as np
import pytest
from planted import NETS, clipping, drawn, well

from packlight.cli.run import run
from packlight.model import save


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    net = NETS["conv"]()
    made = clipping(net)
    save(made.reference, folder / "model.onnx")
    save(made.variant, folder / "clipped.onnx")
    save(well(net).variant, folder / "int8.onnx")
    rows = {name: np.concatenate([sample[0]["x"] for sample in drawn(net, seed, count=10)])
            for name, seed in (("x", 1), ("calibration_x", 2))}  # fmt: skip
    np.savez(folder / "data.npz", **rows)
    return folder


def called(capsys, *arguments):
    code = run([str(one) for one in arguments])
    return code, capsys.readouterr().out


def test_layers_are_told_and_written(files, capsys):
    where = files / "layers.csv"
    pair = files / "model.onnx", files / "clipped.onnx"

    code, out = called(capsys, "layers", *pair, "--task", files / "data.npz", "--csv", where)

    with where.open() as file:
        rows = list(csv.DictReader(file))
    assert code == 0
    assert "Degradation starts at" in out
    assert min(float(row["own"]) for row in rows) < 20


def test_layers_as_json_are_the_record(files, capsys):
    pair = files / "model.onnx", files / "clipped.onnx"

    code, out = called(capsys, "layers", *pair, "--task", files / "data.npz", "--json")

    found = json.loads(out)
    assert code == 0
    assert found["schema"] == "Layers/1"
    assert {"snr", "own", "low", "high", "outside"} <= set(found["layers"][0])


def test_a_diagnosis_names_the_cause_and_what_to_do(files, capsys):
    pair = files / "model.onnx", files / "clipped.onnx"

    code, out = called(capsys, "diagnose", *pair, "--task", files / "data.npz", "--seconds", 0.1)

    assert code == 0
    headings = [line for line in out.splitlines() if line[:1].isdigit()]
    assert any(
        "clipped-ranges" in line for line in headings
    )  # times may be graver on a busy machine
    assert "packlight lessons" in out


def test_a_diagnosis_as_json_is_a_list_the_gravest_first(files, capsys):
    pair = files / "model.onnx", files / "clipped.onnx"

    code, out = called(
        capsys, "diagnose", *pair, "--task", files / "data.npz", "--quality", "--json"
    )

    found = json.loads(out)
    assert code == 0
    assert found[0]["cause"] == "clipped-ranges"
    assert {"cause", "severity", "operator", "evidence", "next_step"} <= set(found[0])


def test_without_a_task_inputs_are_drawn_and_that_is_said(files, capsys):
    pair = files / "model.onnx", files / "int8.onnx"

    code, out = called(capsys, "diagnose", *pair, "--quality", "--json")

    assert code == 0
    assert json.loads(out)[-1]["cause"] == "random-inputs"


def test_comparisons_tell_layers_and_robustness_where_asked(files, capsys):
    pair = files / "model.onnx", files / "int8.onnx"
    options = ("--task", files / "data.npz", "--quality", "--layers", "--robustness")

    code, out = called(capsys, "compare", *pair, *options)

    assert code == 0
    assert "Layers of int8 against model" in out
    assert "brightness" in out


def test_lessons_are_found_by_a_word(capsys):
    code, out = called(capsys, "lessons", "calibration")

    assert code == 0
    assert "calibrate-like-use" in out
    assert called(capsys, "lessons", "zeppelin")[0] == 2


def test_lessons_as_json_are_records(capsys):
    _, out = called(capsys, "lessons", "--json")

    assert {one["schema"] for one in json.loads(out)} == {"Lesson/1"}
