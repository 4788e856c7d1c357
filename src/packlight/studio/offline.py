"""The pages of a project as one offline file, and in the cell of a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from packlight.disk import replacing
from packlight.errors import InputError
from packlight.records import canonical
from packlight.studio.answers import PAGES
from packlight.studio.assets import offline_page
from packlight.studio.encoding import to_text
from packlight.studio.pages import Problem
from packlight.studio.settings import Settings
from packlight.studio.workspace import Workspace
from packlight.task import Task

FRAME_HEIGHT = 760
"""Height of the pages in a notebook, in pixels."""

SAMPLES = "60"
"""Changed samples of each variant that are in the file; its pages filter them."""

MOST_COMPARED = 12
"""Variants whose comparison with the original is in the file."""


def write_offline(settings: Settings, path: Path, task: Task | None = None) -> None:
    """Write the pages of a project as one HTML file that asks for nothing.

    Args:
        settings: that name the project, and its task for pictures of samples.
        path: of the file, replaced atomically.
        task: of the search, where it is at hand.

    Raises:
        InputError: the project cannot be read, or the file cannot be written.
    """
    text = offline_text(settings, task)
    with replacing(path) as file:
        file.write(text.encode("utf-8", "replace"))


def write_report(project: Path, path: Path, title: str, task: Task | None) -> None:
    """Write the report of a search or a comparison that has just ended.

    Args:
        project: folder whose outcome is committed.
        path: of the file, replaced atomically.
        title: of the pages.
        task: that the variants were judged by; None without it.

    Raises:
        InputError: the project cannot be read, or the file cannot be written.
    """
    write_offline(Settings(project=project, title=title), path, task)


def offline_text(settings: Settings, task: Task | None = None) -> str:
    """The pages of a project as HTML.

    Args:
        settings: that name the project.
        task: of the search, where it is at hand.

    Raises:
        InputError: the project cannot be read.
    """
    space = Workspace(settings, task)
    try:
        outcome = space.outcome()
        frame = space.frame()
        answers = {"/api/frame": to_text(frame), "/api/views": to_text(space.views())}
        for name, query in _addresses(space):
            answers[address(name, query)] = answer_text(space, name, query)
        for key in _with_contrasts(space):
            if space.samples(key) is not None:
                shown = {"variant": key, "count": SAMPLES}
                answers[address("samples", {"variant": key})] = answer_text(space, "samples", shown)
        return offline_page(f"{frame.title} - packlight", answers, canonical(outcome))
    finally:
        space.close()


def answer_text(space: Workspace, name: str, query: Mapping[str, str]) -> str:
    """JSON of a page, or of the sentence on why there is none."""
    try:
        return to_text(PAGES[name](space, query))
    except InputError as error:
        return to_text(Problem(str(error)))


def _addresses(space: Workspace) -> Iterator[tuple[str, dict[str, str]]]:
    """Pages that the file holds, with the query that asks for each."""
    outcome = space.outcome()
    yield "overview", {}
    keys = [choice.id for choice in space.models()]
    shown = [choice.id for choice in space.models() if choice.role in ("original", "best")]
    for key in shown:
        yield "operators", {"model": key}
        yield "graph", {"model": key}
        yield "graph", {"model": key, "open": "*"}
    yield "what-if", {"model": keys[0]}
    for key in _with_contrasts(space):
        yield "compare", {"variants": key}
    for result in outcome.variants[1:]:
        yield "layers", {"variant": result.id}
    if len(shown) > 1:
        yield "diff", {"first": shown[0], "second": shown[1]}


def _with_contrasts(space: Workspace) -> list[str]:
    """Variants whose comparison with the original is in the file."""
    outcome = space.outcome()
    ids = [result.id for result in outcome.variants[1:] if not result.same_as]
    first = [key for key in ids if key == outcome.best or key in outcome.front]
    ordered = dict.fromkeys([*first, *ids])
    return [key for key in ordered if space.contrast(key) is not None][:MOST_COMPARED]


def address(name: str, query: Mapping[str, str]) -> str:
    """The address that a page asks for: parts of the query in order of their names.

    >>> address("graph", {"open": "a,b", "model": "x"})
    '/api/graph?model=x&open=a%2Cb'
    """
    parts = [f"{key}={quote(value, safe='')}" for key, value in sorted(query.items()) if value]
    return "?".join(filter(None, [f"/api/{name}", "&".join(parts)]))


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages that a notebook shows in its cell.

    Attributes:
        text: the offline file.
    """

    text: str

    def _repr_html_(self) -> str:
        """A frame with the pages, which stays in the notebook when it is saved."""
        return (
            f'<iframe title="packlight studio" width="100%" height="{FRAME_HEIGHT}" '
            f'style="border:0" sandbox="allow-scripts" srcdoc="{escape(self.text)}"></iframe>'
        )

    def __repr__(self) -> str:
        return "Pages of packlight studio; a notebook shows them"


def pages_of(project: Path, task: str = "") -> Pages:
    """The pages of a project for a notebook.

    Args:
        project: folder.
        task: of the search, for pictures of samples.

    Raises:
        InputError: the project cannot be read.
    """
    return Pages(offline_text(Settings(project=project, task=task)))


def check_report_path(path: Path) -> None:
    """Refuse a path that is no HTML file.

    Raises:
        InputError: it has another ending.
    """
    if path.suffix != ".html":
        raise InputError(f"a report is an .html file; got '{path}'")
