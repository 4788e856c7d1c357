"""What a person wants to do, in a browser: found by role and name, without waiting for a time."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect
from watched_pages import (
    CHROMIUM,
    MOST_MILLISECONDS,
    PHONE,
    chromium,
    go_to,
    running_studio,
    watched,
)

WORSE = "simplify+weights:3,per=tensor"
RECIPES = ("simplify+weights:8", WORSE)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(made):
    """The address of a running studio, as a person reads it in the terminal."""
    with running_studio([made.project, "--task", made.task, "--code", made.code]) as studio:
        yield studio.address


@pytest.fixture
def opened(browser, address):
    """A page of the studio, checked when the test is done."""
    with watched(browser, address) as page:
        yield page


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
    name = first.get_by_role("gridcell").first.inner_text().removeprefix("…/")  # long names: ends
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
    expect(opened.get_by_role("table", name="Headline")).to_contain_text("int8 in stage 3")


def test_find_the_class_that_got_worse_and_look_at_the_samples_that_flipped(opened):
    expect(opened.get_by_role("table", name="Variants")).to_be_visible()
    opened.get_by_role("checkbox", name=f"Select {WORSE}").check()
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
    opened.get_by_role("button", name="Share", exact=True).click()
    shared = re.search(
        r"http://\S+", opened.get_by_role("status").filter(has_text="http").inner_text()
    )
    opened.get_by_text("Views", exact=True).click()
    opened.get_by_role("textbox", name="Name of this view").fill("projections")
    opened.get_by_role("textbox", name="Note").fill("the second stage")
    opened.get_by_role("button", name="Save view").click()
    expect(opened.get_by_role("link", name="projections")).to_be_visible()

    with watched(browser, shared[0]) as other:
        search = other.get_by_role("searchbox", name="Search operators")
        expect(search).to_have_value("stage2 project")
        rows = other.get_by_role("grid", name="Operators").get_by_role("row", selected=True)
        expect(rows).to_have_count(1)
        other.get_by_text("Views (1)").click()
        expect(other.get_by_text("the second stage")).to_be_visible()


def test_two_browsers_follow_what_a_job_changes(opened, browser, address):
    with watched(browser, address) as other:
        for page in (opened, other):
            go_to(page, "Layers")
        opened.get_by_role("button", name="Compare layers").click()
        chart = re.compile("Signal to noise of every layer")
        for page in (opened, other):
            expect(page.get_by_role("img", name=chart)).to_be_visible(timeout=MOST_MILLISECONDS)
        opened.get_by_role("button", name="stage3/block0/expand/norm").click()
        weights = opened.get_by_role("region", name="Weights of stage3/block0/expand/norm")
        expect(weights).to_be_visible()


@pytest.mark.slow
def test_two_browsers_follow_a_fit_in_the_terminal_and_a_kill_loses_nothing(browser, made):
    arguments = [made.project, "--task", made.task]
    recipes = [part for recipe in (*RECIPES, "simplify") for part in ("--recipe", recipe)]
    fit = [
        sys.executable, "-m", "packlight", "fit", made.model, "--task", made.task,
        "--budget", "size<=0.3x", "--budget", "drop<=5%", "--project", made.project,
        *recipes, "--allow-slower", "--seconds", "0.05",
    ]  # fmt: skip
    with running_studio(arguments) as studio:
        pages = [watched(browser, studio.address, killed=True) for _ in range(2)]
        with pages[0] as first, pages[1] as second:
            for page in (first, second):
                expect(page.get_by_role("table", name="Variants")).to_be_visible()
            with subprocess.Popen(fit, stdout=subprocess.DEVNULL) as search:
                for page, name in ((first, "first"), (second, "second")):
                    page.get_by_text("Views", exact=False).first.click()
                    page.get_by_role("textbox", name="Name of this view").fill(name)
                    page.get_by_role("button", name="Save view").click()
                    expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
                assert search.wait() == 0
            for page in (first, second):
                row = page.get_by_role("checkbox", name="Select simplify", exact=True)
                expect(row).to_be_visible(timeout=MOST_MILLISECONDS)
            studio.process.kill()
            stopped = first.get_by_text("The server has stopped")
            expect(stopped).to_be_visible(timeout=MOST_MILLISECONDS)
    with running_studio(arguments) as studio, watched(browser, studio.address) as page:
        expect(page.get_by_role("checkbox", name="Select simplify", exact=True)).to_be_visible()
        page.get_by_text("Views (").click()
        for name in ("first", "second"):
            expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


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
    with watched(browser, report.as_uri(), offline=True) as page:
        expect(page.get_by_role("table", name="Variants")).to_be_visible()
        for name in ("Operators", "What if", "Compare", "Layers", "Diff"):
            go_to(page, name)
        go_to(page, "Compare")
        page.get_by_role("combobox", name="Add a variant").select_option(label=WORSE)
        samples = page.get_by_role("list", name="Samples", exact=True).get_by_role("listitem")
        expect(samples.first.get_by_role("img")).to_be_visible()
        before = samples.count()
        page.get_by_role("listbox", name="Groups").get_by_role("option").filter(
            has_text="class"
        ).first.click()
        expect(samples).not_to_have_count(before)
        expect(samples.first).to_be_visible()
        go_to(page, "Operators")
        page.get_by_role("grid", name="Operators").get_by_role("row").filter(
            has_text="stage1"
        ).click()
        expect(page.get_by_role("application", name="Graph of operators")).to_have_attribute(
            "data-selected", "stage1"
        )
        expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("look", ["light", "dark"])
def test_overview_reads_on_a_phone(browser, address, look):
    with watched(browser, address, viewport=PHONE, color_scheme=look, has_touch=True) as page:
        expect(page.get_by_role("region", name="Verdict")).to_be_visible()
        regions = page.get_by_role("main").get_by_role("region").all()
        boxes = [region.bounding_box() for region in regions]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] for box in boxes)
