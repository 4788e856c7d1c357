"""A job in a process of its own: reads its request from stdin, writes one JSON line a report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packlight.api.layers import compare_layers
from packlight.api.plan_in_process import what_if
from packlight.api.try_recipe import model_of_variant, output_noise, try_recipe
from packlight.errors import InputError
from packlight.records import parse_recipe
from packlight.records.codec import from_json
from packlight.search.study import open_project
from packlight.sources.opening import open_model, task_for
from packlight.store import Store
from packlight.studio.pages import Sensitivity

LAYERS = "layers"
"""Kind of the records of layers in a project; their keys are ids of variants."""

SENSITIVITY = "sensitivity"
"""Kind of the records of sensitivity; their keys are ids of models."""

NOISY_STEPS = (
    "weights:8", "palette:6", "weights:4,block=32", "palette:4", "static+weights:8"
)  # fmt: skip
"""Steps whose damage is measured; 16-bit floats add none that shows."""

REPORT_SECONDS = 0.1
"""Time between two reports of progress, at least."""

LAYER_SAMPLES = 50
"""Samples that the layers of a variant are compared on."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job as its process takes it.

    Attributes:
        kind: ``measure``, ``layers`` or ``sensitivity``.
        project: folder.
        task: that measures quality.
        recipe: of the variant to measure, as text.
        name: of the variant to measure.
        variant: id of the variant whose layers are compared.
        device: that the search was for; empty without one.
        unit: of the device.
        seconds: to spend on latency.
    """

    kind: str
    project: str
    task: str
    recipe: str = ""
    name: str = ""
    variant: str = ""
    device: str = ""
    unit: str = ""
    seconds: float = 2.0


class Reporter:
    """Writes progress to stdout, one JSON object a line, not more often than is read."""

    def __init__(self) -> None:
        self.next_report = 0.0

    def progress(self, what: str, done: int, total: int) -> None:
        """Report what is being done."""
        now = time.monotonic()
        if now < self.next_report and done != total:
            return
        self.next_report = now + REPORT_SECONDS
        self.write(text=what, done=done, total=total)

    def write(self, **report: object) -> None:
        """Write one line."""
        print(json.dumps(report), flush=True)


def measure(request: JobRequest, reporter: Reporter) -> str:
    """Make and measure a variant; its id."""
    result = try_recipe(
        Path(request.project),
        parse_recipe(request.recipe),
        request.task,
        name=request.name,
        device=request.device,
        unit=request.unit,
        seconds=request.seconds,
        progress=reporter.progress,
    )
    if result.error:
        raise InputError(result.error)
    return result.id


def compare_inside(request: JobRequest, reporter: Reporter) -> str:
    """Compare the layers of a variant with the original, and keep the record; the variant's id."""
    study = open_project(request.project)
    with Store.open(study.project) as store:
        variant = model_of_variant(store, request.variant)
        layers = compare_layers(
            study.original.file,
            variant,
            request.task,
            limit=LAYER_SAMPLES,
            progress=reporter.progress,
        )
        store.put(LAYERS, request.variant, layers)
    return request.variant


def measure_sensitivity(request: JobRequest, reporter: Reporter) -> str:
    """Measure what single steps do to the outputs, and keep the record; the original's id."""
    study = open_project(request.project)
    opened = open_model(study.original.file)
    task = task_for(request.task, opened.model)
    clusters = what_if(opened.model).names
    steps = [step for step in NOISY_STEPS if task.calibration or not uses_samples(step)]
    noise = output_noise(opened.model, task, steps, clusters, progress=reporter.progress)
    samples = min(len(task.calibration or task.samples), 16)
    with Store.open(study.project) as store:
        store.put(SENSITIVITY, study.original.id, Sensitivity(opened.model.digest, samples, noise))
    return study.original.id


def uses_samples(step: str) -> bool:
    """Tell whether a step needs calibration samples."""
    from packlight.compression import uses_data  # noqa: PLC0415  all methods load with it

    return uses_data(parse_recipe(step))


JOBS: Mapping[str, Callable[[JobRequest, Reporter], str]] = {
    "measure": measure,
    "layers": compare_inside,
    "sensitivity": measure_sensitivity,
}


def main() -> int:
    """Run the job that stdin asks for; 0 where it is done."""
    reporter = Reporter()
    try:
        request = from_json(JobRequest, json.loads(sys.stdin.read()))
        variant = JOBS[request.kind](request, reporter)
    except InputError as error:
        reporter.write(error=str(error))
        return 2
    reporter.write(variant=variant)
    return 0


if __name__ == "__main__":
    sys.exit(main())
