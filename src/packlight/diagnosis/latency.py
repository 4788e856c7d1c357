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
"""Ratio of times below which a variant did get faster, and nothing is worth more than a note."""

SLOWER, MUCH_SLOWER = 1.1, 1.5
"""Ratios from which on a variant being slower is a warning, and serious."""

TOLD = 0.15
"""Share of the time from which on something is told."""

MOST = 0.5
"""Share of the time that makes a model be dominated."""

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
    survey: Survey,
    cause: str,
    costs: Sequence[OperatorCost],
    sentence: str,
    next_step: str,
    *,
    lost: float = 0.0,
) -> Iterator[Finding]:
    """A finding on operators that take a good part of the variant's time.

    Args:
        survey: what was measured.
        cause: in a word or two.
        costs: of these operators.
        sentence: what was found.
        next_step: what to do.
        lost: seconds that others lose by them.
    """
    subject = survey.subject
    assert subject.profiles is not None
    assert subject.ratio is not None
    whole = seconds(subject.profiles[1].operators)
    taken = seconds(costs) + lost
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
            **({"of_that_lost_by_neighbours": measured(lost, "s")} if lost else {}),
            "operators": measured(len(operators)),
        },
        next_step=next_step,
        source=ordered[0].source,
        operators=tuple(operators),
        weight=share,
    )  # fmt: skip


TELLINGS = {
    "no-integer-kernel": (
        "{count} QuantizeLinear and DequantizeLinear run as extra work around operators that have "
        "no integer kernel here: {share} of the time, as {operators}",
        "leave those operators in float: name what is quantized with where=, or take the pairs out",
    ),
    "unfused-pairs": (
        "{count} QuantizeLinear and DequantizeLinear are not fused with the operators between "
        "them, which compute in float32 and lose their own fusions: {share} of the time, as "
        "{operators}",
        "quantize all inputs and the output of each operator, with one reader for each pair; "
        "static places pairs so that ONNX Runtime fuses them",
    ),
    "weights-unpacked-at-every-run": (
        "{count} weights are unpacked at every run: {share} of the time, as {operators}. ONNX "
        "Runtime never folds a DequantizeLinear of a stored weight",
        "store them with expand=load, which is folded when the session starts, or quantize the "
        "activations too",
    ),
}
"""What is said of each cause of pairs that run by themselves, and what to do."""


def pairs(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Q/DQ that run as operators of their own, and what they keep from being fused."""
    matched = {str(b.name): str(a.name) for a, b in survey.pair.matched.operators.items()}
    for cause, found in pairs_by_cause(survey.subject.variant, before, after, matched).items():
        sentence, step = TELLINGS[cause]
        yield from of_time(survey, cause, found.pairs, sentence, step, lost=found.lost)


def computing(profile: Profile) -> Iterator[OperatorCost]:
    """Operators with a time of their own that are no Q/DQ."""
    return (
        one
        for one in profile.operators
        if one.latency is not None and one.op.split(".")[-1] not in PAIRS
    )


def moved_bytes(one: OperatorCost) -> int:
    """Bytes that an operator reads and writes at a run."""
    return (one.activation_bytes or 0) + one.loaded_bytes


def small(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Time in calls of kernels that do next to nothing."""
    del before
    tiny = [
        one
        for one in computing(after)
        if (one.macs or 0) + (one.other_ops or 0) < SMALL_WORK and moved_bytes(one) < SMALL_BYTES
    ]
    if share_of(tiny, after) >= MOST:
        yield from of_time(
            survey, "small-operators", tiny,
            "{share} of the time goes to {count} operators so small that calling them costs more "
            "than what they do, as {operators}; fewer bits change nothing there",
            "fuse or remove operators (simplify), run several inputs at once, or take a model with "
            "fewer and larger operators",
        )  # fmt: skip


def thin(survey: Survey, before: Profile, after: Profile) -> Iterator[Finding]:
    """Time in operators that wait for memory."""
    del before
    bound = [
        one
        for one in computing(after)
        if moved_bytes(one) >= WIDE_BYTES and (one.intensity or 0.0) < THIN
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
