"""The pages of ``docs`` are true: links, figures, options, recipes and examples."""

from __future__ import annotations

import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from packlight import zoo
from packlight.compression.methods.table import METHODS
from packlight.errors import RecipeError
from packlight.records import parse_recipe
from packlight.records.recipe_options import option_names as names_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
PAGES = sorted((DOCS / "techniques").glob("*.md"))
FIGURES = sorted((DOCS / "figures").glob("*.svg"))
NOT_OF_WEIGHTS = {"simplify"}
LINK = re.compile(r"\]\(([^)#]+)\)")
IMAGE = re.compile(r"!\[([^\]]+)\]\(([^)]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)


def rows(page: Path, head: str) -> list[list[str]]:
    """Cells of the rows of every table whose first column has this head."""
    found: list[list[str]] = []
    inside = False
    for line in page.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        inside = line.startswith("|") and (inside or cells[0] == head)
        if inside and cells[0] != head and not line.startswith("| ---"):
            found.append(cells)
    return found


def told() -> dict[Path, list[str]]:
    """Methods by page, as the index has them."""
    return {
        INDEX.parent / LINK.findall(page)[0]: SPAN.findall(steps)
        for page, _, steps in rows(INDEX, "page")
    }


def option_names(page: Path) -> set[str]:
    """Names in the first column of a page's tables of options."""
    spans = [span for cells in rows(page, "option") for span in SPAN.findall(cells[0])]
    return {part.partition("=")[0] for span in spans for part in span.split(",")}


def fields(method: str) -> set[str]:
    """Names of a method's options."""
    return set(names_of(METHODS[method].config))


def accepted(options: str) -> bool:
    """Whether a method has these options with these values."""
    for name in METHODS:
        try:
            parse_recipe(f"{name},{options}")
        except RecipeError:
            continue
        return True
    return False


def test_every_method_for_weights_has_a_page():
    assert set(METHODS) - NOT_OF_WEIGHTS == {name for names in told().values() for name in names}


def test_the_index_lists_every_page():
    assert sorted(told()) == PAGES


@pytest.mark.parametrize("page", [INDEX, *PAGES], ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = LINK.findall(page.read_text("utf-8"))
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_figure_is_on_one_page_and_every_page_has_one():
    shown = [IMAGE.findall(page.read_text("utf-8")) for page in PAGES]
    assert {len(images) for images in shown} == {1}
    assert sorted(Path(images[0][1]).name for images in shown) == [path.name for path in FIGURES]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda path: path.name)
def test_a_figure_is_a_picture_with_a_title_and_nothing_from_elsewhere(figure):
    tree = ElementTree.parse(figure)
    assert tree.getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert tree.findtext("{http://www.w3.org/2000/svg}title")
    assert "href" not in figure.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_tables_are_options_of_the_methods(page):
    known = set().union(*(fields(method) for method in told()[page]))
    assert option_names(page) - known == set()


def test_every_option_is_in_a_table():
    known = set().union(*(fields(method) for method in set(METHODS) - NOT_OF_WEIGHTS))
    assert known == set().union(*(option_names(page) for page in PAGES))


@pytest.mark.parametrize("page", [INDEX, *PAGES], ids=lambda page: page.name)
def test_recipes_and_values_of_options_can_be_used(page):
    begins = re.compile(rf"({'|'.join(METHODS)})\b")
    recipes = [span for span in SPAN.findall(prose(page)) if begins.match(span)]
    recipes += re.findall(r"--recipe (\S+)", page.read_text("utf-8"))
    assert recipes
    for recipe in recipes:
        assert parse_recipe(recipe).steps
    values = [span for span in SPAN.findall(prose(page)) if re.fullmatch(r"[a-z]+=[^`]+", span)]
    assert [value for value in values if not accepted(value)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_give_what_they_say(page, few, tmp_path, monkeypatch):
    shutil.copyfile(few, tmp_path / "data.npz")
    shutil.copyfile(zoo.model_path("fashion"), tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.S | re.M))
    examples = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), 0)
    assert examples.examples
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(examples, out=said.append)
    assert said == []


def test_a_figure_is_what_the_script_draws(tmp_path):
    script = ROOT / "tools" / "draw_figures.py"
    done = subprocess.run(
        [sys.executable, str(script), "palettes", "--out", str(tmp_path)],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    drawn = (tmp_path / "palettes.svg").read_text("utf-8")
    assert drawn == (DOCS / "figures" / "palettes.svg").read_text("utf-8")
