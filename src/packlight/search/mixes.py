"""Mixes of forms: recipes by site within limits, with predicted size and damage.

Predictions are corrected by measurements: each operator's damage gets a factor, near 1 before
anything is measured, that explains what mixes really lost (ridge regression on logarithms is not
linear in the sum, so it is on relative damages). The next mix is the best under the factors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from packlight.compression.bit_allocation.candidate_damage import CandidateDamage
from packlight.planning.size.files import Files
from packlight.presentation.numbers import show_bytes
from packlight.records import Recipe, Simplify, StaticInt8, Step
from packlight.records.exploration import CurvePoint, SiteReason
from packlight.search.allocation import KEEP, Alternative, Program
from packlight.search.forms import form_config
from packlight.search.site_costs import FormCost, form_costs

Doubles = NDArray[np.float64]

CURVE_POINTS = 12
"""Points of the trade-off curve."""

ROUNDS = 4
"""Times that a limit is corrected by the exact size of what it gave."""

FACTOR_SPREAD = 0.7
"""Spread of the logarithm of an operator's factor, before anything is measured."""

MEASURED_SPREAD = 0.05
"""Relative spread of a measured damage."""

LEAST_DAMAGE = 1e-12

NO_LIMITS: Mapping[str, float] = MappingProxyType({})

NEXT_FORM = 1.1
"""Times the bytes of a form that the next larger one has at least."""


INTEGER = -2
"""Index of the form in which an operator computes in integers."""

STATIC_STEP = StaticInt8()
"""Arithmetic of operators that compute in integers."""


@dataclass(frozen=True, slots=True)
class IntegerSite:
    """What it takes for one operator to compute in integers.

    Attributes:
        size: bytes that the file grows by; mostly below 0.
        damage: predicted relative squared error of the outputs.
        floats: seconds in floats.
        integers: seconds in integers, conversions included.
    """

    size: float
    damage: float
    floats: float
    integers: float


@dataclass(frozen=True, slots=True)
class Mix:
    """One form for each operator.

    Attributes:
        chosen: indices of alternatives, by operator.
        recipe: that makes it.
        size: bytes of its file, to the byte.
        damage: predicted relative squared error of the outputs.
    """

    chosen: tuple[int, ...]
    recipe: Recipe
    size: int
    damage: float

    @property
    def snr(self) -> float:
        """Predicted signal to noise of the outputs, in dB."""
        return decibels(self.damage)

    @property
    def name(self) -> str:
        """What the mix is called."""
        return f"mix of {show_bytes(self.size)}"


def decibels(damage: float) -> float:
    """Signal to noise of a relative squared error, in dB."""
    return -10 * math.log10(max(damage, LEAST_DAMAGE))


