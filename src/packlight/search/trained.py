"""The stage that trains: what rounding and pruning lose is learned again, as far as time allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec

from packlight.records import Recipe, Step, VariantResult, parse_recipe
from packlight.records.training_configs import BATCH_BYTES, Distill
from packlight.search.mixed import MixedStage
from packlight.search.stages import Stages, keeps_budgets

MINUTES = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 240.0)
"""Times to learn; a run that is resumed learns as long as the first one would have."""

ROOM = 0.8
"""Share of the time that is left after measuring, which learning may take."""

FEWER_CHANNELS = 0.85
"""Share of a latency limit to which multiply-accumulates are cut: time falls less than they do."""

KERNEL_WIDTH = 8
"""Channels stay in multiples of so many."""

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class LearningTime:
    """Minutes that a variant was given to learn."""

    variant: str
    minutes: float


class TrainedStage:
    """Variants that learn the outputs of the original.

    Args:
        run: the search.
        mixed: its mixes of forms.
    """

    def __init__(self, run: Stages, mixed: MixedStage) -> None:
        self.run = run
        self.mixed = mixed

    def enter(self) -> None:
        """Train where budgets are still missed, or where quality is sought, if time allows."""
        recipes = dict(self._untrained())
        obstacle = self._obstacle(recipes)
        if obstacle:
            self.run.leave_out("trained", obstacle)
            return
        minutes = self._minutes(len(recipes))
        expected = len(recipes) * (MINUTE * minutes + 2 * self.run.unit_seconds)
        memory = 4 * self.run.model_bytes + BATCH_BYTES
        reason = "learning makes up for what rounding and pruning lose"
        with self.run.stage("trained", reason, expected, memory):
            results = [
                self.run.try_recipe(name, with_learning(recipe, minutes))
                for name, recipe in recipes.items()
            ]
        if any(map(keeps_budgets, results)):
            self.run.is_out_of_reach = False
            self.run.advice.clear()

    def _obstacle(self, recipes: Mapping[str, Recipe]) -> str:
        """Why nothing is trained; empty if something is."""
        is_enough = self.run.trials.goal != "quality"
        if is_enough and any(map(keeps_budgets, self._variants())):
            return "the budgets are kept without"
        if not recipes:
            return "no variant is near enough to learn"
        if not self.run.time_limit:
            return "it takes minutes: allow them, as with --time 10m"
        if find_spec("torch") is None:
            return "it needs PyTorch: pip install 'packlight[torch]'"
        if self._seconds_left() < MINUTE * MINUTES[0]:
            return "too little time is left"
        return ""

    def _variants(self) -> list[VariantResult]:
        return [result for result in self.run.trials.results[1:] if not result.error]

    def _untrained(self) -> Iterator[tuple[str, Recipe]]:
        """Names and recipes that learning may bring within the budgets."""
        if self.mixed.evaluated:
            allowed = self.run.size_limit()
            small = [mix for mix in self.mixed.evaluated_mixes() if mix.size <= allowed]
            best = min(small, key=self.mixed.noise, default=None)
            if best is not None:
                yield f"{best.name}, distilled", best.recipe
        share = self._missed_share()
        if share:
            text = f"simplify+channels,macs={share:.2f},multiple={KERNEL_WIDTH}"
            yield "fewer channels, distilled", parse_recipe(text, self.run.bench.seed)

    def _missed_share(self) -> float:
        """Multiply-accumulates for the tightest latency that no variant has; 0 if all are met."""
        base = self.run.trials.base.metrics
        shares = [
            limit.bound(base) / base["latency"].value
            for limit in self.run.trials.budget.limits
            if limit.judged_by == "latency"
            and all(r.metrics["latency"].value > limit.bound(base) for r in self._variants())
        ]
        share = FEWER_CHANNELS * min(shares, default=0.0)
        return share if share < 1 else 0.0

    def _seconds_left(self) -> float:
        """Time for learning alone."""
        run = self.run
        left = run.time_limit - (run.clock() - run.started)
        return ROOM * (left - 2 * run.unit_seconds - self.mixed.mix_seconds)

    def _minutes(self, count: int) -> float:
        """Minutes that each of some variants learns; those of a run before, where there was one."""
        each = max(self._seconds_left() / MINUTE / count, MINUTES[0])
        allowed = max(minutes for minutes in MINUTES if minutes <= each)
        bench = self.run.bench
        first = LearningTime(bench.original.id, allowed)
        return bench.once("learning", bench.original, LearningTime, lambda: first).minutes


def with_learning(recipe: Recipe, minutes: float) -> Recipe:
    """A recipe that ends with learning."""
    return replace(recipe, steps=(*recipe.steps, Step(Distill(minutes=minutes))))
