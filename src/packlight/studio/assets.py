"""Files of the front end, and the same pages as one offline file.

Modules name each other by relative paths, and vendored ones by the names of their packages, which
browsers do not resolve. The server rewrites those to paths. The offline file holds each module as a
``data:`` address in an import map, because a page from a disk may not import its neighbors.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

WEB = "web"
INDEX = "index.html"
MAIN = "main.js"
STYLE = "style.css"
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
}
VENDORED = {
    "preact": "vendor/preact.module.js",
    "preact/hooks": "vendor/hooks.module.js",
    "htm": "vendor/htm.module.js",
    "@preact/signals-core": "vendor/signals-core.module.js",
    "@preact/signals": "vendor/signals.module.js",
}
"""Files of vendored packages by the name that modules import them by."""

IMPORTED = re.compile(
    r"""(?P<head>\bfrom\s*|\bimport\s*)(?P<quote>["'])(?P<name>[^"'\n]+)(?P=quote)"""
)
SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.M)
PREFIX = "packlight/"
"""Start of the names that an import map resolves."""


@cache
def web_files() -> Mapping[str, str]:
    """Texts of all files of the front end, by their path below its folder."""
    root = resources.files("packlight.studio") / WEB
    found: dict[str, str] = {}
    folders = [("", root)]
    while folders:
        start, folder = folders.pop()
        for entry in folder.iterdir():
            path = f"{start}{entry.name}"
            if entry.is_dir():
                folders.append((f"{path}/", entry))
            elif posixpath.splitext(path)[1] in TYPES:
                found[path] = entry.read_text("utf-8")
    return dict(sorted(found.items()))


def served_file(path: str) -> tuple[str, str] | None:
    """Text and type of a file as the server sends it; None where there is no such file."""
    text = web_files().get(path)
    if text is None:
        return None
    kind = TYPES[posixpath.splitext(path)[1]]
    if kind == "text/javascript":
        text = with_imports(path, text, f"/{WEB}/")
    return text, kind


def with_imports(path: str, text: str, start: str) -> str:
    """A module whose imports have a common start instead of relative paths and package names.

    Args:
        path: of the module.
        text: of the module.
        start: of the new names.
    """

    def renamed(match: re.Match[str]) -> str:
        name = match["name"]
        if name in VENDORED:
            target = VENDORED[name]
        elif name.startswith("."):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        else:
            return match[0]
        return f"{match['head']}{match['quote']}{start}{target}{match['quote']}"

    return SOURCE_MAP.sub("", IMPORTED.sub(renamed, text))


def offline_page(title: str, answers: Mapping[str, str]) -> str:
    """All pages as one HTML file that asks for nothing.

    Args:
        title: of the file.
        answers: JSON texts by the address that a page would ask for.
    """
    files = web_files()
    modules = {
        f"{PREFIX}{path}": _data_address(with_imports(path, text, PREFIX))
        for path, text in files.items()
        if path.endswith(".js")
    }
    content = ",".join(f"{json.dumps(address)}:{text}" for address, text in answers.items())
    policy = (
        "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; "
        "img-src data:"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escaped(title)}</title>
<link rel="icon" href="data:,">
<style>{files[STYLE]}</style>
<script type="application/json" id="answers">{{{inlined(content)}}}</script>
<script type="importmap">{inlined(json.dumps({"imports": modules}))}</script>
</head>
<body>
<div id="studio"><p class="loading">This page needs JavaScript.</p></div>
<script type="module">import "{PREFIX}{MAIN}";</script>
</body>
</html>
"""


def _data_address(text: str) -> str:
    return f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode()}"


def inlined(text: str) -> str:
    """JSON that cannot end the element that it stands in."""
    return text.replace("<", "\\u003c")


def escaped(text: str) -> str:
    """Text as the content of an element."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
