"""Folders that a stranger prepared: links where packlight writes, models put into a project."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.store import Store, files

WRITES = {
    "o.onnx": ("compress", "zoo:fashion", "--recipe", "simplify", "-o", "o.onnx"),
    "p.csv": ("profile", "zoo:fashion", "--csv", "p.csv"),
    "l.csv": ("layers", "zoo:fashion", "smaller.onnx", "--task", "few.npz", "--limit", "2",
              "--csv", "l.csv"),
    "s.csv": ("evaluate", "zoo:fashion", "--task", "few.npz", "--samples", "s.csv"),
    "r.html": ("compare", "zoo:fashion", "smaller.onnx", "--task", "few.npz", "--seconds", "0.05",
               "--report", "r.html"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, few, smaller):
    place = tmp_path / "place"
    place.mkdir()
    shutil.copyfile(few, place / "few.npz")
    shutil.copyfile(smaller, place / "smaller.onnx")
    return place


@pytest.mark.parametrize("name", WRITES)
def test_a_link_where_a_verb_writes_is_replaced_not_followed(name, run, folder):
    victim = folder.parent / "victim"
    victim.write_text("precious")
    (folder / name).symlink_to(victim)

    done = run(*WRITES[name], cwd=folder)

    assert done.returncode == 0, done.stderr
    assert victim.read_text() == "precious"
    assert not (folder / name).is_symlink()
    assert (folder / name).stat().st_size > len("precious")


@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
def test_init_task_writes_over_nothing(kind, run, folder):
    victim = folder.parent / "victim"
    if kind != "dangling link":
        victim.write_text("precious")
    if kind == "file":
        (folder / "t.py").write_text("precious")
    else:
        (folder / "t.py").symlink_to(victim)

    done = run("init-task", "zoo:fashion", "-o", "t.py", cwd=folder)

    assert done.returncode == 2
    assert "exists" in done.stderr
    assert not victim.exists() or victim.read_text() == "precious"


@pytest.mark.slow
def test_the_report_of_a_prepared_project_is_written_inside_it(run, folder, fit_command):
    victim = folder.parent / "victim"
    victim.write_text("precious")
    Store.open(folder / "P").close()
    (folder / "P" / "report.html").symlink_to(victim)
    done = run(*fit_command, "--budget", "size<=1x", "--project", "P", cwd=folder)

    assert done.returncode == 0, done.stderr
    assert victim.read_text() == "precious"
    assert not (folder / "P" / "report.html").is_symlink()


def bomb() -> bytes:
    """A model with the zoo's inputs and outputs that asks for all memory when it is opened."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["product"]),
        helper.make_node("Add", ["product", "sum"], ["logits"]),
    ]
    stored = {"shape": np.array([2**18, 2**18]), "w": np.zeros((784, 10), np.float32)}
    graph = helper.make_graph(
        nodes, "bomb",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opset, ir_version=8)
    data: bytes = proto.SerializeToString()
    return data


def replace_models(project: Path, *, honest: bool) -> None:
    """Put another model into a project: under its own digest, or under that of the one it replaces.

    Measurements go, so that the same search opens the model again.
    """
    with Store.open(project) as store:
        name = store.put_model(lambda path: path.write_bytes(bomb()))
    database = sqlite3.connect(project / "packlight.db")
    with database:
        database.execute("DELETE FROM measurements")
        for key, text in database.execute("SELECT id, json FROM variants").fetchall():
            form = json.loads(text)
            if not form["parent"]:
                continue
            if honest:
                form["file"] = name
            else:
                (project / form["file"]).write_bytes(bomb())
            database.execute("UPDATE variants SET json = ? WHERE id = ?", (json.dumps(form), key))
    database.close()
    assert files.matches(project / name, name)


@pytest.mark.parametrize(
    ("honest", "sentence"),
    [
        pytest.param(True, "far more memory", marks=pytest.mark.slow),
        (False, "changed since it was stored"),
    ],
)
def test_a_model_that_was_put_into_a_project_is_not_opened(honest, sentence, run, folder):
    search = ("fit", "zoo:fashion", "--task", "few.npz", "--recipe", "weights:8", "--budget",
              "size<=1x", "--seconds", "0.05", "--project", "P", "--json")  # fmt: skip
    assert run(*search, cwd=folder).returncode == 0
    replace_models(folder / "P", honest=honest)

    done = run(*search, cwd=folder)

    assert done.returncode in (0, 1, 2), done.stderr
    assert sentence in done.stdout + done.stderr
