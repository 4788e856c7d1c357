"""Weight compression side by side: packlight and four peers, on the same models and data.

    python benchmarks/peers/install.py     # once: an environment for each peer
    python benchmarks/weights.py           # everything that is not yet in the cache, then the table
    python benchmarks/weights.py --cases silero fashion --tools packlight nncf --widths 4 8
    python benchmarks/weights.py --table   # the table of what is in the cache
    python benchmarks/weights.py --table --older   # with what earlier versions of the methods gave

Every peer gets the same flat graph and the same calibration calls (plain.py), works in its own
environment with the settings below, and says how many bytes its format takes. Its weights, restored
to float32, and packlight's file are judged by the same code in exact arithmetic: dB of the outputs
against the original, and the task's metric. A cell is a model, a width and a peer. packlight is
ahead in it where for every setting of the peer there is a packlight file of at most its bytes and
with more dB. Bytes: packlight's is the file; a peer's is the flat graph without the weights that it
compressed, plus its codes, tables and scales, and nothing for the operators that restore them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

import ours
import theirs
from results import Result, best, latest, read, write
from settings import PEERS, WIDTHS, lengthy, recipes, short
from suite import SUITE, Case, case

OURS = "packlight"


def fill(cases: Sequence[str], tools: Sequence[str], widths: Sequence[int]) -> None:
    """Compute what the cache lacks; what takes longest comes last."""
    for late in (False, True):
        for name, width, tool in product(cases, widths, tools):
            if tool != OURS:
                fill_peer(case(name), width, tool, late=late)
            elif not late:
                fill_ours(case(name), width)


def fill_ours(chosen: Case, width: int) -> None:
    """Packlight's files of a width."""
    for recipe in recipes(width, chosen.name):
        key = ours.key(chosen, recipe)
        if not key.exists():
            tell(write(key, ours.judged(chosen, width, recipe)))


def fill_peer(chosen: Case, width: int, peer: str, *, late: bool) -> None:
    """A peer's settings of a width, either those that take long or the others."""
    for name, setting in PEERS[peer](width, chosen.name).items():
        key = theirs.key(chosen, peer, setting)
        if lengthy(setting) == late and not key.exists():
            tell(write(key, theirs.judged(chosen, width, peer, name, setting)))


def tell(result: Result) -> None:
    """Show one result on the way."""
    print(result.line(), file=sys.stderr, flush=True)


def found(
    cases: Sequence[str], peers: Sequence[str], widths: Sequence[int], *, older: bool
) -> Iterator[tuple[str, int, str, list[Result], list[Result]]]:
    """Every cell with the results that are in the cache: packlight's of all widths, the peer's."""
    for name in cases:
        chosen = case(name)
        wanted = [recipe for width in WIDTHS for recipe in recipes(width, name)]
        mine = (
            latest(OURS, name, wanted)
            if older
            else [read(key) for recipe in wanted if (key := ours.key(chosen, recipe)).exists()]
        )
        for width in widths:
            for peer in peers:
                keys = (theirs.key(chosen, peer, setting)
                        for setting in PEERS[peer](width, name).values())  # fmt: skip
                yield name, width, peer, mine, [read(key) for key in keys if key.exists()]


def table(
    cases: Sequence[str], peers: Sequence[str], widths: Sequence[int], *, older: bool = False
) -> str:
    """All cells as Markdown, and how many packlight wins."""
    lines = [
        "| model | bits | peer | its setting | MB | dB | metric | packlight, at most as large | MB "
        "| dB | metric | ahead |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    won = played = 0
    for name, width, peer, mine, others in found(cases, peers, widths, older=older):
        made = [result for result in others if not result.failure]
        if not made:
            why = reason(others) if PEERS[peer](width, name) else "does not do this width"
            lines += [f"| {name} | {width} | {peer} | {why} |" + " |" * 8]
            continue
        pairs = [(other, best(mine, other.size)) for other in made]
        ahead = all(own is not None and own.level > other.level for other, own in pairs)
        played, won = played + 1, won + ahead
        lines += [row(name, width, peer, *pair) for pair in pairs]
    share = f"{won / played:.1%}" if played else "none"
    return "\n".join([*lines, "", f"packlight is ahead in {won} of {played} cells ({share})."])


def reason(others: Iterable[Result]) -> str:
    """Why a peer has nothing in a cell."""
    reasons = {result.failure for result in others}
    return "; ".join(sorted(reasons)) or "not run"


def row(name: str, width: int, peer: str, other: Result, own: Result | None) -> str:
    """A setting of a peer beside the best file that is not larger."""
    start = [name, str(width), peer, other.setting, *figures(other)]
    if own is None:
        return "| " + " | ".join([*start, "none so small", "", "", "", "no"]) + " |"
    ahead = "yes" if own.level > other.level else "no"
    return "| " + " | ".join([*start, short(own.setting), *figures(own), ahead]) + " |"


def figures(result: Result) -> list[str]:
    """Size, dB and metric for people."""
    return [f"{result.size / 1e6:.3f}", f"{result.level:.1f}", f"{result.metric:.3f}"]


def main() -> None:
    """Fill the cache as asked, then print and write the table."""
    parser = argparse.ArgumentParser(description="packlight beside its peers, weights only")
    parser.add_argument("--cases", nargs="+", choices=list(SUITE), default=list(SUITE))
    parser.add_argument("--tools", nargs="+", choices=[OURS, *PEERS], default=[OURS, *PEERS])
    parser.add_argument("--widths", nargs="+", type=int, choices=WIDTHS, default=list(WIDTHS))
    parser.add_argument("--table", action="store_true", help="only what is in the cache")
    parser.add_argument("--older", action="store_true", help="results of earlier versions too")
    parser.add_argument("--out", type=Path, default=Path("weights.md"))
    chosen = parser.parse_args()
    if not chosen.table:
        fill(chosen.cases, chosen.tools, chosen.widths)
    peers = [tool for tool in chosen.tools if tool != OURS]
    text = table(chosen.cases, peers, chosen.widths, older=chosen.older)
    chosen.out.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
