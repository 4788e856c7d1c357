"""What a plan says to someone who has never compressed a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from packlight.planning.size.download_estimate import GRAPH
from packlight.presentation.numbers import show_interval, show_value
from packlight.records.budget import Limit
from packlight.records.device import Device
from packlight.records.measurement import Measurement, Meets, counted
from packlight.records.plan import RUNTIME, PlanOption

PREDICTED = ("size", "download", "latency", "peak_memory", "energy")

MOSTLY = 0.5
HOPELESS = 0.05
"""Share of an architecture below which it is another one."""

COST = {
    "size": "its file", "download": "its download", "latency": "the time of one run",
    "peak_memory": "its memory while it runs", "energy": "the energy of one run",
}  # fmt: skip
SHRINKS = {
    "size": "weights", "download": "weights", "latency": "arithmetic and traffic",
    "peak_memory": "weights and activations", "energy": "arithmetic and traffic",
}  # fmt: skip

STAYING = {"size": 1.0, "download": GRAPH[0]}
"""By cost, the share of a graph's bytes that are in it however few weights there are."""

LEVEL = {
    "no data": "It needs no data",
    "calibration samples": "It needs some hundred samples without labels",
    "training data": "It needs training",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be told.

    Attributes:
        model: its name, or where it is.
        device: what it must run on.
        original: the model as it is.
        options: every route.
        limits: that must be kept.
        shrink: by budget that nothing keeps, the share of its cost that is left.
        waiting: share of its time that goes to memory traffic.
        opened: inputs whose shapes are open, so that neither time nor memory is known.
        unknown: operators that could not be counted, with why.
        graph: bytes of the file that are not weights: operators, names, types, functions.
        foreign: types of operators that no runtime is known to have.
        quantized: how many operators compute in integers or have a weight in codes already.
    """

    model: str
    device: Device
    original: PlanOption
    options: Sequence[PlanOption]
    limits: Sequence[Limit]
    shrink: Mapping[str, float]
    waiting: float
    graph: int
    opened: Sequence[str] = ()
    unknown: Sequence[str] = ()
    foreign: Sequence[str] = ()
    quantized: int = 0

    def ready(self, verdict: Meets) -> list[PlanOption]:
        """Routes that can be taken and come out so."""
        return [one for one in self.options if one.recipe and one.verdict == verdict]


def recommendation(case: Case) -> Iterator[str]:
    """Whether the model can ship, how, what that costs, what it will hurt, and why."""
    yield first(case)
    sure, maybe = case.ready("yes"), case.ready("unclear")
    if case.original.meets.get(RUNTIME) == "no":
        yield from remedies(case.original)
        return
    if case.foreign and case.original.verdict == "no":
        yield f"Besides, {unregistered(case.foreign)}."
    if case.quantized and case.original.verdict != "yes":
        count, verb = (case.quantized, "are") if case.quantized > 1 else ("One", "is")
        yield (
            f"{count} of its operators {verb} quantized already, and no route quantizes anything "
            "twice: start from the float model that it was made of."
        )
    if case.original.verdict == "yes":
        sure = [one for one in sure if one.changed and smaller(one, case.original)]
        maybe = []
        yield f"It can ship as it is{'. What follows makes it smaller' if sure else ''}."
    if sure:
        yield from take(sure[0], case.model, "Take")
        yield from spare(sure)
    elif maybe:
        yield from take(maybe[0], case.model, "Try")
        if unclear(maybe[0]):
            yield (
                "Whether it keeps every budget cannot be told from a description: "
                f"{listed(unclear(maybe[0]))} must be measured on the device."
            )
    elif case.original.verdict != "yes":
        yield from nothing_suffices(case)
    yield from about_time(case)
    if [limit for limit in case.limits if limit.metric not in PREDICTED]:
        yield (
            "What it does to quality shows only when it is measured: packlight fit "
            f"{case.model} --task {data_of(case.model)} with the same budgets does that."
        )


def about_time(case: Case) -> Iterator[str]:
    """Where its time goes, or why that is not known."""
    if case.opened:
        yield (
            f"Time and memory are not known, for the shape of {listed(case.opened)} is open: give "
            f"--input {case.opened[0]}=SIZES, as in image=1,3,224,224."
        )
    elif case.unknown:
        more = f"; and {len(case.unknown) - 1} more" if len(case.unknown) > 1 else ""
        yield f"Time, memory and energy are not known: {case.unknown[0]}{more}."
    elif takes_time(case.original):
        yield why(case)


def standing(limit: Limit, original: PlanOption) -> str:
    """How a model stands in what a budget bounds."""
    if limit.metric not in COST:
        return "it is no better than itself"
    return f"{COST[limit.metric]} is {reading(original.predicted[limit.metric])}"


def unregistered(foreign: Sequence[str]) -> str:
    """Under what operators run that no runtime is known to have."""
    return f"no runtime has {listed(foreign)} unless you register it with ONNX Runtime"


def smaller(option: PlanOption, original: PlanOption) -> bool:
    """Whether a route makes the file smaller."""
    return option.predicted["size"].value < original.predicted["size"].value


def remedies(original: PlanOption) -> Iterator[str]:
    """What to do where the model itself cannot run."""
    told = dict.fromkeys(one.remedy for one in original.refusals if not one.operator)
    yield from (f"{remedy[:1].upper()}{remedy[1:]}." for remedy in told if remedy)


def first(case: Case) -> str:
    """How the model stands as it is."""
    original, told = case.original, f"As it is, {case.model}"
    if original.meets.get(RUNTIME) == "no":
        reasons = [one.reason for one in original.refusals if not one.operator]
        return f"{told} does not run on {case.device.title}: {'; '.join(reasons)}."
    misses = [
        f"{standing(limit, original)}, and {limit.text} is wanted"
        for limit in case.limits
        if original.meets.get(limit.text) == "no"
    ]
    if misses:
        return f"{told} does not fit {case.device.title}: {'; '.join(misses)}."
    if case.foreign:
        return (
            f"{told} may fit {case.device.title}, if it runs there: {unregistered(case.foreign)}."
        )
    if original.verdict == "unclear":
        return (
            f"{told} may fit {case.device.title}: {listed(unclear(original))} cannot be told "
            "without measuring."
        )
    return f"{told} fits {case.device.title}."


def takes_time(original: PlanOption) -> bool:
    """Whether anything runs at all, once the model is loaded."""
    return "latency" in original.predicted and original.predicted["latency"].value > 0


def why(case: Case) -> str:
    """What decides its speed there, and so which routes change it."""
    share = f"about {case.waiting:.0%} of its time on {case.device.title}"
    if case.waiting > MOSTLY:
        return (
            f"Why: {share} goes to memory traffic. What moves fewer bytes at every run makes it "
            "faster; weights that become floats when the model is loaded only make it smaller."
        )
    return (
        f"Why: {share} goes to memory traffic, the rest to arithmetic. Smaller weights make the "
        "file smaller, not the model faster; integer arithmetic, or less of it, does."
    )


def take(option: PlanOption, model: str, verb: str) -> Iterator[str]:
    """How to go a route, and what it costs."""
    figures = [f"{reading(option.predicted['size'])}"]
    if "latency_ratio" in option.predicted:
        ratio = option.predicted["latency_ratio"]
        figures.append(f"{times(ratio.low)} to {times(ratio.high)} times the time")
    yield (
        f"{verb} {option.name}: packlight compress {model} --recipe {recipe(option)}"
        f"{f' --task {data_of(model)}' if option.effort.needs != 'no data' else ''} -o small.onnx. "
        f"The file has {', '.join(figures)}."
    )
    yield (
        f"{LEVEL[option.effort.needs]}, and takes {option.effort.takes}. What it usually costs in "
        f"quality: {option.damage.text} ({option.damage.source})."
    )
    yield from option.notes


def times(ratio: float) -> str:
    """A ratio, with as many digits as tell 0.97 and 1.03 apart.

    >>> times(0.97), times(1.03), times(0.012)
    ('0.97', '1.03', '0.012')
    """
    return f"{ratio:.2f}" if ratio >= TENTH else f"{ratio:.2g}"


TENTH = 0.1


def data_of(model: str) -> str:
    """The task to name in a command: that of a model of the zoo is there by its name."""
    return model if model.startswith("zoo:") else "data.npz"


def recipe(option: PlanOption) -> str:
    """The recipe in quotes that a shell needs."""
    return f'"simplify+{option.recipe}"'


def spare(sure: Sequence[PlanOption]) -> Iterator[str]:
    """What else would do."""
    others = [option.name for option in sure[1:4]]
    if others:
        yield f"Also enough: {listed(others)}."


def unclear(option: PlanOption) -> list[str]:
    """Budgets that cannot be told."""
    return [text for text, met in option.meets.items() if met == "unclear" and text != RUNTIME]


def nothing_suffices(case: Case) -> Iterator[str]:
    """Why, and how far the architecture itself must shrink."""
    yield "No route that packlight has keeps every budget."
    ready = running(case.ready("no"))
    for limit in case.limits:
        keepers = [one.name for one in ready if one.meets.get(limit.text) == "yes"]
        if limit.text in case.shrink:
            yield nearest(case, limit, ready)
        elif keepers:
            yield f"{limit.text} alone is within reach: {listed(keepers[:3])}."
        elif perhaps := [one.name for one in ready if one.meets.get(limit.text) == "unclear"]:
            yield untold(case, limit, perhaps)
    yield from dict.fromkeys(f"Besides, {reason}." for reason in bars(ready))
    trained = [one.name for one in case.options if one.trains and one.verdict != "no"]
    if trained:
        yield f"By estimate {listed(trained)} might do, with hours of training."
    yield "Plan that before training: a smaller network trained anew keeps more than one cut later."


def untold(case: Case, limit: Limit, perhaps: Sequence[str]) -> str:
    """What must be known before a budget can be judged."""
    if limit.judged_by in case.original.predicted:
        return (
            f"{limit.text} alone may be within reach: {listed(perhaps[:3])}. That must be measured "
            "on the device."
        )
    wanted = "measuring, for it cannot be computed"
    if case.opened:
        wanted = f"the shape of {listed(case.opened)}"
    return f"Whether a route keeps {limit.text} cannot be told without {wanted}."


def running(options: Sequence[PlanOption]) -> list[PlanOption]:
    """The routes that the device has a runtime for; all where it has none for any."""
    found = [one for one in options if one.meets.get(RUNTIME) != "no"]
    return found or list(options)


def bars(ready: Sequence[PlanOption]) -> Iterator[str]:
    """Why routes cannot be taken that keep every budget."""
    for one in ready:
        if "no" not in [met for what, met in one.meets.items() if what != RUNTIME]:
            yield from (refusal.reason for refusal in one.refusals if not refusal.operator)


def nearest(case: Case, limit: Limit, ready: Sequence[PlanOption]) -> str:
    """How far the best route is from a budget."""
    best = min(ready, key=lambda one: one.predicted[limit.judged_by].value)
    cost = reading(best.predicted[limit.judged_by])
    near = f"For {limit.text} the nearest is {best.name} with {cost}"
    kept = case.graph * STAYING.get(limit.metric, 0.0)
    least = min(one.predicted[limit.judged_by].low for one in ready)
    bound = case.shrink[limit.text] * least
    if SHRINKS[limit.metric] == "weights" and not any(one.changed for one in ready):
        return f"For {limit.text} there is nothing to compress: no route changes a weight."
    if kept and kept >= bound:
        return f"{near}: its operators and names alone take {show_value(counted(kept, 'B'))}."
    share = (bound - kept) / (least - kept) if least > kept else 0.0
    if share < HOPELESS:
        return f"{near}: no version of this architecture comes near."
    alike = ", compressed in the same way" if best.changed else ""
    return (
        f"{near}: the architecture may have at most {math.floor(share * 100)}% of its "
        f"{SHRINKS[limit.metric]}{alike}."
    )


def reading(measurement: Measurement) -> str:
    """A figure, with its interval where it has one."""
    interval = show_interval(measurement)
    return show_value(measurement) + (f" {interval}" if interval else "")


def listed(names: Sequence[str]) -> str:
    """Names in a row.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
