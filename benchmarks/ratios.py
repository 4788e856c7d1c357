"""Latency of every preset's file beside the original, in rounds with fresh sessions of both.

    python benchmarks/ratios.py                # the suite
    python benchmarks/ratios.py silero ocr

Weights are restored when a session starts, so what a file holds does not matter to its speed, only
which operators are left then. So files are made from few calibration samples, and with one width
where the preset would choose one for every weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import packlight
from packlight.records.recipe_options import PRESETS
from packlight.runtime import compare_latency, open_session
from sources import asked
from suite import SUITE, case

OFFERED = ("best8", "best6", "best4", "best3")
SAMPLES, SECONDS = 4, 10.0


def rows(name: str) -> Iterator[str]:
    """Each preset of one model."""
    chosen = case(name)
    task, options = chosen.task(), packlight.SessionOptions()
    few = replace(task, calibration=task.calibration[:SAMPLES])
    for preset in OFFERED:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            recipe = PRESETS[preset].replace("mixed=", "bits=")
            packlight.compress(chosen.model_path(), recipe, path, task=few)
            sessions = (partial(open_session, one, options) for one in (chosen.model_path(), path))
            found = compare_latency(*sessions, task.samples[:1], task.state, seconds=SECONDS)
        ratio, own = found["latency_ratio"], found["latency"]
        verdict = "slower" if ratio.low > 1 else "as fast or faster"
        yield (
            f"| {name} | {preset} | {own.value * 1e3:.3f} | {ratio.value:.3f} "
            f"| {ratio.low:.3f} to {ratio.high:.3f} | {verdict} |"
        )


def main() -> None:
    """Print the table."""
    names = asked(__doc__, SUITE)
    print("| model | preset | ms | ratio | interval | |\n| --- | --- | --: | --: | --- | --- |")
    for name in names:
        for line in rows(name):
            print(line, flush=True)


if __name__ == "__main__":
    main()
