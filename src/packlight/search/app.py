"""Search for variants of several models that share the budgets of one app.

The allocation is one: bytes go to the operators, of whichever model, where they save most error.
Each model keeps its own floors; one that misses them gets less error at the cost of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path

from packlight.errors import RecipeError, TaskError
from packlight.presentation.app import app_sentences
from packlight.presentation.numbers import show_bytes
from packlight.records import (
    Budget,
    Measurement,
    Meets,
    Recipe,
    VariantResult,
    Verdict,
    parse_recipe,
)
from packlight.records.app import AppOutcome, AppPart
from packlight.records.exploration import StageRecord
from packlight.search import choice
from packlight.search.explore import STATIC, Explorer
from packlight.search.joint import JointMixes
from packlight.search.mixes import Mix
from packlight.search.study import Result, Study
from packlight.sources.opening import Opened
from packlight.task import Task

SHARED = ("size", "download", "peak_memory")
"""Costs that add up over the models of an app."""

ROUNDS = 4
"""Allocations over all models; each learns from the mixes of the last."""

LESS_DAMAGE = 0.6
"""Times the damage of a model that missed a floor, for the next allocation."""

FINALISTS = 2
"""Allocations that are judged at most."""

Chosen = tuple[VariantResult, ...]


@dataclass(frozen=True, slots=True)
class AppModel:
    """One model of an app.

    Attributes:
        opened: the original.
        task: that measures its quality.
        budget: its own, beside what all share.
    """

    opened: Opened
    task: Task
    budget: Budget


@dataclass(frozen=True, slots=True, repr=False)
class AppStudy:
    """Searches for all models of an app: ``study.totals``, ``study["detector"].best``.

    Attributes:
        outcome: the record that ``packlight fit --app --json`` prints.
        studies: of each model, by its name.
    """

    outcome: AppOutcome
    studies: Mapping[str, Study]

    @property
    def verdict(self) -> Verdict:
        """``fits``, ``undecided`` or ``misses``: of the shared budgets and all models' own."""
        return self.outcome.verdict

    @property
    def totals(self) -> Mapping[str, Measurement]:
        """Size, download and peak memory of all chosen variants together."""
        return self.outcome.totals

    @property
    def best(self) -> dict[str, Result]:
        """The chosen variant of each model; the nearest where budgets are missed."""
        return {
            part.name: next(r for r in self.studies[part.name].results if r.id == part.chosen)
            for part in self.outcome.parts
        }

    def __getitem__(self, name: str) -> Study:
        return self.studies[name]

    def __repr__(self) -> str:
        return "\n".join(app_sentences(self.outcome))


def check_shared(budget: Budget) -> None:
    """Refuse shared budgets on what does not add up over models.

    Raises:
        RecipeError: a budget is none of size, download and peak memory.
    """
    for limit in budget.all():
        if limit.metric not in SHARED:
            raise RecipeError(
                f"models of an app share {', '.join(SHARED)}; '{limit.text}' is set for each model "
                "in its own table"
            )


@dataclass(frozen=True, slots=True)
class Round:
    """One allocation that was really made.

    Attributes:
        mixes: of each model.
        noise: relative squared error of the outputs, over all models.
        failing: models that seem to miss a floor.
    """

    mixes: tuple[Mix, ...]
    noise: float
    failing: tuple[int, ...]


