"""Names of strangers in a terminal: no verb prints what controls it or reorders its text."""

from __future__ import annotations

import csv
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight import list_devices
from packlight.cli.screen import screen
from packlight.cli.tables import plain_table, stacked, styled, styled_parts
from packlight.devices import device_toml
from packlight.presentation.printable import printable

EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202etxt\u2066\r\nFake line: all fits\x7f\x00\x08"
"""Clears the screen, sets the window's title, reverses text, goes back, and adds a line."""

NAME = EVIL.replace("\x00", "")
"""For names of files and of protobuf, where the system or a library ends at NUL."""

ALLOWED = "\n"


def controls(text: str) -> set[str]:
    """Characters that control a terminal."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {mark for mark in text if unicodedata.category(mark) in kinds} - set(ALLOWED)


def model_of(scale: float, path: Path) -> Path:
    """Two layers whose operators, values, weights and open dimension have hostile names."""
    generator = np.random.default_rng(0)
    first = (generator.normal(size=(8, 64)) * scale).astype(np.float32)
    second = (generator.normal(size=(64, 5)) * scale).astype(np.float32)
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", f"w{NAME}"], [f"h{NAME}"], name=f"first{NAME}"),
        node("Relu", [f"h{NAME}"], [f"r{NAME}"], name=f"relu{NAME}"),
        node("MatMul", [f"r{NAME}", "v"], ["y"], name=f"last{NAME}"),
    ]
    for entry in nodes:
        entry.doc_string = NAME
    graph = helper.make_graph(
        nodes, f"graph{NAME}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [f"batch{NAME}", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"batch{NAME}", 5])],
        [numpy_helper.from_array(first, f"w{NAME}"), numpy_helper.from_array(second, "v")],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("names")
    model_of(1.0, made / f"m{NAME}.onnx")
    model_of(0.9, made / f"v{NAME}.onnx")
    generator = np.random.default_rng(1)
    x = generator.normal(size=(120, 8)).astype(np.float32)
    groups = np.array([f"g{index % 2}{NAME}" for index in range(len(x))])
    arrays = {"x": x, "target": generator.integers(0, 5, len(x)), f"group_c{NAME}": groups,
              "calibration_x": x[:16]}  # fmt: skip
    np.savez(made / f"t{NAME}.npz", **arrays)
    device = next(device for device in list_devices() if device.name == "pixel-8")
    text = device_toml(device)
    (made / f"d{NAME}.toml").write_text(text)
    hostile = text.replace('title = "', f'title = "{json.dumps(EVIL)[1:-1]}')
    (made / "hostile.toml").write_text(hostile.replace("\x7f", "\\u007f"))
    return made


MODEL, VARIANT, TASK, DEVICE = f"m{NAME}.onnx", f"v{NAME}.onnx", f"t{NAME}.npz", f"d{NAME}.toml"
VERBS = {
    "profile": ("profile", MODEL, "--csv", f"c{NAME}.csv"),
    "profile --device": ("profile", MODEL, "--device", DEVICE),
    "profile --measure": ("profile", MODEL, "--measure", "--seconds", "0.05"),
    "plan": ("plan", MODEL, "--device", DEVICE, "--set", ".*=weights:4"),
    "compress": ("compress", MODEL, "--recipe", "simplify+weights:8", "-o", f"o{NAME}.onnx"),
    "evaluate": ("evaluate", VARIANT, "--task", TASK, "--reference", MODEL),
    "compare": ("compare", MODEL, VARIANT, "--task", TASK, "--seconds", "0.05",
                "--samples", f"s{NAME}.csv", "--report", f"r{NAME}.html"),
    "layers": ("layers", MODEL, VARIANT, "--task", TASK, "--limit", "4"),
    "diagnose": ("diagnose", MODEL, VARIANT, "--task", TASK, "--limit", "8", "--quality"),
    "fit": ("fit", MODEL, "--task", TASK, "--recipe", "weights:8", "--budget", "size<=1x",
            "--seconds", "0.05", "--project", f"P{NAME}"),
    "devices": ("devices", "show", DEVICE),
    "init-task": ("init-task", MODEL, "-o", f"k{NAME}.py"),
    "a device with a hostile title": ("devices", "show", "hostile.toml"),
    "no such model": ("profile", f"none{NAME}.onnx"),
    "no such option": ("profile", MODEL, f"--{NAME}"),
    "no such verb": (f"pro{NAME}",),
    "no such step": ("compress", MODEL, "--recipe", f"magic{NAME}", "-o", "o.onnx"),
    "no such operator": ("plan", MODEL, "--device", DEVICE, "--set", f"zz{NAME}=weights:4"),
    "with its traceback": ("profile", f"none{NAME}.onnx", "--debug"),
}  # fmt: skip


REFUSED = [arguments for name, arguments in VERBS.items() if name.startswith(("no such", "a dev"))]
REFUSED.append(VERBS["with its traceback"])


@pytest.mark.parametrize("arguments", VERBS.values(), ids=VERBS)
def test_no_verb_prints_what_controls_a_terminal(arguments, run, folder):
    done = run(*arguments, cwd=folder, COLUMNS="2000")  # so that no long name is folded

    expected = (2,) if arguments in REFUSED else (0, 1)
    assert done.returncode in expected, done.stderr
    assert controls(done.stdout) == set()
    assert controls(done.stderr) == set()
    printed = f"{done.stdout}\n{done.stderr}".splitlines()
    assert not any(line.startswith("Fake line") for line in printed)


JSON = ("profile", "plan", "compress", "evaluate", "compare", "layers", "diagnose", "fit")


@pytest.mark.parametrize("verb", JSON)
def test_json_is_plain_and_has_the_names_as_they_are(verb, run, folder):
    done = run(*VERBS[verb], "--json", cwd=folder)

    assert controls(done.stdout) == set()
    assert json.loads(done.stdout)


def test_tables_and_reports_are_read_back_as_they_were_written(run, folder):
    profile = json.loads(run(*VERBS["profile"], "--json", cwd=folder).stdout)
    with (folder / f"c{NAME}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [entry["name"] for entry in profile["operators"]]

    run(*VERBS["compare"], cwd=folder)
    with (folder / f"s{NAME}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row[f"group_c{NAME}"] for row in rows} == {f"g0{NAME}", f"g1{NAME}"}
    page = (folder / f"r{NAME}.html").read_text("utf-8")
    shown = page.partition('<script type="application/json"')[0]
    assert controls(shown) == set()


def test_names_of_people_everywhere_are_printed_as_they_are():
    for name in ("größe", "モデル\u3000甲", "نموذج", "модель", "a b", "caf\u00e9\u00a0noir"):
        assert printable(name) == name


@pytest.mark.parametrize(
    "part", [EVIL, styled(EVIL), styled_parts("a", (EVIL, "bold")), stacked(EVIL, EVIL)]
)
def test_a_screen_escapes_texts_of_every_kind_and_measures_what_it_shows(part, capsys):
    table = plain_table(EVIL, "n")
    table.add_row(part, "1")
    table.add_row("short", "22")

    screen().print(table)
    screen().print(part)

    printed = capsys.readouterr().out
    assert controls(printed) == set()
    assert "Fake line" in printed.replace("\n", "")
    assert "\\x1b" in printed


def test_a_text_that_nobody_escaped_is_escaped_when_it_is_shown(capsys):
    from rich.text import Text

    screen().print(Text(f"one\n{EVIL}"))

    assert controls(capsys.readouterr().out) == set()
