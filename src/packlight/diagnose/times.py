"""Causes of a variant that is not faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import onnx_ir as ir

from packlight.diagnose.findings import measured, named
from packlight.diagnose.survey import Survey
from packlight.model import nodes
from packlight.records import Finding, Measurement, OperatorCost, Profile
from packlight.records.finding import Severity

FASTER = 0.9
"""Ratio of times below which a variant did get faster, and nothing is worth more than a note."""

SLOWER, MUCH_SLOWER = 1.1, 1.5
"""Ratios from which on a variant being slower is a warning, and serious."""

TOLD = 0.15
"""Share of the time from which on something is told."""

MOST = 0.5
"""Share of the time that makes a model be dominated."""

PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
INTEGER = frozenset({
    "Conv", "MatMul", "Gemm", "Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Sigmoid",
    "LeakyRelu", "Softmax", "MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Resize",
    "Flatten", "Gather", "Relu", "Clip", "Slice", "Split", "Where",
})  # fmt: skip
"""Operators that ONNX Runtime's CPU computes in integers, or passes integers through, between
pairs. Source: its QDQ selectors and transformers."""

EXTRA = frozenset({"no-integer-kernel", "unfused-pairs", "weights-unpacked-at-every-run"})
"""Causes that add work that the reference does not have."""

SMALL_WORK, SMALL_BYTES = 20_000, 32_768
"""Operations and bytes below which a call of a kernel costs more than what it does: a core does
20,000 operations in about 2 us, and a call takes 1 to 5."""

THIN = 2.0
"""Multiply-accumulates for each byte below which memory bounds an operator: a core does some 30 a
nanosecond and reads some 10 bytes."""

WIDE_BYTES = 1 << 18
"""Bytes moved from which on they do not lie in the nearest caches."""


def times(survey: Survey) -> Iterator[Finding]:
    """Findings on time, from the measured profiles of both models."""
    subject = survey.subject
    if subject.profiles is None or subject.ratio is None:
        return
    before, after = subject.profiles
    for detector in DETECTORS:
        yield from detector(survey, before, after)


def seconds(costs: Sequence[OperatorCost]) -> float:
    """Time of some operators."""
    return sum(one.latency.value for one in costs if one.latency is not None)


def urgency(ratio: Measurement, cause: str) -> Severity:
    """How much a cause of lost time matters, by how slow the variant is.

    What only keeps a variant from getting faster never makes it slower, and is a note.
    """
    if cause not in EXTRA or ratio.high < FASTER:
        return "note"
    if ratio.low > MUCH_SLOWER:
        return "serious"
    return "warning" if ratio.low > SLOWER else "note"


def of_time(
    survey: Survey, cause: str, costs: Sequence[OperatorCost], sentence: str, next_step: str
) -> Iterator[Finding]:
    """A finding on operators that take a good part of the variant's time."""
    subject = survey.subject
    assert subject.profiles is not None
    assert subject.ratio is not None
    whole = seconds(subject.profiles[1].operators)
    taken = seconds(costs)
    share = taken / whole if whole else 0.0
    if share < TOLD:
        return
    ordered = sorted(costs, key=lambda one: -seconds([one]))
    operators = list(dict.fromkeys(one.name for one in ordered))
    yield Finding(
        cause, urgency(subject.ratio, cause), "time",
        sentence.format(operators=named(operators), count=len(operators), share=f"{share:.0%}"),
        operator=operators[0],
        evidence={
            "latency_ratio": subject.ratio,
            "share_of_time": measured(share),
            "time": measured(taken, "s"),
            "operators": measured(len(operators)),
        },
        next_step=next_step,
        source=ordered[0].source,
        operators=tuple(operators),
        weight=share,
    )  # fmt: skip


