"""Search for forms of weights and arithmetic, in stages from cheap to costly.

A stage is entered where budgets are still missed or a better point is likely. What steers it are
the calibration samples and a part of the task's samples; the others decide the verdict. Finalists
are judged from the largest to the smallest, and no further than the first that fails: so the share
of wrong verdicts is that of a single test, however many mixes were evaluated before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from packlight.compression import uses_data
from packlight.presentation.numbers import show_seconds
from packlight.records import Budget, Recipe, parse_recipe
from packlight.records.exploration import Exploration, Goal, SiteReason
from packlight.search.combined import STATIC, CombinedStage
from packlight.search.mixed import SEED_WITHOUT_DATA, MixedStage
from packlight.search.mixes import curve_points
from packlight.search.parallel import Workers
from packlight.search.reach import (
    LEAST_DOWNLOAD,
    floor_advice,
    floors_beyond_original,
    limit_advice,
    limits_beyond_devices,
    limits_beyond_results,
    size_advice,
)
from packlight.search.stages import OutOfTime, Stages
from packlight.search.steering import SplitTask
from packlight.search.trained import TrainedStage
from packlight.search.trials import Trials

WITHOUT_DATA = ("simplify+weights:8", "simplify+weights:4,block=32", "simplify+palette:4")
"""Recipes where there are no calibration samples."""

DYNAMIC = "simplify+dynamic+weights:8"
"""Integers whose ranges are found at run time."""

DYNAMIC_SHARE = 0.2
"""Share of the weights that integer products must have, for them to be worth a try."""


def default_goal(budget: Budget) -> Goal:
    """What a search seeks where nothing is said.

    With floors, the file that saves most of size and time; without, the best quality that the
    limits allow.
    """
    return "balance" if budget.floors else "quality"


class Explorer:
    """One search.

    Args:
        trials: measures variants.
        split: of the task's samples.
        time_limit: seconds that the search may take; 0 for as long as it needs.
        clock: seconds.
        workers: that make variants ahead; None for none.
    """

    def __init__(
        self,
        trials: Trials,
        split: SplitTask,
        time_limit: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        workers: Workers | None = None,
    ) -> None:
        self.run = Stages(trials, split, time_limit, clock, workers or Workers())
        self.mixed = MixedStage(self.run)
        self.combined = CombinedStage(self.run, self.mixed)
        self.trained = TrainedStage(self.run, self.mixed)

    def search(self) -> None:
        """Go through the stages, as far as the time allows."""
        self.run.trials.planned = 8
        self.run.begin()
        try:
            self._stages()
        except OutOfTime:
            self.run.warnings.append(
                f"The search ended after {show_seconds(self.run.time_limit)}, as asked; more time "
                "may find a better variant."
            )

    def exploration(self) -> Exploration:
        """How the search chose, so far."""
        chosen = self.chosen_mix
        return Exploration(
            goal=self.run.trials.goal,
            steering=len(self.run.split.steering.samples),
            judging=len(self.run.split.judging.samples),
            shared=self.run.split.shared,
            curve=curve_points(self.mixed.curve) if self.mixed.has_mixes else (),
            sites=chosen or (),
            checks=tuple(self.run.checks),
            stages=tuple(self.run.records),
            advice=tuple(self.run.advice),
        )

    def _stages(self) -> None:
        if not self._is_possible():
            return
        if not self.run.has_data:
            self._without_data(WITHOUT_DATA)
            self.run.leave_out("mixed", "the task has no calibration samples")
            return
        if self.run.limits_speed():
            self._calibrated()
            self._without_data([SEED_WITHOUT_DATA])
        else:
            self._without_data([SEED_WITHOUT_DATA])
            self._calibrated()
        if self._is_in_reach():
            self.mixed.enter()
        if not self.run.is_out_of_reach:
            self.combined.enter()
        self.trained.enter()

    def _without_data(self, texts: Sequence[str]) -> None:
        recipes = [(text, parse_recipe(text, self.run.bench.seed)) for text in texts]
        if self.run.wants_speed() and self._gains_from_dynamic():
            recipes.append((DYNAMIC, parse_recipe(DYNAMIC, self.run.bench.seed)))
        usable = [(name, recipe) for name, recipe in recipes if self._is_usable(recipe)]
        if not usable:
            self.run.leave_out("no data", "every file would be too large")
            return
        self._try_all("no data", "cheapest first", usable)

    def _gains_from_dynamic(self) -> bool:
        """Tell if a good part of the weights may be multiplied in integers without ranges."""
        if not self.run.has_sites("dynamic"):
            return False
        changes = self.run.files.count(parse_recipe(DYNAMIC)).changes
        integer = sum(change.before for change in changes if change.method == "dynamic")
        return integer >= DYNAMIC_SHARE * sum(change.before for change in changes)

    def _calibrated(self) -> None:
        recipes = [(text, parse_recipe(text, self.run.bench.seed)) for text in STATIC]
        usable = [(name, recipe) for name, recipe in recipes if self._is_usable(recipe)]
        if not self.run.has_sites("static"):
            self.run.leave_out("calibrated", "no operator has integer kernels")
        elif not self.run.wants_speed():
            self.run.leave_out("calibrated", "speed is not sought")
        elif not usable:
            self.run.leave_out("calibrated", "every file would be too large")
        else:
            self._try_all("calibrated", "integer arithmetic may be faster", usable)

    def _is_usable(self, recipe: Recipe) -> bool:
        if any(costs.refusal(recipe) is not None for costs in self.run.trials.devices):
            return False
        return self.run.fits_size(recipe)

    def _try_all(self, name: str, reason: str, recipes: Sequence[tuple[str, Recipe]]) -> None:
        with self.run.stage(
            name, reason, 1.5 * self.run.unit_seconds * len(recipes), 2 * self.run.model_bytes
        ):
            self.run.workers.judge(self.run.bench, recipes)
            for title, recipe in recipes:
                self.run.try_recipe(title, recipe)

    def _is_possible(self) -> bool:
        """Tell if budgets may be kept; else the nearest miss is measured, and the search ends."""
        base = self.run.trials.base
        budget = self.run.trials.budget
        advice = [floor_advice(floor, base) for floor in floors_beyond_original(base, budget)]
        beyond = limits_beyond_devices(budget, self.run.trials.devices, base.metrics)
        for limit, name, reached in beyond:
            advice.append(limit_advice(limit, name, reached))
        nearest = {name: parse_recipe(name, self.run.bench.seed) for _, name, _ in beyond if name}
        allowed = self.run.size_limit(LEAST_DOWNLOAD)
        if allowed < self.run.model_bytes:
            name, least, size = self._least_file()
            if size > allowed:
                nearest = {name: least}
                advice.append(size_advice(size, allowed))
        for name, recipe in nearest.items():
            if self.run.has_data or not uses_data(recipe):
                self.run.try_recipe(name, recipe)
        return not self.run.ends_for(advice)

    def _least_file(self) -> tuple[str, Recipe, float]:
        """Name, recipe and bytes of the smallest file; its damage is not asked for."""
        if self.run.has_data:
            mix = self.mixed.mixes_of_sizes.smallest()
            return mix.name, mix.recipe, mix.size
        recipes = {text: parse_recipe(text, self.run.bench.seed) for text in WITHOUT_DATA}
        sizes = {text: self.run.files.count(recipe).size.low for text, recipe in recipes.items()}
        least = min(sizes, key=lambda text: sizes[text])
        return least, recipes[least], sizes[least]

    def _is_in_reach(self) -> bool:
        """Tell if what is measured of the cheapest variants leaves hope for every limit."""
        beyond = limits_beyond_results(
            self.run.trials.budget, self.run.trials.results, self.run.trials.base.metrics
        )
        advice = [
            limit_advice(limit, result.name, result.metrics[limit.judged_by])
            for limit, result in beyond
        ]
        return not self.run.ends_for(advice)

    @property
    def chosen_mix(self) -> tuple[SiteReason, ...] | None:
        """Choices by operator of the chosen variant, where it is a mix."""
        if not self.mixed.has_mixes:
            return None
        best = self.run.trials.outcome().best
        chosen = next((r for r in self.run.trials.results if r.id == best), None)
        if chosen is not None and self.combined.combined is not None:
            mixes, mix = self.combined.combined
            if chosen.recipe == mix.recipe.text():
                return mixes.reasons(mix)
        for known in self.mixed.evaluated_mixes():
            if chosen is not None and chosen.recipe == known.recipe.text():
                return self.mixed.mixes.reasons(known)
        return None
