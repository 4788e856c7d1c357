"""``packlight check`` in a process, on three pairs: kept, broken, and impossible to tell."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from packlight import zoo
from packlight.records import Gate, from_json

KEPT = ["--budget", "size<=0.4x", "--budget", "drop<=20%"]
BROKEN = ["--budget", "size<=0.1x", "--budget", "drop<=20%"]
UNTOLD = ["--budget", "drop<=0.1%"]


@pytest.fixture(scope="module")
def check(run, few, smaller, tmp_path_factory):
    """Check the model of 8-bit weights against the zoo's."""
    folder = tmp_path_factory.mktemp("check")

    def call(*arguments, cwd=folder):
        return run("check", "zoo:fashion", smaller, "--task", few, *arguments, cwd=cwd)

    return call


def test_a_pair_that_keeps_every_budget_exits_with_0(check):
    done = check(*KEPT)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [
        ["pass", "size<=0.4x"], ["pass", "drop<=20%"],
    ]  # fmt: skip
    assert "smaller keeps 2 budgets." in lines
    assert max(map(len, lines)) <= 80


def test_a_pair_that_breaks_a_budget_exits_with_1(check):
    done = check(*BROKEN)
    assert done.returncode == 1, done.stderr
    assert "smaller misses size<=0.1x." in done.stdout.splitlines()


def test_a_pair_that_cannot_be_told_is_treated_as_asked(check):
    codes = {}
    for unclear in ("fail", "pass", "estimate"):
        done = check(*UNTOLD, "--unclear", unclear)
        codes[unclear] = done.returncode
        assert "would decide it" in done.stdout
    assert codes["fail"] == 1
    assert codes["pass"] == 0


