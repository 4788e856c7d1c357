"""What calibration samples give on other data: the task's, with changed copies, or synthetic ones.

    python benchmarks/calibration.py                         # every model
    python benchmarks/calibration.py --curve minilm silero   # and the held-out estimate
    python benchmarks/calibration.py --judged 100 efficientnet

dB of the outputs against float32 on the calibration samples and on judged ones, which no choice has
seen, in exact arithmetic. With ``--curve`` the estimate of ``packlight diagnose --recipe``, which
sees calibration samples alone. Seconds are of work of all cores.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

import packlight
from packlight.diagnosis.evidence import output_error
from packlight.diagnosis.overfit import learning_curve
from packlight.evaluation import Reference
from packlight.layers import evenly_spread
from packlight.metrics import METRICS
from packlight.model import Model, load
from packlight.records import parse_recipe
from packlight.records.recipe_options import FITTED
from packlight.task import Task
from suite import EXACT, case

PALETTE = f"simplify+palette,{FITTED}"
RECIPES: Mapping[str, Sequence[str]] = {
    "fashion": (f"{PALETTE},bits=4", f"{PALETTE},mixed=2.5"),
    "efficientnet": tuple(f"{PALETTE},mixed={width}" for width in (3.15, 4.2, 5.6)),
    "minilm": (f"{PALETTE},mixed=2.7",),
    "silero": (f"{PALETTE},mixed=2.7",),
    "ocr": (f"{PALETTE},mixed=2.7",),
}
"""By model, what is made with each kind of samples."""

DATA = ("samples", "augmented", "synthetic")


def with_data(recipe: str, data: str) -> str:
    """A recipe whose last step learns from other samples."""
    if data == "samples":
        return recipe
    return f"{recipe},calibration={data}"


def level_on(model: Model, task: Task, reference: Reference, most: int) -> float:
    """dB of a model on so many samples, evenly spread."""
    indices = evenly_spread(len(task.samples), most)
    signal, noise = output_error(model, EXACT, reference, indices)
    return 10 * math.log10(signal / max(noise, np.finfo(np.float64).tiny))


def rows(name: str, data: Sequence[str], judged: int, *, curve: bool) -> None:
    """Print the rows of a model."""
    chosen = case(name)
    model = load(chosen.model_path())
    task = chosen.task()
    inside = replace(task, samples=task.calibration, targets=(), metric=METRICS["snr"],
                     groups={}, calibration=(), calibration_groups={})  # fmt: skip
    references = {part: Reference(model, part, EXACT) for part in (task, inside)}
    for recipe in RECIPES[name]:
        for samples in data:
            start = time.process_time()
            text = with_data(recipe, samples)
            given = None if samples == "synthetic" else task
            made = packlight.compress(model, text, task=given)
            seconds = time.process_time() - start
            levels = [level_on(made.model, part, references[part], judged) for part in references]
            estimate = ""
            if curve and samples != "synthetic":
                found = learning_curve(model, parse_recipe(text), task, EXACT)
                estimate = "-" if found is None else f"{found.expected.value:.1f}"
            short = recipe.removeprefix("simplify+").replace(f",{FITTED}", "")
            print(
                f"| {name} | `{short}` | {samples} | {made.after / 1e6:.3f} | {levels[1]:.1f} "
                f"| {levels[0]:.1f} | {estimate} | {seconds:.0f} |", flush=True,
            )  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--data", nargs="*", choices=DATA, default=DATA)
    parser.add_argument("--judged", type=int, default=400, help="samples that judge, at most")
    parser.add_argument("--curve", action="store_true", help="the held-out estimate, too")
    asked = parser.parse_args()
    print("| model | recipe | samples | MB | dB on them | dB on others | expected | s of work |")
    print("| --- | --- | --- | --: | --: | --: | --: | --: |")
    for name in asked.names or RECIPES:
        rows(name, asked.data, asked.judged, curve=asked.curve)


if __name__ == "__main__":
    main()
