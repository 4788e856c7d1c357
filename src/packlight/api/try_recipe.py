"""Measure one more recipe in the project of a search, and what single steps do to the outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from packlight.compression import compress
from packlight.errors import InputError, ModelError, RecipeError
from packlight.model import Model, stored_size
from packlight.records import Outcome, Recipe, SessionOptions, Variant, VariantResult
from packlight.records.recipe import parse_recipe
from packlight.runtime import Steps, stream
from packlight.runtime.calibration import Calibrator
from packlight.runtime.progress import Progress, silent
from packlight.search.bench import Bench
from packlight.search.choice import with_verdict
from packlight.search.device_costs import DeviceCosts
from packlight.search.steering import split_task
from packlight.search.study import open_project
from packlight.search.trials import STEPS, measure_variant
from packlight.sources.device_unit import device_and_unit
from packlight.sources.opening import AnyTask, open_model, task_for
from packlight.store import Store
from packlight.task import Task

TRIED = "tried"
"""Kind of the records of recipes that were measured one by one, beside those of the search."""

SENSITIVITY_SAMPLES = 16
"""Samples that show how much of an operator's error reaches the outputs."""


def try_recipe(
    project: Path,
    recipe: Recipe,
    task: AnyTask,
    *,
    name: str = "",
    device: str = "",
    unit: str = "",
    seconds: float = 2.0,
    progress: Progress = silent,
) -> VariantResult:
    """Make and measure a variant beside those of a finished or stopped search.

    Every measurement is committed before the next starts; the outcome of the search stays as it
    is, so that a search may run meanwhile.

    Args:
        project: of the search.
        recipe: of the variant.
        task: of the search.
        name: for people; the recipe by default.
        device: of the search, where it had one.
        unit: of the device.
        seconds: to spend on its latency.
        progress: told what is being done, steps finished and steps in all.

    Raises:
        InputError: the project, the task or the recipe cannot be used.
    """
    study = open_project(project)
    outcome = study.outcome
    if outcome.device and not device:
        raise InputError(
            f"this search was for a device ({outcome.device}), whose costs are predicted: name it "
            "with --device"
        )
    opened = open_model(study.original.file)
    named = replace(opened, model=replace(opened.model, name=outcome.model))
    data = task_for(task, named.model)
    if outcome.exploration is not None:
        data = split_task(data).judging  # the samples that decide, as in the search
    with Store.open(project) as store:
        bench = Bench(store, named, data, outcome.session, recipe.seed, seconds, progress)
        progress("compressing", 0, STEPS)
        variant = bench.variant(name or recipe.text(), recipe)
        result, evaluation = measure_variant(bench, variant, 0, STEPS)
        if variant.id != bench.original.id:
            bench.stored_contrast(variant, evaluation)
        if device:
            costs = DeviceCosts(
                named.model, stored_size(named.path), data, *device_and_unit(device, unit)
            )
            result = replace(result, metrics={**result.metrics, **costs.predict(recipe)})
        result = with_verdict(result, outcome.budget, outcome.variants[0].metrics)
        store.put(TRIED, result.id, result)
    progress("done", STEPS, STEPS)
    return result


def tried_results(store: Store, outcome: Outcome) -> tuple[VariantResult, ...]:
    """Variants measured one by one that the outcome of the search does not hold."""
    known = {result.id for result in outcome.variants}
    return tuple(r for r in store.all(TRIED, VariantResult) if r.id not in known)


def model_of_variant(store: Store, variant: str) -> Path:
    """File of a variant, whose content is what its name says.

    Raises:
        InputError: there is no such variant, or its file was changed.
    """
    record = store.get("variant", variant, Variant)
    if record is None or not record.file:
        raise InputError(f"the project has no model of the variant '{variant}'")
    return store.checked_path(record.file)


def output_noise(
    model: Model,
    task: Task,
    steps: Sequence[str],
    clusters: Sequence[Sequence[str]],
    *,
    limit: int = SENSITIVITY_SAMPLES,
    progress: Progress = silent,
) -> dict[str, dict[str, float]]:
    """Noise over signal in power at the outputs where one step changes one cluster alone.

    Args:
        model: the original.
        task: its calibration samples are run, or its samples where it has none.
        steps: as recipes write them.
        clusters: operators that are changed together.
        limit: samples at most.
        progress: told what is being done.

    Returns:
        By step, by the first operator of each cluster; one that a step refuses is absent.
    """
    samples = list((task.calibration or task.samples)[:limit])
    options = SessionOptions()
    reference = _outputs(model, samples, task.state, options)
    noise: dict[str, dict[str, float]] = {step: {} for step in steps}
    total = len(steps) * len(clusters)
    calibrator = Calibrator(task.calibration, options, silent, state=task.state)
    for turn, step in enumerate(steps):
        for index, names in enumerate(clusters):
            progress(f"{step} on {names[0]}", turn * len(clusters) + index, total)
            where = f"^({'|'.join(map(re.escape, names))})$"
            recipe = parse_recipe(step)
            placed = replace(recipe, steps=tuple(replace(s, where=where) for s in recipe.steps))
            try:
                applied = compress(model, placed, calibrator)
            except (RecipeError, ModelError):
                continue  # the step has no candidate here, which what-if shows with its reason
            if applied.changes:
                outputs = _outputs(applied.model, samples, task.state, options)
                noise[step][names[0]] = _noise_to_signal(reference, outputs)
    progress("done", total, total)
    return noise


Arrays = list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]


def _outputs(
    model: Model, samples: Sequence[Steps], state: Mapping[str, str], options: SessionOptions
) -> Arrays:
    """Numbers of the floating-point outputs, one array for each call."""
    names = [name for name, value in model.outputs().items() if is_floating(value)]
    return [
        np.concatenate([np.asarray(values[name], np.float64).ravel() for name in names])
        for values in stream(model, names, samples, state, options)
    ]


def is_floating(value: object) -> bool:
    """Tell whether an output holds real numbers."""
    dtype = getattr(value, "dtype", None)
    return dtype is not None and bool(dtype.is_floating_point())


def _noise_to_signal(reference: Arrays, outputs: Arrays) -> float:
    signal = sum(float(np.sum(values**2)) for values in reference)
    pairs = zip(reference, outputs, strict=True)
    noise = sum(float(np.sum((ours - theirs) ** 2)) for ours, theirs in pairs)
    return noise / signal if signal else 0.0
