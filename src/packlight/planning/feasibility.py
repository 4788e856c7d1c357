"""What routes give for one model on one device."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from packlight.benchmarking.latency import CPU
from packlight.devices import operator_set
from packlight.errors import ModelError
from packlight.planning.already_quantized import already_quantized, rare_types
from packlight.planning.cost.kernels import Kernels
from packlight.planning.cost.predict import (
    MICRO,
    Kind,
    Load,
    Predictor,
    between,
    foreign,
    functions_of,
    load_of,
    missing,
)
from packlight.planning.recommendation import PREDICTED
from packlight.planning.routes import Route
from packlight.planning.size.download_estimate import download, download_of_floats, sample_of
from packlight.planning.size.files import Files, Original, in_constants, original_of
from packlight.records.budget import LOSSES, Budget, Limit, parse_budget
from packlight.records.device import Device
from packlight.records.measurement import Measurement, Meets, counted
from packlight.records.plan import RUNTIME, Damage, Effort, PlanOption
from packlight.records.profile import Profile
from packlight.records.recipe import Recipe, parse_recipe
from packlight.records.storage import IntegerArithmetic, StoredGrid
from packlight.records.variant import Change, Refusal

NO_EFFORT, NO_DAMAGE = Effort("no data", "seconds"), Damage("none", "the model itself")
AS_IT_IS = Route("as it is", "", "", "float32", NO_EFFORT, NO_DAMAGE)


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan is for.

    Attributes:
        device: what the model must run on.
        unit: of it, that computes.
        budget: what must be kept, besides the device's own limits.
    """

    device: Device
    unit: str
    budget: Budget

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Every bound; the device's own where the budget has no absolute one on the same cost."""
        asked = self.budget.all()
        bounded = {limit.metric for limit in asked if not limit.relative}
        own = own_limits(self.device)
        return (*asked, *(limit for limit in own if limit.metric not in bounded))


def own_limits(device: Device) -> tuple[Limit, ...]:
    """What a device lets an application have."""
    texts = []
    if device.app_storage is not None:
        texts.append(f"size<={rounded(device.app_storage)}")
    if device.app_ram is not None:
        texts.append(f"peak_memory<={rounded(device.app_ram)}")
    return parse_budget(texts).all()


def rounded(size: int) -> str:
    """Bytes as a budget says them, never more, and in three digits at least.

    >>> rounded(1_900), rounded(524_288), rounded(10_990_000), rounded(200_000_000)
    ('1900B', '524kB', '10.9MB', '200MB')
    """
    if size < EXACT:
        return f"{size}B"
    if size < MANY:
        return f"{size // 10**3}kB"
    return f"{size // 10**5 / 10:g}MB" if size < 10 * MANY else f"{size // 10**6}MB"


EXACT, MANY = 10**5, 10**7
"""Bytes from which on a limit is told in kB, and from which on in MB."""


