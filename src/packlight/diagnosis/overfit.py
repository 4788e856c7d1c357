"""Weights that fit the calibration samples better than others.

The gap is measured on both, beside that of random errors as large as the variant's own, which know
neither: what remains of it is not due to the data. What more samples would give is measured where
the recipe is known: parts of the calibration samples make variants of their own, judged on parts
that share no source with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression import compress, uses_data
from packlight.diagnosis.evidence import Cure, Survey, Weight, output_error
from packlight.diagnosis.findings import SILENT, level, measured, severity
from packlight.evaluation import Reference
from packlight.layers import evenly_spread
from packlight.metrics import METRICS
from packlight.model import Model
from packlight.presentation.numbers import plural
from packlight.records import Finding, Measurement, Recipe, SessionOptions
from packlight.runtime.calibration import Calibrator
from packlight.runtime.progress import Progress, silent
from packlight.task import Selection, Task
from packlight.task.held_out import source_column, source_count, source_parts

Doubles = NDArray[np.float64]

LEAST_GAP_DB = 3.0
"""Gap between the samples that weights were fitted to and others from which on it is reported."""

PARTS = 6
"""Of the calibration samples; two are held out at a time, and one, two and four of the others make
variants."""

FITTED_PARTS = (1, 2, 4)

HELD_OUT_SAMPLES = 48
"""Held-out samples that judge a variant, at most."""

T_95 = 4.303
"""Student's t of a 95 % interval of the mean of three."""

LEAST_DECAY = 0.5
"""Share that the gain of a doubling keeps at the next, at least: two gains tell it badly."""

MOST_DOUBLINGS = 3
"""Beyond which nothing is said of more samples."""

