"""What training makes up for: recipes of the suite with and without ``distill``, in the same bytes.

    apt-get install dataset-fashion-mnist      # 60,000 images of clothes, MIT license
    python benchmarks/training.py              # every row, seed 0
    python benchmarks/training.py one-bit halved --seeds 3
    python benchmarks/training.py one-bit --minutes 1

Fashion learns from 12,000 unlabelled images of the training set, or from the 1,000 of the zoo where
a row says so; EfficientNet from 400 crops of photos that no judged crop is of. Judged are the
samples of the task, which nothing chooses by. Minutes are of the clock.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import packlight
from packlight.records import SessionOptions
from packlight.records.recipe_options import PRESETS
from packlight.task import Task
from sources import cached
from suite import Case, case

IMAGES = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
HEADER, SIDE = 16, 28
LEARNED = 12_000
EXACT = SessionOptions(arithmetic="exact", threads=1)


@dataclass(frozen=True, slots=True)
class Row:
    """A recipe and what ``distill`` is asked to make of it.

    Attributes:
        case: of the suite.
        recipe: before ``distill``.
        wanted: least metric or dB after it.
        minutes: to learn.
        images: unlabelled images of Fashion-MNIST beside those of the zoo.
        metric: whether ``wanted`` is of the task's metric, not of the outputs in dB.
    """

    case: str
    recipe: str
    wanted: float
    minutes: float = 4.0
    images: int = LEARNED
    metric: bool = True


ROWS: Mapping[str, Row] = {
    "one-bit": Row("fashion", "simplify+palette:1,rounding=gptq", 0.905),
    "one-bit-few": Row("fashion", "simplify+palette:1,rounding=gptq", 0.819, images=0),
    "mixed": Row("fashion", "simplify+palette,rounding=gptq,mixed=1.5", 0.932),
    "two-of-four": Row("fashion", "simplify+sparse,share=0.5,run=4", 0.932),
    "halved": Row("fashion", "simplify+channels,share=0.5", 0.928),
    "halved-few": Row("fashion", "simplify+channels,share=0.5", 0.918, images=0),
    "quartered": Row("fashion", "simplify+channels,share=0.75", 0.908),
    "efficientnet-2.5-bits": Row(
        "efficientnet", PRESETS["best3"], 7.0, minutes=15.0, metric=False
    ),
    "efficientnet-4-bits": Row(
        "efficientnet", "simplify+equalize+weights:4,rounding=gptq", 11.5, minutes=15.0,
        metric=False,
    ),
    "efficientnet-integers": Row(
        "efficientnet", "simplify+equalize+static,first=float", 26.3, minutes=8.0, metric=False
    ),
}  # fmt: skip


def images(count: int) -> list[Sequence[Mapping[str, np.ndarray]]]:
    """Unlabelled images of the training set, the first ``count``."""
    if not IMAGES.exists():
        raise SystemExit(f"there is no {IMAGES}: apt-get install dataset-fashion-mnist")
    with gzip.open(IMAGES) as file:
        file.seek(HEADER)
        pixels = np.frombuffer(file.read(count * SIDE * SIDE), np.uint8)
    return [[{"image": each[None]}] for each in pixels.reshape(count, 1, SIDE, SIDE)]


def task_of(row: Row, chosen: Case) -> Task:
    """The case's task, with the samples of a row to learn from."""
    task = chosen.task()
    if chosen.name != "fashion" or not row.images:
        return task
    like = task.calibration[0][0]["image"]
    more = [
        [{"image": call["image"].astype(like.dtype).reshape(like.shape)}]
        for (call,) in images(row.images)
    ]
    return replace(task, calibration=[*task.calibration, *more])


def judged(row: Row, path: Path, chosen: Case, task: Task) -> float:
    """The metric of a file, or the dB of its outputs."""
    found = packlight.evaluate(path, task, reference=chosen.model_path(), options=EXACT)
    if row.metric:
        return found.metrics[task.metric.name].value
    return found.metrics["output_sqnr"].value


def measured(name: str, row: Row, seed: int) -> tuple[float, float]:
    """Judge a recipe without and with ``distill``, and print both as a row of a table."""
    chosen = case(row.case)
    task = task_of(row, chosen)
    before, size = made(row, row.recipe, seed, chosen, task)
    start = time.perf_counter()
    learned = f"{row.recipe}+distill,minutes={row.minutes:g}"
    after, same = made(row, learned, seed, chosen, task)
    minutes = (time.perf_counter() - start) / 60
    print(
        f"| {name} | {seed} | {size / 1e3:.1f} kB | {same / 1e3:.1f} kB | {before:.4g} | "
        f"{after:.4g} | {row.wanted:g} | {minutes:.1f} |",
        flush=True,
    )
    return before, after


def made(row: Row, recipe: str, seed: int, chosen: Case, task: Task) -> tuple[float, int]:
    """The judged quality and the bytes of a recipe's file."""
    path = cached("training", f"{row.case}.onnx")
    compressed = packlight.compress(chosen.model_path(), recipe, path, task=task, seed=seed)
    return judged(row, path, chosen, task), compressed.after


def main() -> None:
    """Print the table as it grows, then the medians of more seeds than one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of every row")
    parser.add_argument("--minutes", type=float, help="to learn, for all rows")
    asked = parser.parse_args()
    print("| row | seed | without | with | quality before | after | wanted | minutes |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: |", flush=True)
    for name in asked.names or ROWS:
        row = ROWS[name]
        if asked.minutes:
            row = replace(row, minutes=asked.minutes)
        found = [measured(name, row, seed) for seed in range(asked.seeds)]
        if asked.seeds > 1:
            before, after = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"| {name} | median | | | {before:.4g} | {after:.4g} | {row.wanted:g} | |")


if __name__ == "__main__":
    main()
