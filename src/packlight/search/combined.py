"""The stage that combines integer arithmetic where it is faster with small weights elsewhere."""

from __future__ import annotations

import math
from functools import partial

from packlight.presentation.numbers import show_bytes
from packlight.records import Variant, VariantResult, parse_recipe
from packlight.search.mixed import MixedStage
from packlight.search.mixes import Mix, Mixes
from packlight.search.regions import OperatorSeconds, integer_sites, operator_seconds
from packlight.search.stages import Stages, keeps_budgets

STATIC = (
    "simplify+static,first=float+weights:8",
    "simplify+static+weights:8",
)
"""``weights:8`` is for operators without an integer kernel, as embeddings."""

RATIOS = (1.02, 1.1, 1.25)
"""Times the latency of all in integers that combinations may take."""

ROOM = 0.96
"""Share of a latency limit that is planned for, as predictions are not exact."""


class CombinedStage:
    """Search among mixes in which operators may compute in integers.

    Args:
        run: the search.
        mixed: its mixes of forms.
    """

    def __init__(self, run: Stages, mixed: MixedStage) -> None:
        self.run = run
        self.mixed = mixed
        self.combined: tuple[Mixes, Mix] | None = None

    def enter(self) -> None:
        """Integer arithmetic where it is faster, small weights where it saves more."""
        static = self._fast_static()
        if static is None or not self.mixed.has_mixes:
            self.run.leave_out("combined", "no operator is faster in integers")
            return
        expected = 4 * self.run.unit_seconds
        reason = "integers where they are faster, small weights elsewhere"
        with self.run.stage("combined", reason, expected, 4 * self.run.model_bytes):
            mixes = self._with_integers(static)
            mix = self._best_combination(mixes, static)
            if mix is None:
                self.run.advice += self._what_contradicts(mixes)
                return
            name = f"integers and {mix.name}"
            evaluation, _ = self.mixed.check(name, mix)
            self.combined = (mixes, mix)
            if self.mixed.steering.is_hopeful(evaluation) or not self._fits_already():
                self.run.try_recipe(name, mix.recipe)

    def _fits_already(self) -> bool:
        return any(map(keeps_budgets, self.run.trials.results))

    def _what_contradicts(self, mixes: Mixes) -> list[str]:
        """Sentence on a size and a latency that no combination has together."""
        limits = self._latency_limits()
        size = self.run.size_limit()
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
        if self.run.trials.goal == "size" or not self.run.wants_speed():
            return None
        measured = [r for r in self.run.trials.results if r.name in STATIC and not r.error]
        if not measured and self.run.has_sites("static"):
            recipe = parse_recipe(STATIC[0], self.run.bench.seed)
            measured = [self.run.try_recipe(STATIC[0], recipe)]
        faster = [
            result
            for result in measured
            if not (result.error or result.same_as) and result.metrics["latency_ratio"].high < 1
        ]
        return min(faster, key=lambda r: r.metrics["latency_ratio"].value, default=None)

    def _with_integers(self, static: VariantResult) -> Mixes:
        """Mixes in which operators may compute in integers."""
        bench = self.run.bench
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
        sites = integer_sites(static, *seconds, base=self.mixed.mixes.base, damage=damage)
        mixes = Mixes(
            self.run.files,
            self.mixed.mixes.forms,
            self.mixed.mixes.damages,
            self.run.bench.seed,
            integers=sites,
        )
        mixes.factors = self.mixed.mixes.factors
        return mixes

    def _operator_seconds(self, variant: Variant) -> OperatorSeconds:
        seconds = operator_seconds(self.run.bench, self.run.bench.model(variant))
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
            if self.run.trials.goal == "quality" or (limits and not self.run.trials.budget.floors):
                mix = mixes.within(self.run.size_limit(), limits=seconds)
            else:
                seconds["damage"] = tolerated
                mix = mixes.within(self.run.size_limit(), mixes.costs_of("size"), seconds)
            if mix is not None:
                taken = 1 - everything + mixes.cost(mix, "latency")
                cost = mix.damage if self.run.trials.goal == "quality" else mix.size * taken
                found.append((cost, mix))
        best = min(found, key=lambda entry: entry[0], default=None)
        return best[1] if best is not None else None

    def _latency_limits(self) -> list[float]:
        """Limits on the latency, as shares of the original's, with some room."""
        original = self.run.trials.base.metrics
        limits = [limit for limit in self.run.trials.budget.limits if limit.metric == "latency"]
        return [
            ROOM * (limit.value if limit.relative else limit.value / original["latency"].value)
            for limit in limits
        ]

    def _tolerated_damage(self, static: VariantResult) -> float:
        """Damage that the floors bear: that of the noisiest mix that keeps them."""
        noises = [
            self.mixed.noise(mix)
            for mix in self.mixed.evaluated_mixes()
            if self.mixed.was_hopeful(mix)
        ]
        snr = -max(noises) if noises else static.metrics["snr"].value
        return float(10 ** (-snr / 10))
