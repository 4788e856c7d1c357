"""Causes that lie in how the runtime computes, not in what the model says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from packlight.diagnosis.evidence import Survey
from packlight.diagnosis.findings import SILENT, level, measured, named, severity
from packlight.records import Finding
from packlight.records.finding import Severity
from packlight.runtime import machine
from packlight.runtime.kernel_saturation import Saturation, saturation

NOISE = 1e-8
"""Energy of a difference relative to the signal up to which two orders of float32 sums may differ.
"""

GONE = 0.25
"""Share of a difference that may be left where its cause is named."""

PARTS = 0.5
"""Share of what saturation does to sums that reaches the outputs, at least, in an estimate."""


def arithmetic(survey: Survey) -> Iterator[Finding]:
    """What the session adds to the variant's own error, and why; what other CPUs would add."""
    subject = survey.subject
    signal, own = survey.energies
    if not signal:
        return
    runtime = replace(subject.options, arithmetic="runtime")
    as_run = survey.outputs_of(subject.variant, runtime)[1]
    added = max(float(as_run - own), 0.0)
    saturated = [one for one in lossy(survey) if one.noise > NOISE]
    here = machine().saturates
    if added > NOISE * signal and level(added, signal) < SILENT:
        in_float = replace(runtime, matmul_accuracy=1)
        plain = survey.outputs_of(subject.variant, in_float)[1]
        if max(plain - own, 0.0) <= GONE * added:
            yield fusion(survey, added, as_run, low_bits=True)
        elif not (here and saturated):
            yield fusion(survey, added, as_run, low_bits=False)
    if saturated:
        yield saturating(survey, saturated, added if here else None, as_run)


def lossy(survey: Survey) -> tuple[Saturation, ...]:
    """Operators whose sums lose something on x86 without VNNI, on the samples."""
    task = survey.subject.task
    samples = [task.samples[place] for place in survey.places]
    runtime = replace(survey.subject.options, arithmetic="runtime")
    return saturation(survey.subject.variant, samples, task.state, runtime)


def fusion(survey: Survey, added: float, as_run: float, *, low_bits: bool) -> Finding:
    """The session fuses operators and computes something coarser."""
    signal, own = survey.energies
    left = level(added, signal)
    why = (
        "it fuses DequantizeLinear and MatMul into MatMulNBits, which rounds activations to 8 bits"
        if low_bits
        else "it fuses or replaces operators by others that compute with fewer digits"
    )
    step = (
        "set the session option session.qdq_matmulnbits_accuracy_level to 1, or keep products with "
        "wide activations out of the blocks (where=)"
        if low_bits
        else "run with graph optimisations off (ORT_DISABLE_ALL) to see which fusion it is, and "
        "disable that one"
    )
    products = [one.operator for one in survey.weights if one.node.op_type in ("MatMul", "Gemm")]
    n = len(survey.places)
    return Finding(
        "runtime-fusion", severity(left), "quality",
        f"the runtime does not compute what the model says: {why}",
        operator=products[0] if products and low_bits else "",
        evidence={
            "snr_computed_exactly": measured(level(own, signal), "dB", n),
            "snr_as_run": measured(level(as_run, signal), "dB", n),
            "snr_of_the_difference": measured(left, "dB", n),
        },
        next_step=step,
        operators=tuple(products) if low_bits else (),
        source=survey.source(products[0]) if products and low_bits else None,
        weight=float(added / signal) ** 0.5,
    )  # fmt: skip


def saturating(
    survey: Survey, found: list[Saturation], added: float | None, as_run: float
) -> Finding:
    """Sums of 8-bit products overflow 16 bits: measured where this CPU does so, else foretold."""
    signal, own = survey.energies
    n = len(survey.places)
    worst = max(found, key=lambda one: one.noise)
    estimate = PARTS * sum(one.noise for one in found) * signal
    alone = estimate if added is None else added
    left = level(alone, signal)
    names = [survey_name(survey, one.operator) for one in found]
    where = (
        "on this CPU, which has no VNNI"
        if added is not None
        else "on x86 CPUs without VNNI; this one has it, or is no x86"
    )
    evidence = {
        "snr_computed_exactly": measured(level(own, signal), "dB", n),
        "snr_of_the_worst_sums": measured(level(worst.noise, 1), "dB", worst.sums),
        "sums_that_saturate": measured(worst.share, n=worst.sums),
        "operators": measured(len(found)),
    }
    if added is not None:
        evidence["snr_as_run"] = measured(level(as_run, signal), "dB", n)
    return Finding(
        "integer-saturation", severity(left) if added is not None else foretold(left), "quality",
        f"sums of 8-bit products overflow 16 bits {where}: it starts at '{names[0]}' and is worst "
        f"at '{survey_name(survey, worst.operator)}' ({len(found)} operators: {named(names)})",
        operator=names[0],
        evidence=evidence,
        next_step="store weights with 7 bits (static with bits=7; reduce_range in ONNX Runtime's "
        "own tool), as uint8 with zero point 128, or keep these operators in float",
        source=survey.source(names[0]),
        operators=tuple(names),
        weight=float(alone / signal) ** 0.5,
    )  # fmt: skip


def foretold(left: float) -> Severity:
    """How much a loss on other CPUs matters here: never more than a warning."""
    return "note" if severity(left) == "note" else "warning"


def survey_name(survey: Survey, operator: str) -> str:
    """The reference's name of an operator of the variant, where it has one."""
    for ours, theirs in survey.pair.matched.operators.items():
        if str(theirs.name) == operator:
            return str(ours.name)
    return operator
