"""HTML document of a check: styles and content in one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from markupsafe import Markup

from packlight.disk import replacing
from packlight.presentation.markup import element
from packlight.report.plot import stylesheet


def write_page(text: str, path: Path) -> None:
    """Write a page, replaced atomically.

    Raises:
        InputError: the file cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8", "replace"))


def document(title: str, *parts: Markup) -> str:
    """HTML document with the report's styles that loads nothing."""
    body = element("body", *parts)
    return f"<!doctype html>\n{element('html', head(title, stylesheet()), body, lang='en')}\n"


def head(title: str, css: str) -> Markup:
    """Head with title, styles, and a policy that allows only those styles."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Markup(css)),
    )
