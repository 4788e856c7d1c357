"""What a file and a run would cost if operators were compressed one by one.

Each step is applied to the whole model once, to learn what it changes. Of a choice of steps, the
size is that of the file that they make together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from packlight.compression.methods.table import METHODS
from packlight.errors import RecipeError
from packlight.planning.cost.predict import Kind
from packlight.planning.feasibility import AS_IT_IS, Planner, coded_by
from packlight.planning.size.clusters import Cluster, clusters
from packlight.planning.size.download_estimate import STAND_IN, download
from packlight.planning.size.files import between, every_width
from packlight.planning.size.parts import Applied, Base, computes_in_integers, least_opset
from packlight.records.measurement import Measurement
from packlight.records.recipe import Recipe, Step, parse_recipe
from packlight.records.variant import Change, Refusal

KEEP = "keep"
"""The choice to leave operators as they are."""

OTHER_STEP = "choose another step, or keep"

PAIRS = {"static": (500, 4500), "dynamic": (0, 2000)}
"""Bytes that integer arithmetic adds for each operator: pairs, scales and names; from, to."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How some operators are compressed.

    Attributes:
        where: regular expression searched in their names.
        step: as recipes write it, or ``keep``.
    """

    where: str
    step: str


def parse_choice(text: str) -> Choice:
    """Read ``REGEX=STEP``, as in ``/blocks.*/=weights:4,block=32``.

    Raises:
        RecipeError: it has another form, or names no method or no regular expression.
    """
    for place in (found.start() for found in re.finditer("=", text)):
        where, step = text[:place], text[place + 1 :]
        if where and re.match(r"\w*", step)[0] in (*METHODS, KEEP):  # type: ignore[index]
            return checked(Choice(where, step), text)
    raise RecipeError(
        f"a choice is OPERATOR=STEP, as in 'conv_3=weights:4' or 'conv_3=keep'; got '{text}'"
    )


def checked(choice: Choice, text: str) -> Choice:
    """A choice whose parts can be used."""
    try:
        re.compile(choice.where)
    except re.error as error:
        raise RecipeError(
            f"'{choice.where}' in '{text}' is no regular expression: {error}"
        ) from error
    if choice.step != KEEP:
        for step in parse_recipe(choice.step).steps:
            check_step(step, text)
    return choice


def check_step(step: Step, text: str) -> None:
    """Refuse a step that is not for the operators that a choice names."""
    if step.config.whole_model:
        raise RecipeError(
            f"a choice is for single operators and '{step.method}' works on the whole model; "
            f"leave it out of '{text}'"
        )
    if step.where:
        raise RecipeError(
            f"a choice names its operators before the step; leave where= out of '{text}'"
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A step's effect on the operators of one cluster.

    Attributes:
        changes: what is changed.
        refusals: what is left as it is, and why.
    """

    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A step's effect on every cluster.

    Attributes:
        parts: of each.
        smallest: recipe that stores least of each; where samples choose widths, of all widths.
        largest: recipe that stores most of each.
        coded: bytes of weights that become codes, and of codes; of each.
        shares: of their bytes that the codes zip to, at least and at most.
        integer: the method by which each computes in integers; empty where it does in floats.
        functions: bytes of the functions that any width needs, by name.
    """

    parts: Sequence[Part]
    smallest: Sequence[Recipe]
    largest: Sequence[Recipe]
    coded: NDArray[np.float64]
    shares: tuple[float, float]
    integer: Sequence[str]
    functions: Mapping[str, int]

    @property
    def is_mixed(self) -> bool:
        """Whether samples choose widths."""
        return self.smallest is not self.largest


def functions_of(columns: Iterable[Column]) -> dict[str, int]:
    """Functions that some columns need, with the bytes of each."""
    return {name: size for column in columns for name, size in column.functions.items()}


class WhatIf:
    """Predictions for choices per operator.

    Args:
        planner: of the model and its target.
    """

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self.columns: dict[tuple[int, str], Column] = {}
        self.recipes: dict[str, Recipe] = {}
        self.clusters: dict[int, tuple[Cluster, ...]] = {}
        self.names = [cluster.names for cluster in self.clusters_of(planner.sizes.base(0))]
        places = {name: index for index, name in enumerate(planner.load.names)}
        self.places = [[places[name] for name in names if name in places] for names in self.names]

    def clusters_of(self, base: Base) -> tuple[Cluster, ...]:
        """Operators of a model that read large stored values, those together that share one."""
        key = id(base)
        if key not in self.clusters:
            self.clusters[key] = tuple(clusters(base.model.graph))
        return self.clusters[key]

    def prepare(self, steps: Sequence[str]) -> None:
        """Apply steps to every operator, so that a choice among them takes one more application."""
        opsets = {self.opset(step) for step in steps}
        for at in opsets:
            for step in steps:
                if self.opset(step) <= at:
                    self.column(step, at)

    def choose(self, choices: Sequence[Choice]) -> dict[str, Measurement]:
        """Size, download, latency, memory and energy; later choices go before earlier ones.

        Raises:
            RecipeError: a choice matches no operator that it could change.
        """
        return self.predicted(self.steps(choices))

    def changed(self, choices: Sequence[Choice]) -> int:
        """How many operators choices change.

        Raises:
            RecipeError: a choice matches no operator that it could change.
        """
        found = (part for parts in self.parts(choices).values() for part in parts)
        return len({change.operator for part in found for change in part.changes})

    def parts(self, choices: Sequence[Choice]) -> dict[int, list[Part]]:
        """What choices do, by their places; those that later ones leave nothing are not there.

        Raises:
            RecipeError: a choice matches no operator that it could change.
        """
        places = self.chosen(choices)
        at = self.newest(self.steps(choices))
        found: dict[int, list[Part]] = {}
        for index, place in enumerate(places):
            if place is not None and choices[place].step != KEEP:
                part = self.column(choices[place].step, at).parts[index]
                found.setdefault(place, []).append(part)
        return found

    def steps(self, choices: Sequence[Choice]) -> list[str]:
        """The step for every cluster.

        Raises:
            RecipeError: a choice matches no operator that it could change.
        """
        return [KEEP if place is None else choices[place].step for place in self.chosen(choices)]

    def chosen(self, choices: Sequence[Choice]) -> list[int | None]:
        """For every cluster the place of the last choice that names it.

        Raises:
            RecipeError: a choice matches no operator that it could change.
        """
        places: list[int | None] = [None] * len(self.names)
        for place, choice in enumerate(choices):
            where = re.compile(choice.where)
            hit = [i for i, names in enumerate(self.names) if any(map(where.search, names))]
            if not hit:
                raise RecipeError(
                    f"'{choice.where}' matches no operator with a weight; packlight profile names "
                    "them"
                )
            for index in hit:
                places[index] = place
        return places

    def predicted(self, steps: Sequence[str]) -> dict[str, Measurement]:
        """What a step for every cluster gives."""
        used = self.acting(steps)
        at = self.newest(used)
        base = self.planner.sizes.base(at)
        columns = {step: self.column(step, at) for step in used}
        chosen = [(i, columns[step]) for i, step in enumerate(steps) if step in columns]
        size = self.size(base, chosen)
        before, after = (sum(float(column.coded[i][end]) for i, column in chosen) for end in (0, 1))
        shares = [column.shares for column in columns.values()]
        ends = (
            min((low for low, _ in shares), default=1.0),
            max((h for _, h in shares), default=1.0),
        )
        zipped = download(size, before, after, ends, self.planner.sample)
        kind = self.kind(chosen) if used else self.planner.predictor.plain
        return {"size": size, "download": zipped, **self.planner.predictor.costs(kind, size)}

    def size(self, base: Base, chosen: Sequence[tuple[int, Column]]) -> Measurement:
        """Bytes of the file, with the biases that steps with samples make."""
        smallest = self.together(base, [(i, column.smallest[i]) for i, column in chosen])
        largest = self.together(base, [(i, column.largest[i]) for i, column in chosen])
        least, most = smallest.size, largest.size
        columns = [column for _, column in chosen]
        if any(column.is_mixed for column in columns):
            certain = functions_of(column for column in columns if not column.is_mixed)
            least = smallest.plain_size + sum(certain.values())
            if largest.changes:
                most = largest.plain_size + sum(functions_of(columns).values())
        integers = [column.integer[i] for i, column in chosen if column.integer[i]]
        return self.widened(least, most, integers)

    def together(self, base: Base, chosen: Sequence[tuple[int, Recipe]]) -> Applied:
        """Apply a recipe of its own to each cluster; to a cluster left out, none."""
        groups: dict[int, tuple[Recipe, list[int]]] = {}
        for index, recipe in chosen:
            groups.setdefault(id(recipe), (recipe, []))[1].append(index)
        steps = [
            replace(step, where=self.where(indices))
            for recipe, indices in groups.values()
            for step in recipe.steps
            if self.has_sites(base, recipe, step, indices)
        ]
        applied = base.apply(Recipe(tuple(steps)))
        if not applied.changes:
            return replace(applied, size=self.planner.sizes.base(0).file.size())
        return applied

    def where(self, indices: Sequence[int]) -> str:
        """Regular expression of the names of operators of some clusters; empty for those of all."""
        if len(indices) == len(self.names):
            return ""
        names = [re.escape(name) for index in indices for name in self.names[index]]
        return f"^({'|'.join(names)})$"

    def has_sites(self, base: Base, recipe: Recipe, step: Step, indices: Sequence[int]) -> bool:
        """Tell whether a step of a recipe changes or refuses anything in some clusters."""
        parts = self.parts_of(base, recipe)
        changes = (change.method for index in indices for change in parts[index].changes)
        refusals = (refusal.method for index in indices for refusal in parts[index].refusals)
        return step.method in (*changes, *refusals)

    def parts_of(self, base: Base, recipe: Recipe) -> list[Part]:
        """Effects of a recipe on every cluster."""
        applied = base.apply(recipe)
        changes: dict[str, list[Change]] = {}
        for change in applied.changes:
            changes.setdefault(change.operator, []).append(change)
        refusals: dict[str, list[Refusal]] = {}
        for refusal in applied.refusals:
            refusals.setdefault(refusal.operator, []).append(refusal)
        return [
            Part(
                tuple(change for name in cluster.names for change in changes.get(name, ())),
                tuple(refusal for name in cluster.names for refusal in refusals.get(name, ())),
            )
            for cluster in self.clusters_of(base)
        ]

    def newest(self, steps: Iterable[str]) -> int:
        """The opset that steps for every cluster raise a model to, where they change anything."""
        return max((self.opset(step) for step in set(steps) - {KEEP}), default=0)

    def acting(self, steps: Sequence[str]) -> list[str]:
        """The steps for clusters that change any; what changes nothing raises no opset."""
        at, found = self.newest(steps), list[str]()
        for step in sorted(set(steps) - {KEEP}):
            column = self.column(step, at)
            own = [i for i, one in enumerate(steps) if one == step]
            if any(column.parts[i].changes or column.integer[i] for i in own):
                found.append(step)
        return found

    def refused(self, choices: Sequence[Choice]) -> list[Refusal]:
        """What choices name and leave as it is, with the reason.

        Raises:
            RecipeError: a choice matches no operator that it could change.
        """
        steps, found = self.steps(choices), list[Refusal]()
        at = self.newest(steps)
        for index, step in enumerate(steps):
            if step == KEEP:
                continue
            part = self.column(step, at).parts[index]
            touched = {change.operator for change in part.changes}
            found += [one for one in part.refusals if one.operator not in touched]
            if not part.changes and not part.refusals:
                reason = f"'{step}' finds nothing in it that it could change"
                found.append(Refusal(self.names[index][0], "no-site", reason, OTHER_STEP))
        return found

    def kind(self, chosen: Sequence[tuple[int, Column]]) -> Kind:
        """How each operator computes."""
        route = replace(AS_IT_IS, computes="float32")
        changes = [change for i, column in chosen for change in column.parts[i].changes]
        kind = self.planner.kind(route, changes)
        dtypes, weights = list(kind.dtypes), kind.weight_bytes.copy()
        for index, column in chosen:
            if column.integer[index]:
                for place in self.places[index]:
                    dtypes[place], weights[place] = "int8", 1.0
        return Kind(tuple(dtypes), weights)

    def widened(self, least: int, most: int, integers: Sequence[str]) -> Measurement:
        """A size; an estimate where operators compute in integers, whose pairs are shared."""
        low, high = (sum(PAIRS[one][end] for one in integers) for end in (0, 1))
        return between(least + low, most + high)

    def column(self, step: str, at: int) -> Column:
        """A step's effect on every cluster of the model at an opset."""
        if (at, step) not in self.columns:
            recipe = self.recipe(step)
            base = self.planner.sizes.base(at)
            parts = self.parts_of(base, recipe)
            recipes = [recipe] * len(parts)
            integer = [""] * len(parts)
            if computes_in_integers(step):
                parts, recipes, integer = self.in_integers(base, parts, step)
            smallest, largest, functions = self.extremes(base, recipe, recipes)
            self.columns[at, step] = Column(
                parts,
                smallest,
                largest,
                np.array([coded_by(part.changes) for part in parts]).reshape(-1, 2),
                self.planner.sample.codes(recipe),
                integer,
                functions,
            )
        return self.columns[at, step]

    def extremes(
        self, base: Base, recipe: Recipe, recipes: Sequence[Recipe]
    ) -> tuple[Sequence[Recipe], Sequence[Recipe], Mapping[str, int]]:
        """Recipes that store least and most of each cluster, and the functions of all.

        Args:
            base: the model.
            recipe: of the step.
            recipes: of each cluster, which count where samples choose no widths.
        """
        versions = every_width(recipe)
        if not versions:
            return recipes, recipes, base.apply(recipe).functions
        functions = {
            name: size
            for version in versions
            for name, size in base.apply(version).functions.items()
        }
        stored = np.array(
            [[stored_bytes(part) for part in self.parts_of(base, version)] for version in versions]
        )  # (versions, clusters)
        smallest = [versions[row] for row in stored.argmin(axis=0)]
        largest = [versions[row] for row in stored.argmax(axis=0)]
        return smallest, largest, functions

    def in_integers(
        self, base: Base, parts: Sequence[Part], step: str
    ) -> tuple[list[Part], list[Recipe], list[str]]:
        """Effects of a step that computes in integers, and by which method each cluster does.

        Args:
            base: the model.
            parts: what stands in for it, of every cluster.
            step: its first method computes in integers; others do what that leaves in float.

        Returns:
            Of every cluster its part, what is applied to it, and the integer method or nothing.
        """
        first, *others = parse_recipe(step).steps
        method = METHODS[first.method]
        sites = list(method.sites(base.model.graph, first.config))
        able = {site.operator for site in sites if not isinstance(site, Refusal)}
        left = {
            site.operator: replace(site, method=first.method)
            for site in sites
            if isinstance(site, Refusal)
        }
        names = [cluster.names for cluster in self.clusters_of(base)]
        found = [first.method * any(name in able for name in each) for each in names]
        then = without_equalize(Recipe(tuple(others)))
        refused = (
            replace(part, refusals=(*(left[n] for n in each if n in left), *part.refusals))
            for each, part in zip(names, self.parts_of(base, then), strict=True)
        )
        both = zip(found, parts, refused, strict=True)
        parts = [stands if integer else rest for integer, stands, rest in both]
        return parts, [STAND_IN if integer else then for integer in found], found

    def opset(self, step: str) -> int:
        """The opset of a model after a step, at least its own."""
        return max(least_opset(self.recipe(step)), self.planner.model.opset())

    def recipe(self, step: str) -> Recipe:
        """What is stored by a step; about that, where it computes in integers."""
        if step not in self.recipes:
            canonical = parse_recipe(step)
            self.recipes[step] = (
                STAND_IN if computes_in_integers(step) else without_equalize(canonical)
            )
        return self.recipes[step]


def without_equalize(recipe: Recipe) -> Recipe:
    """A recipe without the steps that change numbers and no sizes, which zeros cannot stand for."""
    return replace(recipe, steps=tuple(s for s in recipe.steps if s.method != "equalize"))


def stored_bytes(part: Part) -> int:
    """Bytes that a cluster's weights grow by; mostly below 0."""
    return sum(change.after - change.before for change in part.changes)