WORTH_SAYING_DB = 0.5


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Held-out quality by the number of calibration samples.

    Attributes:
        samples: numbers of samples that variants were made from, from the least.
        snr: of each, signal to noise on held-out samples in dB.
        total: samples that there are.
        sources: different ones among them.
        source: the column that tells sources apart; empty where samples count as different.
    """

    samples: tuple[int, ...]
    snr: tuple[Measurement, ...]
    total: int
    sources: int
    source: str = ""

    @property
    def expected(self) -> Measurement:
        """Signal to noise on other samples of a variant that is made from all, in dB."""
        last = self.snr[-1]
        value = self.snr_at(self.total)
        return replace(last, value=value, low=last.low + value - last.value,
                       high=last.high + value - last.value, how="estimated")  # fmt: skip

    @property
    def more_helps(self) -> bool:
        """True where eight times as many samples would give at least half a decibel more."""
        most = self.snr_at(2**MOST_DOUBLINGS * self.total)
        return most - self.snr_at(self.total) >= WORTH_SAYING_DB

    def snr_at(self, samples: float) -> float:
        """Signal to noise of a variant from so many samples, in dB.

        Each doubling gains less than the one before by the ratio of the last two measured.
        """
        levels = [measurement.value for measurement in self.snr]
        before, last = np.diff(levels)[-2:]
        gain = max(float(last), 0.0)
        decay = float(np.clip(gain / before, LEAST_DECAY, 1.0)) if before > 0 else LEAST_DECAY
        doublings = math.log2(samples / self.samples[-1])
        if decay == 1:
            return levels[-1] + gain * doublings
        return levels[-1] + gain * decay * (1 - math.pow(decay, doublings)) / (1 - decay)


def learning_curve(
    reference: Model,
    recipe: Recipe,
    task: Task,
    options: SessionOptions,
    progress: Progress = silent,
) -> LearningCurve | None:
    """Make variants from parts of the calibration samples; judge each on others of other sources.

    Args:
        reference: the original.
        recipe: that learns from calibration samples.
        task: with these samples and their groups.
        options: of the sessions that run them.
        progress: told of every variant.

    Returns:
        The curve; None where there are fewer than six different samples.
    """
    calibration = task.calibration
    parts = source_parts(len(calibration), task.calibration_groups, PARTS)
    if len(parts) < PARTS:
        return None
    outputs = Reference(reference, _calibration_task(task), options)
    folds = PARTS // 2
    energies = np.zeros((len(FITTED_PARTS), folds, 2))
    sizes = np.zeros((len(FITTED_PARTS), folds))
    done = 0
    for fold in range(folds):
        held_out = [*parts[2 * fold], *parts[2 * fold + 1]]
        indices = [held_out[turn] for turn in evenly_spread(len(held_out), HELD_OUT_SAMPLES)]
        for row, count in enumerate(FITTED_PARTS):
            progress("making variants from parts of the samples", done, energies[..., 0].size)
            done += 1
            chosen = [parts[(2 * fold + 2 + part) % PARTS] for part in range(count)]
            fitted = sorted(index for part in chosen for index in part)
            calibrator = Calibrator(Selection(calibration, fitted), options, state=task.state)
            variant = compress(reference, recipe, calibrator).model
            energies[row, fold] = output_error(variant, options, outputs, indices)
            sizes[row, fold] = len(fitted)
    return LearningCurve(
        samples=tuple(int(row.mean()) for row in sizes),
        snr=tuple(_mean_level(row) for row in energies),
        total=len(calibration),
        sources=source_count(len(calibration), task.calibration_groups),
        source=source_column(len(calibration), task.calibration_groups),
    )


def _calibration_task(task: Task) -> Task:
    """A task of the calibration samples, judged by the outputs of the reference."""
    return replace(
        task,
        samples=task.calibration,
        targets=(),
        metric=METRICS["snr"],
        groups={},
        calibration=(),
        calibration_groups={},
    )


def _mean_level(energies: Doubles) -> Measurement:
    """Signal to noise over all folds (folds, 2), with an interval from their differences."""
    signal, noise = energies.sum(axis=0)
    value = level(noise, signal)
    levels = [level(noise, signal) for signal, noise in energies]
    half = T_95 * float(np.std(levels, ddof=1)) / math.sqrt(len(levels))
    return Measurement(value, "dB", value - half, value + half, "estimated", len(levels))


def calibration_overfit(survey: Survey) -> Iterator[Finding]:
    """Find weights that fit the calibration samples better than others."""
    subject = survey.subject
    calibration = subject.task.calibration
    if len(calibration) < 2 or not survey.weights:  # noqa: PLR2004
        return
    gap = _Gap.of(survey)
    if gap.excess < LEAST_GAP_DB or level(gap.noise, 1.0) > SILENT:
        return
    curve = None
    if subject.recipe is not None and uses_data(subject.recipe):
        curve = learning_curve(
            subject.reference, subject.recipe, subject.task, survey.exactly, subject.progress
        )
    evidence = {
        "snr_on_calibration_samples": measured(gap.calibrated, "dB", gap.count),
        "snr_on_the_task's_samples": measured(gap.on_task, "dB", len(survey.samples)),
        "gap_of_random_errors": measured(gap.random, "dB", gap.count),
    }
    if curve is not None:
        evidence |= curve_evidence(curve)
    operators = [weight.operator for weight in sorted(survey.weights, key=lambda w: -w.noise)]
    first = operators[0]
    yield Finding(
        "calibration-overfit",
        severity(level(gap.noise, 1.0)),
        "quality",
        _sentence(gap, curve),
        operator="",
        evidence=evidence,
        next_step=_next_step(curve, len(calibration)),
        operators=tuple(dict.fromkeys(operators)),
        source=survey.source(first),
        weight=math.sqrt(gap.noise),
    )


@dataclass(frozen=True, slots=True)
class _Gap:
    """Signal to noise of a variant's weights on samples that they may be fitted to, and on others.

    Attributes:
        calibrated: on calibration samples, in dB.
        on_task: on the task's samples, in dB.
        random: by how much random errors of the same size are better on calibration samples, in dB.
        noise: relative energy on the task's samples beyond that on calibration samples.
        count: calibration samples that were run.
    """

    calibrated: float
    on_task: float
    random: float
    noise: float
    count: int

    @property
    def excess(self) -> float:
        """Gap that the data do not explain, in dB."""
        return self.calibrated - self.on_task - self.random

    @classmethod
    def of(cls, survey: Survey) -> _Gap:
        """Measure both gaps, with activations as they are before rounding."""
        task = survey.subject.task
        inside = _calibration_task(task)
        reference = Reference(survey.subject.reference, inside, survey.exactly)
        indices = evenly_spread(len(inside.samples), survey.subject.limit)
        roundings = tuple(rounding.key for rounding in survey.roundings)

        def levels(weights: Mapping[tuple[ir.Node, int], Doubles]) -> tuple[float, float]:
            model = survey.cured_model(Cure(roundings, weights))
            signal, noise = output_error(model, survey.exactly, reference, indices)
            inside_level = level(noise, signal)
            signal, noise = survey.outputs_of(model, survey.exactly)
            return inside_level, level(noise, signal)

        calibrated, on_task = levels({})
        seed = survey.subject.seed
        at_once, _ = levels(_random_errors(survey.weights, 1.0, seed))
        scale = 10 ** ((at_once - calibrated) / 20)
        random, random_outside = levels(_random_errors(survey.weights, scale, seed))
        noise = max(10 ** (-on_task / 10) - 10 ** (-(calibrated - random + random_outside) / 10), 0)
        return cls(calibrated, on_task, random - random_outside, noise, len(indices))


def _random_errors(
    weights: Sequence[Weight], scale: float, seed: int
) -> dict[tuple[ir.Node, int], Doubles]:
    """Weights of the reference with the variant's errors, each scaled and of a random sign."""
    random = np.random.default_rng(seed)
    signs = (random.choice([-1.0, 1.0], weight.reference.shape) for weight in weights)
    return {
        (weight.node, weight.index): weight.as_read(
            weight.reference + scale * sign * (weight.variant - weight.reference)
        )
        for weight, sign in zip(weights, signs, strict=True)
    }


