"""Compare an exported file with ONNX Runtime on the ONNX model, on the same inputs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from types import MappingProxyType
from typing import cast

import numpy as np

from packlight.evaluation.reference import Score, not_finite, score
from packlight.exporting.binding import bound_array
from packlight.exporting.formats import Array, Feeds, Format, Runner
from packlight.exporting.neutral import Neutral
from packlight.metrics.intervals import wilson_interval
from packlight.metrics.paired import drop, measure
from packlight.model import Model
from packlight.profiling.sample_runs import random_inputs
from packlight.records import Measurement, SessionOptions
from packlight.records.export import OtherRun, Parity
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime import open_session
from packlight.runtime.calls import Session, Steps
from packlight.runtime.clock import interleaved_seconds, paired_latency
from packlight.runtime.progress import Progress, silent
from packlight.task import Task

SAMPLES = 100
"""Inputs that a file is compared on at least."""

AGREEMENT = 0.99
"""Share of decisions that must be equal where activations are quantized."""

TIMED_SAMPLES = 8

NO_SIGNAL = 1e-30
"""Stands for the power of an output that is all zeros."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """How a file is compared.

    Attributes:
        model: the ONNX model.
        task: gives inputs and the metric; None for random inputs.
        samples: inputs to compare on at least.
        options: of ONNX Runtime's session.
        seed: of random inputs and intervals.
        seconds: to measure latency for; 0 measures none.
        rounded: whether the file rounds activations that the model has in floats.
    """

    model: Model
    task: Task | None = None
    samples: int = SAMPLES
    options: SessionOptions = DEFAULT_SESSION
    seed: int = 0
    seconds: float = 1.0
    rounded: bool = False

    @property
    def state(self) -> Mapping[str, str]:
        """Inputs that carry state from call to call, by the output that gives it."""
        if self.task is None:
            return {}
        return self.task.state


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One comparison's inputs.

    Attributes:
        steps: inputs of each call.
        index: of the task's sample; -1 for random inputs.
    """

    steps: Steps
    index: int = -1


class StepRunner:
    """Runs samples of several calls in an exported file, as a session does.

    Args:
        runner: the open file.
        inputs: names of inputs that the file still has.
    """

    def __init__(self, runner: Runner, inputs: Collection[str]) -> None:
        self.runner = runner
        self.inputs = frozenset(inputs)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs of one call; inputs that were bound to a value are left out."""
        return self.runner.run({name: feeds[name] for name in feeds if name in self.inputs})

    def run_steps(self, steps: Steps, state: Mapping[str, str]) -> dict[str, Array]:
        """Outputs of a sample, those of several calls along a new first axis."""
        rows = [self.run(steps[0])]
        for feeds in steps[1:]:
            carried = {into: rows[-1][output] for output, into in state.items()}
            rows.append(self.run({**feeds, **carried}))
        if len(rows) == 1:
            return rows[0]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def signal_to_noise(reference: Array, result: Array) -> float:
    """Ratio of an array's power to that of its error, in dB; infinite where both are equal.

    >>> signal_to_noise(np.float32([1, 1]), np.float32([1, 0.9]))
    23.010...
    """
    if reference.shape != result.shape:
        return -math.inf
    expected = np.asarray(reference, np.float64)
    error = expected - np.asarray(result, np.float64)
    both_infinite = ~np.isfinite(expected) & (reference == result)
    error = np.where(both_infinite, 0.0, error)
    noise = float((error**2).sum())
    if noise == 0:
        return math.inf
    if not math.isfinite(noise):
        return -math.inf
    signal = float((np.where(np.isfinite(expected), expected, 0.0) ** 2).sum())
    return 10 * math.log10(max(signal, NO_SIGNAL) / noise)


def required_decibels(format_: Format, *, is_rounded: bool) -> float:
    """Lowest signal-to-noise ratio with which a file passes."""
    if is_rounded:
        return format_.required_static
    return format_.required


def measure_parity(
    format_: Format,
    runner: Runner,
    neutral: Neutral,
    comparison: Comparison,
    *,
    other_runners: Mapping[str, Runner] = MappingProxyType({}),
    progress: Progress = silent,
) -> Parity:
    """Compare an open file with ONNX Runtime.

    Args:
        format_: of the file.
        runner: the open file.
        neutral: that it was written from.
        comparison: the ONNX model, inputs and options.
        other_runners: the file as other runners have it open, by what they are.
        progress: told after every sample.

    Raises:
        InputError: no input fits the fixed shapes.
    """
    session = open_session(comparison.model, comparison.options)
    file = StepRunner(runner, list(neutral.inputs))
    others = {way: StepRunner(other, file.inputs) for way, other in other_runners.items()}
    samples, notes = choose_samples(neutral, comparison)
    state = comparison.state
    decibels: list[float] = []
    other_decibels: dict[str, list[float]] = {way: [] for way in others}
    scores: list[tuple[Score, Score]] = []
    for done, sample in enumerate(samples):
        expected = session.run_steps(sample.steps, state)
        outputs = file.run_steps(sample.steps, state)
        decibels.append(_lowest(expected, outputs))
        for way, other in others.items():
            other_decibels[way].append(_lowest(expected, other.run_steps(sample.steps, state)))
        if sample.index >= 0 and comparison.task is not None and not not_finite(outputs):
            scores.append(_scores(comparison.task, sample.index, outputs, expected))
        progress("comparing", done + 1, len(samples))
    agreement = _agreement(scores)
    is_rounded = comparison.rounded or neutral.has_quantized_activations()
    required = required_decibels(format_, is_rounded=is_rounded)
    lowest = min if agreement is None or not is_rounded else median
    passed = all(lowest(ratios) >= required for ratios in (decibels, *other_decibels.values()))
    if is_rounded and agreement is not None:
        passed = passed and agreement.value >= AGREEMENT
    timed: list[Session] = []
    if format_.times and comparison.seconds > 0:
        timed = [session, cast("Session", file)]
    return Parity(
        runtime=format_.runtime(),
        samples=len(samples),
        random=sum(sample.index < 0 for sample in samples),
        worst=round(min(decibels), 2),
        median=round(median(decibels), 2),
        required=required,
        agreement=agreement,
        metrics=_metrics(comparison, scores),
        latency_ratio=_latency_ratio(timed, samples, state, comparison),
        passed=passed,
        worst_input=decibels.index(min(decibels)),
        evaluated=format_.evaluated,
        notes=notes,
        other_runs=tuple(
            OtherRun(way, round(min(ratios), 2), round(median(ratios), 2))
            for way, ratios in other_decibels.items()
        ),
    )


def _lowest(expected: Feeds, outputs: Feeds) -> float:
    """The lowest ratio of all outputs, in dB."""
    return min(signal_to_noise(expected[name], outputs[name]) for name in expected)


def common_shapes(task: Task | None, samples: int) -> dict[str, tuple[int, ...]]:
    """Shapes of inputs that most of a task's first samples have; none without a task."""
    if task is None:
        return {}
    counts: Counter[tuple[tuple[str, tuple[int, ...]], ...]] = Counter()
    for index in range(min(len(task.samples), samples)):
        feeds = task.samples[index][0]
        counts[tuple((name, np.asarray(array).shape) for name, array in feeds.items())] += 1
    (shapes, _), *_ = counts.most_common(1)
    return dict(shapes)


