"""Predictions for recipes that differ between operators.

Each step is applied to the full model once, to learn what it changes. The size of a choice of steps
is that of the file that they write together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from packlight.compression.methods.table import METHODS
from packlight.errors import RecipeError
from packlight.planning.cost.predict import Precision
from packlight.planning.cost.pricing import coded_bytes
from packlight.planning.feasibility import Planner
from packlight.planning.routes import KEEP, Choice
from packlight.planning.size.download_estimate import STAND_IN, download
from packlight.planning.size.exact_size import (
    Baseline,
    SizedRecipe,
    WeightCluster,
    computes_in_integers,
    least_opset,
    weight_clusters,
)
from packlight.planning.size.files import size_between, width_versions
from packlight.records.measurement import Measurement
from packlight.records.name_pattern import name_pattern
from packlight.records.recipe import Recipe, Step, parse_recipe
from packlight.records.variant import Change, Refusal

PAIR_BYTES = {"static": (500, 4500), "dynamic": (0, 2000)}
"""Bytes that integer arithmetic adds for each operator: pairs, scales and names; from, to."""


@dataclass(frozen=True, slots=True)
class ClusterEffect:
    """Effect of a step on the operators of one cluster.

    Attributes:
        changes: to operators.
        refusals: of operators that stay as they are, with the reason.
    """

    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]

    @property
    def growth(self) -> int:
        """Bytes that the weights grow by; mostly below 0."""
        return sum(change.after - change.before for change in self.changes)

    def has_candidates(self, method: str) -> bool:
        """Tell whether a method has a candidate site here, skipped ones included."""
        methods = {change.method for change in self.changes}
        return method in methods.union(refusal.method for refusal in self.refusals)


@dataclass(frozen=True, slots=True)
class StepEffect:
    """Effect of a step on every cluster.

    Attributes:
        clusters: effect on each.
        smallest: recipe that stores least of each; where samples choose widths, of all widths.
        largest: recipe that stores most of each.
        coded: (clusters, 2) bytes of weights that become codes, and of the codes.
        shares: of their bytes that the codes zip to, at least and at most.
        integer: method by which each computes in integers; empty where it computes in floats.
        functions: bytes of the functions that any width needs, by name.
    """

    clusters: Sequence[ClusterEffect]
    smallest: Sequence[Recipe]
    largest: Sequence[Recipe]
    coded: NDArray[np.float64]
    shares: tuple[float, float]
    integer: Sequence[str]
    functions: Mapping[str, int]

    @property
    def is_mixed(self) -> bool:
        """True where samples choose widths."""
        return self.smallest is not self.largest


ClusterStep = tuple[int, StepEffect]
"""Index of a cluster, and the step for it."""


class WhatIf:
    """Predictions for choices per operator.

    Args:
        planner: of the model and its target.
    """

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self._effects: dict[tuple[int, str], StepEffect] = {}
        self._clusters: dict[int, tuple[WeightCluster, ...]] = {}
        self._named: dict[str, list[int]] = {}
        baseline = planner.sizes.baseline(0)
        self.names = [cluster.names for cluster in self.clusters(baseline)]
        rows = {name: row for row, name in enumerate(planner.workload.names)}
        self.rows = [[rows[name] for name in names if name in rows] for names in self.names]

    def clusters(self, baseline: Baseline) -> tuple[WeightCluster, ...]:
        """Clusters of operators that share large stored values, in the order they run."""
        key = id(baseline)
        if key not in self._clusters:
            self._clusters[key] = tuple(weight_clusters(baseline.model.graph))
        return self._clusters[key]

    def prepare(self, steps: Sequence[str]) -> None:
        """Apply steps to every operator, so that a choice among them takes one more application."""
        for opset in {self.opset(step) for step in steps}:
            for step in steps:
                if self.opset(step) <= opset:
                    self.effect(step, opset)

    def choose(self, choices: Sequence[Choice]) -> dict[str, Measurement]:
        """Predict size, download, latency, memory and energy; later choices override earlier ones.

        Raises:
            RecipeError: a choice matches no operator that it could change.
        """
        return self.predict(self.steps(choices))

    def changed_count(self, choices: Sequence[Choice]) -> int:
        """Number of operators that choices change."""
        operators = set()
        for effects in self.effects_by_choice(choices).values():
            operators |= {change.operator for effect in effects for change in effect.changes}
        return len(operators)

    def effects_by_choice(self, choices: Sequence[Choice]) -> dict[int, list[ClusterEffect]]:
        """Effects of choices, by their index; a choice that later ones override fully is absent."""
        opset = self.newest_opset(self.steps(choices))
        effects: dict[int, list[ClusterEffect]] = {}
        for cluster, index in enumerate(self.last_choices(choices)):
            if index is not None and choices[index].step != KEEP:
                effect = self.effect(choices[index].step, opset)
                effects.setdefault(index, []).append(effect.clusters[cluster])
        return effects

    def steps(self, choices: Sequence[Choice]) -> list[str]:
        """The step for every cluster."""
        last = self.last_choices(choices)
        return [KEEP if index is None else choices[index].step for index in last]

    def last_choices(self, choices: Sequence[Choice]) -> list[int | None]:
        """For every cluster the index of the last choice that names it.

        Raises:
            RecipeError: a choice matches no operator that it could change.
        """
        last: list[int | None] = [None] * len(self.names)
        for index, choice in enumerate(choices):
            hits = self.clusters_named(choice.where)
            if not hits:
                raise RecipeError(
                    f"'{choice.where}' matches no operator with a weight; packlight profile names "
                    "them"
                )
            for cluster in hits:
                last[cluster] = index
        return last

    def clusters_named(self, where: str) -> list[int]:
        """Indices of the clusters that a pattern names, searched once."""
        if where not in self._named:
            pattern = name_pattern(where)
            self._named[where] = [
                i for i, names in enumerate(self.names) if any(map(pattern.search, names))
            ]
        return self._named[where]

    def predict(self, steps: Sequence[str]) -> dict[str, Measurement]:
        """Predict the costs of a step for every cluster."""
        acting = self.acting_steps(steps)
        opset = self.newest_opset(acting)
        effects = {step: self.effect(step, opset) for step in acting}
        chosen = [(i, effects[step]) for i, step in enumerate(steps) if step in effects]
        size = self.size(self.planner.sizes.baseline(opset), chosen)
        before, after = np.sum([effect.coded[i] for i, effect in chosen] or [(0, 0)], axis=0)
        shares = [effect.shares for effect in effects.values()] or [(1.0, 1.0)]
        span = min(low for low, _ in shares), max(high for _, high in shares)
        zipped = download(size, float(before), float(after), span, self.planner.sample)
        precision = self.planner.predictor.original
        if acting:
            precision = self.precision(chosen)
        return {"size": size, "download": zipped, **self.planner.predictor.costs(precision, size)}

    def size(self, baseline: Baseline, chosen: Sequence[ClusterStep]) -> Measurement:
        """Bytes of the file, with the biases that steps with samples add."""
        smallest = self.apply(baseline, [(i, effect.smallest[i]) for i, effect in chosen])
        largest = self.apply(baseline, [(i, effect.largest[i]) for i, effect in chosen])
        least = smallest.size
        most = largest.size
        effects = [effect for _, effect in chosen]
        if any(effect.is_mixed for effect in effects):
            certain = _functions(effect for effect in effects if not effect.is_mixed)
            least = smallest.plain_size + sum(certain.values())
            if largest.changes:
                most = largest.plain_size + sum(_functions(effects).values())
        for i, effect in chosen:
            pair_bytes = PAIR_BYTES.get(effect.integer[i], (0, 0))
            least += pair_bytes[0]
            most += pair_bytes[1]
        return size_between(least, most)

    def apply(self, baseline: Baseline, chosen: Sequence[tuple[int, Recipe]]) -> SizedRecipe:
        """Apply a recipe to each cluster; a cluster that is not in ``chosen`` stays as it is."""
        groups: dict[int, tuple[Recipe, list[int]]] = {}
        for cluster, recipe in chosen:
            groups.setdefault(id(recipe), (recipe, []))[1].append(cluster)
        steps: list[Step] = []
        for recipe, clusters in groups.values():
            effects = self.cluster_effects(baseline, recipe)
            where = self.name_pattern(clusters)
            for step in recipe.steps:
                if any(effects[cluster].has_candidates(step.method) for cluster in clusters):
                    steps += [replace(step, where=where)]
        applied = baseline.apply(Recipe(tuple(steps)))
        if not applied.changes:
            return replace(applied, size=self.planner.sizes.baseline(0).file.size())
        return applied

    def name_pattern(self, clusters: Sequence[int]) -> str:
        """Regular expression of the names of clusters' operators; empty for all clusters."""
        if len(clusters) == len(self.names):
            return ""
        names = [re.escape(name) for cluster in clusters for name in self.names[cluster]]
        return f"^({'|'.join(names)})$"

    def cluster_effects(self, baseline: Baseline, recipe: Recipe) -> list[ClusterEffect]:
        """Effects of a recipe on every cluster."""
        applied = baseline.apply(recipe)
        changes: dict[str, list[Change]] = {}
        for change in applied.changes:
            changes.setdefault(change.operator, []).append(change)
        refusals: dict[str, list[Refusal]] = {}
        for refusal in applied.refusals:
            refusals.setdefault(refusal.operator, []).append(refusal)
        return [
            ClusterEffect(
                tuple(change for name in cluster.names for change in changes.get(name, ())),
                tuple(refusal for name in cluster.names for refusal in refusals.get(name, ())),
            )
            for cluster in self.clusters(baseline)
        ]

    def newest_opset(self, steps: Iterable[str]) -> int:
        """The opset to which steps for every cluster raise a model, where they change anything."""
        return max((self.opset(step) for step in set(steps) - {KEEP}), default=0)

    def acting_steps(self, steps: Sequence[str]) -> list[str]:
        """Steps that change any of their clusters; a step that changes nothing raises no opset."""
        opset = self.newest_opset(steps)
        acting = set()
        for i, step in enumerate(steps):
            if step != KEEP:
                effect = self.effect(step, opset)
                if effect.clusters[i].changes or effect.integer[i]:
                    acting.add(step)
        return sorted(acting)

    def refusals(self, choices: Sequence[Choice]) -> list[Refusal]:
        """Refusals of operators that choices name and leave as they are."""
        steps = self.steps(choices)
        opset = self.newest_opset(steps)
        refusals: list[Refusal] = []
        for i, step in enumerate(steps):
            if step == KEEP:
                continue
            effect = self.effect(step, opset).clusters[i]
            changed = {change.operator for change in effect.changes}
            refusals += [r for r in effect.refusals if r.operator not in changed]
            if not effect.changes and not effect.refusals:
                reason = f"'{step}' finds nothing in it that it could change"
                remedy = "choose another step, or keep"
                refusals.append(Refusal(self.names[i][0], "no-site", reason, remedy))
        return refusals

    def precision(self, chosen: Sequence[ClusterStep]) -> Precision:
        """Precision in which each operator computes."""
        changes = [change for i, effect in chosen for change in effect.clusters[i].changes]
        precision = self.planner.pricing.precision(changes, "float32")
        dtypes = list(precision.dtypes)
        weight_bytes = precision.weight_bytes.copy()
        for i, effect in chosen:
            if effect.integer[i]:
                for row in self.rows[i]:
                    dtypes[row] = "int8"
                    weight_bytes[row] = 1.0
        return Precision(tuple(dtypes), weight_bytes)

    def effect(self, step: str, opset: int) -> StepEffect:
        """Effect of a step on every cluster of the model at an opset."""
        if (opset, step) not in self._effects:
            recipe = self.recipe(step)
            baseline = self.planner.sizes.baseline(opset)
            clusters = self.cluster_effects(baseline, recipe)
            recipes = [recipe] * len(clusters)
            integer = [""] * len(clusters)
            if computes_in_integers(step):
                clusters, recipes, integer = self.integer_effects(baseline, clusters, step)
            smallest, largest, functions = self.extremes(baseline, recipe, recipes)
            self._effects[opset, step] = StepEffect(
                clusters,
                smallest,
                largest,
                np.array([coded_bytes(effect.changes) for effect in clusters]).reshape(-1, 2),
                self.planner.sample.codes(recipe),
                integer,
                functions,
            )
        return self._effects[opset, step]

    def extremes(
        self, baseline: Baseline, recipe: Recipe, recipes: Sequence[Recipe]
    ) -> tuple[Sequence[Recipe], Sequence[Recipe], Mapping[str, int]]:
        """Recipes that store least and most of each cluster, and the functions of all.

        Args:
            baseline: the model.
            recipe: of the step.
            recipes: of each cluster, for steps whose widths no samples choose.
        """
        versions = width_versions(recipe)
        if not versions:
            return recipes, recipes, baseline.apply(recipe).functions
        functions: dict[str, int] = {}
        growth = []  # (versions, clusters)
        for version in versions:
            functions |= baseline.apply(version).functions
            growth.append([effect.growth for effect in self.cluster_effects(baseline, version)])
        smallest = [versions[row] for row in np.argmin(growth, axis=0)]
        largest = [versions[row] for row in np.argmax(growth, axis=0)]
        return smallest, largest, functions

    def integer_effects(
        self, baseline: Baseline, stand_ins: Sequence[ClusterEffect], step: str
    ) -> tuple[list[ClusterEffect], list[Recipe], list[str]]:
        """Effects of a step that computes in integers.

        Args:
            baseline: the model.
            stand_ins: effects of the recipe that stands in for it.
            step: its first method computes in integers; others take what that leaves in float.

        Returns:
            For every cluster its effect, the recipe applied to it, and the integer method or "".
        """
        first, *following = parse_recipe(step).steps
        sites = list(METHODS[first.method].sites(baseline.model.graph, first.config))
        refusals = {
            site.operator: replace(site, method=first.method)
            for site in sites
            if isinstance(site, Refusal)
        }
        able = {site.operator for site in sites if not isinstance(site, Refusal)}
        float_recipe = without_equalize(Recipe(tuple(following)))
        float_effects = self.cluster_effects(baseline, float_recipe)
        effects: list[ClusterEffect] = []
        recipes: list[Recipe] = []
        methods: list[str] = []
        for i, cluster in enumerate(self.clusters(baseline)):
            if able.isdisjoint(cluster.names):
                refused = [refusals[name] for name in cluster.names if name in refusals]
                effect = float_effects[i]
                effects.append(replace(effect, refusals=(*refused, *effect.refusals)))
                recipes.append(float_recipe)
                methods.append("")
            else:
                effects.append(stand_ins[i])
                recipes.append(STAND_IN)
                methods.append(first.method)
        return effects, recipes, methods

    def opset(self, step: str) -> int:
        """The opset of a model after a step, at least its own."""
        return max(least_opset(self.recipe(step)), self.planner.model.opset())

    def recipe(self, step: str) -> Recipe:
        """The recipe of a step; a stand-in that stores about as much for integer methods."""
        if computes_in_integers(step):
            return STAND_IN
        return without_equalize(parse_recipe(step))


def _functions(effects: Iterable[StepEffect]) -> dict[str, int]:
    """Bytes of the functions that steps need, by name."""
    functions: dict[str, int] = {}
    for effect in effects:
        functions |= effect.functions
    return functions


def without_equalize(recipe: Recipe) -> Recipe:
    """A recipe without equalization, which changes no size and cannot work on zeros."""
    return replace(recipe, steps=tuple(s for s in recipe.steps if s.method != "equalize"))
