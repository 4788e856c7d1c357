"""Search for forms of weights and arithmetic, in stages from cheap to costly.

A stage is entered where budgets are still missed or a better point is likely. What steers it are
the calibration samples and a part of the task's samples; the others decide the verdict. Finalists
are judged from the largest to the smallest, and no further than the first that fails: so the share
of wrong verdicts is that of a single test, however many mixes were evaluated before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from packlight.presentation.numbers import show_bytes, show_seconds
from packlight.records import (
    Budget,
    Evaluation,
    Variant,
    VariantResult,
    parse_recipe,
)
from packlight.records.exploration import (
    Exploration,
    Goal,
    Prediction,
    SiteReason,
    StageRecord,
)
from packlight.search.mixed import MixedSearch
from packlight.search.mixes import Mix, Mixes, curve_points
from packlight.search.regions import OperatorSeconds, integer_sites, operator_seconds
from packlight.search.staged import OutOfTime

WITHOUT_DATA = ("simplify+weights:8", "simplify+weights:4,block=32", "simplify+palette:4")
"""Recipes where there are no calibration samples."""

SEED_WITHOUT_DATA = "simplify+weights:8"
"""Recipe that every search tries where its file is small enough."""

STATIC = (
    "simplify+static,first=float+weights:8",
    "simplify+static+weights:8",
)
"""``weights:8`` is for operators without an integer kernel, as embeddings."""

RATIOS = (1.02, 1.1, 1.25)
"""Times the latency of all in integers that combinations may take."""

ROOM = 0.96
"""Share of a latency limit that is planned for, as predictions are not exact."""


def default_goal(budget: Budget) -> Goal:
    """What a search seeks where nothing is said.

    With floors, the file that saves most of size and time; without, the best quality that the
    limits allow.
    """
    return "balance" if budget.floors else "quality"


@dataclass
class Explorer(MixedSearch):
    """One search, from cheap stages to costly ones."""

    def run(self) -> Exploration:
        """Search, and tell how."""
        self.trials.planned = 8
        self.begin()
        try:
            self._stages()
        except OutOfTime:
            self.warnings.append(
                f"The search ended after {show_seconds(self.time_limit)}, as asked; more time may "
                "find a better variant."
            )
        return self.exploration()

    def exploration(self) -> Exploration:
        """How the search chose, so far."""
        chosen = self.chosen_mix
        return Exploration(
            goal=self.trials.goal,
            steering=len(self.split.steering.samples),
            judging=len(self.split.judging.samples),
            shared=self.split.shared,
            curve=curve_points(self.curve) if self.has_mixes else (),
            sites=chosen or (),
            checks=tuple(self.checks),
            stages=tuple(self.stages),
            advice=tuple(self.advice),
        )

    def _stages(self) -> None:
        if not self._is_possible():
            return
        if not self.has_data:
            self._without_data(WITHOUT_DATA)
            self.stages.append(
                StageRecord("mixed", "left out: the task has no calibration samples")
            )
            return
        if self._limits_speed():
            self._calibrated()
            self._without_data([SEED_WITHOUT_DATA])
        else:
            self._without_data([SEED_WITHOUT_DATA])
            self._calibrated()
        if self._is_in_reach():
            self._mixed()
        if not self.is_out_of_reach:
            self._combined()

    def _combined(self) -> None:
        """Integer arithmetic where it is faster, small weights where it saves more."""
        static = self._fast_static()
        if static is None or not self.has_mixes:
            self.stages.append(
                StageRecord("combined", "left out: no operator is faster in integers")
            )
            return
        expected = 4 * self.unit_seconds
        reason = "integers where they are faster, small weights elsewhere"
        with self.stage("combined", reason, expected, 4 * self.model_bytes):
            mixes = self._with_integers(static)
            mix = self._best_combination(mixes, static)
            if mix is None:
                self.advice += self._what_contradicts(mixes)
                return
            is_hopeful = self.steering.is_hopeful(self._evaluate_combination(mix, mixes))
            if is_hopeful or not self._fits_already():
                self.try_recipe(f"integers and {mix.name}", mix.recipe)

    def _what_contradicts(self, mixes: Mixes) -> list[str]:
        """Sentence on a size and a latency that no combination has together."""
        limits = self._latency_limits()
        size = self.size_limit()
        if not limits or math.isinf(size):
            return []
        floats = 1 - sum(site.floats for site in mixes.integers.values())
        smallest = mixes.within(math.inf, mixes.costs_of("size"), {"latency": min(limits) - floats})
        fastest = mixes.within(size, mixes.costs_of("latency"))
        told = ["The size and the latency contradict each other, as predicted:"]
        if smallest is not None:
            told.append(f"the smallest file that is fast enough has {show_bytes(smallest.size)};")
        if fastest is not None:
            ratio = floats + mixes.cost(fastest, "latency")
            told.append(f"the fastest that is small enough takes {ratio:.2f}x the latency;")
        return [" ".join([*told, "allow one of these, or use a smaller network."])]

    def _fast_static(self) -> VariantResult | None:
        """The variant in integers that is surely faster than the original; None if none is."""
        if self.trials.goal == "size" or not self._wants_speed():
            return None
        measured = [r for r in self.trials.results if r.name in STATIC and not r.error]
        if not measured and self.has_sites("static"):
            recipe = parse_recipe(STATIC[0], self.bench.seed)
            measured = [self.try_recipe(STATIC[0], recipe)]
        faster = [
            result
            for result in measured
            if not (result.error or result.same_as) and result.metrics["latency_ratio"].high < 1
        ]
        return min(faster, key=lambda r: r.metrics["latency_ratio"].value, default=None)

    def _with_integers(self, static: VariantResult) -> Mixes:
        """Mixes in which operators may compute in integers."""
        bench = self.bench
        variant = bench.store.get("variant", static.id, Variant)
        assert variant is not None
        seconds = [
            bench.once(
                "operators", one, OperatorSeconds,
                partial(self._operator_seconds, one),
            )
            for one in (bench.original, variant)
        ]  # fmt: skip
        damage = 10 ** (-static.metrics["snr"].value / 10) if "snr" in static.metrics else 0.0
        sites = integer_sites(static, *seconds, base=self.mixes.base, damage=damage)
        mixes = Mixes(
            self.files, self.mixes.forms, self.mixes.damages, self.bench.seed, integers=sites
        )
        mixes.factors = self.mixes.factors
        return mixes

    def _operator_seconds(self, variant: Variant) -> OperatorSeconds:
        seconds = operator_seconds(self.bench, self.bench.model(variant))
        return OperatorSeconds(variant.id, seconds)

    def _best_combination(self, mixes: Mixes, static: VariantResult) -> Mix | None:
        """The combination with the best prediction for the goal; None if there is none."""
        everything = sum(site.floats for site in mixes.integers.values())
        slowest = static.metrics["latency_ratio"].value
        limits = self._latency_limits()
        tolerated = self._tolerated_damage(static)
        found: list[tuple[float, Mix]] = []
        for ratio in sorted({*limits, *(slowest * step for step in RATIOS if not limits)}):
            seconds = {"latency": ratio - (1 - everything)}
            if self.trials.goal == "quality" or (limits and not self.trials.budget.floors):
                mix = mixes.within(self.size_limit(), limits=seconds)
            else:
                seconds["damage"] = tolerated
                mix = mixes.within(self.size_limit(), mixes.costs_of("size"), seconds)
            if mix is not None:
                taken = 1 - everything + mixes.cost(mix, "latency")
                cost = mix.damage if self.trials.goal == "quality" else mix.size * taken
                found.append((cost, mix))
        best = min(found, key=lambda entry: entry[0], default=None)
        return best[1] if best is not None else None

    def _latency_limits(self) -> list[float]:
        """Limits on the latency, as shares of the original's, with some room."""
        original = self.trials.base.metrics
        limits = [limit for limit in self.trials.budget.limits if limit.metric == "latency"]
        return [
            ROOM * (limit.value if limit.relative else limit.value / original["latency"].value)
            for limit in limits
        ]

    def _tolerated_damage(self, static: VariantResult) -> float:
        """Damage that the floors bear: that of the noisiest mix that keeps them."""
        noises = [self._noise(mix) for mix in self.evaluated_mixes() if self._was_hopeful(mix)]
        snr = -max(noises) if noises else static.metrics["snr"].value
        return float(10 ** (-snr / 10))

    def _evaluate_combination(self, mix: Mix, mixes: Mixes) -> Evaluation:
        """Make a combination and evaluate it on the samples that steer."""
        self.check_time(expected=self.unit_seconds)
        variant = self.bench.variant(f"integers and {mix.name}", mix.recipe)
        evaluation = self.steering.evaluate(variant)
        self.combined = (mixes, mix)
        made = int(self.bench.size(variant).metrics["size"].value)
        metrics = evaluation.metrics
        if "snr" in metrics:
            self.checks.append(
                Prediction(
                    f"integers and {mix.name}", mix.size, made, mix.snr, metrics["snr"].value,
                    metrics["drop"].value,
                )
            )  # fmt: skip
        return evaluation

    @property
    def chosen_mix(self) -> tuple[SiteReason, ...] | None:
        """Choices by operator of the chosen variant, where it is a mix."""
        if not self.has_mixes:
            return None
        best = self.trials.outcome().best
        chosen = next((r for r in self.trials.results if r.id == best), None)
        if chosen is not None and self.combined is not None:
            mixes, mix = self.combined
            if chosen.recipe == mix.recipe.text():
                return mixes.reasons(mix)
        for known in self.evaluated_mixes():
            if chosen is not None and chosen.recipe == known.recipe.text():
                return self.mixes.reasons(known)
        return None
