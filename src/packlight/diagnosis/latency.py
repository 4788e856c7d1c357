"""Causes of a variant that is not faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import onnx_ir as ir

from packlight.diagnosis.evidence import Survey
from packlight.diagnosis.findings import measured, named
from packlight.diagnosis.unfused_qdq import PAIRS, pairs_by_cause
from packlight.records import Finding, Measurement, OperatorCost, Profile
from packlight.records.finding import Severity

FASTER = 0.9
"""Latency ratio below which a variant is faster, and no cause is more than a note."""

SLOWER = 1.1
MUCH_SLOWER = 1.5
"""Latency ratios from which on a slower variant is a warning, and serious."""

REPORTED = 0.15
"""Share of the time from which on a cause is reported."""

DOMINANT = 0.5
"""Share of the time from which on operators dominate a model."""

EXTRA = frozenset({"no-integer-kernel", "unfused-pairs", "weights-unpacked-at-every-run"})
"""Causes that add work which the reference does not have."""

SMALL_WORK = 20_000
SMALL_BYTES = 32_768
"""Operations and bytes below which a kernel call costs more than its work: a core does 20,000
operations in about 2 us, and a call takes 1 to 5."""

THIN = 2.0
"""Multiply-accumulates for each byte below which memory bounds an operator: a core does some 30 a
nanosecond and reads some 10 bytes."""

WIDE_BYTES = 1 << 18
"""Bytes moved from which on they exceed the nearest caches."""


def times(survey: Survey) -> Iterator[Finding]:
    """Find causes of lost time, from the measured profiles of both models."""
    subject = survey.subject
    if subject.profiles is None or subject.ratio is None:
        return
    before, after = subject.profiles
    for detector in DETECTORS:
        yield from detector(survey, before, after)


def seconds(costs: Sequence[OperatorCost]) -> float:
    """Total time of some operators."""
    return sum(cost.latency.value for cost in costs if cost.latency is not None)


def _urgency(ratio: Measurement, cause: str) -> Severity:
    """Severity of a cause of lost time, by the latency ratio.

    A cause that adds no work only keeps the variant from getting faster, and is a note.
    """
    if cause not in EXTRA or ratio.high < FASTER:
        return "note"
    if ratio.low > MUCH_SLOWER:
        return "serious"
    return "warning" if ratio.low > SLOWER else "note"


def _of_time(
    survey: Survey,
    cause: str,
    costs: Sequence[OperatorCost],
    sentence: str,
    next_step: str,
    *,
    lost: float = 0.0,
) -> Iterator[Finding]:
    """Report operators that take a good part of the variant's time.

    Args:
        survey: the measurements.
        cause: its name.
        costs: of these operators.
        sentence: with ``{operators}``, ``{count}`` and ``{share}``.
        next_step: the advice.
        lost: seconds that neighbors lose by them.
    """
    subject = survey.subject
    assert subject.profiles is not None
    assert subject.ratio is not None
    share = _time_share(seconds(costs) + lost, subject.profiles[1])
    if share < REPORTED:
        return
    ordered = sorted(costs, key=lambda cost: -seconds([cost]))
    operators = list(dict.fromkeys(cost.name for cost in ordered))
    evidence = {
        "latency_ratio": subject.ratio,
        "share_of_time": measured(share),
        "time": measured(seconds(costs) + lost, "s"),
    }
    if lost:
        evidence["of_that_lost_by_neighbors"] = measured(lost, "s")
    evidence["operators"] = measured(len(operators))
    yield Finding(
        cause, _urgency(subject.ratio, cause), "time",
        sentence.format(operators=named(operators), count=len(operators), share=f"{share:.0%}"),
        operator=operators[0],
        evidence=evidence,
        next_step=next_step,
        source=ordered[0].source,
        operators=tuple(operators),
        weight=share,
    )  # fmt: skip


def _time_share(time: float, profile: Profile) -> float:
    total = seconds(profile.operators)
    return time / total if total else 0.0


TEXTS = {
    "no-integer-kernel": (
        "{count} QuantizeLinear and DequantizeLinear take {share} of the time around operators "
        "without an integer kernel, such as {operators}",
        "keep those operators in float: select what to quantize with where=, or remove the pairs",
    ),
    "unfused-pairs": (
        "{count} QuantizeLinear and DequantizeLinear are not fused with the operators between "
        "them, which compute in float32 and lose their own fusions: {share} of the time, such as "
        "{operators}",
        "quantize all inputs and the output of each operator, with one reader for each pair; "
        "static places pairs so that ONNX Runtime fuses them",
    ),
    "weights-unpacked-at-every-run": (
        "{count} weights are unpacked at every run: {share} of the time, such as {operators}. ONNX "
        "Runtime does not fold a DequantizeLinear of a stored weight",
        "store them with expand=load, which is folded when the session starts, or quantize the "
        "activations too",
    ),
}
"""Sentence and next step for each cause of unfused pairs."""


def pairs(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Report Q/DQ that run as separate operators, and the fusions that they prevent."""
    matched = {str(b.name): str(a.name) for a, b in survey.pair.matched.operators.items()}
    causes = pairs_by_cause(survey.subject.variant, before, after, matched)
    for cause, unfused in causes.items():
        sentence, next_step = TEXTS[cause]
        yield from _of_time(survey, cause, unfused.pairs, sentence, next_step, lost=unfused.lost)


