"""Find why a variant lost quality, or did not get faster or smaller; from any tool."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from packlight.advice import with_lessons
from packlight.compression.recipe_text import AnyRecipe, read_recipe
from packlight.diagnosis import Subject
from packlight.diagnosis import diagnose as find_causes
from packlight.evaluation import model_notes
from packlight.metrics import METRICS
from packlight.model import Model, stored_size
from packlight.planning.cost.operator_latency import device_target, with_latency_bounds
from packlight.profiling.sample_runs import (
    MOST_STEPS,
    Timing,
    measure_operators,
    profile_for_task,
    random_inputs,
)
from packlight.records import (
    Device,
    Finding,
    Findings,
    Measurement,
    OperatorCost,
    Profile,
    SessionOptions,
)
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime import open_session, time_against
from packlight.runtime.progress import Progress, silent
from packlight.search.external_models import check_alike
from packlight.sources.opening import AnyModel, AnyTask, at_hand, task_for
from packlight.task import LazySamples, Task

RANDOM_SAMPLES = 16
"""Random inputs that replace a task."""

MOST_SAMPLES = 32
"""Samples that are run, evenly spread."""


def diagnose(
    reference: AnyModel,
    variant: AnyModel,
    task: AnyTask | None = None,
    *,
    recipe: AnyRecipe | None = None,
    device: str | Path | Device = "",
    unit: str = "",
    options: SessionOptions = DEFAULT_SESSION,
    limit: int = MOST_SAMPLES,
    seconds: float = 2.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Findings:
    """Find why a variant lost quality, or did not get faster or smaller; the gravest cause first.

    Args:
        reference: the model that it was made from.
        variant: made by any tool, with the same inputs and outputs.
        task: its samples are run; without a task, inputs are random, which says little about
            ranges and outliers, and a finding says so.
        recipe: that made the variant. Where weights fit the calibration samples better than others,
            parts of these make nine variants more, to see how much other samples would give.
        device: to predict latency for; if empty, latency is measured on this machine.
        unit: of the device, that computes.
        options: of the sessions.
        limit: samples at most, evenly spread.
        seconds: to spend on measuring latency; 0 to measure none.
        seed: of everything random.
        progress: told what is being done.

    Raises:
        InputError: a model, the task or the device cannot be used, or the models are not alike.
    """
    target = device_target(device, unit)
    with at_hand(reference, variant) as (first, second):
        check_alike(first.model, second.model, second.model.name)
        data = _random_task(first.model, seed) if task is None else task_for(task, first.model)
        progress("measuring times", 0, 2)
        timed = Timed()
        if target is not None:
            timed = _predict_times(first.model, second.model, data, *target)
        elif seconds:
            pair = (first.model, second.model)
            timed = _measure_times(pair, data, options, seconds=seconds, seed=seed)
        progress("looking for causes", 1, 2)
        subject = Subject(
            reference=first.model,
            variant=second.model,
            task=data,
            options=options,
            limit=limit,
            seed=seed,
            profiles=timed.profiles,
            ratio=timed.ratio,
            sizes=(stored_size(first.path), stored_size(second.path)),
            recipe=None if recipe is None else read_recipe(recipe, seed),
            progress=progress,
        )
        causes = find_causes(subject)
        progress("done", 2, 2)
    findings = tuple(map(with_lessons, causes))
    if task is None:
        findings = (*findings, RANDOM)
    notes = map(as_finding, model_notes(first.model))
    return Findings((*findings, *notes), causes.summary)


RANDOM = Finding(
    cause="random-inputs",
    severity="note",
    harm="quality",
    sentence="inputs are random, so the ranges, outliers and levels reported here are not those of "
    "real data",
    next_step="give a task with real samples: --task",
)


def as_finding(note: str) -> Finding:
    """A note about what a model's outputs are, as a finding."""
    return Finding(
        cause="outputs",
        severity="note",
        harm="quality",
        sentence=note,
        next_step="read the findings about quality with this in mind",
    )


@dataclass(frozen=True, slots=True)
class Timed:
    """Latencies of both models.

    Attributes:
        profiles: latencies of their operators; None if not measured.
        ratio: of the variant's latency to the reference's.
    """

    profiles: tuple[Profile, Profile] | None = None
    ratio: Measurement | None = None


def _random_task(model: Model, seed: int) -> Task:
    """Task of random inputs with the model's shapes.

    Raises:
        InputError: a shape is open, or an input cannot be random.
    """
    shapes = profile_for_task(model, {}, None).inputs
    samples = LazySamples(
        RANDOM_SAMPLES, lambda index: (random_inputs(model, shapes, seed + index),)
    )
    return Task("random inputs", samples, METRICS["snr"])


def _measure_times(
    pair: tuple[Model, Model], task: Task, options: SessionOptions, *, seconds: float, seed: int
) -> Timed:
    """Measure latency: both models interleaved, then the operators of each."""
    reference, variant = (open_session(model, options) for model in pair)
    sample = task.samples[0][:MOST_STEPS]
    ratio = time_against(reference, variant, [sample], task.state, seconds=seconds / 3, seed=seed)
    timing = Timing(options, seconds / 3, seed)
    profiles = [
        measure_operators(model, profile_for_task(model, {}, task), task, timing) for model in pair
    ]
    return Timed((profiles[0], profiles[1]), ratio["latency_ratio"])


def _predict_times(
    reference_model: Model, variant_model: Model, task: Task, device: Device, unit: str
) -> Timed:
    """Predict latency on a device."""
    reference, variant = (
        with_latency_bounds(profile_for_task(model, {}, task), model, device, unit)
        for model in (reference_model, variant_model)
    )
    before, after = (profile.totals["predicted_latency"] for profile in (reference, variant))
    low = after.low / before.high
    high = after.high / before.low
    ratio = Measurement(after.value / before.value, "1", low, high, "estimated", 1)
    return Timed((_as_timed(reference), _as_timed(variant)), ratio)


def _as_timed(profile: Profile) -> Profile:
    return replace(profile, operators=tuple(map(_as_kernel, profile.operators)))


def _as_kernel(operator: OperatorCost) -> OperatorCost:
    predicted = operator.predicted
    if predicted is None or not np.isfinite(predicted.value) or predicted.value == 0:
        return operator
    return replace(operator, latency=predicted, placement="kernel")
