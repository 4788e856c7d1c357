"""Recommendation of a plan, in sentences for someone who has never compressed a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from packlight.planning.size.download_estimate import GRAPH_SHARES
from packlight.presentation.numbers import show_interval, show_value
from packlight.records.budget import Limit
from packlight.records.device import Device
from packlight.records.measurement import Measurement, Meets, counted
from packlight.records.plan import RUNTIME, PlanOption

PREDICTED = ("size", "download", "latency", "peak_memory", "energy")

MEMORY_BOUND_SHARE = 0.5
"""Share of the latency above which memory traffic is the reason for it."""

LEAST_SHARE = 0.05
"""Share of an architecture below which it is another one."""

FULL_DIGITS_FROM = 0.1
"""Ratio from which on two decimals are enough."""

COST = {
    "size": "its file", "download": "its download", "latency": "its latency",
    "peak_memory": "its peak memory", "energy": "its energy per run",
}  # fmt: skip
SHRINKS = {
    "size": "weights", "download": "weights", "latency": "arithmetic and traffic",
    "peak_memory": "weights and activations", "energy": "arithmetic and traffic",
}  # fmt: skip

GRAPH_SHARE = {"size": 1.0, "download": GRAPH_SHARES[0]}
"""By cost, the share of the graph's bytes that remains without any weight."""

