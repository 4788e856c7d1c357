"""Where a model's costs lie, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from packlight.cli.tables import UNKNOWN, counts, plain_table
from packlight.records.reading import show_bytes, show_named

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records import OperatorCost, Profile

SHARED = ("macs", "weight_bytes", "activation_bytes")
MOST_UNKNOWN = 5
STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def profile_parts(found: Profile, top: int) -> list[RenderableType]:
    """Totals, the operators that take the largest shares, and what is not known."""
    unknown = [Text(f"Not counted: {told}", style="yellow") for told in found.unknown]
    more = len(unknown) - MOST_UNKNOWN
    rest = [Text(f"and {more} more not counted, with --json")] if more > 0 else []
    left = len(found.operators) - top
    note = f"{left:,} more operators: --top {len(found.operators)}" if left > 0 else ""
    return [
        counts((name.replace("_", " "), total(name, found)) for name in found.totals),
        operators_table(found, top),
        *([Text(note, style="dim")] if note else []),
        *unknown[:MOST_UNKNOWN],
        *rest,
    ]


def total(name: str, found: Profile) -> str:
    """A total as it reads best."""
    m = found.totals[name]
    return show_named(name, m) if m.unit == "B" else short(m.value)


def operators_table(found: Profile, top: int) -> Table:
    """The operators with the largest share of anything, in the order they run."""
    whole = {name: sum(known(one, name) for one in found.operators) or 1 for name in SHARED}

    def share(one: OperatorCost) -> float:
        return max(known(one, name) / whole[name] for name in SHARED)

    chosen = {id(one) for one in sorted(found.operators, key=share, reverse=True)[:top]}
    table = plain_table("operator", "type", "MACs", "weights", "activations", "share", left=2)
    for one in found.operators:
        if id(one) in chosen:
            table.add_row(*cells(one), f"{share(one):.0%}")
    return table


def cells(one: OperatorCost) -> list[str]:
    """One operator's costs; what is not known is shown as ``-``."""
    weights = f"{show_bytes(one.weight_bytes)}{' shared' if one.shared else ''}"
    activations = UNKNOWN if one.activation_bytes is None else show_bytes(one.activation_bytes)
    return [
        one.name,
        one.op,
        UNKNOWN if one.macs is None else short(one.macs),
        weights,
        activations,
    ]


def known(one: OperatorCost, name: str) -> int:
    """A cost, or 0 where it is not known."""
    return int(getattr(one, name) or 0)


def short(number: float) -> str:
    """A count with three digits.

    >>> short(10_941_280), short(940)
    ('10.9 M', '940')
    """
    size, letter = next(((s, text) for s, text in STEPS if number >= s), (1.0, ""))
    return f"{number / size:.3g} {letter}".rstrip()