@dataclass
class AppSearch:
    """One search for all models of an app.

    Attributes:
        names: of the models.
        explorers: of each model; their budgets are the models' own.
        budget: that the models share.
        project: folder of the app.
    """

    names: Sequence[str]
    explorers: Sequence[Explorer]
    budget: Budget
    project: Path
    advice: list[str] = field(default_factory=list)

    def run(self) -> AppOutcome:
        """Search, and choose a variant of each model."""
        for name, explorer in zip(self.names, self.explorers, strict=True):
            if not explorer.has_data:
                raise TaskError(
                    f"the models of an app are allocated by calibration samples; the task of "
                    f"'{name}' has none. Add calibration_ arrays to its data"
                )
            explorer.trials.planned = 1 + FINALISTS
            explorer.begin()
        smallest = self.joint.smallest()
        least = sum(mix.size for mix in smallest)
        if least > self.size_limit:
            self.advice.append(
                f"The smallest files of all models together have {show_bytes(least)}, and "
                f"{show_bytes(self.size_limit)} are allowed. Allow more, or leave a model out."
            )
            self._judge(smallest)
        else:
            for done in self._finalists():
                self._judge(done.mixes)
            self._save_memory()
        for explorer in self.explorers:
            explorer.stages.append(
                StageRecord("mixed", "one allocation over all models of the app")
            )
        return self.outcome()

    @cached_property
    def joint(self) -> JointMixes:
        """Mixes of all models at once."""
        return JointMixes([explorer.mixes for explorer in self.explorers])

    @cached_property
    def originals(self) -> Mapping[str, Measurement]:
        """Shared costs of all originals together."""
        return totals([explorer.trials.base for explorer in self.explorers])

    @property
    def size_limit(self) -> float:
        """Bytes of all files together, at most."""
        shares = {"size": 1.0, "download": max(e.download_share for e in self.explorers)}
        bounds = [
            limit.bound(self.originals) / shares[limit.metric]
            for limit in self.budget.limits
            if limit.metric in shares
        ]
        return min(bounds, default=float("inf"))

    def _finalists(self) -> list[Round]:
        """Allocations to judge, the best first, as found on the samples that steer."""
        rounds: list[Round] = []
        caps: dict[int, float] = {}
        for _ in range(ROUNDS):
            mixes = self.joint.within(self.size_limit, caps)
            if mixes is None or any(mixes == done.mixes for done in rounds):
                break
            done = self._evaluate(mixes)
            rounds.append(done)
            for model in done.failing:
                corrected = self.explorers[model].mixes.corrected()
                caps[model] = LESS_DAMAGE * float(corrected[list(mixes[model].chosen)].sum())
        rounds.sort(key=lambda done: (len(done.failing), done.noise))
        if rounds and rounds[0].failing:
            names = ", ".join(self.names[model] for model in rounds[0].failing)
            self.advice.append(
                f"No allocation seems to keep the floors of {names}. Allow more bytes or more loss."
            )
        return rounds[:FINALISTS]

    def _evaluate(self, mixes: tuple[Mix, ...]) -> Round:
        """Make the mixes and evaluate them on the samples that steer."""
        noise = 0.0
        failing = []
        for model, (explorer, mix) in enumerate(zip(self.explorers, mixes, strict=True)):
            evaluation = explorer.evaluate(mix)
            noise += noise_of(evaluation.metrics, mix)
            if not explorer.steering.is_hopeful(evaluation):
                failing.append(model)
        return Round(mixes, noise, tuple(failing))

    def _judge(self, mixes: Sequence[Mix]) -> None:
        """Measure mixes on the samples of the verdict."""
        for explorer, mix in zip(self.explorers, mixes, strict=True):
            if mix.recipe.text() not in {r.recipe for r in explorer.trials.results}:
                explorer.try_recipe(mix.name, mix.recipe)

    def _save_memory(self) -> None:
        """Measure integers too where the memory of what is chosen is too much."""
        chosen = self.chosen()
        missed = [
            limit
            for limit in self.budget.limits
            if limit.metric == "peak_memory"
            and limit.met(totals(chosen)["peak_memory"], self.originals) != "yes"
        ]
        if not missed:
            return
        for explorer in self.explorers:
            recipe = self._integers(explorer)
            if recipe is not None:
                explorer.try_recipe(STATIC[0], recipe)
        if self.meets(self.chosen())[missed[0].text] != "yes":
            self.advice.append(
                f"'{missed[0].text}' is missed: no variant that was measured takes so little. "
                "Allow more memory, or use smaller inputs."
            )

    def _integers(self, explorer: Explorer) -> Recipe | None:
        """The recipe of integers; None where no operator has them."""
        if not explorer.has_sites("static"):
            return None
        return parse_recipe(STATIC[0], explorer.bench.seed)

    # The choice

    def chosen(self) -> Chosen:
        """A variant of each model: what keeps most budgets, with the least noise."""
        usable = [
            [result for result in explorer.trials.results if not (result.error or result.same_as)]
            for explorer in self.explorers
        ]
        return min(product(*usable), key=self._badness)

    def _badness(self, chosen: Chosen) -> tuple[int, float, float, float]:
        """Missed budgets, how far shared ones are missed, unsure verdicts, and noise."""
        shared = totals(chosen)
        meets = [*self.meets(chosen).values(), *(m for r in chosen for m in r.meets.values())]
        excess = sum(
            choice.excess(limit, shared[limit.metric], self.originals)
            for limit in self.budget.limits
        )
        noise = sum(noise_of(result.metrics) for result in chosen)
        return meets.count("no"), excess, meets.count("unclear"), noise

    def meets(self, chosen: Chosen) -> dict[str, Meets]:
        """Tell which shared budgets are kept, by their text."""
        shared = totals(chosen)
        return {
            limit.text: limit.met(shared[limit.metric], self.originals)
            for limit in self.budget.limits
        }

    def outcome(self) -> AppOutcome:
        """The choice as a record."""
        chosen = self.chosen()
        meets = self.meets(chosen)
        own = {
            f"{name}: {text}": met
            for name, result in zip(self.names, chosen, strict=True)
            for text, met in result.meets.items()
        }
        parts = tuple(
            AppPart(
                name, str(explorer.bench.store.folder), result.id, result.name, result.file,
                choice.verdict(result.meets), result.metrics,
            )
            for name, explorer, result in zip(self.names, self.explorers, chosen, strict=True)
        )  # fmt: skip
        return AppOutcome(
            verdict=choice.verdict({**meets, **own}),
            budget=self.budget,
            meets=meets,
            originals=self.originals,
            totals=totals(chosen),
            parts=parts,
            advice=tuple(self.advice),
            project=str(self.project),
        )


def totals(results: Sequence[VariantResult]) -> dict[str, Measurement]:
    """Size, download and peak memory of several variants together."""
    return {name: added([result.metrics[name] for result in results]) for name in SHARED}


def added(measurements: Sequence[Measurement]) -> Measurement:
    """The sum of measurements, with the sum of their intervals, which is no narrower than its."""
    first = measurements[0]
    return replace(
        first,
        value=sum(m.value for m in measurements),
        low=sum(m.low for m in measurements),
        high=sum(m.high for m in measurements),
        n=min(m.n for m in measurements),
    )


def noise_of(metrics: Mapping[str, Measurement], mix: Mix | None = None) -> float:
    """Relative squared error of the outputs, or the loss of the metric where they have none."""
    if "snr" in metrics:
        return float(10 ** (-metrics["snr"].value / 10))
    if mix is not None:
        return mix.damage
    return max(0.0, metrics["drop"].value)
