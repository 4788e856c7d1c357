"""Stages of a search: their time, what they try, and those without forms by operator."""

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
from packlight.records import (
    Evaluation,
    Recipe,
    Refusal,
    VariantResult,
    parse_recipe,
)
from packlight.records.budget import ON_DEVICE
from packlight.records.exploration import (
    Prediction,
    StageRecord,
)
from packlight.search.mixes import Mix, Mixes
from packlight.search.steering import SplitTask
from packlight.search.trials import Trials

DYNAMIC = "simplify+dynamic+weights:8"

STATIC = (
    "simplify+static,first=float+weights:8",
    "simplify+static+weights:8",
)
"""``weights:8`` is for operators without an integer kernel, as embeddings."""

DYNAMIC_SHARE = 0.2
"""Share of the weights that integer products must have, for them to be worth a try."""


@dataclass(frozen=True, slots=True)
class UnitSeconds:
    """Seconds that it took to measure one variant."""

    variant: str
    seconds: float


class OutOfTime(Exception):  # noqa: N818 - no error: the search ends with what it has
    """The time that a search may take is over."""


@dataclass
class StagedSearch:
    """What every stage of a search needs, and the stages without forms by operator.

    Attributes:
        trials: measures variants.
        split: of the task's samples.
        time_limit: seconds that the search may take; 0 for as long as it needs.
        jobs: mixes that are made and evaluated at a time.
        clock: seconds.
    """

    trials: Trials
    split: SplitTask
    time_limit: float = 0.0
    jobs: int = 1
    clock: Callable[[], float] = time.monotonic
    stages: list[StageRecord] = field(default_factory=list)
    checks: list[Prediction] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    evaluated: dict[tuple[int, ...], Evaluation] = field(default_factory=dict)
    unit_seconds: float = 0.0
    mix_seconds: float = 0.0
    download_share: float = 1.0
    combined: tuple[Mixes, Mix] | None = None
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

    def _limits_speed(self) -> bool:
        speed = ("latency", "energy", "peak_memory")
        costs = {*speed, *(ON_DEVICE[name] for name in speed), ON_DEVICE["latency_ratio"]}
        return any(limit.metric in costs for limit in self.trials.budget.limits)

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
            self.stages.append(StageRecord(name, reason, expected, took, memory))

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

    def _without_data(self, texts: Sequence[str]) -> None:
        recipes = [(text, parse_recipe(text, self.bench.seed)) for text in texts]
        if self._wants_speed() and self._gains_from_dynamic():
            recipes.append((DYNAMIC, parse_recipe(DYNAMIC, self.bench.seed)))
        usable = [(name, recipe) for name, recipe in recipes if self._is_usable(recipe)]
        if not usable:
            self.stages.append(StageRecord("no data", "left out: every file would be too large"))
            return
        self._try_all("no data", "cheapest first", usable)

    def _gains_from_dynamic(self) -> bool:
        """Tell if a good part of the weights may be multiplied in integers without ranges."""
        if not self.has_sites("dynamic"):
            return False
        changes = self.files.count(parse_recipe(DYNAMIC)).changes
        integer = sum(change.before for change in changes if change.method == "dynamic")
        return integer >= DYNAMIC_SHARE * sum(change.before for change in changes)

    def _calibrated(self) -> None:
        recipes = [(text, parse_recipe(text, self.bench.seed)) for text in STATIC]
        usable = [(name, recipe) for name, recipe in recipes if self._is_usable(recipe)]
        if not self.has_sites("static"):
            self.stages.append(
                StageRecord("calibrated", "left out: no operator has integer kernels")
            )
        elif not self._wants_speed():
            self.stages.append(StageRecord("calibrated", "left out: speed is not sought"))
        elif not usable:
            self.stages.append(StageRecord("calibrated", "left out: every file would be too large"))
        else:
            self._try_all("calibrated", "integer arithmetic may be faster", usable)

    def _wants_speed(self) -> bool:
        return self._limits_speed() or self.trials.goal in ("balance", "latency", "energy")

    def _is_usable(self, recipe: Recipe) -> bool:
        if any(costs.refusal(recipe) is not None for costs in self.trials.devices):
            return False
        return self.fits_size(recipe)

    def _try_all(self, name: str, reason: str, recipes: Sequence[tuple[str, Recipe]]) -> None:
        with self.stage(name, reason, 1.5 * self.unit_seconds * len(recipes), 2 * self.model_bytes):
            for title, recipe in recipes:
                self.try_recipe(title, recipe)

    def try_recipe(self, name: str, recipe: Recipe) -> VariantResult:
        """Measure a variant on the samples of the verdict."""
        self.check_time(expected=self.unit_seconds)
        return self.trials.try_recipe(name, recipe)
