"""What comparing two models costs: time beside two plain evaluations, and memory of a look inside.

python benchmarks/compare.py            # the zoo's 5,000 images, three rounds in turns
python benchmarks/compare.py --rounds 5 # more
python benchmarks/compare.py --layers   # memory of `packlight layers` on 50 and 2,000 images

Every command runs as people run it, in a process of its own. Seconds are of the clock; those of the
processor, children included, say how much of a busy machine's time was its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

MODEL = "zoo:fashion"
RECIPE = "quick8"
COUNTS = (50, 2000)
KILO = 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took.

    Attributes:
        wall: seconds of the clock.
        own: seconds of the processor, those of its children too.
        peak: bytes of memory that the largest of its processes held.
    """

    wall: float
    own: float
    peak: int


def run(*arguments: str) -> Cost:
    """What a command of packlight takes, in a process that nothing is left of."""
    command = [sys.executable, "-m", "packlight", *arguments]
    start, before = time.perf_counter(), used()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return Cost(time.perf_counter() - start, used() - before, usage.ru_maxrss * KILO)


def used() -> float:
    """Seconds of the processor that all children so far took."""
    total = resource.getrusage(resource.RUSAGE_CHILDREN)
    return total.ru_utime + total.ru_stime


def in_turns(variant: str, rounds: int) -> dict[str, list[Cost]]:
    """Costs of two plain evaluations and of comparisons, one after the other in every round."""
    commands = {
        "evaluate the original": ("evaluate", MODEL),
        "evaluate the variant": ("evaluate", variant),
        "compare": ("compare", MODEL, variant),
        "compare --quality": ("compare", MODEL, variant, "--quality"),
    }
    found: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            found[name].append(run(*arguments, "--task", MODEL))
            print(f"{name}: {found[name][-1].wall:.1f} s", file=sys.stderr, flush=True)
    return found


def ratios(found: dict[str, list[Cost]], name: str, what: str) -> list[float]:
    """In each round, what a command took over the two evaluations together."""
    plain = zip(found["evaluate the original"], found["evaluate the variant"], strict=True)
    both = [getattr(one, what) + getattr(other, what) for one, other in plain]
    return [getattr(cost, what) / whole for cost, whole in zip(found[name], both, strict=True)]


def times_table(variant: str, rounds: int) -> list[str]:
    """Rows of seconds and ratios."""
    found = in_turns(variant, rounds)
    lines = [
        "| command | s | s of the processor | of two evaluations | of their processor time |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, costs in found.items():
        cells = [f"{median(getattr(one, what) for one in costs):.1f}" for what in ("wall", "own")]
        if name.startswith("compare"):
            cells += [spread(ratios(found, name, what)) for what in ("wall", "own")]
        else:
            cells += ["", ""]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def spread(values: Sequence[float]) -> str:
    """The middle, with the least and the most."""
    return f"{median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def memory_table(variant: str) -> list[str]:
    """Rows of memory by number of samples."""
    lines = ["| images | MB at the peak | s |", "| --- | --- | --- |"]
    for count in COUNTS:
        cost = run("layers", MODEL, variant, "--task", MODEL, "--limit", str(count))
        lines.append(f"| {count:,} | {cost.peak / 1e6:.1f} | {cost.wall:.0f} |")
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", action="store_true")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        variant = str(Path(folder) / "variant.onnx")
        run("compress", MODEL, "--recipe", RECIPE, "-o", variant)
        told = memory_table(variant) if asked.layers else times_table(variant, asked.rounds)
    print("\n".join(told))


if __name__ == "__main__":
    main()
