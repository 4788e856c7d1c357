"""Find out why a variant lost quality, or did not get faster or smaller, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from packlight.advice import with_lessons
from packlight.api.measured_profile import MOST_STEPS, drawn, measured_profile
from packlight.api.profile import Timing
from packlight.api.profile_detail import profile_of
from packlight.diagnosis import Subject
from packlight.diagnosis import diagnose as find_causes
from packlight.metrics import METRICS
from packlight.model import Model, stored_size
from packlight.planning.cost.operator_latency import target_of, with_bounds
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
from packlight.search.adopted import check_alike
from packlight.sources.opening import AnyModel, AnyTask, at_hand, task_for
from packlight.task import LazySamples, Task

DRAWN = 16
"""Inputs that are drawn at random where there is no task."""

MOST = 32
"""Samples that are looked at, evenly spread."""


def diagnose(
    reference: AnyModel,
    variant: AnyModel,
    task: AnyTask | None = None,
    *,
    device: str | Path | Device = "",
    unit: str = "",
    options: SessionOptions = DEFAULT_SESSION,
    limit: int = MOST,
    seconds: float = 2.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Findings:
    """Why a variant lost quality, or did not get faster or smaller: causes, the gravest first.

    Args:
        reference: the model that it was made of.
        variant: with the same inputs and outputs, made by whichever tool.
        task: whose samples are run; without one, inputs are drawn at random, which tells little of
            ranges and outliers, and a finding says so.
        device: to predict times for; this machine, measured, where it is empty.
        unit: of the device, that computes.
        options: of the sessions.
        limit: samples at most, evenly spread.
        seconds: to spend on measuring times; none are measured where it is 0.
        seed: of everything random.
        progress: told what is being done.

    Raises:
        InputError: a model, the task or the device cannot be used, or the models are not alike.
    """
    target = target_of(device, unit)
    with at_hand(reference, variant) as (first, second):
        check_alike(first.model, second.model, second.model.name)
        data = drawn_task(first.model, seed) if task is None else task_for(task, first.model)
        progress("measuring times", 0, 2)
        timed = NOT_TIMED
        if target is not None:
            timed = predicted(first.model, second.model, data, *target)
        elif seconds:
            pair = first.model, second.model
            timed = measured(pair, data, options, seconds=seconds, seed=seed)
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
        )
        found = find_causes(subject)
        progress("done", 2, 2)
    return Findings((*map(with_lessons, found), *([RANDOM] if task is None else [])))


RANDOM = Finding(
    cause="random-inputs",
    severity="note",
    harm="quality",
    sentence="inputs were drawn at random, so ranges, outliers and the levels told here are not "
    "those of real data",
    next_step="give a task with real samples: --task",
)


@dataclass(frozen=True, slots=True)
class Timed:
    """Times of both models.

    Attributes:
        profiles: times of their operators; None where they were not measured.
        ratio: of the variant's time to the reference's.
    """

    profiles: tuple[Profile, Profile] | None = None
    ratio: Measurement | None = None


NOT_TIMED = Timed()


def drawn_task(model: Model, seed: int) -> Task:
    """Random inputs of a model's own shapes.

    Raises:
        InputError: a shape is open, or an input cannot be drawn.
    """
    shapes = profile_of(model, {}, None).inputs
    samples = LazySamples(DRAWN, lambda index: (drawn(model, shapes, seed + index),))
    return Task("random inputs", samples, METRICS["snr"])


def measured(
    pair: tuple[Model, Model], task: Task, options: SessionOptions, *, seconds: float, seed: int
) -> Timed:
    """Times measured here: both models in turns, then the operators of each."""
    one, other = (open_session(model, options) for model in pair)
    sample = task.samples[0][:MOST_STEPS]
    ratio = time_against(one, other, [sample], task.state, seconds=seconds / 3, seed=seed)
    timing = Timing(options, seconds / 3, seed)
    profiles = [
        measured_profile(model, profile_of(model, {}, task), task, timing) for model in pair
    ]
    return Timed((profiles[0], profiles[1]), ratio["latency_ratio"])


def predicted(first: Model, second: Model, task: Task, device: Device, unit: str) -> Timed:
    """Times predicted for a device."""
    one, other = (
        with_bounds(profile_of(model, {}, task), model, device, unit) for model in (first, second)
    )
    before, after = (found.totals["predicted_latency"] for found in (one, other))
    ends = (after.low / before.high, after.high / before.low)
    ratio = Measurement(after.value / before.value, "1", *ends, "estimated", 1)
    return Timed((as_timed(one), as_timed(other)), ratio)


def as_timed(found: Profile) -> Profile:
    """A profile whose predicted times stand as those of its operators."""
    return replace(found, operators=tuple(map(as_kernel, found.operators)))


def as_kernel(one: OperatorCost) -> OperatorCost:
    """An operator with its predicted time; one that takes none has no kernel."""
    taken = one.predicted
    if taken is None or not np.isfinite(taken.value) or taken.value == 0:
        return one
    return replace(one, latency=taken, placement="kernel")
