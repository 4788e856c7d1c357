"""Apply a recipe: clone, find sites, observe, change, check; once for all methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

import onnx_ir as ir

from packlight.compression.calibration_data import StepData, step_learns
from packlight.compression.local_functions import inline_functions
from packlight.compression.method import Method, Site
from packlight.compression.methods.stored_weights import SiteChoice, store_choices
from packlight.compression.methods.table import METHODS
from packlight.compression.sites.weight_roles import is_standard
from packlight.compression.threads import limited_threads
from packlight.compression.unchanged_weights import (
    StoredFloats,
    attribute_weights,
    floats_before,
    unchanged_weights,
)
from packlight.errors import CheckError, ModelError, RecipeError
from packlight.model import Model, graphs, initializers, name_operators, raise_opset
from packlight.records.configs import RoundingConfig
from packlight.records.recipe import Recipe, Step
from packlight.records.variant import Change, MadeCalibration, Refusal
from packlight.runtime.calibration import Calibrator, FloatReference

HELD_BYTES = 64 * 2**20
"""Weights up to which codes are computed once and held; above, when they are written."""


@dataclass(frozen=True, slots=True)
class AppliedRecipe:
    """Result of a recipe.

    Attributes:
        model: the new model; the original is untouched.
        recipe: its steps.
        changes: made, step by step.
        refusals: of sites that stay as they are.
        calibrations: samples that were made for steps.
    """

    model: Model
    recipe: Recipe
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    calibrations: tuple[MadeCalibration, ...] = ()


def compress(
    model: Model,
    recipe: Recipe,
    calibrator: Calibrator | None = None,
    held: int = HELD_BYTES,
    *,
    in_place: bool = False,
    threads: int | None = None,
) -> AppliedRecipe:
    """Apply a recipe.

    Args:
        model: stays as it is, unless it is to be edited in place.
        recipe: ordered steps; later ones start from the results of earlier ones.
        calibrator: runs the calibration samples, if there are any.
        held: bytes of weights up to which the new ones are computed at once and held in memory;
            above, each is computed when it is written, and let go.
        in_place: whether the model may be edited, which saves a copy of a large graph.
        threads: of linear algebra and compiled kernels; see ``limited_threads``.

    Returns:
        The new model with its changes and refusals.

    Raises:
        RecipeError: a step finds no operator that it names, or needs data that is not there.
        ModelError: the graph that a step made does not run on the calibration samples.
    """
    inlined = inline_functions(model)
    limit = limited_threads(threads) if held or calibrator is not None else nullcontext()
    run = Run(recipe, (calibrator or Calibrator()).for_recipe(recipe.seed), held)
    with limit:
        applied = run.apply(inlined, in_place=in_place or inlined is not model)
        if applied.changes or inlined is model:
            return applied
        with_calls = run.apply(model, in_place=in_place)  # calls are smaller than what they call
    return replace(with_calls, refusals=applied.refusals)


@dataclass(frozen=True, slots=True)
class Run:
    """Steps that are applied one after another.

    Attributes:
        recipe: the steps.
        calibrator: runs the calibration samples, if there are any.
        held: bytes of weights up to which the new ones are computed at once and held in memory.
    """

    recipe: Recipe
    calibrator: Calibrator
    held: int

    def apply(self, model: Model, *, in_place: bool) -> AppliedRecipe:
        """Apply the steps to a model; it stays as it is, unless it is to be edited in place."""
        changes: list[Change] = []
        refusals: list[Refusal] = []
        steps = self.recipe.steps
        current = model
        reference: FloatReference | None = None
        original = _original(model, steps, in_place=in_place)
        data = StepData(self.calibrator, model)
        for run in passes(steps):
            last = steps[run[-1]]
            after = steps[run[-1] + 1 :]
            opset = max((_needed_opset(current.graph, s) for s in after), default=0)
            editable = in_place or current is not model
            referred = needs_reference((last, *after))
            start = StepInput(current, editable, reference, referred, original)
            with _named_step(run[0] + 1, steps[run[0]]):
                chosen = [steps[index] for index in run]
                calibrator = data.calibrator_for(list(filter(step_learns, chosen)))
                if _is_choice(last):
                    result = _apply_choices(start, chosen, opset, calibrator, self.held)
                else:
                    result = _apply_step(start, last, opset, calibrator, self.held)
            current = result.model
            reference = result.reference
            changes += result.changes
            refusals += result.refusals
        made = tuple(data.made.values())
        return AppliedRecipe(current, self.recipe, tuple(changes), tuple(refusals), made)


def _original(model: Model, steps: Sequence[Step], *, in_place: bool) -> Model | None:
    """The model that a recipe starts from, where a step compares with it."""
    if not any(METHODS[step.method].learns for step in steps):
        return None
    return Model(model.clone(), model.name) if in_place else model


def passes(steps: Sequence[Step]) -> list[list[int]]:
    """Indices of the steps, those together that round weights in one pass.

    They follow one another, name their operators and store weights in other forms.

    Raises:
        RecipeError: an operator is named twice in a pass.
    """
    runs: list[list[int]] = []
    for index, step in enumerate(steps):
        if runs and _is_choice(step) and _is_choice(steps[runs[-1][-1]]):
            runs[-1].append(index)
        else:
            runs.append([index])
    for run in runs:
        counts = Counter(name for index in run for name in steps[index].sites)
        for name, count in counts.items():
            if count > 1:
                raise RecipeError(f"an operator is named by one step; '{name}' is by {count}")
    return runs


def _is_choice(step: Step) -> bool:
    """Tell if a step stores the weights of named operators, of one width each."""
    if not step.sites or METHODS[step.method].storage is None:
        return False
    return not (isinstance(step.config, RoundingConfig) and step.config.mixed)


@contextmanager
def _named_step(number: int, step: Step) -> Iterator[None]:
    """Say which step of a recipe makes a graph that does not run on the calibration samples."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"step {number} of the recipe, '{step.text()}', fails: {error}") from error


