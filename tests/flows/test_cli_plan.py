"""``packlight plan`` in a process."""

import json
import re
from pathlib import Path

import pytest

from packlight.model import save
from packlight.records import Plan, from_json
from packlight.testing.sketch import Sketch, value_info

DOCS = Path(__file__).parents[2] / "docs"


def test_the_docs_show_what_the_command_says(run, tmp_path):
    text = (DOCS / "plan.md").read_text("utf-8")
    shown = re.search(r"\$ packlight (plan zoo:fashion[^\n]*)\n(.*?)```", text, re.S)
    assert shown is not None
    arguments = [part.strip('"') for part in shown[1].split()]

    done = run(*arguments, cwd=tmp_path)

    assert done.returncode == 0
    lines = [line.rstrip() for line in done.stdout.strip().splitlines()]
    assert lines == shown[2].strip().splitlines()
    assert max(map(len, lines)) <= 80


def test_json_is_the_record_and_nothing_else(run, tmp_path):
    done = run("plan", "zoo:fashion", "--device", "pixel-8", "--json", cwd=tmp_path)

    found = from_json(Plan, json.loads(done.stdout))
    assert found.device == "pixel-8, cpu"
    assert found.feasible == "yes"


def test_what_no_route_keeps_ends_with_code_1(run, tmp_path):
    wanted = ["--device", "esp32-s3", "--budget", "size<=40kB"]
    done = run("plan", "zoo:fashion", *wanted, cwd=tmp_path)

    assert done.returncode == 1
    assert "may keep at most" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--device", "pixel-9"], "pixel-8"),
        (["--budget", "size<=1"], "unit"),
        (["--device", "pixel-8", "--unit", "tpu"], "there is no 'tpu'"),
        (["--set", "conv"], "OPERATOR=STEP"),
        (["--input", "image=1,3"], "image"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(run, tmp_path, arguments, told):
    done = run("plan", "zoo:fashion", *arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


NETWORK = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))

def shaped():
    import torch
    return make(), torch.zeros(1, 3, 8, 8)

def wrong():
    return 3
"""


def test_a_network_of_pytorch_is_exported_and_planned(run, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "net.py").write_text(NETWORK)

    by_shape = run("plan", "net.py:make", "--input", "image=1,3,8,8", "--json", cwd=tmp_path)
    by_example = run("plan", "net.py:shaped", "--json", cwd=tmp_path)

    sizes = [
        json.loads(d.stdout)["options"][1]["predicted"]["size"] for d in (by_shape, by_example)
    ]
    assert abs(sizes[0]["value"] - sizes[1]["value"]) < 100
    assert (by_shape.stderr, by_example.stderr) == ("", "")
    wrong = run("plan", "net.py:wrong", "--input", "image=1,3,8,8", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "torch.nn.Module" in wrong.stderr


def test_the_devices_own_limits_count_beside_a_budget_on_something_else(run, tmp_path):
    done = run("plan", "zoo:fashion", "--device", "stm32h7", "--budget", "latency<=100s", "--json",
               cwd=tmp_path)  # fmt: skip

    assert "peak_memory<=524kB" in json.loads(done.stdout)["budgets"]


def test_a_choice_that_the_device_cannot_keep_is_not_recommended(run, tmp_path):
    done = run("plan", "zoo:fashion", "--device", "stm32h7", "--set", ".=weights:4", "--json",
               cwd=tmp_path)  # fmt: skip

    chosen = json.loads(done.stdout)["options"][0]
    assert chosen["name"] == "as chosen"
    assert chosen["meets"]["runtime"] == "no"
    assert not any("as chosen" in said for said in json.loads(done.stdout)["recommendation"])


def test_a_share_of_the_time_is_compared_with_shares(run, tmp_path):
    done = run("plan", "zoo:fashion", "--device", "pixel-8", "--budget", "latency<=0.01x", "--json",
               cwd=tmp_path)  # fmt: skip

    (share,) = json.loads(done.stdout)["shrink"].values()
    assert 0 < share < 1


@pytest.mark.parametrize("arguments", [["--budget", "size<=-1MB"], ["--budget", "latency<=0ms"],
                                       ["--set", "=weights:4"]])  # fmt: skip
def test_budgets_and_choices_that_mean_nothing_are_refused(arguments, run, tmp_path):
    done = run("plan", "zoo:fashion", *arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) <= 3


def test_an_operator_without_a_runtime_is_the_first_thing_said(run, tmp_path):
    sketch = Sketch(18)
    value = sketch.add("Pow", sketch.add("MatMul", "x", sketch.weight(64, 64)), sketch.weight(1))
    model = sketch.model("power", [value_info("x", (1, 64))], {value: (1, 64)})
    save(model, tmp_path / "power.onnx")

    done = run("plan", "power.onnx", "--device", "stm32h7", cwd=tmp_path)

    assert done.returncode == 1
    assert "does not run on STM32H743: no runtime of its cpu runs Pow" in " ".join(
        done.stdout.split()
    )


def test_an_operator_that_nobody_knows_is_named_and_sizes_are_told_all_the_same(run, tmp_path):
    sketch = Sketch(18)
    value = sketch.add("MatMul", "x", sketch.weight(64, 64))
    model = sketch.model("odd", [value_info("x", (1, 64))], {value: (1, 64)})
    (node,) = model.graph.graph
    node.domain, node.op_type, node.name = "my.ops", "Fancy", "fancy"
    model.graph.opset_imports["my.ops"] = 1
    save(model, tmp_path / "odd.onnx")

    planned = run("plan", "odd.onnx", "--json", cwd=tmp_path)
    tight = run("plan", "odd.onnx", "--budget", "size<=1kB", cwd=tmp_path)
    profiled = run("profile", "odd.onnx", cwd=tmp_path)

    found = from_json(Plan, json.loads(planned.stdout))
    assert any("arithmetic of my.ops.Fancy is not known" in one for one in found.recommendation)
    assert "may fit" in found.recommendation[0]
    assert "no runtime has my.ops.Fancy unless you register it" in found.recommendation[0]
    assert not any("as it is" in one for one in found.recommendation)
    assert found.feasible == "unclear"
    assert "Also, no runtime has my.ops.Fancy unless" in " ".join(tight.stdout.split())
    assert found.options[0].predicted["size"].how == "counted"
    assert "latency" not in found.original
    assert profiled.returncode == 0
    assert "my.ops.Fancy is not known" in " ".join(profiled.stdout.split())
