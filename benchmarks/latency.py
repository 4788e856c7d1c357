"""Latency as predicted from a measured device, beside the measured one, on models it never saw.

    packlight devices measure -o here.toml          # about three minutes, on a quiet machine
    python benchmarks/latency.py here.toml          # every model, every form
    python benchmarks/latency.py here.toml fashion mobilenetv2

Each model is timed as it is, in 8-bit integers, and with weights stored in fewer bits. The shapes
are those of the task's first sample; measured is the median over runs of that sample, one after the
other as the device was timed, in rounds over the forms of a model with fresh sessions. An error is
predicted over measured, less 1; a case is covered where the measured median lies in the interval.
Weights in fewer bits run by the same kernels as float32, so these rows differ by what else the
machine did. What-if is what a plan of the original foretells of the form, which it never sees.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import packlight
from packlight.errors import ModelError
from packlight.metrics import METRICS
from packlight.model import load
from packlight.planning.what_if import KEEP, Choice
from packlight.profiling.sample_runs import profile_for_task, sample_shapes
from packlight.records import Measurement
from packlight.runtime import latency_of, open_session
from packlight.task import Task
from sources import asked, cached
from suite import SUITE, case

FORMS: Mapping[str, str] = {
    "float32": "",
    "int8": "simplify+static",
    "8-bit weights": "simplify+weights:8",
    "palette of 16": "simplify+palette:4",
}
"""Recipes by what they are called in the table."""

NETWORKS = ("resnet50", "mobilenetv2", "vit-s16")
PICTURES = 4
SEEN = 16
"""Calibration samples that a form is made from; what runs does not depend on how many."""

ROUNDS, SECONDS = 5, 0.5
"""Openings of each form of a model, and seconds of runs of each."""


@dataclass(frozen=True, slots=True)
class Case:
    """A model and a task that says how it is fed.

    Attributes:
        path: of its ONNX file.
        task: whose first sample is timed.
    """

    path: Path
    task: Task


@dataclass(frozen=True, slots=True)
class Row:
    """One form of one model.

    Attributes:
        model: its name.
        form: a key of ``FORMS``.
        predicted: seconds.
        foretold: the same by the plan of the original.
        measured: median of seconds.
    """

    model: str
    form: str
    predicted: Measurement
    foretold: Measurement
    measured: float

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted.value / self.measured - 1

    @property
    def early(self) -> float:
        """Foretold over measured, less 1."""
        return self.foretold.value / self.measured - 1

    @property
    def covered(self) -> bool:
        """Whether the measured median lies in the predicted interval."""
        return self.predicted.low <= self.measured <= self.predicted.high


def network(name: str) -> Case:
    """A network with random weights, fed with random pictures."""
    import torch_networks

    fed = [({"image": torch_networks.picture(seed).numpy()},) for seed in range(PICTURES)]
    task = Task(name=name, samples=fed, metric=METRICS["top1"], calibration=fed,
                targets=np.zeros(PICTURES, np.int64))  # fmt: skip
    return Case(torch_networks.model_path(name), task)


def of_suite(name: str) -> Case:
    """A model of the suite."""
    chosen = case(name)
    return Case(chosen.model_path(), chosen.task())


CASES: Mapping[str, Callable[[str], Case]] = {
    **dict.fromkeys(SUITE, of_suite),
    **dict.fromkeys(NETWORKS, network),
}


def form_path(name: str, form: str, chosen: Case) -> Path:
    """The file of one form of a model, made once."""
    recipe = FORMS[form]
    if not recipe:
        return chosen.path
    path = cached(f"latency-{name}-{form.replace(' ', '-')}.onnx")
    if not path.exists():
        few = replace(chosen.task, calibration=chosen.task.calibration[:SEEN])
        packlight.compress(chosen.path, recipe, path, task=few)
    return path


def rows_of(name: str, device: packlight.Device, threads: int) -> Iterator[Row]:
    """Predict every form of a model, then time them in turns."""
    chosen = CASES[name](name)
    paths = [form_path(name, form, chosen) for form in FORMS]
    said = [predicted(load(path), chosen.task, device, threads) for path in paths]
    told = list(foretold(load(chosen.path), chosen.task, device))
    measured = np.median(list(rounds(paths, chosen.task, threads)), axis=0)
    for form, prediction, early, taken in zip(FORMS, said, told, measured, strict=True):
        yield Row(name, form, prediction, early, float(taken))


def foretold(model: packlight.Model, task: Task, device: packlight.Device) -> Iterator[Measurement]:
    """What a plan of the original says of each form."""
    shapes = {name: value.shape for name, value in task.samples[0][0].items()}
    plans = packlight.what_if(model, device, inputs=shapes)
    for recipe in FORMS.values():
        step = recipe.removeprefix("simplify+") or KEEP
        yield plans.choose([Choice(".", step)])["latency"]


def rounds(paths: Sequence[Path], task: Task, threads: int) -> Iterator[list[float]]:
    """Median seconds of runs of the task's first sample, by form."""
    options = packlight.SessionOptions(threads=threads)
    for _ in range(ROUNDS):
        yield [
            latency_of(open_session(path, options), task.samples[:1], task.state, seconds=SECONDS)[
                "latency"
            ].value
            for path in paths
        ]


def predicted(
    model: packlight.Model, task: Task, device: packlight.Device, threads: int
) -> Measurement:
    """What the device's curves say of a model; it is run once only where shapes depend on data."""
    profile = profile_for_task(model, {}, task)
    try:
        return packlight.predict_latency(model, profile, device, threads)
    except ModelError:
        seen = sample_shapes(model, task)
        return packlight.predict_latency(model, profile, device, threads, seen)


def table(rows: list[Row]) -> Iterator[str]:
    """A table with errors, and what they come to."""
    yield (
        "| model | form | predicted, ms | interval | measured, ms | error | covered | what-if, ms "
        "| error |"
    )
    yield "| --- | --- | --: | --- | --: | --: | --- | --: | --: |"
    for one in rows:
        said = one.predicted
        yield (
            f"| {one.model} | {one.form} | {said.value * 1e3:.3f} "
            f"| {said.low * 1e3:.3f} to {said.high * 1e3:.3f} | {one.measured * 1e3:.3f} "
            f"| {one.error:+.0%} | {'yes' if one.covered else 'no'} "
            f"| {one.foretold.value * 1e3:.3f} | {one.early:+.0%} |"
        )
    errors, early = [abs(one.error) for one in rows], [abs(one.early) for one in rows]
    covered = sum(one.covered for one in rows)
    yield ""
    yield (
        f"median error {np.median(errors):.0%}, worst {max(errors):.0%}; the interval holds the "
        f"measured median in {covered} of {len(rows)} cases; what-if: median error "
        f"{np.median(early):.0%}, worst {max(early):.0%}"
    )


def main() -> None:
    """Print the table for a measured device."""
    measured, *names = asked(__doc__, CASES, "DEVICE.toml")
    device = packlight.load_device(measured)
    threads = device.units["cpu"].cores or 1
    rows = []
    for name in names:
        for row in rows_of(name, device, threads):
            print(f"{name}, {row.form}: {row.error:+.0%}", file=sys.stderr, flush=True)
            rows.append(row)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
