"""Debian's Chromium on pages of the studio; whatever a page complains of fails its test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--force-color-profile=srgb"]
SIZE = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")
MOST_MILLISECONDS = 300_000

expect.set_options(timeout=30_000)


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


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@contextmanager
def watched(browser: Browser, address: str, killed: bool = False, **context) -> Iterator[Page]:
    """A page at an address, checked when it is closed.

    Args:
        browser: that shows it.
        address: of the page.
        killed: whether its server is killed meanwhile, of which browsers complain.
        context: further settings of the browser's context.
    """
    opened = browser.new_context(**{"viewport": SIZE, "reduced_motion": "reduce", **context})
    page = Watched(opened.new_page(), address.partition("?")[0])
    page.page.goto(address)
    yield page.page
    if killed:
        page.complaints[:] = [text for text in page.complaints if "net::ERR_" not in text]
    page.check()
    opened.close()


@dataclass
class RunningStudio:
    """A studio in a process of its own, and the address that it printed."""

    address: str
    process: subprocess.Popen[str]


@contextmanager
def running_studio(
    arguments: Sequence[str | Path], folder: Path | None = None
) -> Iterator[RunningStudio]:
    """A studio as a person starts it in the terminal."""
    command = [sys.executable, "-m", "packlight", "studio", *arguments, "--no-browser"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
    ) as server:
        found = ADDRESS.search(server.stdout.readline())
        assert found, "the command prints its address"
        yield RunningStudio(found[0], server)
        server.terminate()


def go_to(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("main", name=name)).to_be_visible()
