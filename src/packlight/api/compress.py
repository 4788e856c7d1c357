"""Apply a recipe to a model."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from packlight.api.verification import Verification
from packlight.compression import AppliedRecipe, learns_without_data, uses_data
from packlight.compression import compress as apply_recipe
from packlight.compression.recipe_text import AnyRecipe, read_recipe, recipe_name
from packlight.errors import RecipeError
from packlight.model import Model, file_size
from packlight.model.save import check_output, write_model
from packlight.planning.already_quantized import quantized_count
from packlight.presentation.numbers import show_bytes
from packlight.records import (
    SessionOptions,
    Variant,
    digest,
    variant_id,
)
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.calibration import Calibrator
from packlight.runtime.environment import environment
from packlight.runtime.first_run import Feeds, FirstRun
from packlight.runtime.progress import Progress, silent
from packlight.sources.opening import AnyModel, AnyTask, source_of, task_or_none
from packlight.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class Compressed:
    """A compressed model with its record.

    Attributes:
        model: the new model.
        variant: its record.
        before: bytes of the original's file, external data included.
        after: bytes of the new one.
        first_run: how far ONNX Runtime got with the new file; None where it was not opened.
        quantized: operators of the original that are quantized already, which no method does twice.
    """

    model: Model
    variant: Variant
    before: int
    after: int
    first_run: FirstRun | None = None
    quantized: int = 0

    def __repr__(self) -> str:
        sizes = f"{show_bytes(self.before)} -> {show_bytes(self.after)}"
        counts = f"{len(self.variant.changes)} changes, {len(self.variant.refusals)} refusals"
        return f"Compressed({self.variant.name!r}, {sizes}, {counts})"


def compress(
    model: AnyModel,
    recipe: AnyRecipe,
    out: str | Path | None = None,
    *,
    task: AnyTask | None = None,
    options: SessionOptions = DEFAULT_SESSION,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
    verify: bool = True,
) -> Compressed:
    """Apply a recipe.

    Args:
        model: stays as it is.
        recipe: in short, as ``simplify+weights:4,block=32``; the path of its TOML or JSON file; or
            configs in order, as ``[Simplify(), WeightOnly(bits=4, granularity=PerBlock(32))]``.
        out: path of the new model; none is written by default.
        task: calibration samples for methods that need them.
        options: of the sessions that run them.
        threads: of linear algebra and compiled kernels; by default as many as the cores allow.
        seed: of everything random; a ``Recipe`` has its own.
        progress: told what is being done.
        verify: open the new file once in a default session of ONNX Runtime and run it, on a
            calibration sample or else on zeros, before it is put in its place.

    Raises:
        InputError: the model, the recipe or the task cannot be used, ``out`` not be written, or
            the new file not be opened or run, though the model can.
    """
    steps = read_recipe(recipe, seed)
    if task is None and uses_data(steps):
        raise RecipeError(
            f"'{recipe_name(recipe)}' learns from calibration "
            "samples, and no task is given: name data with --task, as in --task data.npz, or leave "
            "out what learns, as rounding=gptq, mixed=, range=moments or static; quick8 and quick4 "
            "need no data, and calibration=synthetic makes samples from the model"
        )
    source = source_of(model, runs=task is not None)
    target = None
    if out is not None:
        target = Path(out)
        check_output(target, source.files)
    data = task_or_none(task, source.model)
    start = time.perf_counter()
    calibrator = None
    calibration_digest = ""
    if learns_without_data(steps):
        calibrator = Calibrator((), options, progress)
    if data is not None:
        calibrator = Calibrator(data.calibration, options, progress, state=data.state)
        if uses_data(steps):
            calibration_digest = data.calibration_digest
    applied = apply_recipe(source.model, steps, calibrator, threads=threads)
    runs: list[FirstRun] = []
    if target is None:
        after = file_size(applied.model.graph)
    elif verify and applied.changes:
        trusted = isinstance(model, Model)
        feeds = None if data is None else _first_call(data)
        verification = Verification(source.model, steps, calibrator, feeds, trusted)
        after = write_model(
            applied.model,
            target,
            source.files,
            lambda path: runs.append(verification.check(path)),
        )
    else:
        after = write_model(applied.model, target, source.files)
    name = recipe_name(recipe)
    variant = replace(
        _variant_record(source.model, applied, name, calibration_digest),
        file=str(target or ""),
        took=time.perf_counter() - start,
    )
    quantized = quantized_count(source.model)
    first_run = next(iter(runs), None)
    return Compressed(applied.model, variant, source.size, after, first_run, quantized)


def _first_call(task: Task) -> Feeds | None:
    """Inputs of the first call of the first sample, calibration samples before others."""
    for samples in (task.calibration, task.samples):
        if len(samples):
            return next(iter(samples[0]), None)
    return None


def _variant_record(source: Model, applied: AppliedRecipe, name: str, calibration: str) -> Variant:
    """Record of a compressed model, with the id that ``fit`` gives it."""
    parent = digest({"original": source.digest})
    return Variant(
        id=variant_id(parent, applied.recipe, calibration),
        parent=parent,
        name=name,
        recipe=applied.recipe,
        model=applied.model.digest,
        calibration=calibration,
        changes=applied.changes,
        refusals=applied.refusals,
        calibrations=applied.calibrations,
        environment=environment(),
    )