class Planner:
    """Predicts what routes give.

    Args:
        files: of the model, that recipes make.
        profile: of it, simplified.
        target: what it must run on, within what.
        original: the file as the user has it.
    """

    def __init__(self, files: Files, profile: Profile, target: Target, original: Original) -> None:
        self.files, self.sizes = files, files.sizes
        self.model = model = files.sizes.model
        self.target = target
        self.sample = sample_of(model.graph)
        self.load = load_of(model.graph, profile)
        self.predictor = Predictor(self.load, target.device, target.unit, self.kernels(profile))
        self.quantized = already_quantized(model.graph, self.predictor.integer_products())
        own = functions_of(model.graph)
        self.lacking = tuple(lacks(target, profile, own, rare_types(model.graph)))
        self.foreign = foreign(target.device, target.unit, profile, own)
        self.runtimes = target.device.units[target.unit].runtimes
        self.converts = "onnxruntime" not in self.runtimes
        self.as_it_is = self.floats(original)
        file = self.sizes.base(0).file
        self.operators = max(0, file.operators() - in_constants(model))
        self.simplified = self.floats(original_of(model, file.size()))

    def kernels(self, profile: Profile) -> Kernels | None:
        """Times of single kernels, where the device was measured and every shape is known."""
        device = self.target.device
        if self.target.unit != CPU or not device.curves or self.load.unknown:
            return None
        try:
            return Kernels(self.model, profile, device, self.load.names)
        except ModelError:  # a shape depends on numbers; the roofline needs no shapes
            return None

    def original(self) -> PlanOption:
        """The model without any compression."""
        return self.judged(AS_IT_IS, self.as_it_is, (), ())

    def option(self, route: Route) -> PlanOption:
        """One route."""
        if route.shrinks is not None:
            return self.judged(route, self.imagined(route), (), ())
        recipe = parse_recipe(route.recipe)
        file = self.files.made(recipe)
        costs = self.costs(route, file.size, file.changes, recipe)
        found = self.judged(route, costs, file.changes, self.told(file.refusals))
        if file.changes or not self.quantized:
            return found
        reason = f"It changes nothing: {len(self.quantized)} operators are quantized already."
        return replace(found, notes=(reason,))

    def told(self, refusals: Sequence[Refusal]) -> Iterator[Refusal]:
        """Refusals, which say of what is quantized already that it is."""
        yield from (one for one in refusals if one.operator not in self.quantized)
        yield from self.quantized.values()

    def floats(self, file: Original) -> dict[str, Measurement]:
        """Everything that is predicted of a file that nothing has compressed."""
        size = counted(file.size, "B")
        zipped = download_of_floats(size, file.operators, self.sample)
        costs = self.predictor.costs(self.predictor.plain, size)
        return {"size": size, "download": zipped, **costs}

    def costs(
        self, route: Route, size: Measurement, changes: Sequence[Change], recipe: Recipe
    ) -> dict[str, Measurement]:
        """Everything that is predicted of a file."""
        kind = self.kind(route, changes)
        before, after = coded_by(changes)
        zipped = download(size, before, after, self.sample.codes(recipe), self.sample)
        return {"size": size, "download": zipped, **self.predictor.costs(kind, size)}

    def kind(self, route: Route, changes: Sequence[Change]) -> Kind:
        """How each operator computes on a route.

        ONNX Runtime's CPU computes 16-bit weights in float32; what a model is converted to may not.
        """
        integer = {one.operator for one in changes if isinstance(one.storage, IntegerArithmetic)}
        at_run = {
            change.operator: change.after / change.before
            for change in changes
            if expands_at_run(change) and change.before
        }
        half = route.computes == "float16" and self.converts
        half = half and self.predictor.computes("float16") == "float16"
        plain = self.predictor.plain
        bytes_of, dtypes = plain.weight_bytes.copy(), list(plain.dtypes)
        for place, name in enumerate(self.load.names):
            if name in integer:
                bytes_of[place], dtypes[place] = 1.0, "int8"
            elif name in at_run:
                bytes_of[place] = 4.0 * at_run[name]
            elif half and dtypes[place] == "float32":
                bytes_of[place], dtypes[place] = 2.0, "float16"
        if integer:
            spread_integers(dtypes, self.load)
        return Kind(tuple(dtypes), bytes_of)

    def imagined(self, route: Route) -> dict[str, Measurement]:
        """What a route without a method would leave, as an estimate."""
        assert route.shrinks is not None
        weights, arithmetic, activations = route.shrinks
        both = (min(weights[0], activations[0]), max(weights[1], activations[1]))
        held = activations if MICRO in self.runtimes else both
        share = {"size": weights, "download": weights, "peak_memory": held}
        return {
            name: between(
                cost.low * share.get(name, arithmetic)[0],
                cost.high * share.get(name, arithmetic)[1],
                cost.unit,
            )
            for name, cost in self.simplified.items()
        }

    def judged(
        self,
        route: Route,
        costs: Mapping[str, Measurement],
        changes: Sequence[Change],
        refusals: Iterable[Refusal],
    ) -> PlanOption:
        """An option beside the budgets."""
        original = costs if route is AS_IT_IS else self.as_it_is
        meets: dict[str, Meets] = {
            limit.text: limit.met(costs[limit.judged_by], original)
            if limit.judged_by in costs
            else "unclear"
            for limit in self.target.limits
            if limit.metric in PREDICTED
        }
        barred = tuple(self.barred(route))
        if route is AS_IT_IS:
            meets |= dict.fromkeys(asked_of_itself(self.target.limits), "no")
        if self.lacking or barred:
            meets[RUNTIME] = "no"
        elif self.foreign:
            meets[RUNTIME] = "unclear"
        touched = {change.operator for change in changes}
        left = tuple(refusal for refusal in refusals if refusal.operator not in touched)
        return PlanOption(
            name=route.name,
            recipe=route.recipe,
            predicted=costs,
            meets=meets,
            changed=len(touched),
            refusals=(*self.lacking, *barred, *left),
            effort=route.effort,
            damage=route.damage,
            notes=tuple(self.notes(route)),
        )

    def barred(self, route: Route) -> Iterator[Refusal]:
        """Why no runtime of the unit can keep weights so; ONNX Runtime runs every file as it is."""
        if not route.stores or not self.converts:
            return
        title = self.target.device.title
        kept = {one for name in self.runtimes for one in self.kept_by(name)}
        if route.stores not in kept:
            reason = f"no runtime on {title} keeps weights as {route.stores}"
            remedy = f"choose what it keeps: {', '.join(sorted(kept))}"
            yield Refusal("", "unsupported-storage", reason, remedy)
        elif set(self.runtimes) == {MICRO} and route.computes != "int8":
            reason = f"on {title} weights are computed with as they are stored, never expanded"
            yield Refusal("", "not-expanded", reason, "choose 8-bit integers")

    def kept_by(self, runtime: str) -> tuple[str, ...]:
        """How a runtime can store weights."""
        return operator_set(self.target.device.runtimes[runtime].operators).weights

    def notes(self, route: Route) -> Iterator[str]:
        """What the device does to a route."""
        real, title = self.predictor.computes(route.computes), self.target.device.title
        if route.computes == "float16" and not self.converts:
            yield "ONNX Runtime computes it in float32: it saves size, not time."
        elif real != route.computes:
            yield (
                f"On {title} it is computed in {real}: no runtime for its {self.target.unit} "
                f"computes in {route.computes}. It saves size, not time."
            )
        if route.computes == "int8" and self.target.device.saturates:
            yield (
                f"Sums of 8-bit products saturate on {title}: keep portable=true, under which the "
                "weights of static and dynamic are such that none does."
            )


