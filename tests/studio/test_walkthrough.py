"""The walkthrough of ``docs/studio.md``, with its commands word for word and its pictures.

``PACKLIGHT_FIGURES=docs/figures pytest -m slow tests/studio/test_walkthrough.py`` draws the
pictures of the page anew.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from watched_pages import CHROMIUM, PHONE, chromium, go_to, running_studio, watched

from packlight import zoo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "studio.md"
COLORS = 160
MOST_BYTES = 150_000
JOB_MILLISECONDS = 1_800_000
SAMPLES = 1500
CALIBRATION = 200


def commands() -> list[list[str]]:
    """Commands of the page, without the name of the program."""
    lines = re.findall(r"^\$ packlight (.*)$", PAGE.read_text("utf-8"), re.M)
    return [shlex.split(line) for line in lines]


def run(arguments: list[str], folder: Path) -> int:
    """Run a command of the page; its exit code."""
    command = [sys.executable, "-m", "packlight", *arguments]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode


class Album:
    """Pictures of the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []

    def take(self, page: Page, name: str, top: str = "") -> None:
        """Take a picture of what is in sight, from the top or from a heading on."""
        page.mouse.move(0, 0)
        page.evaluate("scrollTo(0, 0)")
        if top:
            heading = page.get_by_role("heading", name=top, exact=True).bounding_box()
            page.evaluate(f"scrollTo(0, {heading['y'] - 60})")
        picture = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
        path = self.folder / f"studio-{name}.png"
        picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
        assert path.stat().st_size <= MOST_BYTES, name
        self.names.append(path.name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, with_source_lines):
    """A folder with the files that the commands of the page name."""
    base = tmp_path_factory.mktemp("walkthrough")
    code = base / "code"
    code.mkdir()
    with_source_lines(base / "model.onnx", code)
    with np.load(zoo.data_path("fashion", ".npz"), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    most = {name: CALIBRATION if name.startswith("calibration_") else SAMPLES for name in arrays}
    parts = {name: array[: most[name]] if array.ndim else array for name, array in arrays.items()}
    np.savez(base / "data.npz", **parts)
    return base


def test_the_walkthrough_is_true(folder, tmp_path):
    album = Album(Path(os.environ.get("PACKLIGHT_FIGURES", tmp_path)).resolve())
    fit, studio, export, report = commands()
    assert run(fit, folder) == 1, "rounded weights miss the budget on latency"
    with chromium() as browser, running_studio(studio[1:], folder) as running:
        with watched(browser, running.address) as page:
            walk(page, album)
        with watched(
            browser, running.address, viewport=PHONE, color_scheme="dark", has_touch=True
        ) as phone:
            expect(phone.get_by_role("region", name="Verdict")).to_be_visible()
            album.take(phone, "phone")
    assert run(export, folder) == 0
    assert any((folder / "bundle").iterdir())
    assert run(report, folder) == 0
    assert (folder / "report.html").stat().st_size > MOST_BYTES
    shown = re.findall(r"\(figures/(studio-[^)]+)\)", PAGE.read_text("utf-8"))
    assert shown == album.names


def walk(page: Page, album: Album) -> None:
    """Go through the pages as the text does."""
    expect(page.get_by_role("table", name="Variants")).to_be_visible()
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict).to_contain_text("missed")
    album.take(page, "overview")

    go_to(page, "Operators")
    page.get_by_role("button", name="Time share", exact=True).click()
    grid = page.get_by_role("grid", name="Operators")
    grid.get_by_role("row").filter(has_text="Conv").first.click()
    expect(page.get_by_role("figure", name="Source code")).to_be_visible()
    album.take(page, "operators")

    go_to(page, "What if")
    page.get_by_role("combobox", name="Technique", exact=True).select_option(label="int8")
    page.get_by_role("button", name="Whole model").click()
    receipt = page.get_by_role("list", name="Choices")
    expect(receipt).to_contain_text("int8 on")
    costs = page.get_by_role("region", name="Predicted costs")
    expect(costs).to_have_attribute("aria-busy", "false")
    page.get_by_role("textbox", name="Name", exact=True).fill("int8")
    album.take(page, "what-if")
    page.get_by_role("button", name="Run it").click()
    both = page.get_by_role("table", name="Predicted and measured")
    expect(both).to_be_visible(timeout=JOB_MILLISECONDS)
    expect(both).to_contain_text("fits")
    album.take(page, "run", top="Receipt")

    page.get_by_role("link", name="Compare it").click()
    samples = page.get_by_role("list", name="Samples", exact=True)
    expect(samples.get_by_role("img").first).to_be_visible()
    album.take(page, "compare", top="Groups")

    go_to(page, "Layers")
    page.get_by_role("button", name="Compare layers").click()
    chart = page.get_by_role("img", name=re.compile("Signal to noise of every layer"))
    expect(chart).to_be_visible(timeout=JOB_MILLISECONDS)
    album.take(page, "layers")

    go_to(page, "Diff")
    page.get_by_role("combobox", name="Second").select_option(label="int8")
    kinds = page.get_by_role("group", name="Kinds of changes")
    expect(kinds.get_by_role("button", name=re.compile("added"))).to_be_visible()
    album.take(page, "diff")
