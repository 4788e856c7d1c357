"""Integers only where they gain: every model of the suite, offered or declined with the reason.

    python benchmarks/gains.py                 # the suite
    python benchmarks/gains.py fashion silero

``packlight.quantize_where_faster`` times every operator in float and in integers on this machine,
on one thread, chooses by a minimum cut, and times what comes out in turns with the float model.
Weights go to the nearest point and few samples find the ranges, for neither changes the speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import packlight
from packlight.api.quantize_where_faster import SKETCH
from plain import plain_model
from sources import asked
from suite import SUITE, case

SAMPLES, SECONDS = 8, 3.0


def rows(name: str) -> Iterator[str]:
    """Both methods on one model."""
    chosen = case(name)
    task = chosen.task()
    few = replace(task, calibration=task.calibration[:SAMPLES])
    model = packlight.compress(plain_model(chosen), "simplify").model
    for config in SKETCH.values():
        method = config.kind
        found = packlight.quantize_where_faster(model, few, config, seconds=SECONDS)
        changed = sum(entry.method == method for entry in found.compressed.variant.changes)
        ratio = found.ratio
        yield (
            f"| {name} | {method} | {changed} | {len(found.floats)} | {ratio.value:.2f} "
            f"({ratio.low:.2f} to {ratio.high:.2f}) | {found.reason or found.code} |"
        )


def main() -> None:
    """Print the table as it grows."""
    names = asked(__doc__, SUITE)
    print("| model | method | in integers | left in float, for speed | ratio | |")
    print("| --- | --- | --: | --: | --- | --- |")
    for name in names:
        for line in rows(name):
            print(line, flush=True)


if __name__ == "__main__":
    main()
