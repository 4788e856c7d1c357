"""Sizes that a plan foretells beside the files that are written, for every route with a method.

    python benchmarks/sizes.py                 # the suite and three networks
    python benchmarks/sizes.py silero ocr

Sizes do not depend on how many samples a method sees, so it sees few. Where the plan says an
interval the file must lie in it; all else is to the byte.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import packlight
from latency import CASES
from packlight.planning.routes import ROUTES
from sources import asked

SAMPLES = 4
"""That methods look at."""


def rows(name: str) -> Iterator[str]:
    """Each route of one model."""
    chosen = CASES[name](name)
    task = replace(chosen.task, calibration=chosen.task.calibration[:SAMPLES])
    options = {one.name: one for one in packlight.plan(chosen.path, task=task).options}
    for route in ROUTES:
        if not route.recipe:
            continue
        start = time.perf_counter()
        told = options[route.name].predicted["size"]
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            packlight.compress(chosen.path, f"simplify+{route.recipe}", path, task=task)
            size = path.stat().st_size
        exact = told.low == told.high
        within = "to the byte" if exact else "in the interval"
        verdict = within if told.low <= size <= told.high else "WRONG"
        print(f"{name}, {route.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        text = f"{told.value:,.0f}" if exact else f"{told.low:,.0f} to {told.high:,.0f}"
        yield f"| {name} | {route.name} | {text} | {size:,} | {verdict} |"


def main() -> None:
    """Print the table."""
    names = asked(__doc__, CASES)
    print("| model | route | foretold, bytes | written | |\n| --- | --- | --: | --: | --- |")
    for name in names:
        for line in rows(name):
            print(line, flush=True)


if __name__ == "__main__":
    main()
