"""What the README shows works as it is written there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from packlight import zoo

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    """Fenced blocks of a language, as text."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.S | re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, few) -> Path:
    """A folder with the files that the examples name."""
    made = tmp_path_factory.mktemp("readme")
    shutil.copyfile(few, made / "data.npz")
    shutil.copyfile(zoo.model_path("fashion"), made / "model.onnx")
    (recipe,) = blocks("toml")
    (made / "small.toml").write_text(recipe, "utf-8")
    return made


def test_the_commands_run_in_the_order_shown(folder, run):
    commands = [line[2:] for block in blocks("console") for line in block.splitlines()]
    assert len(commands) >= 5
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "packlight"
        done = run(*arguments, cwd=folder)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_the_python_examples_run(folder):
    assert blocks("python")
    for code in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr


def test_the_recipe_file_can_be_applied(folder, run):
    done = run("compress", "model.onnx", "--recipe", "small.toml", "-o", "r.onnx", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_the_command_that_tests_is_the_one_that_ci_runs():
    assert "./check\n" in blocks("sh")
    script = (README.parent / ".ci" / "run").read_text("utf-8")
    assert script.rstrip().endswith("./check")