def test_the_files_of_three_runs(check, tmp_path):
    for arguments in (KEPT, BROKEN, KEPT):
        done = check(
            *arguments, "--junit", "j.xml", "--markdown", "m.md", "--history", "h.jsonl",
            "--report", "r.html", "--json", cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == int(arguments is BROKEN), done.stderr
        gate = from_json(Gate, json.loads(done.stdout))
        suite = ET.parse(tmp_path / "j.xml").getroot().find("testsuite")
        assert suite is not None
        cases = suite.findall("testcase")
        assert [case.get("name") for case in cases] == [b.budget for b in gate.budgets]
        failed = [case.find("failure") is not None for case in cases]
        assert failed == [not checked.passed for checked in gate.budgets]
        assert suite.get("failures") == str(sum(failed))
    table = (tmp_path / "m.md").read_text("utf-8").splitlines()
    assert table[0] == "### smaller keeps 2 budgets."
    rows = [line for line in table if line.startswith("| ✅")]
    assert len(rows) == 2
    assert all(row.count("|") == 6 for row in rows)
    runs = (tmp_path / "h.jsonl").read_text("utf-8").splitlines()
    assert len(runs) == 3
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "3 runs" in page
    assert page.count('class="run yes"') >= 4
    assert "<script" not in page


def test_settings_come_from_the_repository(check, few, run, smaller, tmp_path):
    settings = f"""
    [tool.packlight]
    task = "{few}"
    budgets = ["drop<=0.1%"]
    unclear = "pass"
    """
    (tmp_path / "pyproject.toml").write_text(settings, "utf-8")
    inner = tmp_path / "inner"
    inner.mkdir()
    done = run("check", "zoo:fashion", smaller, cwd=inner)
    assert done.returncode == 0, done.stderr
    done = run("check", "zoo:fashion", smaller, "--unclear", "fail", cwd=inner)
    assert done.returncode == 1, done.stderr
    (inner / "packlight.toml").write_text('budgets = ["size<=1x"]', "utf-8")
    done = run("check", "zoo:fashion", smaller, "--json", cwd=inner)
    assert [b["budget"] for b in json.loads(done.stdout)["budgets"]] == ["size<=1x"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("budget = ['size<=1x']", "has no setting 'budget'; there are task, budgets"),
        ("budgets = 'size<=1x'", "list is expected"),
        ("budgets = [", "is not valid TOML"),
        ("unclear = 'maybe'", "one of fail, pass, estimate"),
        ("", "a check needs at least one budget"),
        ("budgets = ['size<=1x']\ntolerance = 2.0", "a tolerance is a share"),
    ],
)
def test_wrong_settings_get_a_sentence(run, smaller, tmp_path, settings, message):
    (tmp_path / "packlight.toml").write_text(settings, "utf-8")
    done = run("check", "zoo:fashion", smaller, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "drop<=1%"], "name data with --task"),
        (["--budget", "size<=1x", "--history", "/"], "Name a file"),
        (["--budget", "size<=1x", "--unclear", "no"], "fail, pass or estimate"),
    ],
)
def test_wrong_arguments_get_a_sentence(run, smaller, tmp_path, arguments, message):
    done = run("check", "zoo:fashion", smaller, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_history_of_something_else_is_refused_and_kept(run, smaller, tmp_path):
    (tmp_path / "h.jsonl").write_text("{}\n", "utf-8")
    done = run(
        "check", "zoo:fashion", smaller, "--budget", "size<=1x", "--history", "h.jsonl",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "line 1 of the history 'h.jsonl'" in done.stderr
    assert (tmp_path / "h.jsonl").read_text("utf-8") == "{}\n"


def test_saved_evaluations_are_paired_sample_by_sample(run, few, smaller, tmp_path):
    for model, name in (("zoo:fashion", "main.json"), (smaller, "pr.json")):
        done = run(
            "evaluate", model, "--task", few, "--costs", "--seconds", "0.1", "--json", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        (tmp_path / name).write_text(done.stdout, "utf-8")
    together = run(
        "compare", "zoo:fashion", smaller, "--task", few, "--quality", "--json", cwd=tmp_path
    )
    saved = run("compare", "main.json", "pr.json", "--json", cwd=tmp_path)
    paired = json.loads(together.stdout)["others"][0]
    other = json.loads(saved.stdout)["others"][0]
    assert other["metrics"]["drop"] == paired["metrics"]["drop"]
    assert {"size", "latency", "latency_ratio", "peak_memory"} <= set(other["metrics"])
    assert paired["verdict"] == "unjudged"
    done = run("check", "main.json", "pr.json", "--budget", "drop<=20%", "--budget", "size<=1x",
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_evaluations_of_other_data_are_not_checked(run, few, smaller, tmp_path):
    with np.load(few) as file:
        arrays = dict(file)
    inputs = next(name for name in arrays if name not in ("target",) and "_" not in name)
    arrays[inputs] = arrays[inputs][::-1]
    np.savez(tmp_path / "other.npz", **arrays)
    for data, name in ((few, "a.json"), (tmp_path / "other.npz", "b.json")):
        done = run("evaluate", "zoo:fashion", "--task", data, "--json", cwd=tmp_path)
        (tmp_path / name).write_text(done.stdout, "utf-8")
    done = run("check", "a.json", "b.json", "--budget", "drop<=1%", cwd=tmp_path)
    assert done.returncode == 2
    assert "not evaluated under the same conditions: data:" in done.stderr


def test_budgets_of_compare_and_evaluate_decide_the_exit_code(run, few, smaller, tmp_path):
    base = ["compare", "zoo:fashion", smaller, "--task", few, "--quality"]
    assert run(*base, "--budget", "size<=0.4x", cwd=tmp_path).returncode == 0
    assert run(*base, "--budget", "size<=0.1x", cwd=tmp_path).returncode == 1
    base = ["evaluate", smaller, "--task", few]
    assert run(*base, "--budget", "top1>=50%", cwd=tmp_path).returncode == 0
    assert run(*base, "--budget", "size<=1kB", cwd=tmp_path).returncode == 1


def test_the_fixture_asserts_budgets(smaller, tmp_path):
    test = f"""
    import pytest

    MODELS = ({zoo.model_path("fashion").as_posix()!r}, {smaller.as_posix()!r})

    def test_kept(packlight):
        assert packlight.check(*MODELS, ["size<=0.4x"]).passed

    def test_of_the_settings(packlight):
        packlight.check(*MODELS)
    """
    lines = [line.removeprefix("    ") for line in test.splitlines()]
    (tmp_path / "test_models.py").write_text("\n".join(lines), "utf-8")
    (tmp_path / "packlight.toml").write_text('budgets = ["size<=0.1x"]', "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    plugins = ["-p", "packlight.pytest_plugin", "-p", "no:cacheprovider"]
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, **alone},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "smaller misses size<=0.1x." in done.stdout


def test_files_of_a_check_that_cannot_be_made_say_why(run, tmp_path):
    files = ["--junit", "j.xml", "--markdown", "m.md"]
    done = run("check", "zoo:fashion", "nope.onnx", "--budget", "size<=1x", *files, cwd=tmp_path)

    assert done.returncode == 2
    (error,) = ET.parse(tmp_path / "j.xml").getroot().iter("error")
    assert "there is no file 'nope.onnx'" in error.get("message")
    assert "there is no file" in (tmp_path / "m.md").read_text("utf-8")
