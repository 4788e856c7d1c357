"""Feasibility: what each route gives for one model on one device, and the budgets it meets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from packlight.devices import operator_set
from packlight.planning.already_quantized import already_quantized, rare_types
from packlight.planning.cost.learning_time import SAMPLES, learning_time
from packlight.planning.cost.predict import (
    MICRO,
    custom_operators,
    model_functions,
    unsupported_operators,
)
from packlight.planning.cost.pricing import Pricing
from packlight.planning.recommendation import PREDICTED
from packlight.planning.routes import Route
from packlight.planning.size.download_estimate import download_sample, of_smaller_model
from packlight.planning.size.exact_size import STRUCTURAL, split_structure
from packlight.planning.size.files import Files, Original, constant_bytes
from packlight.profiling.profile import profile as count_costs
from packlight.records.budget import LOSSES, Budget, Limit, parse_budget
from packlight.records.codec import digest
from packlight.records.device import Device
from packlight.records.measurement import Measurement, Meets
from packlight.records.plan import RUNTIME, Damage, Effort, PlanOption
from packlight.records.profile import Profile
from packlight.records.recipe import Recipe, parse_recipe
from packlight.records.training_configs import Distill
from packlight.records.variant import Change, Refusal

AS_IT_IS = Route(
    "as it is", "", "", "float32", Effort("no data", "seconds"), Damage("none", "the model itself")
)
"""The user's file without compression."""

BYTES_BELOW_KB = 10**5
BYTES_BELOW_MB = 10**7
"""Limits below these are written in bytes, and in kB."""


@dataclass(frozen=True, slots=True)
class Target:
    """Device and budgets of a plan.

    Attributes:
        device: that the model must run on.
        unit: of the device, that computes.
        budget: besides the device's own limits.
    """

    device: Device
    unit: str
    budget: Budget

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Every limit; the device's own where the budget has no absolute one on the same cost."""
        budget = self.budget.all()
        bounded = {limit.metric for limit in budget if not limit.relative}
        limits = device_limits(self.device)
        return (*budget, *(limit for limit in limits if limit.metric not in bounded))


def device_limits(device: Device) -> tuple[Limit, ...]:
    """Storage and memory that a device leaves to one application."""
    texts = []
    if device.app_storage is not None:
        texts.append(f"size<={budget_bytes(device.app_storage)}")
    if device.app_ram is not None:
        texts.append(f"peak_memory<={budget_bytes(device.app_ram)}")
    return parse_budget(texts).all()


def budget_bytes(size: int) -> str:
    """Bytes in the notation of budgets, rounded down, with at least three digits.

    >>> [budget_bytes(size) for size in (1_900, 524_288, 10_990_000, 200_000_000)]
    ['1900B', '524kB', '10.9MB', '200MB']
    """
    if size < BYTES_BELOW_KB:
        return f"{size}B"
    if size < BYTES_BELOW_MB:
        return f"{size // 10**3}kB"
    if size < 10 * BYTES_BELOW_MB:
        return f"{size // 10**5 / 10:g}MB"
    return f"{size // 10**6}MB"


