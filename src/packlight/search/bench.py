"""Make a variant and measure it, each step committed before the next and never done twice."""

from __future__ import annotations

import math
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from packlight.compression import compress, uses_data
from packlight.evaluation import Reference, evaluate, misfits, runtime_differs
from packlight.evaluation.range_misfit import sentence
from packlight.model import Model, load, save, stored_files
from packlight.records import (
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
)
from packlight.runtime.progress import Progress, silent
from packlight.search.calibrate import calibration
from packlight.sources.opening import Opened
from packlight.store import Store
from packlight.store.deflate import deflated
from packlight.task import SampleTable, Task, read_table

T = TypeVar("T")
MADE_WITH = ("packlight", "numpy", "onnx", "onnx-ir", "onnxscript", "onnxruntime")
TIMED = 8
"""Samples that take turns while latency is measured, around the median size."""


@dataclass(frozen=True, eq=False)
class Bench:
    """One task on one machine, with a store that remembers what was measured.

    Attributes:
        store: the project.
        opened: the original.
        task: what the variants are judged by.
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
        """The original as a variant, its file copied into the project."""
        model = self.opened.model
        key = digest({"original": model.digest})
        found = self.store.get("variant", key, Variant)
        if found is not None and self.store.path(found.file).is_file():
            return found
        name = self.store.put_model(lambda path: copy_model(self.opened, path))
        made = Variant(key, "", model.name, Recipe(), model.digest, name, environment=environment())
        self.store.put("variant", key, made)
        return made

    @cached_property
    def reference(self) -> Reference:
        """The original's outputs, kept for all variants."""
        return Reference(self.opened.model, self.task, self.options)

    @cached_property
    def exact_reference(self) -> Reference:
        """The original's outputs in exact arithmetic."""
        exactly = replace(self.options, arithmetic="exact")
        return Reference(self.opened.model, self.task, exactly)

    @cached_property
    def timed_samples(self) -> Sequence[Steps]:
        """Samples of typical size."""
        first = [self.task.samples[i] for i in range(min(len(self.task.samples), 64))]
        by_size = sorted(range(len(first)), key=lambda index: (numbers(first[index]), index))
        start = max(0, (len(first) - TIMED) // 2)
        return [first[index] for index in by_size[start : start + TIMED]]

    def seen_by(self, recipe: Recipe) -> str:
        """Digest of the calibration samples that a recipe looks at; empty where at none."""
        return self.task.calibration_digest if uses_data(recipe) else ""

    def key_of(self, recipe: Recipe) -> str:
        """Id of the variant that a recipe makes."""
        return variant_id(self.original.id, recipe, self.seen_by(recipe))

    def variant(self, name: str, recipe: Recipe) -> Variant:
        """The variant that a recipe makes of the original; made once by these versions."""
        seen, key = self.seen_by(recipe), self.key_of(recipe)
        found = self.store.get("variant", key, Variant)
        made_here = found is not None and found.environment == environment()
        if found is not None and made_here and self.store.path(found.file).is_file():
            return found
        start = time.perf_counter()
        made = compress(
            self.opened.model, recipe, calibration(self.task, self.options, self.progress)
        )
        file = self.store.put_model(lambda path: save(made.model, path))
        variant = Variant(
            id=key,
            parent=self.original.id,
            name=name,
            recipe=recipe,
            model=made.model.digest,
            file=file,
            calibration=seen,
            changes=made.changes,
            refusals=made.refusals,
            environment=environment(),
            took=time.perf_counter() - start,
        )
        self.store.put("variant", key, variant)
        return variant

    def once(self, kind: str, variant: Variant, cls: type[T], make: Callable[[], T]) -> T:
        """A measurement from the store, or made now and committed.

        One of another file, task, machine, runtime or packlight is not taken for its own.
        """
        conditions = [variant.model, self.task.digest, self.options, self.original.id, self.seed]
        conditions += [version("packlight"), *([] if kind == "size" else [machine()])]
        conditions += [self.seconds] if kind == "latency" else []
        conditions += [self.task.metric.code] if kind == "quality" else []
        key = f"{variant.id}-{digest(conditions)}"
        found = self.store.get(kind, key, cls)
        if found is None:
            found = make()
            self.store.put(kind, key, found)
        return found

    def model(self, variant: Variant) -> Model:
        """The model of a variant, from its file."""
        if variant.id == self.original.id:
            return self.opened.model
        return replace(load(self.store.path(variant.file)), name=variant.name)

    def size(self, variant: Variant) -> Cost:
        """Bytes on disk and bytes after zip."""
        return self.once("size", variant, Cost, lambda: self.weigh(variant))

    def weigh(self, variant: Variant) -> Cost:
        """Count the bytes of all files of a variant."""
        folder = self.store.path(variant.file).parent
        files = sorted(path for path in folder.iterdir() if path.is_file())
        size = sum(path.stat().st_size for path in files)
        download = sum(deflated(path) for path in files)
        metrics = {"size": counted(size, "B"), "download": counted(download, "B")}
        return Cost(variant.id, metrics, self.options)

    def quality(self, variant: Variant) -> Evaluation:
        """The task's metric and what changed against the original."""
        return self.once("quality", variant, Evaluation, lambda: self.judge(variant))

    def judge(self, variant: Variant) -> Evaluation:
        """Evaluate a variant, and check the runtime against exact arithmetic."""
        model = self.model(variant)
        found = evaluate(
            model,
            self.task,
            self.options,
            reference=self.reference,
            variant=variant.id,
            reference_id=self.original.id,
            seed=self.seed,
            progress=lambda done, total: self.progress("evaluating", done, total),
        )
        beside = self.store.put_file(found.beside.to_bytes(), ".npz")
        judged = replace(found.evaluation, beside=beside)
        if variant.id == self.original.id:
            return replace(judged, samples=self.store.put_file(found.table.to_bytes(), ".npz"))
        exact = runtime_differs(
            model, self.exact_reference, self.task, self.options, seed=self.seed
        )
        table = replace(found.table, samples={**found.table.samples, **exact.samples})
        judged = replace(judged, samples=self.store.put_file(table.to_bytes(), ".npz"))
        metrics = {**judged.metrics, "snr_exact": exact.snr_exact, "snr_runtime": exact.snr_runtime}
        poor = sentence(misfits(model, self.task, self.options))
        labels = (*judged.labels, *exact.labels, *([poor] if poor else []))
        return replace(judged, metrics=metrics, labels=labels)

    def table(self, evaluation: Evaluation) -> SampleTable:
        """What single samples did."""
        return read_table(self.store.path(evaluation.samples).read_bytes())

    def latency(self, variant: Variant) -> Cost:
        """Latency beside the original, interleaved."""
        return self.once("latency", variant, Cost, lambda: self.timed(variant)[1])

    def latency_of_both(self, variant: Variant) -> None:
        """Latency of a variant and of the original from one race, in which both run as often."""
        base, own = self.timed(variant)
        self.once("latency", self.original, Cost, lambda: base)
        self.once("latency", variant, Cost, lambda: own)

    def timed(self, variant: Variant) -> tuple[Cost, Cost]:
        """Time the original and a variant against each other in one process."""
        model = self.model(variant)
        base, own = compare_latency_with_reference(
            lambda: open_session(self.opened.model, self.options),
            lambda: open_session(model, self.options),
            self.timed_samples,
            self.task.state,
            seconds=self.seconds,
            seed=self.seed,
        )
        base.update(latency_reference=base["latency"], latency_ratio=counted(1.0))
        if variant.id == self.original.id:
            own["latency_ratio"] = counted(1.0)
        here = digest(machine())
        return (
            Cost(self.original.id, base, self.options, here),
            Cost(variant.id, own, self.options, here),
        )

    def memory(self, variant: Variant) -> Cost:
        """Peak memory of a fresh process."""
        sample = self.timed_samples[0]
        return self.once("memory", variant, Cost, lambda: self.fill(variant, sample))

    def fill(self, variant: Variant, sample: Steps) -> Cost:
        """Run a variant on a sample in processes of its own."""
        path = self.store.path(variant.file)
        peak = peak_memory(path, sample, self.task.state, self.options)
        return Cost(variant.id, {"peak_memory": peak}, self.options, digest(machine()))


def copy_model(opened: Opened, target: Path) -> None:
    """Copy a model's file as it is, or gather its external data into the project."""
    if len(stored_files(opened.path)) > 1:
        save(opened.model, target)
    else:
        shutil.copyfile(opened.path, target)


def environment() -> dict[str, str]:
    """Versions of what makes variants."""
    return {"python": platform.python_version(), **{name: version(name) for name in MADE_WITH}}


def numbers(steps: Steps) -> int:
    """How many numbers a sample feeds."""
    return sum(math.prod(array.shape) for feeds in steps for array in feeds.values())
