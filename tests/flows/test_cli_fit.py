"""``packlight fit`` and ``demo`` against the contract of the command line."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

METRICS = ("size", "download", "latency", "latency_ratio", "peak_memory", "top1", "drop")
FIELDS = {"value", "unit", "low", "high", "how", "n"}
KEYS = {"id", "parent", "name", "recipe", "file", "meets", "refusals", "metrics"}
BUDGET = ("--budget", "size<=0.3x", "--budget", "drop<=5%", "--allow-slower")


def test_json_has_every_key_of_the_contract(project):
    _, found = project
    wanted = {"best", "verdict", "misses", "report", "project", "front", "variants"}
    assert wanted <= set(found)
    assert len(found["variants"]) == 4
    for variant in found["variants"]:
        assert set(variant) >= KEYS
        assert not variant["error"]
        for name in METRICS:
            assert set(variant["metrics"][name]) == FIELDS
    ids = {variant["id"] for variant in found["variants"]}
    assert len(ids) == 4
    assert set(found["front"]) <= ids
    assert (found["best"] in ids) == (found["verdict"] != "misses")


def test_sizes_are_the_bytes_on_disk(project):
    folder, found = project
    for variant in found["variants"]:
        assert variant["metrics"]["size"]["value"] == (folder / variant["file"]).stat().st_size


def test_intervals_hold_their_values(project):
    _, found = project
    for variant in found["variants"]:
        for name, m in variant["metrics"].items():
            assert m["low"] <= m["value"] <= m["high"], (variant["name"], name)


def test_the_report_is_where_the_record_says(project):
    folder, found = project
    assert Path(found["report"]) == folder / "report.html"
    assert "<html" in Path(found["report"]).read_text("utf-8")


def test_again_gives_the_same_record_and_measures_nothing(project, run, fit_command, tmp_path):
    folder, found = project
    again = run(*fit_command, *BUDGET, "--project", folder, "--json", cwd=tmp_path)
    assert json.loads(again.stdout) == found  # times, too: none was taken anew


def test_an_impossible_budget_exits_with_1_and_names_the_nearest(
    project, run, fit_command, tmp_path
):
    folder, _ = project
    done = run(*fit_command, "--budget", "size<=0.01x", "--project", folder, cwd=tmp_path)
    assert done.returncode == 1
    assert all(re.match(r"\[\d/4\] \S+: size ", line) for line in done.stderr.splitlines())
    told = " ".join(done.stdout.split())
    assert re.search(
        r"No variant meets every budget\. .*size<=0\.01x .* is missed by .*: "
        r"simplify\+weights:4 is closest with 249 kB",
        told,
    ), told


def test_a_budget_finer_than_the_samples_is_called_so(project, run, fit_command, tmp_path):
    folder, _ = project
    done = run(
        *fit_command, "--budget", "drop<=0.001%", "--project", folder, "--json", cwd=tmp_path
    )
    found = json.loads(done.stdout)
    (warning,) = [told for told in found["warnings"] if "minimum detectable drop" in told]
    assert "Use more samples" in warning
    assert found["detectable"] > 1e-5


def test_the_table_fits_80_columns_and_shows_every_variant(project, run, fit_command, tmp_path):
    folder, found = project
    done = run(*fit_command, *BUDGET, "--project", folder, cwd=tmp_path, COLUMNS="80", NO_COLOR="1")
    assert done.returncode == (0 if found["verdict"] == "fits" else 1)
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines if str(folder) not in line)
    assert "\x1b" not in done.stdout
    for head in ("variant", "size", "download", "latency ratio", "top1 drop"):
        assert head in lines[0]
    for variant in found["variants"]:
        first = variant["name"].split("+")[0]
        assert any(line[2:].startswith(first) for line in lines)


def test_a_recipe_can_be_a_file_and_gets_the_id_of_its_shorthand(project, run, few, tmp_path):
    folder, found = project
    (tmp_path / "small.toml").write_text(
        '[[steps]]\nmethod = "simplify"\n\n[[steps]]\nmethod = "weights"\nconfig = { bits = 4 }\n'
    )
    done = run(
        "fit", "zoo:fashion", "--task", few, "--recipe", "small.toml", "--budget", "size<=0.9x",
        "--project", folder, "--seconds", "0.05", "--json", cwd=tmp_path,
    )  # fmt: skip
    (made,) = json.loads(done.stdout)["variants"][1:]
    assert made["id"] in {v["id"] for v in found["variants"] if v["name"] == "simplify+weights:4"}


def test_the_project_is_named_after_the_model(run, few, tmp_path):
    done = run(
        "fit", "zoo:fashion", "--task", few, "--recipe", "simplify", "--budget", "size<=2x",
        "--seconds", "0.05", "--allow-slower", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fashion-packlight" / "report.html").is_file()


HEARS_INTERRUPTS = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
"""Shells start background commands, and so their children, deaf to interrupts."""


def start(arguments: list[object], folder: Path) -> subprocess.Popen[str]:
    """A command that goes on while the test does, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "packlight", *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=HEARS_INTERRUPTS,
    )


def wait_for_measurements(folder: Path, running: subprocess.Popen[str]) -> None:
    """Wait until a search has stored a file, or has ended."""
    while running.poll() is None and not any((folder / "files").glob("*")):
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_says_how_to_go_on_and_does(
    number, project, run, fit_command, tmp_path
):
    _, found = project
    command = [*fit_command, *BUDGET, "--project", "P", "--json"]
    with start(command, tmp_path) as running:
        wait_for_measurements(tmp_path / "P", running)
        running.send_signal(number)
        output, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert not output
    assert errors == (
        "packlight: interrupted; results are saved in 'P'; run the same command again to resume\n"
    )
    if number == signal.SIGINT:
        done = run(*command, cwd=tmp_path)
        assert ids(json.loads(done.stdout)) == ids(found)


def ids(found: dict[str, object]) -> list[str]:
    """Of all variants, in order."""
    return [variant["id"] for variant in found["variants"]]


@pytest.mark.slow
def test_ten_kills_at_random_moments_lose_nothing(project, run, fit_command, tmp_path):
    _, found = project
    command = [*fit_command, *BUDGET, "--project", "P", "--json"]
    rng = random.Random(0)
    for _ in range(10):
        with start(command, tmp_path) as running:
            time.sleep(rng.uniform(0.5, 6))
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate(timeout=60)
    done = run(*command, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert ids(json.loads(done.stdout)) == ids(found)


@pytest.mark.slow
def test_the_demo_fits_a_tenth_of_the_size_within_three_minutes(run, tmp_path):
    done = run("demo", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "fits"
    sizes = {v["id"]: v["metrics"]["size"]["value"] for v in found["variants"]}
    assert sizes[found["best"]] <= 0.1 * sizes[found["variants"][0]["id"]]
    assert sum(stage["took"] for stage in found["exploration"]["stages"]) < 180
    assert (tmp_path / "packlight-demo" / "report.html").is_file()
