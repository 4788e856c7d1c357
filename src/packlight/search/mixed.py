"""The stage that gives each operator the form that costs least: damages, mixes, finalists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

from packlight.compression import compress, uses_data
from packlight.compression.bit_allocation.candidate_damage import (
    held_out_split,
    predict_damage,
    unjudged_entries,
)
from packlight.compression.threads import limited_threads
from packlight.planning.size.exact_size import SIMPLIFY
from packlight.presentation.numbers import show_bytes
from packlight.records import (
    Evaluation,
    Recipe,
    digest,
    parse_recipe,
)
from packlight.records.exploration import (
    Prediction,
    StageRecord,
)
from packlight.runtime.calibration import Calibrator
from packlight.search.damage_table import DamageTable, StoredDamage
from packlight.search.forms import form_config, usable_forms
from packlight.search.mixes import Mix, Mixes
from packlight.search.reach import (
    LEAST_DOWNLOAD,
    floor_advice,
    floors_beyond_original,
    limit_advice,
    limits_beyond_devices,
    limits_beyond_results,
    size_advice,
)
from packlight.search.staged import StagedSearch
from packlight.search.steering import Steering

WITHOUT_DATA = ("simplify+weights:8", "simplify+weights:4,block=32", "simplify+palette:4")
"""Recipes where there are no calibration samples."""

SEED_WITHOUT_DATA = "simplify+weights:8"
"""Recipe that every search tries where its file is small enough."""

BISECTIONS = 4
"""Sizes that are really evaluated to find the smallest that keeps the floors."""

REFINEMENTS = 3
"""Mixes that are really evaluated to find the best of one size."""

SAFER = 1.3
"""Times the size of a finalist that failed, for one more."""

FINALISTS = 3
"""Mixes that are judged at most, but for a safer one."""

CLOSE = 1.08
"""Ratio of two sizes that are not told apart."""

MOST_OBSERVED = 144
"""Calibration samples that predict damages."""

SECONDS_PER_FORM = 3e-7
"""Of each number of the weights."""

FAR_NOISE = 4.0
"""Decibels of noise too many that another mix of the same size does not make up."""

LEAST_LOSS = 1e-3
"""Loss of a metric below which floors are taken to ask for none."""

DOWNLOAD_ROOM = 1.01
"""Times the share of a file's bytes that its download had, for the next."""

FIRST_SNR = 18.0
"""Predicted signal to noise, in dB, that the search for the smallest file begins with."""


