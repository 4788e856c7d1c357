"""Journeys of everyday use, as their pages tell them: commands, output, and time."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from packlight import zoo
from packlight.backends.formats import format_capabilities
from packlight.exporting.formats import is_installed
from packlight.records import parse_recipe

DOCS = Path(__file__).parents[2] / "docs"
PHONE = DOCS / "into-xcode.md"
ANDROID = DOCS / "into-android.md"
BOARD = DOCS / "into-a-microcontroller.md"
BROWSER = DOCS / "into-the-browser.md"
EXPORT = DOCS / "export.md"
NOTEBOOK = DOCS / "in-a-notebook.md"
CI = DOCS / "continuous-integration.md"
FIRST_ANSWER = 30
"""Seconds in which the plan at the beginning of a journey must have answered."""


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language, as text."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.S | re.M)


def examples(page: Path) -> list[tuple[list[str], list[str]]]:
    """Arguments of every command of a page, and the lines that it must print."""
    found: list[tuple[list[str], list[str]]] = []
    for line in "".join(blocks(page, "console")).splitlines():
        if line.startswith("$ "):
            program, *arguments = shlex.split(line[2:])
            assert program == "packlight"
            found.append((arguments, []))
        elif line != "...":
            found[-1][1].append(line)
    return found


def shape(line: str) -> str:
    """A line without its numbers, and without how many spaces lie between its words."""
    return re.sub(r"[-~]*\d[\d.,]*", "#", " ".join(line.strip("* ").split()))


@pytest.fixture
def folder(tmp_path: Path, few: Path) -> Path:
    """A folder with the files that the pages name."""
    shutil.copyfile(few, tmp_path / "data.npz")
    shutil.copyfile(zoo.model_path("fashion"), tmp_path / "model.onnx")
    return tmp_path


def skip_without_extra(arguments: list[str]) -> None:
    """Skip what is left of a page at an export whose packages are not installed."""
    if arguments[0] == "export":
        name = arguments[arguments.index("--to") + 1]
        if not is_installed(name):
            pytest.skip(f"pip install 'packlight[{format_capabilities(name).extra}]' for {name}")


def walk(page: Path, folder: Path, run) -> None:
    """Run the commands of a page in order; each prints the lines that the page shows."""
    told = examples(page)
    assert len(told) >= 2
    for place, (arguments, lines) in enumerate(told):
        skip_without_extra(arguments)
        started = time.monotonic()
        done = run(*arguments, cwd=folder, COLUMNS="80")
        if place == 0 and arguments[0] == "plan":
            assert time.monotonic() - started < FIRST_ANSWER
        assert done.returncode in (0, 1), done.stderr
        printed = list(map(shape, done.stdout.splitlines()))
        for line in lines:
            assert shape(line) in printed, f"{arguments} does not print {line!r}:\n{done.stdout}"
            del printed[: printed.index(shape(line)) + 1]


def test_an_app_for_ios_from_the_model_to_a_file_that_fits(folder, run):
    walk(PHONE, folder, run)
    assert (folder / "small.onnx").stat().st_size < 0.3 * (folder / "model.onnx").stat().st_size


@pytest.mark.slow
def test_an_android_phone_from_the_model_to_a_file_that_fits(folder, run):
    walk(ANDROID, folder, run)
    assert (folder / "for-android" / "model.tflite").is_file()


@pytest.mark.slow
def test_a_microcontroller_from_the_model_to_a_file_that_fits(folder, run):
    walk(BOARD, folder, run)
    assert (folder / "board.onnx").is_file()


@pytest.mark.slow
def test_a_page_for_the_browser_from_the_model_to_a_file_that_fits(folder, run):
    walk(BROWSER, folder, run)
    assert (folder / "for-web" / "model.onnx").is_file()


def test_the_commands_of_the_page_on_export(folder, run):
    walk(EXPORT, folder, run)


@pytest.mark.slow
def test_science_in_a_notebook_from_the_model_to_a_checked_file(folder):
    code = "\n".join(blocks(NOTEBOOK, "python"))
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=folder, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (folder / "trade-off.png").stat().st_size > 0
    assert "Conv" in done.stdout
    assert "->" in done.stdout


def test_release_engineering_from_settings_to_a_gate(folder, run):
    (settings,) = blocks(CI, "toml")
    table = tomllib.loads(settings)["tool"]["packlight"]
    (folder / "pyproject.toml").write_text(settings.replace("tests/data.npz", "data.npz"), "utf-8")
    assert set(table) >= {"task", "budgets", "unclear"}
    shutil.copyfile(folder / "model.onnx", folder / "main.onnx")
    made = run("compress", "main.onnx", "--recipe", "weights:8", "-o", "new.onnx", cwd=folder)
    assert made.returncode == 0, made.stderr
    started = time.monotonic()
    gate = ("check", "main.onnx", "new.onnx", "--junit", "b.xml", "--markdown", "b.md")
    done = run(*gate, cwd=folder)
    assert time.monotonic() - started < FIRST_ANSWER
    assert done.returncode == 0, done.stdout + done.stderr
    cases = ElementTree.parse(folder / "b.xml").getroot().findall(".//testcase")
    assert [case.get("name") for case in cases] == table["budgets"]
    assert all(budget in (folder / "b.md").read_text("utf-8") for budget in table["budgets"])


@pytest.mark.slow
def test_the_commands_of_the_gate_with_saved_evaluations_run_as_written(folder, run):
    shutil.copyfile(folder / "model.onnx", folder / "main.onnx")
    run("compress", "main.onnx", "--recipe", "weights:8", "-o", "new.onnx", cwd=folder)
    (saved,) = [text for text in blocks(CI, "sh") if "main.json" in text]
    for line in saved.splitlines():
        command, _, file = line.partition(" > ")
        done = run(*shlex.split(command)[1:], cwd=folder)
        judged = "check" in command
        assert done.returncode in ((0, 1) if judged else (0,)), f"{line}\n{done.stderr}"
        assert not judged or "drop<=1%" in done.stdout
        if file:
            (folder / file).write_text(done.stdout, "utf-8")


@pytest.mark.parametrize(
    "page", [PHONE, ANDROID, BOARD, BROWSER, EXPORT, NOTEBOOK, CI], ids=lambda page: page.stem
)
def test_links_and_recipes_of_a_journey_are_real(page):
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (DOCS / link).exists(), link
    for recipe in re.findall(r"--recipe (\S+)", text):
        assert parse_recipe(recipe.strip('"')).steps
