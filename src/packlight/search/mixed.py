"""The stage in which each operator gets a form of its own.

Damages are predicted on held-out calibration samples, the allocation is exact, and mixes that are
really evaluated correct the predictions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

from packlight.compression.bit_allocation.candidate_damage import unjudged_entries
from packlight.presentation.numbers import show_bytes
from packlight.records import Evaluation, Measurement, parse_recipe
from packlight.records.exploration import Prediction
from packlight.search.damage_table import damage_table
from packlight.search.forms import form_config, usable_forms
from packlight.search.mixes import Mix, Mixes
from packlight.search.stages import Stages, keeps_budgets
from packlight.search.steering import Steering

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


class MixedStage:
    """Search among mixes of forms.

    Args:
        run: the search.
    """

    def __init__(self, run: Stages) -> None:
        self.run = run
        self.evaluated: dict[tuple[int, ...], Evaluation] = {}
        self.mix_seconds = 0.0

    @property
    def has_mixes(self) -> bool:
        """True once damages are predicted."""
        return "mixes" in vars(self)

    @cached_property
    def forms(self) -> tuple[str, ...]:
        """Forms that may be chosen."""
        return usable_forms(self.run.trials.devices)

    @cached_property
    def mixes(self) -> Mixes:
        """Mixes of forms, with damages from held-out calibration samples."""
        table = damage_table(self.run.bench, self.forms)
        entries = [stored.entry() for stored in table.entries]
        return Mixes(self.run.files, table.forms, entries, self.run.bench.seed)

    @cached_property
    def mixes_of_sizes(self) -> Mixes:
        """Mixes whose damage is not known."""
        graph = self.run.files.sizes.model.graph
        entries = unjudged_entries(graph, [form_config(form) for form in self.forms])
        return Mixes(self.run.files, self.forms, entries, self.run.bench.seed)

    def enter(self) -> None:
        """Predict damages, find mixes for the goal, and judge the best."""
        memory = 4 * self.run.model_bytes
        reason = "which operators bear fewer bits, and a first mix"
        with self.run.stage("sensitivity", reason, self._sensitivity_seconds(), memory):
            if self.mixes.damages:
                start = self.run.clock()
                self.evaluate(self.first_mix())
                self.mix_seconds = self.run.clock() - start
        if not self.mixes.damages:
            self.run.leave_out("mixed", "no weight gains")
            return
        evaluations = REFINEMENTS - 1 if self._seeks_quality() else BISECTIONS
        finalists = 1 if self._seeks_quality() else FINALISTS
        expected = self.mix_seconds * evaluations + self.run.unit_seconds * finalists
        with self.run.stage(
            "mixed", "each operator gets the form that costs least", expected, memory
        ):
            self._judge(self._finalists())

    def _sensitivity_seconds(self) -> float:
        """Seconds that predicting damages takes, about."""
        latency = self.run.trials.base.metrics["latency"].value
        numbers = self.run.model_bytes / 4
        samples = min(len(self.run.bench.task.calibration), MOST_OBSERVED)
        return 3 + 20 * latency * samples + SECONDS_PER_FORM * numbers * len(self.forms)

    def _seeks_quality(self) -> bool:
        return self.run.trials.goal == "quality" or not self.run.trials.budget.floors

    def first_mix(self) -> Mix:
        """The mix that is evaluated first: the best within the limit, or where floors may hold."""
        limit = self.run.size_limit()
        if self._seeks_quality():
            mix = self.mixes.within(min(limit, self.run.model_bytes))
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
        return int(min(self.run.size_limit(), self._enough))

    @cached_property
    def _enough(self) -> float:
        """Bytes above which more change nothing."""
        return float(1.1 * self.run.files.count(parse_recipe(SEED_WITHOUT_DATA)).size.low)

    @cached_property
    def steering(self) -> Steering:
        """Evaluates mixes on the samples that steer."""
        run = self.run
        return Steering(
            run.bench, run.split.steering, run.trials.budget, len(run.split.judging.samples),
            run.trials.base.metrics,
        )  # fmt: skip

    def evaluate(self, mix: Mix) -> Evaluation:
        """Make a mix, evaluate it on the samples that steer, and learn from it."""
        if mix.chosen in self.evaluated:
            return self.evaluated[mix.chosen]
        evaluation, stored = self.check(mix.name, mix)
        self.evaluated[mix.chosen] = evaluation
        share = stored["download"].value / stored["size"].value
        self.run.download_share = min(1.0, DOWNLOAD_ROOM * share)
        snr = _snr(evaluation)
        if math.isfinite(snr):
            self.mixes.learn(mix, 10 ** (-snr / 10))
        return evaluation

    def check(self, name: str, mix: Mix) -> tuple[Evaluation, Mapping[str, Measurement]]:
        """Make a mix and evaluate it on the samples that steer, beside what was predicted of it.

        Args:
            name: of the variant.
            mix: of these forms, or of another stage's.

        Returns:
            The evaluation, and the measured sizes of the file.
        """
        self.run.check_time(expected=self.run.unit_seconds)
        variant = self.run.bench.variant(name, mix.recipe)
        evaluation = self.steering.evaluate(variant)
        stored = self.run.bench.size(variant).metrics
        snr = _snr(evaluation)
        if math.isfinite(snr):
            made = int(stored["size"].value)
            drop = evaluation.metrics["drop"].value
            self.run.checks.append(Prediction(name, mix.size, made, mix.snr, snr, drop))
        return evaluation, stored

    def _finalists(self) -> list[Mix]:
        """Mixes to judge, the safest first."""
        limit = self.run.size_limit()
        if self._seeks_quality():
            return [self.best_of_size(min(limit, self.run.model_bytes))]
        if math.isfinite(limit):
            first = self.evaluated_mixes()[0]
            if not self.was_hopeful(first):
                return self._out_of_reach(first)
        return self._smallest_hopeful()

    def best_of_size(self, size: float) -> Mix:
        """The mix of least measured noise of a size."""
        best = min(self.evaluated_mixes(), key=self.noise)
        while len(self.evaluated) < REFINEMENTS:
            mix = self.mixes.within(size)
            if mix is None or mix.chosen in self.evaluated:
                break
            self.evaluate(mix)
            best = min(best, mix, key=self.noise)
        return best

    def noise(self, mix: Mix) -> float:
        """Measured noise of a mix, in dB; the drop where outputs cannot be compared."""
        metrics = self.evaluated[mix.chosen].metrics
        if "snr" in metrics:
            return -metrics["snr"].value
        return metrics["drop"].value

    def _out_of_reach(self, largest: Mix) -> list[Mix]:
        """The best within the limit, where it does not seem to keep the floors."""
        if self._is_far(largest):
            self.run.is_out_of_reach = True
            needed = self._needed(largest)
            self.run.advice.append(
                "The size and the floors contradict each other: of what is small enough, the mix "
                f"with the least error surely misses them. {needed}"
            )
            return [largest]
        best = self.best_of_size(largest.size)
        hopeful = self._hopeful_above(best)
        if hopeful is not None:
            self.run.advice.append(
                f"The floors need about {show_bytes(hopeful.size)}: on the samples that steer, "
                f"{hopeful.name} keeps them. Allow that much, or let it learn, as with --time 10m."
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
        for floor in self.run.trials.budget.floors:
            measured = metrics.get(floor.judged_by)
            if measured is None:
                continue
            bound = floor.bound(self.run.trials.base.metrics)
            if measured.unit == "dB":
                missed.append(bound - measured.value)
            elif floor.sense == "<=" and measured.value > bound:
                missed.append(10 * math.log10(measured.value / max(bound, LEAST_LOSS)))
            elif floor.sense == ">=" and measured.value < bound:
                base = self.run.trials.base.metrics[floor.judged_by].value
                lost = (base - measured.value) / max(base - bound, LEAST_LOSS)
                missed.append(10 * math.log10(max(lost, 1.0)))
        return max(missed)

    def _needed(self, mix: Mix) -> str:
        """The size from which floors may hold, predicted."""
        wanted = -self.noise(mix) + self._missed_noise(mix)
        enough = next((larger for larger in self.curve_beyond if larger.snr >= wanted), None)
        if enough is None or "snr" not in self.evaluated[mix.chosen].metrics:
            return "Allow more bytes or more loss, or let it learn, as with --time 10m."
        return (
            f"By what is predicted, {show_bytes(enough.size)} may keep them. Allow about that "
            "much, or more loss, or let it learn, as with --time 10m."
        )

    @cached_property
    def curve_beyond(self) -> list[Mix]:
        """The predicted trade-off without regard to limits on the size."""
        least = self.mixes.smallest().size
        return self.mixes.curve(least, max(int(self._enough), least + 1))

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
            self._prepare([curve[index] for index in bisection(low, high, middle)])
            if self.steering.is_hopeful(self.evaluate(curve[middle])):
                kept.append(curve[middle])
                high = middle
            else:
                low = middle
            if low + 1 > high:
                break
            middle = (low + high) // 2 if high - low > 1 else high
        kept += self._between(curve, low, high, kept)
        hopeful = [mix for mix in self.evaluated_mixes() if self.was_hopeful(mix)]
        if not hopeful:
            return [curve[-1]]
        return spread_out(sorted(hopeful, key=lambda mix: -mix.size))

    def _prepare(self, mixes: Sequence[Mix]) -> None:
        """Make and evaluate ahead as many mixes as there are jobs, of those that may come next."""
        workers = self.run.workers
        unknown = [mix for mix in mixes if mix.chosen not in self.evaluated][: workers.jobs]
        workers.steer(self.steering, [(mix.name, mix.recipe) for mix in unknown])

    def was_hopeful(self, mix: Mix) -> bool:
        """Tell if an evaluated mix would probably keep every floor."""
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

    def _judge(self, finalists: Sequence[Mix]) -> None:
        """Measure finalists on the samples of the verdict, up to the first that does not fit.

        Where not even the safest fits, a larger one gets one chance.
        """
        named = [(mix.name, mix.recipe) for mix in finalists]
        self.run.workers.judge(self.run.bench, named)
        for index, mix in enumerate(finalists):
            result = self.run.try_recipe(mix.name, mix.recipe)
            if keeps_budgets(result):
                continue
            larger = self._safer(mix) if index == 0 else None
            if larger is not None:
                self.run.try_recipe(larger.name, larger.recipe)
            return

    def _safer(self, mix: Mix) -> Mix | None:
        """A larger mix within the limit; None where there is none, or no floor to keep."""
        size = min(SAFER * mix.size, self.run.size_limit())
        if not self.run.trials.budget.floors or size < CLOSE * mix.size:
            return None
        return self.mixes.within(size)

    def evaluated_mixes(self) -> list[Mix]:
        """Mixes that were really made."""
        return [self.mixes.mix_of(chosen) for chosen in self.evaluated]


def bisection(low: int, high: int, middle: int) -> list[int]:
    """An index that is tried, and those that may be tried after it, whatever it gives.

    >>> bisection(-1, 11, 5)
    [5, 2, 8]
    """
    after = [middle, (low + middle) // 2, (middle + high) // 2]
    return [index for index in dict.fromkeys(after) if low < index <= high]


def spread_out(mixes: Sequence[Mix]) -> list[Mix]:
    """Some mixes of many, the first and the last among them."""
    if len(mixes) <= FINALISTS:
        return list(mixes)
    return [mixes[0], mixes[len(mixes) // 2], mixes[-1]]


def _snr(evaluation: Evaluation) -> float:
    """Measured signal to noise in dB; not a number where outputs cannot be compared."""
    metrics = evaluation.metrics
    return metrics["snr"].value if "snr" in metrics else math.nan