@dataclass
class Mixes:
    """Mixes of one model.

    Attributes:
        files: counts the files of recipes.
        forms: as recipes write them.
        damages: of every operator.
        seed: of recipes.
        integers: operators that may compute in integers, by name.
        factors: of the damage of every operator, corrected by measurements.
    """

    files: Files
    forms: Sequence[str]
    damages: Sequence[CandidateDamage]
    seed: int = 0
    integers: Mapping[str, IntegerSite] = field(default_factory=dict)
    factors: Doubles = field(default_factory=lambda: np.ones(0))

    def __post_init__(self) -> None:
        self.factors = np.ones(len(self.damages))
        self.measured: list[tuple[Mix, float]] = []
        self.costs: list[FormCost] = form_costs(self.files.sizes, self.forms, self.damages)
        self.program = Program(tuple(self._alternatives()), self._functions())
        self.base = self.count(self.recipe_of(self._all_kept()))
        self.damage = np.array([entry.damage for entry in self.program.alternatives])
        self.owner = np.array([entry.operator for entry in self.program.alternatives])

    def _alternatives(self) -> list[Alternative]:
        alternatives: list[Alternative] = []
        for index, entry in enumerate(self.damages):
            integer = self.integers.get(entry.operator)
            alternatives.append(Alternative(index, KEEP, 0.0, self._costs(entry, 0.0, 0.0)))
            if integer is not None:
                costs = {
                    "size": integer.size,
                    "latency": integer.integers,
                    "damage": integer.damage,
                }
                alternatives.append(Alternative(index, INTEGER, integer.damage, costs))
            options = [
                self._alternative(index, entry, form)
                for form in sorted(entry.damage)
                if self._bytes(entry, form) < 0
            ]
            alternatives += not_dominated(options)
        return alternatives

    def _alternative(self, operator: int, entry: CandidateDamage, form: int) -> Alternative:
        costs = self._costs(entry, self._bytes(entry, form), entry.damage[form])
        functions = tuple(sorted(self.costs[form].functions))
        return Alternative(operator, form, entry.damage[form], costs, functions)

    def _costs(self, entry: CandidateDamage, size: float, damage: float) -> dict[str, float]:
        """What counts for limits; seconds only where operators may compute in integers."""
        if not self.integers:
            return {"size": size}
        integer = self.integers.get(entry.operator)
        return {
            "size": size,
            "damage": damage,
            "latency": integer.floats if integer is not None else 0.0,
        }

    def _bytes(self, entry: CandidateDamage, form: int) -> float:
        return entry.after[form] - entry.before + self.costs[form].overhead

    def _functions(self) -> dict[str, int]:
        functions: dict[str, int] = {}
        for cost in self.costs:
            functions |= cost.functions
        return functions

    def _all_kept(self) -> tuple[int, ...]:
        return tuple(
            index for index, entry in enumerate(self.program.alternatives) if entry.form == KEEP
        )

    def recipe_of(self, chosen: Sequence[int]) -> Recipe:
        """The recipe of alternatives: a step for each form, in the order of forms."""
        names: dict[int, list[str]] = {}
        for index in chosen:
            entry = self.program.alternatives[index]
            if entry.form != KEEP:
                names.setdefault(entry.form, []).append(self.damages[entry.operator].operator)
        steps = [Step(Simplify())]
        for form in sorted(names):
            config = STATIC_STEP if form == INTEGER else form_config(self.forms[form])
            steps.append(Step(config, tuple(names[form])))
        return Recipe(tuple(steps), self.seed)

    def count(self, recipe: Recipe) -> int:
        """Bytes of a recipe's file."""
        return int(self.files.count(recipe).size.value)

    def mix_of(self, chosen: Sequence[int]) -> Mix:
        """A mix of alternatives, counted exactly."""
        recipe = self.recipe_of(chosen)
        damage = float(self.corrected()[list(chosen)].sum())
        return Mix(tuple(chosen), recipe, self.count(recipe), damage)

    def corrected(self) -> Doubles:
        """Damages of all alternatives, with the factors of their operators."""
        return np.asarray(self.damage * self.factors[self.owner], np.float64)

    def smallest(self) -> Mix:
        """The mix with the smallest file; the model as it is where no weight gains."""
        if not self.damages:
            return self.mix_of(())
        return self.mix_of(self.program.cheapest("size"))

    def within(
        self,
        size: float,
        damages: Doubles | None = None,
        limits: Mapping[str, float] = NO_LIMITS,
    ) -> Mix | None:
        """The mix of least damage whose file has at most so many bytes; None if none has.

        Bytes of operators and names are not quite additive, so the limit of the program moves by
        what the exact count finds.

        Args:
            size: bytes of the file, at most; may be infinite.
            damages: of the alternatives, in place of the predicted ones: what is kept small.
            limits: further ones, by name.
        """
        used = self.corrected() if damages is None else damages
        limit = size - self.base
        best: Mix | None = None
        for _ in range(ROUNDS):
            bounds = {**limits, "size": limit} if math.isfinite(limit) else dict(limits)
            chosen = self.program.solve(bounds, used)
            if chosen is None:
                break
            mix = self.mix_of(chosen)
            if mix.size <= size and (best is None or mix.damage < best.damage):
                best = mix
            if not math.isfinite(limit) or 0 <= size - mix.size <= max(64, size * 2e-4):
                break
            limit += size - mix.size
        return best

    def curve(self, least: int, most: int) -> list[Mix]:
        """Mixes between two sizes, the smallest first."""
        sizes = np.geomspace(least, max(most, least + 1), CURVE_POINTS)
        mixes = {mix.size: mix for size in sizes if (mix := self.within(float(size))) is not None}
        return [mixes[size] for size in sorted(mixes)]

    def learn(self, mix: Mix, damage: float) -> None:
        """Correct the factors by the measured damage of a mix.

        The factors that explain all measurements and are nearest to 1: Gaussian regression, with
        each damage relative to the measured one.
        """
        self.measured.append((mix, max(damage, LEAST_DAMAGE)))
        rows = np.zeros((len(self.measured), len(self.damages)))
        for row, (known, total) in enumerate(self.measured):
            for index in known.chosen:
                rows[row, self.owner[index]] = self.damage[index] / total
        prior = FACTOR_SPREAD**2
        noise = MEASURED_SPREAD**2 * np.eye(len(rows))
        gain = prior * rows.T @ np.linalg.inv(prior * rows @ rows.T + noise)
        self.factors = np.clip(1 + gain @ (1 - rows.sum(axis=1)), 0.1, 10.0)

    def cost(self, mix: Mix, name: str) -> float:
        """Sum of one cost of a mix."""
        return sum(self.program.alternatives[index].costs.get(name, 0.0) for index in mix.chosen)

    def costs_of(self, name: str) -> Doubles:
        """One cost of all alternatives, from 0."""
        costs = np.array([entry.costs.get(name, 0.0) for entry in self.program.alternatives])
        return np.asarray(costs - costs.min(), np.float64)

    def neighbors(self, mix: Mix, size: float, count: int, rng: np.random.Generator) -> list[Mix]:
        """Other mixes within a size that may be as good: the best under damages slightly off."""
        known = {other.chosen for other, _ in self.measured} | {mix.chosen}
        found: list[Mix] = []
        for _ in range(4 * count):
            noise = np.exp(rng.normal(0.0, FACTOR_SPREAD / 2, len(self.damage)))
            other = self.within(size, self.corrected() * noise)
            if other is not None and other.chosen not in known:
                known.add(other.chosen)
                found.append(self.mix_of(other.chosen))
            if len(found) == count:
                break
        return sorted(found, key=lambda other: other.damage)

    def reasons(self, mix: Mix) -> tuple[SiteReason, ...]:
        """The form of every operator, and what the next larger one would cost and gain."""
        corrected = self.corrected()
        total = max(float(corrected[list(mix.chosen)].sum()), LEAST_DAMAGE)
        reasons = []
        for index in mix.chosen:
            entry = self.program.alternatives[index]
            site = self.damages[entry.operator]
            larger = self._next_larger(index)
            reason = SiteReason(
                operator=site.operator,
                form=self.form_text(entry.form),
                numbers=site.numbers,
                before=site.before,
                after=self._stored(index),
                share=float(corrected[index]) / total,
            )
            if larger is not None:
                reason = self._with_next(reason, index, larger, total)
            reasons.append(reason)
        return tuple(reasons)

    def _with_next(self, reason: SiteReason, index: int, larger: int, total: float) -> SiteReason:
        corrected = self.corrected()
        entry = self.program.alternatives[larger]
        saved = entry.costs.get("size", 0.0) - self.program.alternatives[index].costs["size"]
        left = total - float(corrected[index]) + float(corrected[larger])
        return SiteReason(
            reason.operator, reason.form, reason.numbers, reason.before, reason.after, reason.share,
            next_form=self.form_text(entry.form),
            saves=round(saved), costs=decibels(left) - decibels(total),
        )  # fmt: skip

    def form_text(self, form: int) -> str:
        """A form as recipes write it; ``keep`` where weights stay as they are."""
        if form == KEEP:
            return "keep"
        if form == INTEGER:
            return STATIC_STEP.kind
        return self.forms[form]

    def _stored(self, index: int) -> int:
        """Bytes of the weights of an alternative."""
        entry = self.program.alternatives[index]
        site = self.damages[entry.operator]
        if entry.form == KEEP:
            return site.before
        if entry.form == INTEGER:
            return site.before // 4
        return site.after[entry.form]

    def _next_larger(self, index: int) -> int | None:
        entry = self.program.alternatives[index]
        if entry.form in (KEEP, INTEGER):
            return None
        larger = [
            other
            for other, candidate in enumerate(self.program.alternatives)
            if candidate.operator == entry.operator
            and candidate.form != INTEGER
            and self._stored(other) > NEXT_FORM * self._stored(index)
            and candidate.damage < entry.damage
        ]
        return min(
            larger,
            key=lambda other: self.program.alternatives[other].costs.get("size", 0.0),
            default=None,
        )


def curve_points(mixes: Sequence[Mix]) -> tuple[CurvePoint, ...]:
    """The points of a curve."""
    return tuple(CurvePoint(mix.size, mix.snr) for mix in mixes)


def not_dominated(options: Sequence[Alternative]) -> list[Alternative]:
    """The alternatives that no other beats in damage and every cost, by their form."""
    kept = [option for option in options if not any(_beats(other, option) for other in options)]
    return sorted(kept, key=lambda option: option.form)


def _beats(other: Alternative, option: Alternative) -> bool:
    names: Mapping[str, float] = option.costs
    no_worse = other.damage <= option.damage and all(
        other.costs.get(name, 0.0) <= cost for name, cost in names.items()
    )
    if not no_worse:
        return False
    if not set(other.functions) <= set(option.functions):
        return False
    same = other.damage == option.damage and dict(other.costs) == dict(option.costs)
    same = same and other.functions == option.functions
    return not same or other.form < option.form
