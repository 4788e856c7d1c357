"""What each part of integer arithmetic adds: the full recipe, and the same without one part.

    python benchmarks/ablation.py                 # EfficientNet-Lite0 and MiniLM
    python benchmarks/ablation.py --samples 40 --calibration 50 efficientnet

dB of the outputs against float32, in exact arithmetic and in the kernels of this processor, the
task's metric, and how many operators can saturate on x86 processors without VNNI; on all samples
of the task, or on so many, evenly spread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace

import packlight
from integers import references
from packlight.evaluation import evaluate
from packlight.evaluation.exactness import evenly_spread
from packlight.records import SessionOptions
from packlight.runtime import saturation
from plain import plain_model
from suite import EXACT, Case, case

FULL = "simplify+static,first=float"
EVEN = "simplify+equalize,by=activations,scales=any+static"
RECIPES: Mapping[str, Mapping[str, str]] = {
    "efficientnet": {
        "all of it": FULL,
        "weights to nearest": f"{FULL},rounding=nearest",
        "biases as they are": f"{FULL},bias=false",
        "widest weights": f"{FULL},search=minmax",
        "ranges: all that was seen": f"{FULL},range=minmax",
        "ranges: 99.99 %": f"{FULL},range=percentile",
        "ranges: divergence": f"{FULL},range=kl",
        "first operator in integers": "simplify+static",
        "first operator in integers, on levels": "simplify+static,first=levels",
        "scales moved before": f"{EVEN},first=float",
        "pairs may saturate": f"{FULL},portable=false",
        "7 bits in place of safe pairs": f"{FULL},portable=false,bits=7",
        "nothing of it": "simplify+static,rounding=nearest,bias=false,search=minmax,range=minmax,"
        "portable=false",
    },
    "minilm": {
        "all of it": f"{EVEN},range=minmax",
        "no moved scales": "simplify+static,range=minmax",
        "weights to nearest": f"{EVEN},range=minmax,rounding=nearest,bias=false",
        "ranges: least squares": f"{EVEN},range=mse",
        "dynamic": "simplify+dynamic",
        "dynamic with moved scales": "simplify+equalize,by=activations,scales=any+dynamic",
    },
}
"""By model, what is tried and its recipe."""

OPTIONS = SessionOptions(threads=2)


def row(chosen: Case, name: str, recipe: str, samples: int, calibration: int) -> str:
    """One recipe as a line of the table."""
    whole = chosen.task()
    places = evenly_spread(len(whole.calibration), calibration)
    task = replace(whole, calibration=[whole.calibration[place] for place in places])
    start = time.perf_counter()
    made = packlight.compress(plain_model(chosen), recipe, task=task, options=OPTIONS).model
    seconds = time.perf_counter() - start
    some, beside, original = references(chosen.name, samples)
    found = [
        evaluate(made, some, options, reference=one, variant="v", reference_id="o").evaluation
        for options, one in ((EXACT, beside), (SessionOptions(threads=1), original))
    ]
    exact, kernel = (one.metrics["snr"].value for one in found)
    risks = sum(not one.safe for one in saturation(made))
    return (
        f"| {chosen.name} | {name} | {exact:.1f} | {kernel:.1f} "
        f"| {found[1].metrics[whole.metric.name].value:.3f} | {risks} | {seconds:.0f} |"
    )


def main() -> None:
    """Print the table as it grows."""
    parser = argparse.ArgumentParser(description="what each part of integer arithmetic adds")
    parser.add_argument("models", nargs="*", default=list(RECIPES), help="of the table above")
    parser.add_argument("--samples", type=int, default=10_000, help="to judge by, at most")
    parser.add_argument("--calibration", type=int, default=10_000, help="samples, at most")
    chosen = parser.parse_args()
    print("| model | recipe | dB exact | dB kernel | metric | unsafe | s |")
    print("| --- | --- | --: | --: | --: | --: | --: |")
    for name in chosen.models:
        for what, recipe in RECIPES[name].items():
            line = row(case(name), what, recipe, chosen.samples, chosen.calibration)
            print(line, flush=True)


if __name__ == "__main__":
    main()
