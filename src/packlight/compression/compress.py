"""Apply a recipe: clone, find sites, observe, change, check; once for all methods."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from packlight.compression.method import Comparison, Method, Original, Place, Statistic
from packlight.compression.methods.table import method as method_named
from packlight.errors import CheckError, RecipeError
from packlight.model import Model, graphs, initializers, name_operators, raise_opset
from packlight.records.recipe import Recipe, Step
from packlight.records.variant import Change, Refusal
from packlight.runtime.isolation.limits import cores

Values = Callable[[Model, Sequence[str], int], Iterable[Mapping[str, NDArray[np.generic]]]]
"""Runs calibration samples through a model and gives the values of chosen tensors, call by call.

The number is how many samples at most, evenly spread ones; 0 takes all.
"""


def no_values(
    model: Model, names: Sequence[str], most: int
) -> Iterable[Mapping[str, NDArray[np.generic]]]:
    """Those of no samples."""
    del model, names, most
    return ()


@dataclass(frozen=True, slots=True)
class Stream:
    """Calibration samples and how they run.

    Attributes:
        values: gives values of tensors.
        carried: outputs that the model is fed again at the next call of a sample.
        imagined: whether nothing is looked at, because only the size of what is made is asked for.
    """

    values: Values = no_values
    carried: Collection[str] = ()
    imagined: bool = False


NO_DATA = Stream()

HELD = 64 * 2**20
"""Bytes of weights up to which codes are computed once and held; above, when they are written."""


@dataclass(frozen=True, slots=True)
class AppliedRecipe:
    """What a recipe made.

    Attributes:
        model: the new model; the one given is untouched.
        recipe: with every option spelled out.
        changes: what was changed, step by step.
        refusals: what could have been and was not.
    """

    model: Model
    recipe: Recipe
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]


def canonical_recipe(recipe: Recipe) -> Recipe:
    """The recipe with every option spelled out, so that equal recipes have equal ids.

    Raises:
        RecipeError: a method or an option does not exist, or ``where`` is no regular expression.
    """
    return Recipe(tuple(canonical_step(step) for step in recipe.steps), recipe.seed)


def canonical_step(step: Step) -> Step:
    """A step with every option spelled out."""
    chosen = method_named(step.method)
    if step.where and chosen.whole:
        raise RecipeError(f"'{step.method}' works on the whole model; leave out where=")
    try:
        re.compile(step.where)
    except re.error as error:
        raise RecipeError(f"where='{step.where}' is no regular expression: {error}") from error
    return Step(step.method, chosen.options(chosen.configured(step.config)), step.where)


def uses_data(recipe: Recipe) -> bool:
    """Whether a step of the recipe looks at calibration samples."""
    return any(map(looks, recipe.steps))


def looks(step: Step) -> bool:
    """Whether a step looks at calibration samples."""
    chosen = method_named(step.method)
    return chosen.uses_data(chosen.configured(step.config))


def compress(
    model: Model,
    recipe: Recipe,
    stream: Stream = NO_DATA,
    held: int = HELD,
    *,
    in_place: bool = False,
) -> AppliedRecipe:
    """Apply a recipe.

    Linear algebra gets half of the cores where there is any: its threads wait by spinning, which
    would slow down the model that runs beside it, and the compiled kernels.

    Args:
        model: stays as it is, unless it is to be edited in place.
        recipe: ordered steps; later ones see what earlier ones made.
        stream: runs the calibration samples.
        held: bytes of weights up to which the new ones are computed at once and held in memory;
            above, each is computed when it is written, and let go.
        in_place: whether the model may be edited, which saves a copy of a large graph.

    Returns:
        The new model with its changes and refusals.

    Raises:
        RecipeError: the recipe names what does not exist, or needs data that is not there.
    """
    full = canonical_recipe(recipe)
    changes: list[Change] = []
    refusals: list[Refusal] = []
    current, original = model, None
    with half_the_cores() if held or stream is not NO_DATA else nullcontext():
        for place, step in enumerate(full.steps):
            opset = max((needed(current.graph, one) for one in full.steps[place + 1 :]), default=0)
            spare = in_place or current is not model
            start = Start(current, spare, original, looked_back_on(full.steps[place:]))
            done = apply_step(start, step, opset, (stream, held))
            current, original = done.model, done.original
            changes += done.changes
            refusals += done.refusals
    return AppliedRecipe(current, full, tuple(changes), tuple(refusals))


def half_the_cores() -> AbstractContextManager[object]:
    """Within it linear algebra takes half of the cores."""
    found: AbstractContextManager[object] = threadpool_limits(max(1, cores() // 2), "blas")
    return found


def needed(graph: ir.Model, step: Step) -> int:
    """The opset that a later step would raise a graph to as it is now; 0 where it changes nothing.

    Raising it at once is better: the converter dissolves calls of the model's own functions.
    """
    chosen = method_named(step.method)
    config = chosen.configured(step.config)
    if graph.opset_imports.get("", 0) >= chosen.opset(config):
        return 0
    sites = (one for one in chosen.sites(graph, config) if not isinstance(one, Refusal))
    return chosen.opset(config) if any(re.search(step.where, s.operator) for s in sites) else 0


def looked_back_on(steps: Sequence[Step]) -> bool:
    """Whether a later step of the same run may aim at the graph that the first of these finds.

    A run are steps one after the other that only replace weights.
    """
    run = list(takewhile(lambda step: method_named(step.method).replaces, steps))
    return any(map(looks, run[1:]))


@dataclass(frozen=True, slots=True)
class Start:
    """What a step starts from.

    Attributes:
        model: the model.
        spare: whether nobody else needs it, so that it may be edited.
        original: what it was before the first step of the run that this step goes on with, if one
            did anything.
        looked_back_on: whether a later step of the run may ask for it.
    """

    model: Model
    spare: bool
    original: Original | None = None
    looked_back_on: bool = False

    def at(self, opset: int) -> ir.Model:
        """A graph to edit, at this opset or a newer one.

        A step that finds nothing to change leaves it as it is, so it is the model's own only where
        it need not be raised.
        """
        if self.spare and self.model.opset() >= opset:
            return self.model.graph
        return raise_opset(self.model.clone(), opset)

    def before_run(self, graph: ir.Model) -> Original | None:
        """What the model was before the run, where this graph is what the step is about to edit."""
        if self.original is None and self.looked_back_on:
            return Original(graph.clone())
        return self.original


@dataclass(frozen=True, slots=True)
class Done:
    """What a step made.

    Attributes:
        model: after it.
        original: what it was before the run that the step belongs to, where a later step may ask
            for it.
        changes: what was changed.
        refusals: what could have been and was not.
    """

    model: Model
    original: Original | None
    changes: Sequence[Change]
    refusals: Sequence[Refusal]


def apply_step(start: Start, step: Step, opset: int, samples: tuple[Stream, int]) -> Done:
    """Apply one step to a graph that is raised to an opset at least where it is changed."""
    (stream, held), chosen = samples, method_named(step.method)
    model, config = start.model, chosen.configured(step.config)
    before, graph = interface(model), start.at(max(chosen.opset(config), opset))
    found = [s for s in chosen.sites(graph, config) if re.search(step.where, s.operator)]
    if step.where and not found:
        raise RecipeError(
            f"where='{step.where}' matches no operator that '{step.method}' could change; "
            "packlight profile MODEL names them"
        )
    checked = [s if isinstance(s, Refusal) else inspected(s, chosen) for s in found]
    sites = [s for s in checked if not isinstance(s, Refusal)]
    refusals = [replace(s, method=chosen.name) for s in checked if isinstance(s, Refusal)]
    if not sites and not chosen.whole:
        return Done(model, start.original if chosen.replaces else None, [], refusals)
    original = start.before_run(graph) if chosen.replaces else None
    look = Looking(stream, model.name, chosen.name, original)
    done = chosen.apply(graph, sites, look, config)
    changes = [entry for entry in done if isinstance(entry, Change)]
    if original is not None and chosen.makes_up(config):
        settled = original.settled.union(change.operator for change in changes)
        original = replace(original, settled=settled)
    refusals += [replace(e, method=chosen.name) for e in done if isinstance(e, Refusal)]
    drop_unread(graph)
    name_operators(graph)
    if held and weight_bytes(graph) <= held:
        hold(graph)
    made = Model(graph, model.name)
    check_interface(before, interface(made), chosen.name)
    return Done(made, original, changes, refusals)


def inspected(site: Place, chosen: Method[Any, Any]) -> Place | Refusal:
    """A site, or why its numbers cannot be used."""
    reason = chosen.inspect(site)
    return Refusal(site.operator, reason) if reason else site


@dataclass(frozen=True, slots=True)
class Looking:
    """Lets a method look at the calibration samples.

    Attributes:
        stream: the samples.
        model: name of the model.
        method: name of the method.
        original: what the model was before the run of steps that this one belongs to; None where it
            finds it as it was.
    """

    stream: Stream
    model: str
    method: str
    original: Original | None = None

    @property
    def carried(self) -> Collection[str]:
        """Outputs that the model is fed again."""
        return self.stream.carried

    @property
    def imagined(self) -> bool:
        """Whether the values say nothing."""
        return self.stream.imagined

    def __call__(
        self, graph: ir.Model, statistics: Mapping[str, Sequence[Statistic]], most: int = 0
    ) -> None:
        """Show statistics the values they are made of."""
        calls = 0
        for values in self.stream.values(Model(graph, self.model), list(statistics), most):
            calls += 1
            for name, value in values.items():
                for statistic in statistics[name]:
                    statistic.update(value)
        self.check_any(calls, statistics)

    def beside(
        self, graph: ir.Model, other: ir.Model, comparisons: Mapping[str, Sequence[Comparison]]
    ) -> None:
        """Show comparisons the values of both graphs; one that only one graph has is left out."""
        calls, names = 0, list(comparisons)
        both = (self.stream.values(Model(one, self.model), names, 0) for one in (graph, other))
        for values, meant in zip(*both, strict=True):
            calls += 1
            for name in values.keys() & meant.keys():
                for comparison in comparisons[name]:
                    comparison.compare(values[name], meant[name])
        self.check_any(calls, comparisons)

    def check_any(self, calls: int, wanted: Mapping[str, object]) -> None:
        """Refuse a task without calibration samples where something is made of them.

        Raises:
            RecipeError: there are none.
        """
        if not calls and wanted:
            raise RecipeError(
                f"'{self.method}' looks at calibration samples and the task has none; "
                "give it calibration data, or choose a method that needs none, as 'weights'"
            )


def drop_unread(graph: ir.Model) -> None:
    """Take out stored values that the step left without a reader."""
    for inner in graphs(graph):
        inputs = set(map(id, inner.inputs))
        for name, value in list(inner.initializers.items()):
            if not value.uses() and not value.is_graph_output() and id(value) not in inputs:
                del inner.initializers[name]


def weight_bytes(graph: ir.Model) -> int:
    """Bytes of all stored values."""
    return sum(value.const_value.nbytes for value in initializers(graph) if value.const_value)


def hold(graph: ir.Model) -> None:
    """Compute what is stored lazily, once."""
    for value in initializers(graph):
        if isinstance(value.const_value, ir.LazyTensor):
            value.const_value = value.const_value.raw()


Interface = Mapping[str, Mapping[str, ir.DataType | None]]


def interface(model: Model) -> Interface:
    """Names and types of inputs and outputs."""
    sides = {"inputs": model.inputs(), "outputs": model.outputs()}
    return {
        side: {name: value.dtype for name, value in values.items()}
        for side, values in sides.items()
    }


def check_interface(before: Interface, after: Interface, method: str) -> None:
    """A method leaves names and types of inputs and outputs as they are."""
    for side, old in before.items():
        new = after[side]
        if old != new:
            raise CheckError(f"'{method}' changed the {side} of the model from {old} to {new}")