def pairs(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Q/DQ that run as operators of their own: around what has no integer kernel, or unfused."""
    del before
    graph = survey.subject.variant.graph
    every = {str(node.name): node for node in nodes(graph)}
    loose = [
        one
        for one in after.operators
        if one.op.split(".")[-1] in PAIRS and one.placement == "kernel" and one.latency is not None
    ]
    weights, missing, unfused = [], [], []
    for one in loose:
        around = neighbours(every[one.name])
        if around is None:
            weights.append(one)
        elif around and all(op not in INTEGER for op in around):
            missing.append(one)
        else:
            unfused.append(one)
    yield from of_time(
        survey, "no-integer-kernel", missing,
        "{count} QuantizeLinear and DequantizeLinear run as extra work ({share} of the time) "
        "around operators that have no integer kernel here, as {operators}",
        "leave those operators in float: name what is quantized with where=, or take the pairs out",
    )  # fmt: skip
    yield from of_time(
        survey, "unfused-pairs", unfused,
        "{count} QuantizeLinear and DequantizeLinear were not fused into the operators between "
        "them ({share} of the time), as {operators}",
        "quantize all inputs and the output of each operator, with one reader for each pair; "
        "static places pairs so that ONNX Runtime fuses them",
    )  # fmt: skip
    yield from of_time(
        survey, "weights-unpacked-at-every-run", weights,
        "{count} weights are unpacked at every run ({share} of the time), as {operators}: ONNX "
        "Runtime never folds a DequantizeLinear of a stored weight",
        "store them with expand=load, which is folded when the session starts, or quantize the "
        "activations too",
    )  # fmt: skip


def neighbours(node: ir.Node) -> list[str] | None:
    """Types of the operators that a pair stands around; None where it restores a weight."""
    if node.op_type == "DequantizeLinear":
        source = node.inputs[0]
        maker = None if source is None else source.producer()
        if maker is None or maker.op_type == "Constant":
            return None
        return [use.node.op_type for use in node.outputs[0].uses()]
    source = node.inputs[0]
    maker = None if source is None else source.producer()
    behind = [
        reader.node.op_type
        for use in node.outputs[0].uses()
        for reader in use.node.outputs[0].uses()
    ]
    return [*([] if maker is None else [maker.op_type]), *behind]


def small(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Time in calls of kernels that do next to nothing."""
    del before
    tiny = [
        one
        for one in after.operators
        if one.latency is not None
        and one.op.split(".")[-1] not in PAIRS
        and (one.macs or 0) + (one.other_ops or 0) < SMALL_WORK
        and (one.activation_bytes or 0) + one.loaded_bytes < SMALL_BYTES
    ]
    if share_of(tiny, after) >= MOST:
        yield from of_time(
            survey, "small-operators", tiny,
            "{share} of the time goes to {count} operators so small that calling them costs more "
            "than what they do, as {operators}; fewer bits change nothing there",
            "fuse or remove operators (tidy), run several inputs at once, or take a model with "
            "fewer and larger operators",
        )  # fmt: skip


def thin(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Time in operators that wait for memory."""
    del before
    bound = [
        one
        for one in after.operators
        if one.latency is not None
        and one.op.split(".")[-1] not in PAIRS
        and (one.activation_bytes or 0) + one.loaded_bytes >= WIDE_BYTES
        and (one.intensity or 0.0) < THIN
    ]
    if share_of(bound, after) >= MOST:
        yield from of_time(
            survey, "memory-bound", bound,
            "{share} of the time goes to {count} operators that wait for memory, as {operators}: "
            "they move more bytes than they compute",
            "store their weights in fewer bits that stay packed at run time (expand=run in blocks, "
            "or static), or make the activations smaller; fewer operations change little",
        )  # fmt: skip


def untouched(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Time in operators that run as they did."""
    matched = survey.pair.matched
    changed = {str(one.node.name) for one in survey.weights}
    inside = {str(node.name) for node in rounded_operators(survey)}
    same = {
        str(theirs.name)
        for ours, theirs in matched.operators.items()
        if str(ours.name) not in changed and str(theirs.name) not in inside
    }
    kept = [one for one in after.operators if one.name in same and one.latency is not None]
    heavy = [one for one in kept if (one.macs or 0) + (one.other_ops or 0) >= SMALL_WORK]
    if (changed or inside) and share_of(heavy, after) >= MOST and seconds(before.operators):
        yield from of_time(
            survey, "untouched-operators", heavy,
            "{share} of the time goes to {count} operators that nothing was done to, as "
            "{operators}",
            "compress those, or change the model there: what was done elsewhere can win no more "
            "than the rest",
        )  # fmt: skip


def rounded_operators(survey: Survey) -> Iterator[ir.Node]:
    """Operators of the variant that read or give something rounded."""
    flow = survey.pair.matched.variant
    for key in survey.rounded:
        root = flow.values[survey.pair.names[key]]
        maker = root.producer()
        yield from (node for node, _, _ in flow.reads(root))
        if maker is not None:
            yield maker


def share_of(costs: Sequence[OperatorCost], profile: Profile) -> float:
    """Share of the time that some operators take."""
    whole = seconds(profile.operators)
    return seconds(costs) / whole if whole else 0.0


Detector = Callable[[Survey, Profile, Profile], Iterator[Finding]]
DETECTORS: Sequence[Detector] = (pairs, small, thin, untouched)
"""What looks for causes of lost time."""