def _operations(cost: OperatorCost) -> int:
    return (cost.macs or 0) + (cost.other_ops or 0)


def _moved_bytes(cost: OperatorCost) -> int:
    return (cost.activation_bytes or 0) + cost.loaded_bytes


def _is_small(cost: OperatorCost) -> bool:
    return _operations(cost) < SMALL_WORK and _moved_bytes(cost) < SMALL_BYTES


def _is_memory_bound(cost: OperatorCost) -> bool:
    return _moved_bytes(cost) >= WIDE_BYTES and (cost.intensity or 0.0) < THIN


def _computing(profile: Profile, test: Callable[[OperatorCost], bool]) -> list[OperatorCost]:
    timed = (cost for cost in profile.operators if cost.latency is not None)
    return [cost for cost in timed if cost.op.split(".")[-1] not in PAIRS and test(cost)]


def small(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Report time in calls of very small kernels."""
    del before
    costs = _computing(after, _is_small)
    if _time_share(seconds(costs), after) >= DOMINANT:
        yield from _of_time(
            survey, "small-operators", costs,
            "{share} of the time goes to {count} operators so small that each call costs more "
            "than its work, such as {operators}; fewer bits do not help there",
            "fuse or remove operators (simplify), run larger batches, or choose a model with fewer "
            "and larger operators",
        )  # fmt: skip


def _thin(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Report time in memory-bound operators."""
    del before
    costs = _computing(after, _is_memory_bound)
    if _time_share(seconds(costs), after) >= DOMINANT:
        yield from _of_time(
            survey, "memory-bound", costs,
            "{share} of the time goes to {count} memory-bound operators, such as {operators}: they "
            "move more bytes than they compute",
            "store their weights in fewer bits that stay packed at run time (expand=run in blocks, "
            "or static), or make the activations smaller; fewer operations change little",
        )  # fmt: skip


def _untouched(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Report time in operators that were not changed."""
    changed = {str(weight.node.name) for weight in survey.weights}
    rounded = {str(node.name) for node in _rounded_operators(survey)}
    unchanged = {
        str(theirs.name)
        for ours, theirs in survey.pair.matched.operators.items()
        if str(ours.name) not in changed and str(theirs.name) not in rounded
    }
    heavy = [
        cost
        for cost in after.operators
        if cost.name in unchanged and cost.latency is not None and _operations(cost) >= SMALL_WORK
    ]
    dominant = _time_share(seconds(heavy), after) >= DOMINANT
    if (changed or rounded) and dominant and seconds(before.operators):
        yield from _of_time(
            survey, "untouched-operators", heavy,
            "{share} of the time goes to {count} operators that compression did not change, such "
            "as {operators}",
            "compress these operators, or change the model there: further compression elsewhere "
            "can save only the remaining time",
        )  # fmt: skip


def _rounded_operators(survey: Survey) -> Iterator[ir.Node]:
    """Operators of the variant with a rounded input or output."""
    flow = survey.pair.matched.variant
    for key in survey.rounded:
        root = flow.values[survey.pair.names[key]]
        yield from (node for node, _, _ in flow.reads(root))
        producer = root.producer()
        if producer is not None:
            yield producer


Detector = Callable[[Survey, Profile, Profile], Iterator[Finding]]
DETECTORS: Sequence[Detector] = (pairs, small, _thin, _untouched)
"""Detectors of causes of lost time."""