def expands_at_run(change: Change) -> bool:
    """Whether a weight becomes float at every run."""
    return isinstance(change.storage, StoredGrid) and change.storage.expand == "run"


def coded_by(changes: Sequence[Change]) -> tuple[float, float]:
    """Bytes of weights that become codes, and of these."""
    return float(sum(one.before for one in changes)), float(sum(one.after for one in changes))


def asked_of_itself(limits: Sequence[Limit]) -> Iterator[str]:
    """Budgets by which a model must be better than it is: it loses nothing against itself."""
    return (limit.text for limit in limits if limit.metric in LOSSES and limit.value < 0)


def lacks(
    target: Target, profile: Profile, own: Collection[str], dtypes: Mapping[str, str]
) -> Iterator[Refusal]:
    """Types of operators that no runtime of the unit runs, with the first place of each."""
    types = {one.op for one in profile.operators}
    found: dict[str, list[str]] = {}
    for name, op in missing(target.device, target.unit, profile, own, dtypes):
        found.setdefault(op, []).append(name)
    for op, names in found.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        reason = f"no runtime of its {target.unit} runs {op} ({names[0]}{more})"
        remedy = "replace the operator" if op in types else "export the model in float32"
        yield Refusal("", "no-kernel", reason, f"{remedy}, or choose another unit")


def spread_integers(dtypes: list[str], load: Load) -> None:
    """What lies between operators that a route puts in integers moves codes too, in place."""
    for place in range(1, len(dtypes)):
        put = dtypes[place - 1] == "int8" and load.dtypes[place - 1] != "int8"
        if load.families[place] == "other" and put:
            dtypes[place] = "int8"
