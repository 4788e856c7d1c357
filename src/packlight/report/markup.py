"""HTML and SVG elements whose texts cannot become markup."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

VOID = ("meta", "link", "br", "img")
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, lone surrogates, and marks that reverse the text around them."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def text(raw: str) -> Html:
    """Any text as markup that shows it.

    >>> text("<b> & \\x00")
    '&lt;b&gt; &amp; \\ufffd'
    """
    return raw if isinstance(raw, Html) else Html(escape(UNPRINTABLE.sub("\ufffd", raw)))


def join(parts: Iterable[str], between: str = "") -> Html:
    """Texts and markup after each other."""
    return Html(text(between).join(text(part) for part in parts))


def breakable(raw: str) -> Html:
    """A recipe or name that may wrap after its punctuation.

    >>> breakable("simplify+float16")
    'simplify+<wbr>float16'
    """
    return join(re.split(r"(?<=[+,:/])(?=.)", raw), Html("<wbr>"))


def element(tag: str, *children: str, **attributes: str | float) -> Html:
    """An element with its children; plain texts are escaped.

    Attribute names are written as Python names: ``class_``, ``aria_label``.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    names = "".join(
        f' {attribute(name)}="{text(write(value))}"' for name, value in attributes.items()
    )
    start = Html(f"<{tag}{names}>")
    return start if tag in VOID else Html(f"{start}{join(children)}</{tag}>")


def attribute(name: str) -> str:
    """An attribute's name from its Python name."""
    return name.rstrip("_").replace("_", "-")


def write(value: str | float) -> str:
    """An attribute's value; numbers without needless digits.

    >>> write(12.5), write(3.0), write("a")
    ('12.5', '3', 'a')
    """
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
