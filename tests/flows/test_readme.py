"""README and guide work as they are written."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from packlight import zoo

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "guide.md"


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language, as text."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.S | re.M)


def commands(page: Path) -> list[list[str]]:
    """Arguments of every command that a page shows."""
    lines = [line[2:] for block in blocks(page, "console") for line in block.splitlines()]
    split = [shlex.split(line) for line in lines]
    assert all(words[0] == "packlight" for words in split)
    return [words[1:] for words in split]


def run_python(page: Path, folder: Path) -> None:
    """Run every Python block of a page, in the order shown."""
    assert blocks(page, "python")
    for code in blocks(page, "python"):
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory, few) -> Path:
    """A folder with the files that the examples name."""
    made = tmp_path_factory.mktemp("readme")
    shutil.copyfile(few, made / "data.npz")
    shutil.copyfile(zoo.model_path("fashion"), made / "model.onnx")
    (recipe,) = blocks(GUIDE, "toml")
    (made / "small.toml").write_text(recipe, "utf-8")
    with np.load(zoo.data_path("fashion", ".npz")) as data:
        np.save(made / "images.npy", data["image"][:1200])
        np.save(made / "labels.npy", data["target"][:1200])
    return made


def test_the_commands_of_the_guide_run_in_the_order_shown(folder, run):
    assert len(commands(GUIDE)) >= 5
    for arguments in commands(GUIDE):
        done = run(*arguments, cwd=folder)
        assert done.returncode == 0, f"{arguments}\n{done.stderr}"


def test_the_python_of_the_guide_runs(folder):
    run_python(GUIDE, folder)


@pytest.mark.slow
def test_the_readme_leads_from_data_to_a_verdict(folder, run):
    run_python(README, folder)
    assert (folder / "model-packlight" / "report.html").is_file()
    for arguments in commands(README):
        done = run(*arguments, cwd=folder)
        assert done.returncode == 0, f"{arguments}\n{done.stderr}"


def test_the_recipe_file_can_be_applied(folder, run):
    done = run("compress", "model.onnx", "--recipe", "small.toml", "-o", "r.onnx", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_the_command_that_tests_is_the_one_that_ci_runs():
    assert "./check\n" in blocks(README, "sh")
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert script.rstrip().endswith("./check")