NEEDS = {
    "no data": "It needs no data",
    "calibration samples": "It needs a few hundred samples without labels",
    "many samples": "It needs PyTorch and some thousand samples without labels",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """Results of a plan that the recommendation explains.

    Attributes:
        model: its name or path.
        device: that it must run on.
        original: the model as it is.
        options: every route.
        limits: to meet.
        shrink: by limit that no route meets, the share of its cost that may remain.
        memory_share: share of the latency that goes to memory traffic.
        graph_bytes: bytes of the file without weights: operators, names, types, functions.
        open_inputs: inputs whose shapes are open, so that neither time nor memory is known.
        unknown: operators that could not be counted, with the reason.
        custom_operators: types of operators that no runtime is known to have.
        quantized: number of operators that compute in integers or have a weight in codes already.
    """

    model: str
    device: Device
    original: PlanOption
    options: Sequence[PlanOption]
    limits: Sequence[Limit]
    shrink: Mapping[str, float]
    memory_share: float
    graph_bytes: int
    open_inputs: Sequence[str] = ()
    unknown: Sequence[str] = ()
    custom_operators: Sequence[str] = ()
    quantized: int = 0

    def ready(self, verdict: Meets) -> list[PlanOption]:
        """Routes with this verdict."""
        return [option for option in self.options if option.verdict == verdict]


def recommendation(case: Case) -> Iterator[str]:
    """Tell whether the model can ship, by which route, at what effort and loss, and why."""
    yield first_sentence(case)
    verdict = case.original.verdict
    if case.original.meets.get(RUNTIME) == "no":
        yield from runtime_remedies(case.original)
        return
    if case.custom_operators and verdict == "no":
        yield f"Also, {unregistered(case.custom_operators)}."
    if case.quantized and verdict != "yes":
        operators = f"{case.quantized} of its operators are"
        if case.quantized == 1:
            operators = "One of its operators is"
        yield (
            f"{operators} quantized already, and no route quantizes an operator twice: start from "
            "the float model."
        )
    yield from route_sentences(case)
    yield from latency_sentences(case)
    if any(limit.metric not in PREDICTED for limit in case.limits):
        yield (
            f"Quality must be measured: packlight fit {case.model} --task {task_name(case.model)} "
            "with the same budgets."
        )


def route_sentences(case: Case) -> Iterator[str]:
    """The route to take, or the reason why there is none."""
    verdict = case.original.verdict
    sure = case.ready("yes")
    unsure = case.ready("unclear")
    custom = bool(case.custom_operators)
    verb = "Take"
    if verdict == "yes":
        size = case.original.predicted["size"].value
        sure = [o for o in sure if o.changed and o.predicted["size"].value < size]
        unsure = []
        verb = "To make it smaller, take"
        yield "It can ship unchanged."
    if sure:
        yield from option_sentences(sure[0], case.model, verb, custom=custom)
        alternatives = [option.name for option in sure[1:4]]
        if alternatives:
            yield f"Routes that fit as well: {listed(alternatives)}."
    elif unsure:
        yield from option_sentences(unsure[0], case.model, "Try", custom=custom)
        if unclear_limits(unsure[0]):
            yield (
                f"{listed(unclear_limits(unsure[0]))} must be measured on the device: a "
                "description of it is not precise enough."
            )
    elif verdict != "yes":
        yield from no_route_sentences(case)


def latency_sentences(case: Case) -> Iterator[str]:
    """Bound of the latency, or the reason why it is unknown."""
    if case.open_inputs:
        yield (
            f"Latency and memory are unknown: the shape of {listed(case.open_inputs)} is open. "
            f"Give --input {case.open_inputs[0]}=SIZES, as in image=1,3,224,224."
        )
    elif case.unknown:
        more = f"; and {len(case.unknown) - 1} more" if len(case.unknown) > 1 else ""
        yield f"Latency, memory and energy are unknown: {case.unknown[0]}{more}."
    elif "latency" in case.original.predicted and case.original.predicted["latency"].value > 0:
        yield bottleneck(case)


def first_sentence(case: Case) -> str:
    """Verdict on the model as it is."""
    original = case.original
    title = case.device.title
    if original.meets.get(RUNTIME) == "no":
        reasons = [refusal.reason for refusal in original.refusals if not refusal.operator]
        return f"{case.model} does not run on {title}: {'; '.join(reasons)}."
    misses = [
        f"{cost_of(limit, original)} (budget: {limit.text})"
        for limit in case.limits
        if original.meets.get(limit.text) == "no"
    ]
    if misses:
        return f"{case.model} does not fit {title} as it is: {'; '.join(misses)}."
    if case.custom_operators:
        reason = unregistered(case.custom_operators)
        return f"{case.model} may fit {title}, if it runs there: {reason}."
    if original.verdict == "unclear":
        limits = listed(unclear_limits(original))
        return f"{case.model} may fit {title}: {limits} must be measured on the device."
    return f"{case.model} fits {title} as it is."


def cost_of(limit: Limit, original: PlanOption) -> str:
    """Cost of the model as it is, where it misses a limit."""
    if limit.metric not in COST:
        return "it is no better than itself"
    return f"{COST[limit.metric]} is {show_cost(original.predicted[limit.metric])}"


def unregistered(custom_operators: Sequence[str]) -> str:
    """Condition under which custom operators run."""
    return (
        f"no runtime has {listed(custom_operators)} unless you register it with ONNX Runtime "
        "(here: --library ops.so)"
    )


def runtime_remedies(original: PlanOption) -> Iterator[str]:
    """Remedies where the model itself cannot run."""
    remedies = dict.fromkeys(r.remedy for r in original.refusals if not r.operator)
    for remedy in filter(None, remedies):
        yield f"{remedy[:1].upper()}{remedy[1:]}."


def bottleneck(case: Case) -> str:
    """Bound of the latency on the device, and the routes that reduce it."""
    share = (
        f"memory traffic takes about {case.memory_share:.0%} of its latency on {case.device.title}"
    )
    if case.memory_share > MEMORY_BOUND_SHARE:
        return (
            f"Why: {share}. Routes that move fewer bytes at every run make it faster; weights that "
            "become floats when the model is loaded only make it smaller."
        )
    return (
        f"Why: {share}, arithmetic the rest. Smaller weights make the file smaller, not the model "
        "faster; integer arithmetic, or less arithmetic, makes it faster."
    )


def option_sentences(
    option: PlanOption, model: str, verb: str, *, custom: bool = False
) -> Iterator[str]:
    """The command of a route, its costs and its effort; samples need the custom operators."""
    command = f'packlight compress {model} --recipe "simplify+{option.recipe}"'
    if option.effort.needs != "no data":
        command += f" --task {task_name(model)}"
        if custom:
            command += " --library ops.so"
    predicted = show_cost(option.predicted["size"])
    if "latency_ratio" in option.predicted:
        ratio = option.predicted["latency_ratio"]
        span = f"{show_ratio(ratio.low)} to {show_ratio(ratio.high)}x"
        predicted += f", {span} the original's latency"
    yield f"{verb} {option.name}: {command} -o small.onnx. Predicted: {predicted}."
    yield (
        f"{NEEDS[option.effort.needs]} and takes {option.effort.takes}. Usual loss of quality: "
        f"{option.damage.text} ({option.damage.source})."
    )
    yield from option.notes


def show_ratio(ratio: float) -> str:
    """A ratio, with enough digits to tell 0.97 and 1.03 apart.

    >>> show_ratio(0.97), show_ratio(1.03), show_ratio(0.012)
    ('0.97', '1.03', '0.012')
    """
    return f"{ratio:.2f}" if ratio >= FULL_DIGITS_FROM else f"{ratio:.2g}"


def task_name(model: str) -> str:
    """The task in a command: that of a zoo model has the model's name."""
    return model if model.startswith("zoo:") else "data.npz"


def unclear_limits(option: PlanOption) -> list[str]:
    """Limits that a prediction cannot decide."""
    return [text for text, met in option.meets.items() if met == "unclear" and text != RUNTIME]


def no_route_sentences(case: Case) -> Iterator[str]:
    """Why no route meets every budget, and how far the architecture itself must shrink."""
    yield "No route meets every budget."
    ready = runnable(case.ready("no"))
    for limit in case.limits:
        meeting = [option.name for option in ready if option.meets.get(limit.text) == "yes"]
        unclear = [option.name for option in ready if option.meets.get(limit.text) == "unclear"]
        if limit.text in case.shrink:
            yield closest_route(case, limit, ready)
        elif meeting:
            yield f"{limit.text} alone is within reach: {listed(meeting[:3])}."
        elif unclear:
            yield unclear_limit(case, limit, unclear)
    yield from dict.fromkeys(f"Also, {reason}." for reason in runtime_reasons(ready))
    yield "Decide this before training: a small network loses less than a large one cut later."


def unclear_limit(case: Case, limit: Limit, unclear: Sequence[str]) -> str:
    """Information that is needed to decide a limit."""
    if limit.judged_by in case.original.predicted:
        return (
            f"{limit.text} alone may be within reach: {listed(unclear[:3])}. It must be measured "
            "on the device."
        )
    if case.open_inputs:
        return f"{limit.text} cannot be predicted without the shape of {listed(case.open_inputs)}."
    return f"{limit.text} cannot be predicted: measure it on the device."


def runnable(options: Sequence[PlanOption]) -> list[PlanOption]:
    """Routes that the device has a runtime for; all where it has none for any."""
    options = list(options)
    return [option for option in options if option.meets.get(RUNTIME) != "no"] or options


def runtime_reasons(ready: Sequence[PlanOption]) -> Iterator[str]:
    """Reasons why routes that meet every budget cannot run."""
    for option in ready:
        if "no" not in [met for text, met in option.meets.items() if text != RUNTIME]:
            yield from (refusal.reason for refusal in option.refusals if not refusal.operator)


def closest_route(case: Case, limit: Limit, ready: Sequence[PlanOption]) -> str:
    """Distance of the best route from a limit."""
    best = min(ready, key=lambda option: option.predicted[limit.judged_by].value)
    graph = case.graph_bytes * GRAPH_SHARE.get(limit.metric, 0.0)
    least = min(option.predicted[limit.judged_by].low for option in ready)
    bound = case.shrink[limit.text] * least
    if SHRINKS[limit.metric] == "weights" and not any(option.changed for option in ready):
        return f"{limit.text} is out of reach: no route changes a weight."
    cost = show_cost(best.predicted[limit.judged_by])
    closest = f"Closest to {limit.text}: {best.name} with {cost}"
    if graph and graph >= bound:
        return f"{closest}; its operators and names alone take {show_value(counted(graph, 'B'))}."
    share = (bound - graph) / (least - graph) if least > graph else 0.0
    if share < LEAST_SHARE:
        return f"{closest}; no version of this architecture comes close."
    same_way = ", compressed in the same way" if best.changed else ""
    return (
        f"{closest}; the architecture may keep at most {math.floor(share * 100)}% of its "
        f"{SHRINKS[limit.metric]}{same_way}."
    )


def show_cost(measurement: Measurement) -> str:
    """A value, with its interval where it has one."""
    return f"{show_value(measurement)} {show_interval(measurement)}".rstrip()


def listed(names: Sequence[str]) -> str:
    """Names in a row.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