class Planner:
    """Predicts the costs of routes.

    Args:
        files: of the simplified model, for any recipe.
        profile: of the simplified model.
        target: device, unit and budgets.
        original: the user's file.
    """

    def __init__(self, files: Files, profile: Profile, target: Target, original: Original) -> None:
        self.files = files
        self.sizes = files.sizes
        self.model = model = files.sizes.model
        self.target = target
        self.inputs = profile.inputs
        self.sample = download_sample(model.graph)
        self.pricing = Pricing(model, profile, target.device, target.unit, sample=self.sample)
        self.workload = self.pricing.workload
        self.predictor = self.pricing.predictor
        self.quantized = already_quantized(model.graph, self.predictor.integer_products())
        functions = model_functions(model.graph)
        rare = rare_types(model.graph)
        self.unsupported = tuple(_unsupported(target, profile, functions, rare))
        self.custom_operators = custom_operators(target.device, target.unit, profile, functions)
        self.runtimes = target.device.units[target.unit].runtimes
        self.converts = self.pricing.converts
        self.original_costs = self.pricing.of_floats(original.size, original.operators)
        file = self.sizes.baseline(0).file
        self.graph_bytes = max(0, file.operators() - constant_bytes(model))
        self._smaller: dict[str, Pricing] = {}

    def original(self) -> PlanOption:
        """The model without compression."""
        return self.assess(AS_IT_IS, self.original_costs, (), ())

    def option(self, route: Route) -> PlanOption:
        """Predict one route and compare it with the budgets."""
        recipe = parse_recipe(route.recipe)
        file = self.files.count(recipe)
        structure, rest = split_structure(recipe)
        pricing = self.pricing
        coding = recipe
        if structure.steps and file.changes:
            pricing = self.after_structure(structure)
            coding = rest
        if coding is rest and all(change.method in STRUCTURAL for change in file.changes):
            costs = pricing.of_floats(int(file.size.value), self.graph_bytes)
        else:
            costs = pricing.of_codes(file.size, file.changes, coding, route.computes)
        refusals = [r for r in file.refusals if r.operator not in self.quantized]
        refusals += self.quantized.values()
        option = self.assess(route, costs, file.changes, refusals)
        if file.changes or not self.quantized:
            return replace(option, notes=(*option.notes, *learning_notes(recipe, pricing)))
        reason = f"It changes nothing: {len(self.quantized)} operators are quantized already."
        return replace(option, notes=(reason,))

    def after_structure(self, structure: Recipe) -> Pricing:
        """Prices of the model after structural steps."""
        key = digest(structure)
        if key not in self._smaller:
            model = self.sizes.baseline(0).after_structure(structure).baseline.model
            shapes = {
                name: [size for size in sizes if size is not None]
                for name, sizes in self.inputs.items()
                if None not in sizes
            }
            profile = count_costs(model, shapes)
            sample = of_smaller_model(self.sample, model.graph)
            self._smaller[key] = Pricing(
                model,
                profile,
                self.target.device,
                self.target.unit,
                sample=sample,
                larger=self.predictor,
            )
        return self._smaller[key]

    def assess(
        self,
        route: Route,
        costs: Mapping[str, Measurement],
        changes: Sequence[Change],
        refusals: Iterable[Refusal],
    ) -> PlanOption:
        """Compare the costs of a route with the budgets."""
        runtime_refusals = (*self.unsupported, *self.runtime_refusals(route))
        meets = self.met_limits(route, costs)
        if runtime_refusals:
            meets[RUNTIME] = "no"
        elif self.custom_operators:
            meets[RUNTIME] = "unclear"
        changed = {change.operator for change in changes}
        unchanged = (refusal for refusal in refusals if refusal.operator not in changed)
        return PlanOption(
            name=route.name,
            recipe=route.recipe,
            predicted=costs,
            meets=meets,
            changed=len(changed),
            refusals=(*runtime_refusals, *unchanged),
            effort=route.effort,
            damage=route.damage,
            notes=tuple(self.notes(route)),
        )

    def met_limits(self, route: Route, costs: Mapping[str, Measurement]) -> dict[str, Meets]:
        """Verdict on each predicted limit, by its text."""
        original = costs if route is AS_IT_IS else self.original_costs
        meets: dict[str, Meets] = {}
        for limit in self.target.limits:
            if limit.metric in PREDICTED:
                meets[limit.text] = "unclear"
                if limit.judged_by in costs:
                    meets[limit.text] = limit.met(costs[limit.judged_by], original)
        for limit in self.target.limits:
            if route is AS_IT_IS and limit.metric in LOSSES and limit.value < 0:
                meets[limit.text] = "no"  # it loses nothing against itself
        return meets

    def runtime_refusals(self, route: Route) -> Iterator[Refusal]:
        """Refusal where no runtime of the unit supports the storage; ONNX Runtime has none."""
        if not route.stores or not self.converts:
            return
        title = self.target.device.title
        formats = {name for runtime in self.runtimes for name in self.weight_formats(runtime)}
        if route.stores not in formats:
            reason = f"no runtime on {title} keeps weights as {route.stores}"
            remedy = f"choose what it keeps: {', '.join(sorted(formats))}"
            yield Refusal("", "unsupported-storage", reason, remedy)
        elif set(self.runtimes) == {MICRO} and route.computes != "int8":
            reason = f"on {title} weights are computed with as they are stored, never expanded"
            yield Refusal("", "not-expanded", reason, "choose 8-bit integers")

    def weight_formats(self, runtime: str) -> tuple[str, ...]:
        """Storage formats of weights that a runtime supports."""
        return operator_set(self.target.device.runtimes[runtime].operators).weights

    def notes(self, route: Route) -> Iterator[str]:
        """Effects of the device on a route."""
        dtype = self.predictor.computes(route.computes)
        title = self.target.device.title
        if route.computes == "float16" and not self.converts:
            yield "ONNX Runtime computes it in float32: it saves size, not time."
        elif dtype != route.computes:
            yield (
                f"On {title} it is computed in {dtype}: no runtime for its {self.target.unit} "
                f"computes in {route.computes}. It saves size, not time."
            )
        if route.computes == "int8" and self.target.device.saturates:
            yield (
                f"Sums of 8-bit products can saturate on {title}. Keep portable=true, which scales "
                "the weights of static and dynamic so that none does."
            )


def learning_notes(recipe: Recipe, pricing: Pricing) -> Iterator[str]:
    """Time to learn, where a recipe does.

    Args:
        recipe: of a route.
        pricing: of the model that learns.
    """
    if not any(isinstance(step.config, Distill) for step in recipe.steps):
        return
    work = pricing.workload
    taken = learning_time(float(work.macs.sum()))
    if taken and "recurrent" not in work.families:
        yield (
            f"It learns for as many minutes as distill,minutes= says (5); {SAMPLES:,} samples "
            f"take {taken} on this machine."
        )


def _unsupported(
    target: Target, profile: Profile, functions: Collection[str], dtypes: Mapping[str, str]
) -> Iterator[Refusal]:
    """Refusals of operator types that no runtime of the unit supports, with the first operator."""
    types = {operator.op for operator in profile.operators}
    names_by_type: dict[str, list[str]] = {}
    for name, op in unsupported_operators(target.device, target.unit, profile, functions, dtypes):
        names_by_type.setdefault(op, []).append(name)
    for op, names in names_by_type.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        reason = f"no runtime of its {target.unit} runs {op} ({names[0]}{more})"
        remedy = "replace the operator" if op in types else "export the model in float32"
        yield Refusal("", "no-kernel", reason, f"{remedy}, or choose another unit")
