"""``compress``, ``evaluate``, ``compare``, ``profile`` and ``init-task`` in a process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from packlight import load, zoo


def test_compress_writes_what_its_variant_says(run, tmp_path):
    done = run(
        "compress", "zoo:fashion", "--recipe", "simplify+weights:4", "-o", "w4.onnx", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0
    variant = json.loads(done.stdout)
    assert variant["schema"] == "Variant/2"
    assert variant["file"] == "w4.onnx"
    assert variant["model"] == load(tmp_path / "w4.onnx").digest
    assert {change["method"] for change in variant["changes"]} == {"simplify", "weights"}
    assert [path.name for path in tmp_path.iterdir()] == ["w4.onnx"]


def test_compress_shows_sizes_as_they_are_on_disk(run, tmp_path):
    done = run("compress", "zoo:fashion", "--recipe", "simplify", "-o", "t.onnx", cwd=tmp_path)
    size = (tmp_path / "t.onnx").stat().st_size
    assert f"t.onnx: {size / 1e6:.2f} MB instead of 1.7 MB" in done.stdout


def test_a_compressed_file_computes_nearly_the_same(smaller, few):
    with np.load(few) as data:
        images = data["image"].astype(np.float32).reshape(-1, 1, 28, 28)
    paths = (zoo.model_path("fashion"), smaller)
    sessions = [onnxruntime.InferenceSession(str(path)) for path in paths]
    before, after = (session.run(None, {"image": images})[0] for session in sessions)
    assert np.mean(before.argmax(1) == after.argmax(1)) > 0.95


def test_compress_with_ranges_needs_samples_and_takes_them(run, few, tmp_path):
    command = ("compress", "zoo:fashion", "--recipe", "static", "-o", "s.onnx")
    without = run(*command, cwd=tmp_path)
    assert without.returncode == 2
    assert "calibration" in without.stderr
    assert not (tmp_path / "s.onnx").exists()
    assert run(*command, "--task", few, cwd=tmp_path).returncode == 0
    onnx.checker.check_model(tmp_path / "s.onnx")


def test_compress_gives_the_id_that_fit_gives(run, project, few, tmp_path):
    _, found = project
    done = run(
        "compress", "zoo:fashion", "--recipe", "simplify+static+weights:8", "--task", few,
        "-o", "s.onnx", "--json", cwd=tmp_path,
    )  # fmt: skip
    wanted = {v["name"]: v["id"] for v in found["variants"]}
    assert json.loads(done.stdout)["id"] == wanted["simplify+static+weights:8"]


def test_compress_never_writes_over_its_input(run, tmp_path):
    shutil.copyfile(zoo.model_path("fashion"), tmp_path / "m.onnx")
    (tmp_path / "link.onnx").symlink_to("m.onnx")
    before = (tmp_path / "m.onnx").read_bytes()
    for out in ("m.onnx", "link.onnx"):
        done = run("compress", "m.onnx", "--recipe", "simplify", "-o", out, cwd=tmp_path)
        assert done.returncode == 2
        assert "is what is read" in done.stderr
    assert (tmp_path / "m.onnx").read_bytes() == before


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path):
    command = f"'{sys.executable}' -m packlight compress zoo:fashion --recipe simplify -o m.onnx"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 100; {command}"],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "'m.onnx' cannot be written: the file would be larger than the limit" in done.stderr
    assert not list(tmp_path.iterdir())


def test_evaluate_prints_an_evaluation(run, few, tmp_path):
    done = run("evaluate", "zoo:fashion", "--task", few, "--json", "--threads", 2, cwd=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["schema"] == "Evaluation/2"
    assert found["session"] == {"arithmetic": "runtime", "threads": 2, "matmul_accuracy": 4}
    assert found["metrics"]["top1"]["value"] == pytest.approx(accuracy(few))
    assert found["metrics"]["drop"]["value"] == 0


def accuracy(few: Path) -> float:
    """Share of right classes, by ONNX Runtime and NumPy alone."""
    session = onnxruntime.InferenceSession(str(zoo.model_path("fashion")))
    with np.load(few) as data:
        images, labels = data["image"].astype(np.float32), data["target"]
    logits = session.run(None, {"image": images.reshape(-1, 1, 28, 28)})[0]
    return float(np.mean(logits.argmax(1) == labels))


def test_evaluate_against_a_reference_tells_the_drop(run, smaller, few, tmp_path):
    done = run("evaluate", smaller, "--task", few, "--reference", "zoo:fashion", "--json",
               cwd=tmp_path)  # fmt: skip
    found = json.loads(done.stdout)
    alone = json.loads(run("evaluate", "zoo:fashion", "--task", few, "--json", cwd=tmp_path).stdout)
    loss = alone["metrics"]["top1"]["value"] - found["metrics"]["top1"]["value"]
    assert found["metrics"]["drop"]["value"] == pytest.approx(loss)
    assert found["reference"] == alone["variant"] != found["variant"]


def test_evaluate_shows_every_group(run, few, tmp_path):
    done = run("evaluate", "zoo:fashion", "--task", few, cwd=tmp_path)
    for word in ("top1", "Shirt", "Trouser", "dark", "95 % confidence interval", "1 thread"):
        assert word in done.stdout


def test_compare_says_what_changed_and_writes_a_report(run, smaller, few, tmp_path):
    done = run(
        "compare", "zoo:fashion", smaller, "--task", few, "--report", "r.html", "--seconds", 0.05,
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (other,) = found["others"]
    size = smaller.stat().st_size / zoo.model_path("fashion").stat().st_size
    assert other["name"] == "smaller"
    assert found["deltas"][other["id"]]["size"]["value"] == pytest.approx(size)
    assert found["flips"][0]["n"] == 200
    page = (tmp_path / "r.html").read_text("utf-8")
    assert found["report"] == "r.html"
    assert "no budget was set" in page
    assert "meets every budget" not in page


def test_compare_takes_a_model_beside_itself(run, few, tmp_path):
    done = run("compare", "zoo:fashion", "zoo:fashion", "--task", few, "--seconds", 0.05,
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1.00x" in done.stdout


def test_compare_refuses_a_model_of_another_form(run, few, tmp_path):
    model = onnx.load(zoo.model_path("fashion"))
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "image":
                node.input[place] = "picture"
    model.graph.input[0].name = "picture"
    onnx.save(model, tmp_path / "other.onnx")
    done = run("compare", "zoo:fashion", "other.onnx", "--task", few, cwd=tmp_path)
    assert done.returncode == 2
    assert "their inputs must be alike; 'fashion' has image float" in done.stderr
    assert "'other' has picture float" in done.stderr


def test_profile_counts_every_operator(run, tmp_path):
    done = run("profile", "zoo:fashion", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["schema"] == "Profile/3"
    assert len(found["operators"]) == len(onnx.load(zoo.model_path("fashion")).graph.node)
    assert found["totals"]["size"]["value"] == zoo.model_path("fashion").stat().st_size
    shown = run("profile", "zoo:fashion", "--top", 3, cwd=tmp_path).stdout
    assert shown.count(" Conv ") == 3


def test_a_new_task_runs_as_it_is(run, tmp_path):
    made = run("init-task", "zoo:fashion", "--json", cwd=tmp_path)
    assert json.loads(made.stdout) == {"file": "task.py", "task": "task.py:task"}
    done = run("evaluate", "zoo:fashion", "--task", "task.py:task", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = run("init-task", "zoo:fashion", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists" in again.stderr


def test_what_a_task_prints_does_not_reach_the_json(run, tmp_path):
    run("init-task", "zoo:fashion", cwd=tmp_path)
    text = (tmp_path / "task.py").read_text("utf-8")
    (tmp_path / "task.py").write_text(text + "\nprint('loading my data')\n", "utf-8")
    done = run("evaluate", "zoo:fashion", "--task", "task.py:task", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["schema"] == "Evaluation/2"
    assert "loading my data" in done.stderr


def test_compress_tells_each_reason_of_what_it_skipped_in_one_line(run, tmp_path):
    done = run(
        "compress", "zoo:fashion", "--recipe", "simplify+float16", "-o", "half.onnx",
        cwd=tmp_path, COLUMNS="80",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "skipped" in line]
    assert lines == ["float16 skipped 14: too small to gain"]
    assert "conv.bias" not in done.stdout
