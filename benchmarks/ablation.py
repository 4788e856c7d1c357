"""What each part of integer arithmetic adds: the full recipe, and the same without one part.

    python benchmarks/ablation.py                 # EfficientNet-Lite0 and MiniLM
    python benchmarks/ablation.py efficientnet

dB of the outputs against float32, in exact arithmetic and in the kernels of this processor, the
task's metric, and how many operators can saturate on x86 processors without VNNI.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import packlight
from judging import KEPT, judge, reference
from packlight.evaluate import Reference, evaluate
from packlight.model import load
from packlight.records import SessionOptions
from packlight.runtime import saturation
from plain import plain_model
from suite import Case, case

FULL = "tidy+static,first=float"
EVEN = "tidy+equalise,by=activations,scales=any+static"
RECIPES: Mapping[str, Mapping[str, str]] = {
    "efficientnet": {
        "all of it": FULL,
        "weights to nearest": f"{FULL},rounding=nearest",
        "biases as they are": f"{FULL},bias=false",
        "widest weights": f"{FULL},search=minmax",
        "ranges: all that was seen": f"{FULL},range=minmax",
        "ranges: 99.99 %": f"{FULL},range=percentile",
        "ranges: divergence": f"{FULL},range=kl",
        "first operator in integers": "tidy+static",
        "pairs may saturate": f"{FULL},portable=false",
        "7 bits in place of safe pairs": f"{FULL},portable=false,bits=7",
        "nothing of it": "tidy+static,rounding=nearest,bias=false,search=minmax,range=minmax,"
        "portable=false",
    },
    "minilm": {
        "all of it": f"{EVEN},range=minmax",
        "no moved scales": "tidy+static,range=minmax",
        "weights to nearest": f"{EVEN},range=minmax,rounding=nearest,bias=false",
        "ranges: least squares": f"{EVEN},range=mse",
        "dynamic": "tidy+dynamic",
        "dynamic with moved scales": "tidy+equalise,by=activations,scales=any+dynamic",
    },
}
"""By model, what is tried and its recipe."""

OPTIONS = SessionOptions(threads=2)


def row(chosen: Case, name: str, recipe: str) -> str:
    """One recipe as a line of the table."""
    task, _ = reference(chosen.name)
    start = time.perf_counter()
    made = packlight.compress(plain_model(chosen), recipe, task=task, options=OPTIONS).model
    seconds = time.perf_counter() - start
    exactly = judge(chosen, made)
    options = SessionOptions(threads=1)
    original = Reference(load(chosen.model_path()), task, options, limit=KEPT)
    runs = evaluate(made, task, options, reference=original, variant="v", reference_id="o")
    risks = sum(not one.safe for one in saturation(made))
    kernel = runs.evaluation.metrics["snr"].value
    return (
        f"| {chosen.name} | {name} | {exactly['level']:.1f} | {kernel:.1f} "
        f"| {exactly['metric']:.3f} | {risks} | {seconds:.0f} |"
    )


def main() -> None:
    """Print the table as it grows."""
    print("| model | recipe | dB exact | dB kernel | metric | unsafe | s |")
    print("| --- | --- | --: | --: | --: | --: | --: |")
    for name in sys.argv[1:] or RECIPES:
        for what, recipe in RECIPES[name].items():
            print(row(case(name), what, recipe), flush=True)


if __name__ == "__main__":
    main()