def _needed_opset(graph: ir.Model, step: Step) -> int:
    """The opset that a later step would raise a graph to as it is now; 0 where it changes nothing.

    Raising it at once is better: the converter dissolves calls of the model's own functions.
    """
    method = METHODS[step.method]
    config = step.config
    opset = method.opset(config)
    if graph.opset_imports.get("", 0) >= opset:
        return 0
    sites = (site for site in method.sites(graph, config) if not isinstance(site, Refusal))
    if any(step.applies_to(site.operator) for site in sites):
        return opset
    return 0


def needs_reference(steps: Sequence[Step]) -> bool:
    """Tell whether a later step of the same run may need the graph before the first step.

    A run is a sequence of steps that only replace weights.
    """
    run = list(takewhile(lambda step: METHODS[step.method].replaces, steps))
    after = steps[len(run) : len(run) + 1]
    learned = bool(run) and any(METHODS[step.method].learns for step in after)
    return learned or any(map(step_learns, run[1:]))


@dataclass(frozen=True, slots=True)
class StepInput:
    """Model that a step starts from.

    Attributes:
        model: the model.
        editable: whether nobody else needs it, so that it may be edited.
        reference: the model before the first step of the run that this step continues, if one
            changed anything.
        needs_reference: whether a later step of the run may need it.
        original: the model that the recipe started from, where a step compares with it.
    """

    model: Model
    editable: bool
    reference: FloatReference | None = None
    needs_reference: bool = False
    original: Model | None = None

    def graph_at(self, opset: int) -> ir.Model:
        """A graph to edit, at this opset or a newer one.

        A step without sites leaves it as it is, so it is the model's own only where it need not be
        raised.
        """
        if self.editable and self.model.opset() >= opset:
            return self.model.graph
        return raise_opset(self.model.clone(), opset)

    def reference_for(self, graph: ir.Model) -> FloatReference | None:
        """The model before the run, where this graph is what the step is about to edit."""
        if self.reference is None and self.needs_reference:
            return FloatReference(graph.clone())
        return self.reference


@dataclass(frozen=True, slots=True)
class StepResult:
    """Model that a step made, with the reference for the steps after it.

    Attributes:
        model: after the step.
        reference: before the run that the step belongs to, where a later step may need it.
        changes: made by the step.
        refusals: of sites that stay as they are.
    """

    model: Model
    reference: FloatReference | None
    changes: Sequence[Change]
    refusals: Sequence[Refusal]


def _apply_step(
    start: StepInput, step: Step, opset: int, calibrator: Calibrator, held: int
) -> StepResult:
    """Apply one step to a graph that is raised to an opset at least where it is changed."""
    method = METHODS[step.method]
    model = start.model
    config = step.config
    before = _interface(model)
    graph = start.graph_at(max(method.opset(config), opset))
    sites, refusals = _matches(graph, step)
    reference = start.reference if method.replaces or method.learns else None
    silent = partial(_silent, step)
    if not sites and not method.whole:
        refusals += silent(graph, floats_before(graph, method.least_size or 1), refusals)
        return StepResult(model, reference, [], refusals)
    if method.replaces:
        reference = start.reference_for(graph)
    original = start.original if method.learns else None
    bound = calibrator.for_step(model.name, method.name, reference, original)
    before_step = floats_before(graph, method.least_size or 1)
    results = method.apply(graph, sites, bound, config)
    changes = [entry for entry in results if isinstance(entry, Change)]
    if reference is not None and method.makes_up(config):
        compensated = reference.compensated.union(change.operator for change in changes)
        reference = replace(reference, compensated=compensated)
    refusals += [replace(e, method=method.name) for e in results if isinstance(e, Refusal)]
    _drop_unread(graph)
    name_operators(graph)
    refusals += silent(graph, before_step, refusals)
    if held and weight_bytes(graph) <= held:
        _hold(graph)
    result = Model(graph, model.name)
    _check_interface(before, _interface(result), method.name)
    return StepResult(result, None if method.learns else reference, changes, refusals)


