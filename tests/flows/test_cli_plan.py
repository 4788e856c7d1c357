"""``packlight plan`` in a process."""

import json
import re
from pathlib import Path

import pytest

from packlight.records import Plan, from_json

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
    done = run("plan", "zoo:fashion", "--device", "esp32-s3", "--budget", "size<=9kB", cwd=tmp_path)

    assert done.returncode == 1
    assert "may have at most" in "".join(done.stdout.replace("\n", " "))


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
    wrong = run("plan", "net.py:wrong", "--input", "image=1,3,8,8", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "torch.nn.Module" in wrong.stderr
