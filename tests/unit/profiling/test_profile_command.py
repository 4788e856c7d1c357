"""``packlight profile`` as people run it, and the verb in Python."""

import csv
import json
import re
import zlib

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import packlight
from packlight import zoo
from packlight.cli.run import run
from packlight.errors import InputError
from packlight.metrics import METRICS
from packlight.model import load
from packlight.task import Task

NOTES = {
    "stack_trace": 'File "/home/me/net/long/model_of_many_layers.py", line 17, in forward',
    "name_scopes": "['', 'encoder', 'encoder.layers.0.feed_forward.dense', 'linear']",
}


@pytest.fixture
def network(tmp_path):
    """Path of a model with open inputs and notes of PyTorch's exporter."""
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> '
        "g (float[n,k,16] x) => (float[n,k,8] y) { [dense] a = MatMul(x, w) [act] y = Relu(a) }"
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((16, 8), np.float32), "w"))
    for key, text in NOTES.items():
        proto.graph.node[0].metadata_props.add(key=f"pkg.torch.onnx.{key}", value=text)
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    return path


def ended(capsys, *arguments):
    """Exit code, and what was printed."""
    code = run(["profile", *map(str, arguments)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_the_table_shows_totals_and_lines_in_eighty_columns(network, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    code, shown, _ = ended(capsys, network, "--input", "x=2,5,16")

    assert code == 0
    assert all(len(line) <= 80 for line in shown.splitlines())
    lines = [line.strip() for line in shown.splitlines()]
    unfolded = "".join(shown.split())
    assert "model_of_many_layers.py:17" in unfolded
    assert "feed_forward.dense" in unfolded
    (dense,) = (line.split() for line in lines if line.startswith("dense"))
    assert dense[:3] == ["dense", "MatMul", "1.28"]
    assert "input x" in shown
    assert "2 x 5 x 16" in shown


def test_open_dimensions_are_told_with_what_to_give(network, capsys):
    code, shown, _ = ended(capsys, network)

    assert code == 0
    assert "give --input x=n,k,16 with numbers" in " ".join(shown.split())
    assert "unknown" in shown
    (reason,) = re.findall(r"Not counted: (.*?)(?:$|\.)", " ".join(shown.split()))
    assert "dense" in reason
    assert "the shape of what it reads or gives is open" in reason


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("z=1,2", "the model has no input 'z'; it has 'x' (n,k,16)"),
        ("x=1,2", "has 3 dimensions; 1,2 has 2"),
        ("x=1,b,16", "'x=1,b,16' has 'b'"),
        ("x=1,2,8", "fixes dimension 2 at 16; 1,2,8 has 8 there"),
        ("x", "an input's shape is NAME=SIZES"),
    ],
)
def test_a_wrong_input_ends_with_a_sentence(network, capsys, text, told):
    code, shown, errors = ended(capsys, network, "--input", text)

    assert (code, shown) == (2, "")
    assert told in errors


NESTED = {
    "source": ("file", "line", "module"),
    "latency": ("value", "unit", "low", "high", "how", "n"),
    "predicted": ("value", "unit", "low", "high", "how", "n"),
}


def flat(one):
    """An operator of the JSON as a row of the CSV has it."""
    inner = {
        f"{name}_{key}": (one[name] or dict.fromkeys(keys))[key]
        for name, keys in NESTED.items()
        for key in keys
    }
    return {**{name: value for name, value in one.items() if name not in NESTED}, **inner}


def test_a_csv_has_a_row_for_each_operator_with_all_of_its_costs(network, tmp_path, capsys):
    out = tmp_path / "costs.csv"

    code, shown, _ = ended(capsys, network, "--input", "x=2,5,16", "--csv", out, "--json")

    assert code == 0
    record = json.loads(shown)
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert [row["name"] for row in rows] == [one["name"] for one in record["operators"]]
    for row, one in zip(rows, record["operators"], strict=True):
        costs = flat(one)
        assert row == {key: "" if value is None else str(value) for key, value in costs.items()}
    assert rows[0]["source_file"] == "/home/me/net/long/model_of_many_layers.py"
    assert rows[0]["macs"] == str(2 * 5 * 16 * 8)


@pytest.mark.parametrize("device", [(), ("--device", "pixel-8")])
def test_measured_times_are_in_the_table_the_csv_and_the_json(
    device, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "costs.csv"
    asked = ("zoo:fashion", "--measure", "--seconds", "0.02", *device, "--top", "4")

    code, table, _ = ended(capsys, *asked)
    again, text, _ = ended(capsys, *asked, "--csv", out, "--json")

    assert (code, again) == (0, 0)
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "latency " in table
    heads = next(line.split() for line in table.splitlines() if line.startswith("operator"))
    assert heads[-1] == "share"
    assert "time" in heads
    assert ("predicted" in heads) == bool(device)
    shown = [line.split() for line in table.splitlines() if " Conv " in line]
    assert len(shown) == 4
    record = json.loads(text)
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    for row, one in zip(rows, record["operators"], strict=True):
        costs = flat(one)
        assert row == {key: "" if value is None else str(value) for key, value in costs.items()}
    assert {row["placement"] for row in rows} == {"kernel", "fused"}
    assert all(bool(row["into"]) == (row["placement"] == "fused") for row in rows)
    total = sum(float(row["latency_value"] or 0) for row in rows)
    assert total == pytest.approx(record["totals"]["latency"]["value"])


def test_the_table_for_a_device_shows_what_bounds_the_costliest(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    code, table, _ = ended(capsys, "zoo:fashion", "--device", "stm32h7", "--top", "3")

    assert code == 0
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "latency on stm32h7, cpu" in table
    lines = [line for line in table.splitlines() if " Conv " in line]
    assert len(lines) == 3
    assert all("arithmetic" in line for line in lines)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--measure",), "to measure a model all shapes must be known, and input 'x' is open"),
        (("--device", "pixel-9"), "there is no device 'pixel-9'"),
        (("--device", "pixel-8", "--unit", "npu"), "there is no 'npu'"),
    ],
)
def test_what_cannot_be_measured_or_predicted_ends_with_a_sentence(network, capsys, options, told):
    code, shown, errors = ended(capsys, network, *options)

    assert (code, shown) == (2, "")
    assert told in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_csv_is_never_written_over_something_else(network, capsys, tmp_path):
    before = network.read_bytes()

    code, _, errors = ended(capsys, network, "--csv", network)

    assert code == 2
    assert "to a file whose name ends in .csv" in errors
    assert network.read_bytes() == before
    assert ended(capsys, network, "--csv", tmp_path / "none" / "x.csv")[0] == 2


def test_the_help_shows_examples(capsys):
    code, shown, _ = ended(capsys, "--help")

    assert code == 0
    assert "packlight profile model.onnx --input image=1,3,224,224 --csv costs.csv" in shown
    assert "packlight profile model.onnx --measure --threads 2" in shown
    assert "packlight profile model.onnx --device pixel-8" in shown


def test_a_download_is_the_file_after_deflate():
    path = zoo.model_path("fashion")
    packer = zlib.compressobj(6)
    wanted = len(packer.compress(path.read_bytes()) + packer.flush())

    assert packlight.profile("zoo:fashion", download=True).totals["download"].value == wanted
    plain = packlight.profile("zoo:fashion").totals
    assert "download" not in plain
    assert plain["size"].value == path.stat().st_size
    value = packlight.profile(load(path), download=True).totals
    assert value["download"].value == pytest.approx(wanted, rel=0.01)


def test_inputs_may_be_texts_or_sizes_by_name(network):
    by_text = packlight.profile(network, inputs=["x=2,5,16"])

    assert packlight.profile(network, inputs={"x": (2, 5, 16)}) == by_text
    with pytest.raises(InputError, match="no input 'z'"):
        packlight.profile(network, inputs={"z": (1,)})


def test_the_first_sample_of_a_task_says_shapes(network):
    feeds = {"x": np.zeros((1, 7, 16), np.float32)}
    task = Task("t", [[feeds]], METRICS["cosine"])

    assert packlight.profile(network, task).inputs == {"x": (1, 7, 16)}
    given = packlight.profile(network, task, inputs=["x=3,7,16"])
    assert given.inputs == {"x": (3, 7, 16)}
