"""The page about profiles says what is true."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from packlight.records.profile import Placement

PAGE = (Path(__file__).parents[2] / "docs" / "profile.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)


def test_every_command_names_options_that_there_are(run, tmp_path):
    offered = run("profile", "--help", cwd=tmp_path).stdout
    shown = [shlex.split(line.removeprefix("$ ")) for block in blocks("sh") + blocks("console")
             for line in block.splitlines() if "packlight profile" in line]  # fmt: skip
    assert len(shown) >= 5
    for line in shown:
        options = [word for word in line if word.startswith("--")]
        assert [option for option in options if option not in offered] == []


def test_the_commands_give_what_they_say_for_the_shipped_model(run, tmp_path):
    measured = ("--measure", "--seconds", "0.02", "--threads", "2", "--device", "pixel-8")

    done = run("profile", "zoo:fashion", *measured, "--csv", "costs.csv", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "profiler overhead" in done.stdout
    assert "idle between kernels" in done.stdout
    assert (tmp_path / "costs.csv").read_text("utf-8").startswith("name,op,macs,")


def test_the_page_shows_what_the_command_says(run, tmp_path):
    (shown,) = (block for block in blocks("console") if "zoo:fashion" in block)
    command, *lines = shown.splitlines()

    done = run(*shlex.split(command)[2:], cwd=tmp_path)

    assert [line.rstrip() for line in done.stdout.strip().splitlines()] == lines
    assert max(map(len, lines)) <= 80


def test_every_placement_is_told():
    told = set(re.findall(r"^\| `([a-z ]+)` \|", PAGE, re.M)) - {"placement"}

    assert told == set(Placement.__args__) - {""}


def test_the_python_example_runs():
    (code,) = blocks("python")

    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].split()[0] == "classifier/gemm"


def test_how_to_measure_is_refused_where_nothing_is_measured(run, tmp_path):
    done = run("profile", "zoo:fashion", "--threads", "2", cwd=tmp_path)

    assert done.returncode == 2
    assert "--measure" in done.stderr
