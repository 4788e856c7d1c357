"""What a person wants to do, in a browser: found by role and name, without waiting for a time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--force-color-profile=srgb"]
SIZE = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")
MOST_MILLISECONDS = 60_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@dataclass
class Watched:
    """A page with what it complained of and whom it asked."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(MOST_MILLISECONDS)
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self.see)

    def hear(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def see(self, request) -> None:
        if not request.url.startswith((self.origin, "data:", "blob:")):
            self.foreign.append(request.url)

    def check(self) -> None:
        assert self.complaints == []
        assert self.foreign == []


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(made):
    """The address of a running studio, as a person reads it in the terminal."""
    command = [
        sys.executable, "-m", "packlight", "studio", str(made.project), "--no-browser",
        "--task", str(made.task), "--code", str(made.code),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        found = ADDRESS.search(server.stdout.readline())
        assert found, "the command prints its address"
        yield found[0]
        server.terminate()


@pytest.fixture
def opened(browser, address):
    """A page of the studio, checked when the test is done."""
    context = browser.new_context(viewport=SIZE, reduced_motion="reduce")
    watched = Watched(context.new_page(), address.partition("?")[0])
    watched.page.goto(address)
    yield watched.page
    watched.check()
    context.close()


def go_to(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("main", name=name)).to_be_visible()


def test_find_the_most_expensive_operator_and_its_source_line(opened):
    go_to(opened, "Operators")
    opened.get_by_role("button", name="Time share", exact=True).click()
    grid = opened.get_by_role("grid", name="Operators")
    expect(grid.get_by_role("columnheader", name="Time share")).to_have_attribute(
        "aria-sort", "descending"
    )
    opened.get_by_role("searchbox", name="Search operators").fill("conv type")
    expect(opened.get_by_text("No operator matches")).to_be_visible()
    opened.get_by_role("searchbox", name="Search operators").fill("stage3 conv macs>1k")
    first = grid.get_by_role("row").nth(1)
    first.click()
    expect(first).to_have_attribute("aria-selected", "true")
    name = first.get_by_role("gridcell").first.inner_text()
    expect(opened.get_by_role("region", name="Operator", exact=True)).to_contain_text(name)
    code = opened.get_by_role("figure", name="Source code")
    expect(code.locator("[aria-current]")).to_contain_text("return self.stages(x)")


def test_the_same_operators_glow_in_table_graph_scatter_and_timeline(opened):
    go_to(opened, "Operators")
    grid = opened.get_by_role("grid", name="Operators")
    grid.get_by_role("row").filter(has_text="stage3").click()
    graph = opened.get_by_role("application", name="Graph of operators")
    expect(graph).to_have_attribute("data-selected", "stage3")
    for name in ("Scatter of MACs and Time", "Timeline of one run"):
        expect(opened.get_by_role("img", name=name)).to_have_attribute(
            "data-selected", re.compile("stage3/block0/expand/conv")
        )
    graph.focus()
    graph.press("ArrowUp")
    expect(graph).to_have_attribute("data-selected", "stage2")
    row = grid.get_by_role("row").filter(has_text="stage2")
    expect(row).to_have_attribute("aria-selected", "true")
    graph.press("Enter")
    expect(graph).to_have_attribute("data-nodes", re.compile(r"^(?!7$)\d+$"))
    opened.keyboard.press("Escape")
    expect(graph).to_have_attribute("data-selected", "")


def test_ask_what_int8_gives_run_it_and_compare_predicted_with_measured(opened):
    go_to(opened, "What if")
    opened.get_by_role("combobox", name="Technique for stage3").select_option(label="int8")
    receipt = opened.get_by_role("list", name="Choices")
    expect(receipt).to_contain_text("int8 on stage3")
    costs = opened.get_by_role("region", name="Predicted costs")
    expect(costs).to_contain_text("0.42x")
    opened.keyboard.press("u")
    expect(receipt).to_have_count(0)
    opened.keyboard.press("r")
    expect(receipt).to_contain_text("int8 on stage3")
    opened.get_by_role("textbox", name="Name").fill("int8 in stage 3")
    opened.get_by_role("button", name="Save recipe").click()
    expect(opened.get_by_text("1 saved recipe")).to_be_visible()
    opened.get_by_role("button", name="Run it").click()
    both = opened.get_by_role("table", name="Predicted and measured")
    expect(both).to_be_visible(timeout=MOST_MILLISECONDS)
    size = both.get_by_role("row").filter(has_text="File size").get_by_role("cell")
    expect(size.nth(0)).to_contain_text("kB")
    expect(size.nth(1)).to_contain_text("kB")
    opened.get_by_role("link", name="Compare it").click()
    expect(opened.get_by_role("table", name="Headline")).to_contain_text("9 operators")


def test_find_the_class_that_got_worse_and_look_at_the_samples_that_flipped(opened):
    expect(opened.get_by_role("table", name="Variants")).to_be_visible()
    opened.get_by_role("checkbox", name="Select simplify+weights:3,per=tensor").check()
    go_to(opened, "Compare")
    groups = opened.get_by_role("listbox", name="Groups")
    worst = groups.get_by_role("option").filter(has_text="class").first
    name = worst.locator("strong").inner_text()
    worst.click()
    expect(worst).to_have_attribute("aria-selected", "true")
    expect(opened.get_by_text(f"class = {name}")).to_be_visible()
    opened.get_by_role("combobox", name="Outcome").select_option(value="lost")
    samples = opened.get_by_role("list", name="Samples", exact=True)
    first = samples.get_by_role("listitem").first
    expect(first).to_contain_text(f"was {name}")
    expect(first).to_contain_text("right to wrong")
    expect(first.get_by_role("img")).to_have_attribute("src", re.compile("^data:image/png"))


def test_share_the_view_by_its_address_and_save_it_with_a_note(opened, browser, address):
    go_to(opened, "Operators")
    opened.get_by_role("searchbox", name="Search operators").fill("stage2 project")
    opened.get_by_role("grid", name="Operators").get_by_role("row").nth(1).click()
    opened.get_by_role("button", name="Share").click()
    shared = re.search(
        r"http://\S+", opened.get_by_role("status").filter(has_text="http").inner_text()
    )
    opened.get_by_text("Views", exact=True).click()
    opened.get_by_role("textbox", name="Name of this view").fill("projections")
    opened.get_by_role("textbox", name="Note").fill("the second stage")
    opened.get_by_role("button", name="Save view").click()
    expect(opened.get_by_role("link", name="projections")).to_be_visible()

    context = browser.new_context(viewport=SIZE)
    other = Watched(context.new_page(), address.partition("?")[0])
    other.page.goto(shared[0])
    expect(other.page.get_by_role("searchbox", name="Search operators")).to_have_value(
        "stage2 project"
    )
    rows = other.page.get_by_role("grid", name="Operators").get_by_role("row", selected=True)
    expect(rows).to_have_count(1)
    other.page.get_by_text("Views (1)").click()
    expect(other.page.get_by_text("the second stage")).to_be_visible()
    other.check()
    context.close()


def test_two_browsers_follow_what_a_job_changes(opened, browser, address):
    context = browser.new_context(viewport=SIZE)
    other = Watched(context.new_page(), address.partition("?")[0])
    other.page.goto(address)
    for page in (opened, other.page):
        go_to(page, "Layers")
    opened.get_by_role("button", name="Compare layers").click()
    for page in (opened, other.page):
        expect(
            page.get_by_role("img", name=re.compile("Signal to noise of every layer"))
        ).to_be_visible(timeout=MOST_MILLISECONDS)
    opened.get_by_role("button", name="stage3/block0/expand/norm").click()
    expect(
        opened.get_by_role("region", name="Weights of stage3/block0/expand/norm")
    ).to_be_visible()
    other.check()
    context.close()


def test_diff_two_models(opened):
    go_to(opened, "Diff")
    kinds = opened.get_by_role("group", name="Kinds of changes")
    removed = kinds.get_by_role("button", name=re.compile("removed"))
    removed.click()
    grid = opened.get_by_role("grid", name="Operators of both models")
    expect(grid.get_by_role("row").nth(1)).to_contain_text("BatchNormalization")
    opened.get_by_role("button", name="Swap").click()
    expect(kinds.get_by_role("button", name=re.compile("added"))).to_contain_text("23 added")


def test_open_the_offline_report_from_a_file(browser, made, tmp_path):
    report = tmp_path / "report.html"
    command = [sys.executable, "-m", "packlight", "report", made.project]
    subprocess.run([*command, "-o", report, "--task", made.task], check=True, capture_output=True)
    context = browser.new_context(viewport=SIZE, offline=True)
    watched = Watched(context.new_page(), report.as_uri())
    page = watched.page
    page.goto(report.as_uri())
    expect(page.get_by_role("table", name="Variants")).to_be_visible()
    for name in ("Operators", "What if", "Compare", "Layers", "Diff"):
        go_to(page, name)
    go_to(page, "Compare")
    expect(
        page.get_by_role("list", name="Samples", exact=True).get_by_role("img").first
    ).to_be_visible()
    go_to(page, "Operators")
    page.get_by_role("grid", name="Operators").get_by_role("row").filter(has_text="stage1").click()
    expect(page.get_by_role("application", name="Graph of operators")).to_have_attribute(
        "data-selected", "stage1"
    )
    expect(page.get_by_role("alert")).to_have_count(0)
    watched.check()
    context.close()


@pytest.mark.parametrize("look", ["light", "dark"])
def test_overview_reads_on_a_phone(browser, address, look):
    context = browser.new_context(viewport=PHONE, color_scheme=look, has_touch=True)
    watched = Watched(context.new_page(), address.partition("?")[0])
    page = watched.page
    page.goto(address)
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    boxes = [
        region.bounding_box() for region in page.get_by_role("main").get_by_role("region").all()
    ]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] for box in boxes)
    watched.check()
    context.close()
