"""Samples that steer a search, apart from those that decide its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from packlight.evaluation import evaluate
from packlight.records import Budget, Evaluation, Limit, Measurement, Variant
from packlight.search.bench import Bench
from packlight.task import Task
from packlight.task.samples import Selection

FEW_SAMPLES = 60
"""Samples below which the same ones steer and decide: parts of them would tell nothing."""

LEAST_STRIDE = 3
MOST_STEERING = 1000
"""Samples that steer, about, at most."""

RACE_SHARE = 4
"""One of so many steering samples is enough to give up what is clearly too bad."""

RACE_SAMPLES = 400
"""Steering samples from which a part of them goes first."""


@dataclass(frozen=True, slots=True, eq=False)
class SplitTask:
    """A task in two parts.

    Attributes:
        steering: every third sample, or fewer of many.
        judging: the others; all, where they are too few to split.
    """

    steering: Task
    judging: Task

    @property
    def shared(self) -> bool:
        """True if the same samples steer and decide."""
        return self.steering is self.judging


def split_task(task: Task) -> SplitTask:
    """Split a task; one of few samples is not split."""
    count = len(task.samples)
    if count < FEW_SAMPLES:
        return SplitTask(task, task)
    stride = max(LEAST_STRIDE, count // MOST_STEERING)
    steering = range(0, count, stride)
    judging = [index for index in range(count) if index % stride]
    return SplitTask(part_of(task, steering), part_of(task, judging))


def part_of(task: Task, indices: Sequence[int]) -> Task:
    """A task of some of the samples."""
    targets = task.targets
    if len(targets) and isinstance(targets, np.ndarray):
        targets = targets[list(indices)]
    elif len(targets):
        targets = [targets[index] for index in indices]
    groups = {name: [column[index] for index in indices] for name, column in task.groups.items()}
    samples = Selection(task.samples, list(indices))
    return replace(task, samples=samples, targets=targets, groups=groups)


class Steering:
    """Evaluates variants on the samples that steer.

    Args:
        bench: of the verdict; its store keeps these evaluations too.
        task: the samples that steer.
        budget: its floors are what is sought.
        judging: samples that will decide.
        original: measurements of the original.
    """

    def __init__(
        self,
        bench: Bench,
        task: Task,
        budget: Budget,
        judging: int,
        original: Mapping[str, Measurement],
    ) -> None:
        self.bench = Bench(
            bench.store, bench.opened, task, bench.options, bench.seed, bench.seconds,
            bench.progress,
        )  # fmt: skip
        self.budget = budget
        self.judging = judging
        self.original = original
        count = len(task.samples)
        self.first: Bench | None = None
        if count >= RACE_SAMPLES:
            part = part_of(task, range(0, count, RACE_SHARE))
            self.first = Bench(
                bench.store, bench.opened, part, bench.options, bench.seed, bench.seconds,
                bench.progress,
            )  # fmt: skip

    @property
    def samples(self) -> int:
        """Number of samples that steer."""
        return len(self.bench.task.samples)

    def evaluate(self, variant: Variant) -> Evaluation:
        """Evaluate a variant: on a part of the samples first, and on all if it may keep floors."""
        if self.first is not None:
            early = _evaluation(self.first, variant)
            if self.is_hopeless(early.metrics):
                return early
        return _evaluation(self.bench, variant)

    def is_hopeless(self, metrics: Mapping[str, Measurement]) -> bool:
        """Tell if a floor is surely missed."""
        return any(
            limit.judged_by in metrics
            and limit.met(metrics[limit.judged_by], self.original) == "no"
            for limit in self.budget.floors
        )

    def is_hopeful(self, evaluation: Evaluation) -> bool:
        """Tell if the verdict would probably be that every floor is kept.

        The interval of the verdict is as much narrower as its samples are more.
        """
        metrics = evaluation.metrics
        return all(
            probably_keeps(limit, metrics[limit.judged_by], self.judging, self.original)
            for limit in self.budget.floors
            if limit.judged_by in metrics
        )


def probably_keeps(
    limit: Limit, measured: Measurement, judging: int, original: Mapping[str, Measurement]
) -> bool:
    """Tell if a floor would be kept by the same value on as many samples as will decide."""
    samples = max(1, measured.n)
    narrower = math.sqrt(samples / max(judging, samples))
    low = measured.value - (measured.value - measured.low) * narrower
    high = measured.value + (measured.high - measured.value) * narrower
    return limit.met(replace(measured, low=low, high=high), original) == "yes"


def _evaluation(bench: Bench, variant: Variant) -> Evaluation:
    """Evaluate a variant on the samples of a bench, once."""

    def make() -> Evaluation:
        return evaluate(
            bench.model(variant), bench.task, bench.options, reference=bench.reference,
            variant=variant.id, reference_id=bench.original.id, seed=bench.seed,
            progress=lambda done, total: bench.progress("evaluating", done, total),
        ).evaluation  # fmt: skip

    return bench.once("steering", variant, Evaluation, make)
