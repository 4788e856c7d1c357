"""Search for forms of weights and arithmetic, in stages from cheap to costly.

A stage is entered where budgets are still missed or a better point is likely. What steers it are
the calibration samples and a part of the task's samples; the others decide the verdict. Finalists
are judged from the largest to the smallest, and no further than the first that fails: so the share
of wrong verdicts is that of a single test, however many mixes were evaluated before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version

from packlight.compression import compress
from packlight.compression.bit_allocation.candidate_damage import (
    CandidateDamage,
    held_out_split,
    predict_damage,
    unjudged_entries,
)
from packlight.compression.methods.table import METHODS
from packlight.compression.threads import limited_threads
from packlight.planning.size.exact_size import SIMPLIFY, Simplified
from packlight.planning.size.files import Files
from packlight.presentation.numbers import plural, show_bytes, show_seconds
from packlight.records import (
    Budget,
    Evaluation,
    Recipe,
    Refusal,
    Variant,
    VariantResult,
    digest,
    parse_recipe,
)
from packlight.records.exploration import (
    Exploration,
    Goal,
    Prediction,
    SiteReason,
    StageRecord,
)
from packlight.runtime.calibration import Calibrator
from packlight.search.forms import form_config, usable_forms
from packlight.search.mixes import Mix, Mixes, curve_points
from packlight.search.regions import OperatorSeconds, integer_sites, operator_seconds
from packlight.search.steering import SplitTask, Steering
from packlight.search.trials import Trials

WITHOUT_DATA = ("simplify+weights:8", "simplify+weights:4,block=32", "simplify+palette:4")
"""Recipes where there are no calibration samples."""

SEED_WITHOUT_DATA = "simplify+weights:8"
"""Recipe that every search tries where its file is small enough."""

DYNAMIC = "simplify+dynamic+weights:8"
STATIC = (
    "simplify+static,first=float+weights:8",
    "simplify+static+weights:8",
)
"""``weights:8`` is for operators without an integer kernel, as embeddings."""

BISECTIONS = 4
"""Sizes that are really evaluated to find the smallest that keeps the floors."""

REFINEMENTS = 3
"""Mixes that are really evaluated to find the best of one size."""

SAFER = 1.3
"""Times the size of a finalist that failed, for one more."""

FINALISTS = 3
"""Mixes that are judged at most, but for a safer one."""

CLOSE = 1.04
"""Ratio of two sizes that are not told apart."""

RATIOS = (1.02, 1.1, 1.25)
"""Times the latency of all in integers that combinations may take."""

DYNAMIC_SHARE = 0.2
"""Share of the weights that integer products must have, for them to be worth a try."""

ROOM = 0.96
"""Share of a latency limit that is planned for, as predictions are not exact."""

MOST_OBSERVED = 144
"""Calibration samples that predict damages."""

SECONDS_PER_FORM = 3e-7
"""Of each number of the weights."""

FIRST_SNR = 18.0
"""Predicted signal to noise, in dB, that the search for the smallest file begins with."""


def default_goal(budget: Budget) -> Goal:
    """What a search seeks where nothing is said.

    With floors, the file that saves most of size and time; without, the best quality that the
    limits allow.
    """
    return "balance" if budget.floors else "quality"


@dataclass(frozen=True, slots=True)
class DamageTable:
    """Predicted damage as a project stores it.

    Attributes:
        variant: id of the original.
        forms: as recipes write them.
        entries: of every operator.
    """

    variant: str
    forms: tuple[str, ...]
    entries: tuple[StoredDamage, ...]


@dataclass(frozen=True, slots=True)
class StoredDamage:
    """Damage and bytes of one operator's forms, by the index of the form."""

    operator: str
    numbers: int
    before: int
    forms: tuple[int, ...]
    damage: tuple[float, ...]
    after: tuple[int, ...]

    @classmethod
    def of(cls, entry: CandidateDamage) -> StoredDamage:
        """What is stored of an operator."""
        forms = tuple(sorted(entry.damage))
        damage = tuple(entry.damage[form] for form in forms)
        after = tuple(entry.after[form] for form in forms)
        return cls(entry.operator, entry.numbers, entry.before, forms, damage, after)

    def entry(self) -> CandidateDamage:
        """The operator as the search uses it."""
        damage = dict(zip(self.forms, self.damage, strict=True))
        after = dict(zip(self.forms, self.after, strict=True))
        return CandidateDamage(self.operator, self.numbers, self.before, damage, after)