def _matches(graph: ir.Model, step: Step) -> tuple[list[Site], list[Refusal]]:
    """The sites that a step is for, and refusals of those that it cannot change.

    Raises:
        RecipeError: the step names an operator that it could not change if it wanted.
    """
    method = METHODS[step.method]
    matches = [s for s in method.sites(graph, step.config) if step.applies_to(s.operator)]
    if isinstance(step.where, str) and step.where and not matches:
        raise RecipeError(
            f"where='{step.where}' matches no operator that '{step.method}' could change; "
            "packlight profile MODEL names them"
        )
    unknown = set(step.sites).difference(site.operator for site in matches)
    if unknown:
        raise RecipeError(
            f"sites= names '{min(unknown)}', which '{step.method}' could not change; "
            "packlight profile MODEL names operators"
        )
    inspected = [_inspect(site, method) for site in matches]
    refusals = [replace(r, method=method.name) for r in inspected if isinstance(r, Refusal)]
    return [site for site in inspected if not isinstance(site, Refusal)], refusals


def _apply_choices(
    start: StepInput, steps: Sequence[Step], opset: int, calibrator: Calibrator, held: int
) -> StepResult:
    """Apply steps that store weights in one pass: each weight in the order in which it runs."""
    model = start.model
    before = _interface(model)
    methods = [METHODS[step.method] for step in steps]
    needed = [method.opset(step.config) for method, step in zip(methods, steps, strict=True)]
    graph = start.graph_at(max(opset, *needed))
    choices: list[SiteChoice[Any, Any, Any]] = []
    refusals: list[Refusal] = []
    for method, step in zip(methods, steps, strict=True):
        sites, refused = _matches(graph, step)
        assert method.storage is not None
        choices += [SiteChoice(method.storage, step.config, site) for site in sites]
        refusals += refused
    if not choices:
        return StepResult(model, start.reference, [], refusals)
    reference = start.reference_for(graph)
    before_step = floats_before(graph, min(method.least_size for method in methods))
    bound = calibrator.for_step(model.name, steps[0].method, reference)
    results = store_choices(graph, choices, bound)
    changes = [entry for entry in results if isinstance(entry, Change)]
    refusals += [entry for entry in results if isinstance(entry, Refusal)]
    if reference is not None:
        made_up = {choice.site.operator for choice in choices if choice.makes_up}
        reference = replace(reference, compensated=reference.compensated.union(made_up))
    _drop_unread(graph)
    name_operators(graph)
    for step in steps:
        refusals += _silent(step, graph, before_step, refusals)
    if held and weight_bytes(graph) <= held:
        _hold(graph)
    result = Model(graph, model.name)
    _check_interface(before, _interface(result), steps[0].method)
    return StepResult(result, reference, changes, refusals)


def _silent(
    step: Step, graph: ir.Model, before: Mapping[str, StoredFloats], refusals: Sequence[Refusal]
) -> list[Refusal]:
    """Refusals of weights that a step neither changed nor refused."""
    method = METHODS[step.method]
    if not method.least_size:
        return []
    named = {refusal.operator for refusal in refusals}
    missed = [
        *unchanged_weights(graph, before, named, method.least_size),
        *attribute_weights(graph, named, method.least_size),
    ]
    asked = [refusal for refusal in missed if step.applies_to(refusal.operator)]
    return [replace(refusal, method=method.name) for refusal in asked]


def _inspect(site: Site | Refusal, method: Method[Any, Any]) -> Site | Refusal:
    if isinstance(site, Refusal):
        return site
    return method.inspect(site) or site


def _drop_unread(model: ir.Model) -> None:
    """Drop stored values that nothing reads, wherever they are stored."""
    for graph in graphs(model):
        inputs = set(map(id, graph.inputs))
        for name, value in list(graph.initializers.items()):
            if _is_unread(value) and id(value) not in inputs:
                del graph.initializers[name]
    for function in model.functions.values():
        _drop_unread_constants(function.graph)
        for graph in function.subgraphs():
            _drop_unread_constants(graph)
    for graph in list(graphs(model)):
        _drop_unread_constants(graph)


def _drop_unread_constants(graph: ir.Graph) -> None:
    unread = [
        node
        for node in graph
        if is_standard(node, "Constant") and all(map(_is_unread, node.outputs))
    ]
    graph.remove(unread, safe=True)


def _is_unread(value: ir.Value) -> bool:
    return not value.uses() and not value.is_graph_output()


def weight_bytes(graph: ir.Model) -> int:
    """Bytes of all stored values."""
    return sum(value.const_value.nbytes for value in initializers(graph) if value.const_value)


def _hold(graph: ir.Model) -> None:
    for value in initializers(graph):
        if isinstance(value.const_value, ir.LazyTensor):
            value.const_value = value.const_value.raw()


Interface = Mapping[str, Mapping[str, ir.DataType | None]]


def _interface(model: Model) -> Interface:
    sides = {"inputs": model.inputs(), "outputs": model.outputs()}
    return {
        side: {name: value.dtype for name, value in values.items()}
        for side, values in sides.items()
    }


def _check_interface(before: Interface, after: Interface, method: str) -> None:
    for side, old in before.items():
        new = after[side]
        stated = {name: dtype or new.get(name) for name, dtype in old.items()}
        if [*stated.items()] != [*new.items()]:
            raise CheckError(f"'{method}' changed the {side} of the model from {old} to {new}")
