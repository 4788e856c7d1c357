"""HTML and SVG elements; texts are escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

VOID = ("meta", "link", "br", "img")
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, lone surrogates, and marks that reverse the text around them."""


def text(raw: str) -> Markup:
    """Escape a text; unprintable characters become U+FFFD.

    >>> str(text("<b> & \\x00"))
    '&lt;b&gt; &amp; \\ufffd'
    """
    if isinstance(raw, Markup):
        return raw
    return escape(UNPRINTABLE.sub("\ufffd", raw))


def join(parts: Iterable[str], between: str = "") -> Markup:
    """Concatenate texts and markup."""
    return Markup(text(between).join(text(part) for part in parts))


def breakable(raw: str) -> Markup:
    """A recipe or name that may wrap after its punctuation.

    >>> str(breakable("simplify+float16"))
    'simplify+<wbr>float16'
    """
    return join(re.split(r"(?<=[+,:/])(?=.)", raw), Markup("<wbr>"))


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """An element with its children; plain texts are escaped.

    Attribute names are written as Python names: ``class_``, ``aria_label``.

    >>> str(element("p", "a < b", class_="note"))
    '<p class="note">a &lt; b</p>'
    """
    names = "".join(
        f' {_attribute(name)}="{text(write(value))}"' for name, value in attributes.items()
    )
    if tag in VOID:
        return Markup(f"<{tag}{names}>")
    return Markup(f"<{tag}{names}>{join(children)}</{tag}>")


def _attribute(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def write(value: str | float) -> str:
    """An attribute's value; numbers without needless digits.

    >>> write(12.5), write(3.0), write("a")
    ('12.5', '3', 'a')
    """
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".")
