"""What every stage of a search needs: its limits, its time, and the records that it leaves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from packlight.compression.methods.table import METHODS
from packlight.planning.size.exact_size import Simplified
from packlight.planning.size.files import Files
from packlight.presentation.numbers import plural, show_bytes, show_seconds
from packlight.records import Recipe, Refusal, VariantResult
from packlight.records.budget import ON_DEVICE
from packlight.records.exploration import Prediction, StageRecord
from packlight.search.parallel import Workers
from packlight.search.steering import SplitTask
from packlight.search.trials import Trials


@dataclass(frozen=True, slots=True)
class UnitSeconds:
    """Seconds that it took to measure one variant."""

    variant: str
    seconds: float


class OutOfTime(Exception):  # noqa: N818 - no error: the search ends with what it has
    """The time that a search may take is over."""


@dataclass
class Stages:
    """The stages of one search, as far as it has come.

    Attributes:
        trials: measures variants.
        split: of the task's samples.
        time_limit: seconds that the search may take; 0 for as long as it needs.
        clock: seconds.
        workers: that make variants ahead.
        records: of the stages so far.
        checks: mixes that were evaluated.
        advice: what would have to change.
        warnings: what makes the result less sure.
        unit_seconds: that measuring one variant takes.
        download_share: of a file's bytes that its download has.
        is_out_of_reach: whether some budget cannot be kept.
    """

    trials: Trials
    split: SplitTask
    time_limit: float = 0.0
    clock: Callable[[], float] = time.monotonic
    workers: Workers = field(default_factory=Workers)
    records: list[StageRecord] = field(default_factory=list)
    checks: list[Prediction] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unit_seconds: float = 0.0
    download_share: float = 1.0
    is_out_of_reach: bool = False

    def __post_init__(self) -> None:
        self.bench = self.trials.bench
        self.started = self.clock()

    def begin(self) -> None:
        """Measure the original."""
        self.trials.measure_original()
        self.unit_seconds = self._unit_seconds()
        if self.split.shared:
            self.warnings.append(
                f"{plural(len(self.split.judging.samples), 'sample')} are too few to keep some "
                "apart: the samples that steered the search also decide its verdict, which "
                "flatters the choice. Use at least 60."
            )

    def _unit_seconds(self) -> float:
        """Seconds that measuring one variant takes; kept, so that a search resumes with them."""
        took = UnitSeconds(self.bench.original.id, self.clock() - self.started)
        return self.bench.once("seconds", self.bench.original, UnitSeconds, lambda: took).seconds

    @contextmanager
    def stage(self, name: str, reason: str, expected: float, memory: int = 0) -> Iterator[None]:
        """One stage: say how long it takes and how much memory, and keep what it took."""
        self.check_time(expected=0.0)
        start = self.clock()
        self.bench.progress(
            f"{name}: about {show_seconds(expected)}, {show_bytes(memory)}", 0, self.trials.steps
        )
        try:
            yield
        finally:
            took = self.clock() - start
            self.records.append(StageRecord(name, reason, expected, took, memory))

    def check_time(self, expected: float) -> None:
        """End the search where the next work would not be done in time.

        Raises:
            OutOfTime: it would not.
        """
        if self.time_limit and self.clock() - self.started + expected > self.time_limit:
            raise OutOfTime

    def size_limit(self, download_share: float = 0.0) -> float:
        """The tightest limit on the size, in bytes; infinite without one.

        Args:
            download_share: of a file's bytes that its download has; by default what mixes that were
                made have, with some room.
        """
        original = self.trials.base.metrics
        shares = {"size": 1.0, "download": download_share or self.download_share}
        bounds = [
            limit.bound(original) / shares[limit.metric]
            for limit in self.trials.budget.limits
            if limit.metric in shares
        ]
        return min(bounds, default=math.inf)

    @cached_property
    def files(self) -> Files:
        """Counts files before they are made."""
        return Files(Simplified(self.bench.opened.model))

    @property
    def model_bytes(self) -> int:
        """Bytes of the original."""
        return int(self.trials.base.metrics["size"].value)

    def fits_size(self, recipe: Recipe) -> bool:
        """Tell if the file of a recipe is small enough, as counted before it is made."""
        return self.files.count(recipe).size.low <= self.size_limit()

    def has_sites(self, method: str) -> bool:
        """Tell if a method can change an operator of the model."""
        found = METHODS[method]
        config = found.config()
        graph = self.files.sizes.model.graph
        return any(not isinstance(site, Refusal) for site in found.sites(graph, config))

    def limits_speed(self) -> bool:
        """Tell if a budget is on time, memory or energy."""
        speed = ("latency", "energy", "peak_memory")
        costs = {*speed, *(ON_DEVICE[name] for name in speed), ON_DEVICE["latency_ratio"]}
        return any(limit.metric in costs for limit in self.trials.budget.limits)

    def wants_speed(self) -> bool:
        """Tell if a faster variant is worth more."""
        return self.limits_speed() or self.trials.goal in ("balance", "latency", "energy")

    def try_recipe(self, name: str, recipe: Recipe) -> VariantResult:
        """Measure a variant on the samples of the verdict."""
        self.check_time(expected=self.unit_seconds)
        return self.trials.try_recipe(name, recipe)

    @property
    def has_data(self) -> bool:
        """True if the task has calibration samples."""
        return len(self.bench.task.calibration) > 0

    def ends_for(self, advice: Sequence[str]) -> bool:
        """Keep the reasons for which the search ends; True if there are any."""
        self.advice += advice
        if advice:
            self.is_out_of_reach = True
            self.leave_out("mixed", "a budget is out of reach")
        return bool(advice)

    def leave_out(self, name: str, reason: str) -> None:
        """Record a stage that is not entered."""
        self.records.append(StageRecord(name, f"left out: {reason}"))


def keeps_budgets(result: VariantResult) -> bool:
    """Tell if a variant meets every budget, as far as budgets are judged."""
    return result.verdict in ("fits", "unjudged")
