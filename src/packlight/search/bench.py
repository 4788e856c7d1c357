"""Make and measure variants; each step is committed before the next and never repeated."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from packlight.comparison import contrast
from packlight.compression import compress, uses_data
from packlight.evaluation import Reference, columns, evaluate, misfits, model_notes, runtime_differs
from packlight.evaluation.range_misfit import sentence
from packlight.model import Model, load, save, stored_files
from packlight.records import (
    Contrast,
    Cost,
    Evaluation,
    Recipe,
    SessionOptions,
    Variant,
    counted,
    digest,
    variant_id,
)
from packlight.runtime import (
    Steps,
    compare_latency_with_reference,
    machine,
    open_session,
    peak_memory,
    trust,
    vet,
)
from packlight.runtime.calibration import Calibrator
from packlight.runtime.environment import environment
from packlight.runtime.progress import Progress, silent
from packlight.sources.opening import Opened
from packlight.store import Store
from packlight.store.files import sizes_of
from packlight.task import SampleTable, Task, read_table

T = TypeVar("T")
LATENCY_SAMPLES = 8
"""Samples of about the median size that latency is measured on."""


@dataclass(frozen=True, eq=False)
class Bench:
    """Task on this machine, with a store of all measurements.

    Attributes:
        store: the project.
        opened: the original.
        task: that variants are evaluated on.
        options: of every session.
        seed: of everything random.
        seconds: to spend on the latency of one variant.
        progress: told what is being done.
    """

    store: Store
    opened: Opened
    task: Task
    options: SessionOptions = field(default_factory=SessionOptions)
    seed: int = 0
    seconds: float = 2.0
    progress: Progress = silent

    @cached_property
    def original(self) -> Variant:
        """Original as a variant, with its file copied into the project."""
        model = self.opened.model
        key = digest({"original": model.digest})
        stored = self.store.get("variant", key, Variant)
        if stored is not None and self.store.path(stored.file).is_file():
            return stored
        name = self.put_model(lambda path: copy_model(self.opened, path))
        variant = Variant(
            key, "", model.name, Recipe(), model.digest, name, environment=environment()
        )
        self.store.put("variant", key, variant)
        return variant

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the task's data, and about outputs that cannot be compared in full."""
        return (*self.remarks, *self.task.warnings)

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """The notes that do not say that anything is wrong."""
        return (*self.task.remarks, *model_notes(self.opened.model))

    @cached_property
    def reference(self) -> Reference:
        """Outputs of the original, cached for all variants."""
        return Reference(self.opened.model, self.task, self.options)

    @cached_property
    def exact_reference(self) -> Reference:
        """Outputs of the original in exact arithmetic."""
        options = replace(self.options, arithmetic="exact")
        return Reference(self.opened.model, self.task, options)

    @cached_property
    def latency_samples(self) -> Sequence[Steps]:
        """Samples of typical size."""
        first = [self.task.samples[i] for i in range(min(len(self.task.samples), 64))]
        by_size = sorted(range(len(first)), key=lambda index: (_count_numbers(first[index]), index))
        start = max(0, (len(first) - LATENCY_SAMPLES) // 2)
        return [first[index] for index in by_size[start : start + LATENCY_SAMPLES]]

    def calibration_digest(self, recipe: Recipe) -> str:
        """Digest of the calibration samples that a recipe uses; empty if it uses none."""
        if uses_data(recipe):
            return self.task.calibration_digest
        return ""

    def key_of(self, recipe: Recipe) -> str:
        """Id of a recipe's variant."""
        return variant_id(self.original.id, recipe, self.calibration_digest(recipe))

    def variant(self, name: str, recipe: Recipe) -> Variant:
        """Variant that a recipe makes from the original; made once with the installed versions."""
        key = self.key_of(recipe)
        stored = self.store.get("variant", key, Variant)
        is_current = stored is not None and stored.environment == environment()
        if stored is not None and is_current and self.store.path(stored.file).is_file():
            return stored
        start = time.perf_counter()
        calibrator = Calibrator(
            self.task.calibration, self.options, self.progress, state=self.task.state
        )
        applied = compress(self.opened.model, recipe, calibrator)
        file = self.put_model(lambda path: save(applied.model, path))
        variant = Variant(
            id=key,
            parent=self.original.id,
            name=name,
            recipe=recipe,
            model=applied.model.digest,
            file=file,
            calibration=self.calibration_digest(recipe),
            changes=applied.changes,
            refusals=applied.refusals,
            calibrations=applied.calibrations,
            environment=environment(),
            took=time.perf_counter() - start,
        )
        self.store.put("variant", key, variant)
        return variant

    def put_model(self, writes: Callable[[Path], object]) -> str:
        """Store a model that this process made, which needs no vetting, and return its name."""
        name = self.store.put_model(writes)
        trust(self.store.path(name))
        return name

    def file_of(self, variant: Variant) -> Path:
        """The file of a variant, whose content is what its name says, and vetted.

        A project may come from a stranger, or may have been changed since it was written.
        """
        path = self.store.checked_path(variant.file)
        vet(path)
        return path

    def once(self, kind: str, variant: Variant, cls: type[T], make: Callable[[], T]) -> T:
        """Return a measurement from the store, or make and commit it.

        A stored one counts only for the same file, task, machine, runtime and packlight.
        """
        conditions = [variant.model, self.task.digest, self.options, self.original.id, self.seed]
        conditions.append(version("packlight"))
        if kind != "size":
            conditions.append(machine())
        if kind == "latency":
            conditions.append(self.seconds)
        if kind in ("quality", "contrast", "steering"):
            conditions.append(self.task.metric.code)
        key = f"{variant.id}-{digest(conditions)}"
        record = self.store.get(kind, key, cls)
        if record is None:
            record = make()
            self.store.put(kind, key, record)
        return record

    def model(self, variant: Variant) -> Model:
        """Load the model of a variant."""
        if variant.id == self.original.id:
            return self.opened.model
        return replace(load(self.file_of(variant)), name=variant.name)

    def size(self, variant: Variant) -> Cost:
        """Bytes on disk and after zip."""
        return self.once("size", variant, Cost, lambda: self.count_bytes(variant))

    def count_bytes(self, variant: Variant) -> Cost:
        """Count the bytes of all files of a variant."""
        folder = self.store.path(variant.file).parent
        metrics = sizes_of([path for path in folder.iterdir() if path.is_file()])
        return Cost(variant.id, metrics, self.options)

    def quality(self, variant: Variant) -> Evaluation:
        """Metric of the task, and changes against the original."""
        return self.once("quality", variant, Evaluation, lambda: self.evaluate(variant))

    def evaluate(self, variant: Variant) -> Evaluation:
        """Evaluate a variant, and check the runtime against exact arithmetic."""
        model = self.model(variant)
        result = evaluate(
            model,
            self.task,
            self.options,
            reference=self.reference,
            variant=variant.id,
            reference_id=self.original.id,
            seed=self.seed,
            progress=lambda done, total: self.progress("evaluating", done, total),
        )
        reference_file = self.store.put_file(result.reference_table.to_bytes(), ".npz")
        evaluation = replace(result.evaluation, beside=reference_file)
        if variant.id == self.original.id:
            return replace(evaluation, samples=self.store.put_file(result.table.to_bytes(), ".npz"))
        exact = runtime_differs(
            model, self.exact_reference, self.task, self.options, seed=self.seed
        )
        table = replace(result.table, samples={**result.table.samples, **exact.samples})
        evaluation = replace(evaluation, samples=self.store.put_file(table.to_bytes(), ".npz"))
        metrics = {
            **evaluation.metrics,
            "snr_exact": exact.snr_exact,
            "snr_runtime": exact.snr_runtime,
        }
        misfit = sentence(misfits(model, self.task, self.options))
        labels = (*evaluation.labels, *exact.labels, *filter(None, [misfit]))
        return replace(evaluation, metrics=metrics, labels=labels)

    def table(self, evaluation: Evaluation) -> SampleTable:
        """Results of single samples."""
        return read_table(self.store.checked_path(evaluation.samples).read_bytes())

    def reference_table(self, evaluation: Evaluation) -> SampleTable:
        """Results of single samples for the original, stored with a variant's evaluation."""
        return self.table(replace(evaluation, samples=evaluation.beside))

    def contrast(self, evaluation: Evaluation) -> Contrast | None:
        """Contrast of a variant with the original; None for the original itself."""
        if evaluation.variant == evaluation.reference:
            return None
        return contrast(
            self.task.metric,
            self.reference_table(evaluation),
            self.table(evaluation),
            columns(self.task),
            variant=evaluation.variant,
            reference=evaluation.reference,
            distance=evaluation.distance,
            seed=self.seed,
        )

    def stored_contrast(self, variant: Variant, evaluation: Evaluation) -> Contrast:
        """Contrast of a variant that is not the original, computed once."""

        def make() -> Contrast:
            contrast = self.contrast(evaluation)
            assert contrast is not None
            return contrast

        return self.once("contrast", variant, Contrast, make)

    def latency(self, variant: Variant) -> Cost:
        """Latency, interleaved with the original."""
        return self.once("latency", variant, Cost, lambda: self.measure_latency(variant)[1])

    def latency_of_both(self, variant: Variant) -> None:
        """Commit the latency of a variant and of the original from one interleaved measurement."""
        base, cost = self.measure_latency(variant)
        self.once("latency", self.original, Cost, lambda: base)
        self.once("latency", variant, Cost, lambda: cost)

    def measure_latency(self, variant: Variant) -> tuple[Cost, Cost]:
        """Measure the original and a variant interleaved, in one process."""
        model = self.model(variant)
        base, metrics = compare_latency_with_reference(
            lambda: open_session(self.opened.model, self.options),
            lambda: open_session(model, self.options),
            self.latency_samples,
            self.task.state,
            seconds=self.seconds,
            seed=self.seed,
        )
        base.update(latency_reference=base["latency"], latency_ratio=counted(1.0))
        if variant.id == self.original.id:
            metrics["latency_ratio"] = counted(1.0)
        machine_id = digest(machine())
        return (
            Cost(self.original.id, base, self.options, machine_id),
            Cost(variant.id, metrics, self.options, machine_id),
        )

    def memory(self, variant: Variant) -> Cost:
        """Peak memory of a fresh process."""
        sample = self.latency_samples[0]
        return self.once("memory", variant, Cost, lambda: self.measure_memory(variant, sample))

    def measure_memory(self, variant: Variant, sample: Steps) -> Cost:
        """Measure the peak memory of a variant on a sample, in separate processes."""
        peak = peak_memory(self.file_of(variant), sample, self.task.state, self.options)
        return Cost(variant.id, {"peak_memory": peak}, self.options, digest(machine()))


def copy_model(opened: Opened, target: Path) -> None:
    """Copy a model's file, or save it with its external data in the project."""
    if len(stored_files(opened.path)) > 1:
        save(opened.model, target)
    else:
        shutil.copyfile(opened.path, target)


def _count_numbers(steps: Steps) -> int:
    return sum(math.prod(array.shape) for feeds in steps for array in feeds.values())