@dataclass
class MixedSearch(StagedSearch):
    """A search that mixes forms by operator."""

    @property
    def has_mixes(self) -> bool:
        """True once damages are predicted."""
        return "mixes" in vars(self)

    @cached_property
    def forms(self) -> tuple[str, ...]:
        """Forms that may be chosen."""
        return usable_forms(self.trials.devices)

    @cached_property
    def mixes(self) -> Mixes:
        """Mixes of forms, with damages from held-out calibration samples."""
        table = self._damage_table()
        entries = [stored.entry() for stored in table.entries]
        return Mixes(self.files, table.forms, entries, self.bench.seed)

    def _damage_table(self) -> DamageTable:
        bench = self.bench
        key = digest([
            bench.original.id, bench.task.calibration_digest, list(self.forms), bench.options,
            version("packlight"),
        ])  # fmt: skip
        stored = bench.store.get("damage", key, DamageTable)
        if stored is None:
            stored = self._predict()
            bench.store.put("damage", key, stored)
        return stored

    def _predict(self) -> DamageTable:
        bench = self.bench
        fitting, held_out = held_out_split(len(bench.task.calibration))
        graph = compress(bench.opened.model, SIMPLIFY).model.graph
        forms = [form_config(form) for form in self.forms]
        with limited_threads(None):
            entries = predict_damage(
                graph, forms, self._calibrator(fitting), self._calibrator(held_out), bench.progress
            )
        return DamageTable(bench.original.id, self.forms, tuple(map(StoredDamage.of, entries)))

    def _calibrator(self, part: slice) -> Calibrator:
        task = self.bench.task
        return Calibrator(task.calibration[part], self.bench.options, state=task.state)

    def _is_possible(self) -> bool:
        """Tell if budgets may be kept; else the nearest miss is measured, and the search ends."""
        base = self.trials.base
        budget = self.trials.budget
        advice = [floor_advice(floor, base) for floor in floors_beyond_original(base, budget)]
        beyond = limits_beyond_devices(budget, self.trials.devices, base.metrics)
        for limit, name, reached in beyond:
            advice.append(limit_advice(limit, name, reached))
        nearest = {name: parse_recipe(name, self.bench.seed) for _, name, _ in beyond if name}
        allowed = self.size_limit(LEAST_DOWNLOAD)
        if allowed < self.model_bytes:
            name, least, size = self._least_file()
            if size > allowed:
                nearest = {name: least}
                advice.append(size_advice(size, allowed))
        for name, recipe in nearest.items():
            if self.has_data or not uses_data(recipe):
                self.try_recipe(name, recipe)
        return not self._ends_for(advice)

    @property
    def has_data(self) -> bool:
        """True if the task has calibration samples."""
        return len(self.bench.task.calibration) > 0

    def _least_file(self) -> tuple[str, Recipe, float]:
        """Name, recipe and bytes of the smallest file; its damage is not asked for."""
        if self.has_data:
            mix = self.mixes_of_sizes.smallest()
            return mix.name, mix.recipe, mix.size
        recipes = {text: parse_recipe(text, self.bench.seed) for text in WITHOUT_DATA}
        sizes = {text: self.files.count(recipe).size.low for text, recipe in recipes.items()}
        least = min(sizes, key=lambda text: sizes[text])
        return least, recipes[least], sizes[least]

    def _is_in_reach(self) -> bool:
        """Tell if what is measured of the cheapest variants leaves hope for every limit."""
        beyond = limits_beyond_results(
            self.trials.budget, self.trials.results, self.trials.base.metrics
        )
        advice = [
            limit_advice(limit, result.name, result.metrics[limit.judged_by])
            for limit, result in beyond
        ]
        return not self._ends_for(advice)

    def _ends_for(self, advice: Sequence[str]) -> bool:
        """Keep the reasons for which the search ends; True if there are any."""
        self.advice += advice
        if advice:
            self.is_out_of_reach = True
            self.stages.append(StageRecord("mixed", "left out: a budget is out of reach"))
        return bool(advice)

    @cached_property
    def mixes_of_sizes(self) -> Mixes:
        """Mixes whose damage is not known."""
        graph = self.files.sizes.model.graph
        entries = unjudged_entries(graph, [form_config(form) for form in self.forms])
        return Mixes(self.files, self.forms, entries, self.bench.seed)

    def _mixed(self) -> None:
        memory = 4 * self.model_bytes
        reason = "which operators bear fewer bits, and a first mix"
        with self.stage("sensitivity", reason, self._sensitivity_seconds(), memory):
            if self.mixes.damages:
                start = self.clock()
                self.evaluate(self._first_mix())
                self.mix_seconds = self.clock() - start
        if not self.mixes.damages:
            self.stages.append(StageRecord("mixed", "left out: no weight gains"))
            return
        evaluations = REFINEMENTS - 1 if self._seeks_quality() else BISECTIONS
        finalists = 1 if self._seeks_quality() else FINALISTS
        expected = self.mix_seconds * evaluations + self.unit_seconds * finalists
        with self.stage("mixed", "each operator gets the form that costs least", expected, memory):
            self._judge(self._finalists())

    def _sensitivity_seconds(self) -> float:
        """Seconds that predicting damages takes, about."""
        latency = self.trials.base.metrics["latency"].value
        numbers = self.model_bytes / 4
        samples = min(len(self.bench.task.calibration), MOST_OBSERVED)
        return 3 + 20 * latency * samples + SECONDS_PER_FORM * numbers * len(self.forms)

    def _seeks_quality(self) -> bool:
        return self.trials.goal == "quality" or not self.trials.budget.floors

    def _first_mix(self) -> Mix:
        """The mix that is evaluated first: the best within the limit, or where floors may hold."""
        limit = self.size_limit()
        if self._seeks_quality():
            mix = self.mixes.within(min(limit, self.model_bytes))
        elif math.isfinite(limit):
            mix = self.mixes.within(min(limit, self._largest()))
        else:
            mix = next((mix for mix in self.curve if mix.snr >= FIRST_SNR), self.curve[-1])
        return mix or self.mixes.smallest()

    @cached_property
    def curve(self) -> list[Mix]:
        """The predicted trade-off, from the smallest file to one that loses nothing that tells."""
        least = self.mixes.smallest().size
        return self.mixes.curve(least, max(self._largest(), least + 1))

    def _largest(self) -> int:
        """Bytes above which more change nothing, or the limit."""
        limit = self.size_limit()
        plain = self.files.count(parse_recipe(SEED_WITHOUT_DATA)).size.low
        return int(min(limit, 1.1 * plain))

    @cached_property
    def steering(self) -> Steering:
        """Evaluates mixes on the samples that steer."""
        return Steering(
            self.bench, self.split.steering, self.trials.budget, len(self.split.judging.samples),
            self.trials.base.metrics,
        )  # fmt: skip

    def evaluate(self, mix: Mix) -> Evaluation:
        """Make a mix, evaluate it on the samples that steer, and learn from it."""
        if mix.chosen in self.evaluated:
            return self.evaluated[mix.chosen]
        self.check_time(expected=self.unit_seconds)
        predicted = mix.snr
        variant = self.bench.variant(mix.name, mix.recipe)
        evaluation = self.steering.evaluate(variant)
        self.evaluated[mix.chosen] = evaluation
        metrics = evaluation.metrics
        stored = self.bench.size(variant).metrics
        made = int(stored["size"].value)
        self.download_share = min(1.0, DOWNLOAD_ROOM * stored["download"].value / made)
        snr = metrics["snr"].value if "snr" in metrics else math.nan
        if math.isfinite(snr):
            self.mixes.learn(mix, 10 ** (-snr / 10))
            drop = metrics["drop"].value
            self.checks.append(Prediction(mix.name, mix.size, made, predicted, snr, drop))
        return evaluation

    def _finalists(self) -> list[Mix]:
        """Mixes to judge, the safest first."""
        limit = self.size_limit()
        if self._seeks_quality():
            return [self._best_of_size(min(limit, self.model_bytes))]
        if math.isfinite(limit):
            first = self.evaluated_mixes()[0]
            if not self._was_hopeful(first):
                return self._out_of_reach(first)
        return self._smallest_hopeful()

    def _best_of_size(self, size: float) -> Mix:
        """The mix of least measured noise of a size."""
        best = min(self.evaluated_mixes(), key=self._noise)
        while len(self.evaluated) < REFINEMENTS:
            mix = self.mixes.within(size)
            if mix is None or mix.chosen in self.evaluated:
                break
            self.evaluate(mix)
            best = min(best, mix, key=self._noise)
        return best

    def _noise(self, mix: Mix) -> float:
        metrics = self.evaluated[mix.chosen].metrics
        if "snr" in metrics:
            return -metrics["snr"].value
        return metrics["drop"].value

    def _out_of_reach(self, largest: Mix) -> list[Mix]:
        """The best within the limit, where it does not seem to keep the floors."""
        if self._is_far(largest):
            self.is_out_of_reach = True
            needed = self._needed(largest)
            self.advice.append(
                "The size and the floors contradict each other: of what is small enough, the mix "
                f"with the least error surely misses them. {needed}"
            )
            return [largest]
        best = self._best_of_size(largest.size)
        hopeful = self._hopeful_above(best)
        if hopeful is not None:
            self.advice.append(
                f"The floors need about {show_bytes(hopeful.size)}: on the samples that steer, "
                f"{hopeful.name} keeps them. Allow that much, or train with the forms in place."
            )
        return [best]

    def _is_far(self, mix: Mix) -> bool:
        """Tell if a mix misses a floor by more than another of its size could make up."""
        noise = self._missed_noise(mix)
        return self.steering.is_hopeless(self.evaluated[mix.chosen].metrics) and noise > FAR_NOISE

    def _missed_noise(self, mix: Mix) -> float:
        """Decibels by which the noise of a mix is too high, about; 0 where it keeps the floors.

        A loss of the metric is taken to grow as the noise does.
        """
        metrics = self.evaluated[mix.chosen].metrics
        missed = [0.0]
        for floor in self.trials.budget.floors:
            measured = metrics.get(floor.judged_by)
            if measured is None:
                continue
            bound = floor.bound(self.trials.base.metrics)
            if measured.unit == "dB":
                missed.append(bound - measured.value)
            elif floor.sense == "<=" and measured.value > bound:
                missed.append(10 * math.log10(measured.value / max(bound, LEAST_LOSS)))
            elif floor.sense == ">=" and measured.value < bound:
                base = self.trials.base.metrics[floor.judged_by].value
                lost = (base - measured.value) / max(base - bound, LEAST_LOSS)
                missed.append(10 * math.log10(max(lost, 1.0)))
        return max(missed)

    def _needed(self, mix: Mix) -> str:
        """The size from which floors may hold, predicted."""
        wanted = -self._noise(mix) + self._missed_noise(mix)
        enough = next((larger for larger in self.curve_beyond if larger.snr >= wanted), None)
        if enough is None or "snr" not in self.evaluated[mix.chosen].metrics:
            return "Allow more bytes or more loss, or train with the forms in place."
        return (
            f"By what is predicted, {show_bytes(enough.size)} may keep them. Allow about that "
            "much, or more loss, or train with the forms in place."
        )

    @cached_property
    def curve_beyond(self) -> list[Mix]:
        """The predicted trade-off without regard to limits on the size."""
        plain = self.files.count(parse_recipe(SEED_WITHOUT_DATA)).size.low
        least = self.mixes.smallest().size
        return self.mixes.curve(least, max(int(1.1 * plain), least + 1))

    def _hopeful_above(self, mix: Mix) -> Mix | None:
        """A larger mix than the limit allows that keeps the floors; None if none of a few does."""
        for factor in (1.25, 1.6):
            larger = self.mixes.within(mix.size * factor)
            if larger is not None and self.steering.is_hopeful(self.evaluate(larger)):
                return larger
        return None

    def _smallest_hopeful(self) -> list[Mix]:
        """The smallest mix that keeps the floors on the samples that steer, and a safer one."""
        curve = self.curve
        high = len(curve) - 1
        low = -1
        middle = next((i for i, mix in enumerate(curve) if mix.snr >= FIRST_SNR), high)
        kept: list[Mix] = []
        for _ in range(BISECTIONS):
            if high - low <= 1 and high in {curve.index(mix) for mix in kept}:
                break
            middle = min(max(middle, low + 1), high)
            if self.steering.is_hopeful(self.evaluate(curve[middle])):
                kept.append(curve[middle])
                high = middle
            else:
                low = middle
            if low + 1 > high:
                break
            middle = (low + high) // 2 if high - low > 1 else high
        kept += self._between(curve, low, high, kept)
        hopeful = [mix for mix in self.evaluated_mixes() if self._was_hopeful(mix)]
        if not hopeful:
            return [curve[-1]]
        return spread_out(sorted(hopeful, key=lambda mix: -mix.size))

    def _was_hopeful(self, mix: Mix) -> bool:
        return self.steering.is_hopeful(self.evaluated[mix.chosen])

    def _between(self, curve: Sequence[Mix], low: int, high: int, kept: Sequence[Mix]) -> list[Mix]:
        """A mix between the largest that fails and the smallest that does not."""
        if not kept or low < 0 or curve[high].size / curve[low].size < CLOSE:
            return []
        size = math.sqrt(curve[high].size * curve[low].size)
        mix = self.mixes.within(size)
        if mix is None or mix.chosen in self.evaluated:
            return []
        return [mix] if self.steering.is_hopeful(self.evaluate(mix)) else []

    def _fits_already(self) -> bool:
        return any(result.verdict in ("fits", "unjudged") for result in self.trials.results)

    def _judge(self, finalists: Sequence[Mix]) -> None:
        """Measure finalists on the samples of the verdict, up to the first that does not fit.

        Where not even the safest fits, a larger one gets one chance.
        """
        for index, mix in enumerate(finalists):
            result = self.try_recipe(mix.name, mix.recipe)
            if result.verdict in ("fits", "unjudged"):
                continue
            larger = self._safer(mix) if index == 0 else None
            if larger is not None:
                self.try_recipe(larger.name, larger.recipe)
            return

    def _safer(self, mix: Mix) -> Mix | None:
        """A larger mix within the limit; None where there is none, or no floor to keep."""
        size = min(SAFER * mix.size, self.size_limit())
        if not self.trials.budget.floors or size < CLOSE * mix.size:
            return None
        return self.mixes.within(size)

    def evaluated_mixes(self) -> list[Mix]:
        """Mixes that were really made."""
        return [self.mixes.mix_of(chosen) for chosen in self.evaluated]


def spread_out(mixes: Sequence[Mix]) -> list[Mix]:
    """Some mixes of many, the first and the last among them."""
    if len(mixes) <= FINALISTS:
        return list(mixes)
    return [mixes[0], mixes[len(mixes) // 2], mixes[-1]]