@dataclass(frozen=True, slots=True)
class UnitSeconds:
    """Seconds that it took to measure one variant."""

    variant: str
    seconds: float


class OutOfTime(Exception):  # noqa: N818 - no error: the search ends with what it has
    """The time that a search may take is over."""


@dataclass
class Explorer:
    """One search.

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
    combined: tuple[Mixes, Mix] | None = None

    def __post_init__(self) -> None:
        self.bench = self.trials.bench
        self.started = self.clock()

    def run(self) -> Exploration:
        """Search, and tell how."""
        self.trials.planned = 8
        self.trials.measure_original()
        self.unit_seconds = self._unit_seconds()
        if self.split.shared:
            self.warnings.append(
                f"{plural(len(self.split.judging.samples), 'sample')} are too few to keep some "
                "apart: the samples that steered the search also decide its verdict, which "
                "flatters the choice. Use at least 60."
            )
        try:
            self._stages()
        except OutOfTime:
            self.warnings.append(
                f"The search ended after {show_seconds(self.time_limit)}, as asked; more time may "
                "find a better variant."
            )
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

    def _unit_seconds(self) -> float:
        """Seconds that measuring one variant takes; kept, so that a search resumes with them."""
        took = UnitSeconds(self.bench.original.id, self.clock() - self.started)
        return self.bench.once("seconds", self.bench.original, UnitSeconds, lambda: took).seconds

    def _stages(self) -> None:
        if len(self.bench.task.calibration):
            if not self._is_possible():
                return
            self._without_data([SEED_WITHOUT_DATA])
            self._calibrated()
            self._mixed()
            self._combined()
        else:
            self._without_data(WITHOUT_DATA)
            self.stages.append(
                StageRecord("mixed", "left out: the task has no calibration samples")
            )

    # What every stage needs

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

    def size_limit(self) -> float:
        """The tightest limit on the size, in bytes; infinite without one."""
        original = self.trials.base.metrics
        bounds = [
            limit.bound(original)
            for limit in self.trials.budget.limits
            if limit.metric in ("size", "download")
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

    # Stages without forms by operator

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
        speed = ("latency", "latency_ratio", "energy", "peak_memory")
        limited = any(limit.metric in speed for limit in self.trials.budget.limits)
        return limited or self.trials.goal in ("balance", "latency", "energy")

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

    # Forms by operator

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
        """Tell if some mix is small enough; else the smallest is measured, and the search ends."""
        limit = self.size_limit()
        if math.isinf(limit) or limit >= self.model_bytes:
            return True
        least = self._least_size()
        if least.size <= limit:
            return True
        self.try_recipe(least.name, least.recipe)
        self.advice.append(
            f"The smallest file that any mix of forms gives has {show_bytes(least.size)}, and "
            f"{show_bytes(limit)} are allowed. Allow more, or train a model with fewer weights."
        )
        self.stages.append(StageRecord("mixed", "left out: no file is small enough"))
        return False

    def _least_size(self) -> Mix:
        """The smallest file of any mix, which needs no samples: its damage is not asked for."""
        return self.mixes_of_sizes.smallest()

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
        made = int(self.bench.size(variant).metrics["size"].value)
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
        best = self._best_of_size(largest.size)
        hopeful = self._hopeful_above(best)
        if hopeful is not None:
            self.advice.append(
                f"The floors need about {show_bytes(hopeful.size)}: on the samples that steer, "
                f"{hopeful.name} keeps them. Allow that much, or train with the forms in place."
            )
        return [best]

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
            if mix is not None and self.steering.is_hopeful(self._evaluate_combination(mix, mixes)):
                self.try_recipe(f"integers and {mix.name}", mix.recipe)

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

    def evaluated_mixes(self) -> list[Mix]:
        """Mixes that were really made."""
        return [self.mixes.mix_of(chosen) for chosen in self.evaluated]


def spread_out(mixes: Sequence[Mix]) -> list[Mix]:
    """Some mixes of many, the first and the last among them."""
    if len(mixes) <= FINALISTS:
        return list(mixes)
    return [mixes[0], mixes[len(mixes) // 2], mixes[-1]]