def choose_samples(
    neutral: Neutral, comparison: Comparison
) -> tuple[list[Sample], tuple[str, ...]]:
    """Samples of the task that have the fixed shapes, and random ones up to the wanted number."""
    notes = []
    samples: list[Sample] = []
    task = comparison.task
    if task is not None:
        for index in range(len(task.samples)):
            if len(samples) < comparison.samples and _fits(neutral, task.samples[index]):
                samples.append(Sample(task.samples[index], index))
        if len(samples) < min(len(task.samples), comparison.samples):
            notes.append(
                f"{len(samples)} of the task's {len(task.samples)} samples have the shapes of the "
                "exported file"
            )
    missing = comparison.samples - len(samples)
    if missing:
        notes.append(f"{missing} of {comparison.samples} inputs are random")
        samples += [Sample([_random_feeds(neutral, comparison, index)]) for index in range(missing)]
    return samples, tuple(notes)


def _fits(neutral: Neutral, steps: Steps) -> bool:
    return all(
        name in feeds and np.asarray(feeds[name]).shape == neutral.shape(value)
        for feeds in steps[:1]
        for name, value in neutral.inputs.items()
    )


def _random_feeds(neutral: Neutral, comparison: Comparison, index: int) -> Feeds:
    """Random inputs of the fixed shapes, with the values of bound inputs."""
    model = comparison.model
    shapes = {}
    for name, value in model.inputs().items():
        shape = neutral.inputs.get(name, value).shape or ()
        shapes[name] = [size if isinstance(size, int) else None for size in shape]
    feeds = dict(random_inputs(model, shapes, comparison.seed + index))
    for name, array in feeds.items():
        if name not in neutral.inputs:
            feeds[name] = bound_array(neutral.bound[name], array.shape, array.dtype)
    return feeds


def _scores(task: Task, index: int, outputs: Feeds, expected: Feeds) -> tuple[Score, Score]:
    """Scores of the ONNX model and of the file on a sample of the task."""
    kept = {name: array for name, array in outputs.items() if name not in task.state} or dict(
        outputs
    )
    before = {name: array for name, array in expected.items() if name not in task.state} or dict(
        expected
    )
    return score(task, index, before, before), score(task, index, kept, before)


def _agreement(scores: Sequence[tuple[Score, Score]]) -> Measurement | None:
    """Share of equal decisions; None where nothing is decided."""
    pairs = [
        before.decisions == after.decisions
        for before, after in scores
        if before.decisions.shape == after.decisions.shape and before.decisions.size
    ]
    if not pairs:
        return None
    equal = np.concatenate([np.ravel(pair) for pair in pairs])
    low, high = wilson_interval(float(equal.sum()), equal.size)
    return Measurement(float(equal.mean()), "1", low, high, "measured", int(equal.size))


def _metrics(
    comparison: Comparison, scores: Sequence[tuple[Score, Score]]
) -> dict[str, Measurement]:
    """The task's metric of both, and its paired drop."""
    task = comparison.task
    if task is None or not scores:
        return {}
    widest = max(entry.row.size for pair in scores for entry in pair)
    before, after = (
        np.array([np.pad(pair[side].row, (0, widest - pair[side].row.size)) for pair in scores])
        for side in (0, 1)
    )
    metric = task.metric
    loss, _ = drop(metric, before, after, comparison.seed)
    return {
        metric.name: measure(metric, after, comparison.seed),
        f"{metric.name}_onnx": measure(metric, before, comparison.seed),
        "drop": loss,
    }


def _latency_ratio(
    timed: Sequence[Session],
    samples: Sequence[Sample],
    state: Mapping[str, str],
    comparison: Comparison,
) -> Measurement | None:
    """Time of a file over that of ONNX Runtime; None where it is not measured."""
    if not timed:
        return None
    steps = [sample.steps for sample in samples[:TIMED_SAMPLES]]
    runs = interleaved_seconds(timed, steps, state, comparison.seconds, perf_counter)
    return paired_latency(runs[:, 0], runs[:, 1], comparison.seed)["latency_ratio"]
