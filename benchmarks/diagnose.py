"""What packlight says of models that other tools made, and of its own on other kinds of tasks.

python benchmarks/diagnose.py              # all pairs
python benchmarks/diagnose.py static nncf  # some of them
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import packlight
from packlight.presentation.numbers import show_named
from packlight.records import Finding, Measurement
from packlight.task import Task
from sources import HERE, asked
from suite import case
from theirs import FEW_THREADS, installed

CALLS = 60
"""Calibration calls that a tool is given."""

LIMIT = 8
"""Samples that are looked at."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A model and what is made of it.

    Attributes:
        model: name of the case.
        make: writes the variant: (model, task, folder) -> its path.
    """

    model: str
    make: Callable[[Path, Task, Path], Path]


def peer(name: str, kind: str) -> Callable[[Path, Task, Path], Path]:
    """What another tool makes, in its own environment."""

    def make(model: Path, task: Task, folder: Path) -> Path:
        samples, out = folder / "calls.npz", folder / f"{kind}.onnx"
        first = [task.calibration[at][0] for at in range(min(CALLS, len(task.calibration)))]
        np.savez(samples, **{key: np.stack([feeds[key] for feeds in first]) for key in first[0]})
        command = [str(installed(name)), "-W", "ignore", str(HERE / "peers" / "run_diagnose.py")]
        subprocess.run(
            [*command, kind, str(model), str(samples), str(out)], check=True, capture_output=True,
            env={**os.environ, **FEW_THREADS, "PYTHONPATH": ""},
        )  # fmt: skip
        return out

    return make


def own(recipe: str) -> Callable[[Path, Task, Path], Path]:
    """What packlight makes."""

    def make(model: Path, task: Task, folder: Path) -> Path:
        packlight.compress(model, recipe, folder / "own.onnx", task=task)
        return folder / "own.onnx"

    return make


PAIRS: Mapping[str, Pair] = {
    "static": Pair("efficientnet", peer("onnxruntime", "static")),
    "dynamic": Pair("silero", peer("onnxruntime", "dynamic")),
    "nncf": Pair("efficientnet", peer("nncf", "nncf")),
    "fashion": Pair("fashion", own("weights:3")),
    "minilm": Pair("minilm", own("weights:4")),
    "ocr": Pair("ocr", own("weights:4")),
}
"""By name: three of other tools, then classes, embeddings and texts."""


def lines(found: tuple[Finding, ...]) -> list[str]:
    """Findings in short."""
    return [
        f"  {one.severity:8} {one.cause:28} {one.operator[:48]:48} "
        + ", ".join(f"{name} {text(name, m)}" for name, m in list(one.evidence.items())[:3])
        for one in found
    ]


def text(name: str, m: Measurement) -> str:
    """A number of evidence."""
    return f"{m.value:.4g}" if m.unit == "1" and m.value > 1 else show_named(name, m)


def main() -> None:
    """Diagnose every pair that is asked for."""
    for name in asked(__doc__, PAIRS):
        pair = PAIRS[name]
        chosen = case(pair.model)
        task, start = chosen.task(), time.perf_counter()
        with TemporaryDirectory(prefix="packlight-diagnose-") as folder:
            variant = pair.make(chosen.model_path(), task, Path(folder))
            made = time.perf_counter()
            found = packlight.diagnose(chosen.model_path(), variant, task, limit=LIMIT)
        took = time.perf_counter() - made
        print(f"{name} ({pair.model}), made in {made - start:.0f} s, diagnosed in {took:.0f} s")
        print("\n".join(lines(found)), flush=True)


if __name__ == "__main__":
    main()