def curve_evidence(curve: LearningCurve) -> dict[str, Measurement]:
    """The measured points of a curve, the estimate for all samples, and the gain of a doubling."""
    points = {
        f"snr_held_out_with_{count}_samples": snr
        for count, snr in zip(curve.samples, curve.snr, strict=True)
    }
    gain = curve.snr_at(2 * curve.total) - curve.snr_at(curve.total)
    doubled = Measurement(gain, "dB", gain, gain, "estimated", len(curve.samples))
    return {
        **points,
        "snr_expected_on_others": curve.expected,
        "gain_of_twice_as_many": doubled,
    }


def _sentence(gap: _Gap, curve: LearningCurve | None) -> str:
    text = f"weights fit the calibration samples ({gap.calibrated:.1f} dB) better than others"
    seen = f"{gap.on_task:.1f} dB on the task's samples"
    if curve is None:
        return f"{text} ({seen})"
    return (
        f"{text} (about {curve.expected.value:.1f} dB expected by held-out ones, {seen}). "
        f"{_more(curve)}"
    )


def _more(curve: LearningCurve) -> str:
    """A sentence about what more samples would give."""
    times = 2**MOST_DOUBLINGS
    expected = curve.snr_at(curve.total)
    twice = curve.snr_at(2 * curve.total) - expected
    if not curve.more_helps:
        return f"More would hardly help: {_sources(curve, times)} give about as much"
    most = curve.snr_at(times * curve.total) - expected
    return (
        f"{_sources(curve, 1)} are few: {_sources(curve, 2)} would give about {twice:.1f} dB more, "
        f"{_sources(curve, times)} about {most:.1f} dB"
    )


def _sources(curve: LearningCurve, times: int) -> str:
    """So many times the different samples that there are, in words."""
    count = times * curve.sources
    if times > 1:
        return f"{count:,} different ones"
    if curve.source:
        return f"{count:,} groups of '{curve.source}'"
    return plural(count, "sample")


def _next_step(curve: LearningCurve | None, count: int) -> str:
    more = f"calibrate on more different samples than these {count}"
    if curve is None:
        return f"{more}; name the recipe (--recipe) to see how much more samples would give"
    if curve.more_helps:
        return f"{more}, or use more bits"
    return "use more bits, or a method that learns less from samples"
