"""Causes in the runtime's arithmetic, which exact arithmetic does not show."""

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
"""Energy relative to the signal up to which float32 sums in another order may differ."""

GONE = 0.25
"""Share of an error that may remain once its cause is removed."""

PARTS = 0.5
"""Estimated share of the error of saturated sums that reaches the outputs, at least."""


def arithmetic(survey: Survey) -> Iterator[Finding]:
    """Find the error that the session adds to the variant's own error, here and on other CPUs."""
    subject = survey.subject
    signal, own_error = survey.energies
    if not signal:
        return
    runtime = replace(subject.options, arithmetic="runtime")
    _, as_run = survey.outputs_of(subject.variant, runtime)
    added = max(float(as_run - own_error), 0.0)
    saturated = [operator for operator in _saturations(survey) if operator.noise > NOISE]
    here = machine().saturates
    if added > NOISE * signal and level(added, signal) < SILENT:
        in_float = replace(runtime, matmul_accuracy=1)
        _, plain = survey.outputs_of(subject.variant, in_float)
        if max(plain - own_error, 0.0) <= GONE * added:
            yield _low_bit_fusion(survey, added, as_run)
        elif not (here and saturated):
            yield fusion(survey, added, as_run)
    if saturated:
        yield _saturating(survey, saturated, added if here else None, as_run)


def _saturations(survey: Survey) -> tuple[Saturation, ...]:
    task = survey.subject.task
    samples = [task.samples[index] for index in survey.samples]
    runtime = replace(survey.subject.options, arithmetic="runtime")
    return saturation(survey.subject.variant, samples, task.state, runtime)


def _low_bit_fusion(survey: Survey, added: float, as_run: float) -> Finding:
    """Report products that the session computes with 8-bit activations."""
    products = [
        weight.operator for weight in survey.weights if weight.node.op_type in ("MatMul", "Gemm")
    ]
    finding = fusion(survey, added, as_run)
    operator = next(iter(products), "")
    return replace(
        finding,
        sentence=f"{INEXACT}: it fuses DequantizeLinear and MatMul into MatMulNBits, which rounds "
        "activations to 8 bits",
        operator=operator,
        next_step="set the session option session.qdq_matmulnbits_accuracy_level to 1, or leave "
        "products with wide activations in float (where=)",
        operators=tuple(products),
        source=survey.source(operator) if operator else None,
    )


INEXACT = "the runtime's results differ from exact arithmetic"


def fusion(survey: Survey, added: float, as_run: float) -> Finding:
    """Report fused operators with coarser arithmetic."""
    signal, own_error = survey.energies
    remaining = level(added, signal)
    n = len(survey.samples)
    return Finding(
        "runtime-fusion", severity(remaining), "quality",
        f"{INEXACT}: it fuses or replaces operators with less precise ones",
        operator="",
        evidence={
            "snr_computed_exactly": measured(level(own_error, signal), "dB", n),
            "snr_as_run": measured(level(as_run, signal), "dB", n),
            "snr_of_the_difference": measured(remaining, "dB", n),
        },
        next_step="run without graph optimizations (ORT_DISABLE_ALL), find the fusion that causes "
        "it, and disable that fusion",
        operators=(),
        source=None,
        weight=float(added / signal) ** 0.5,
    )  # fmt: skip


def _saturating(
    survey: Survey, saturated: list[Saturation], added: float | None, as_run: float
) -> Finding:
    """Report sums of 8-bit products that saturate 16 bits, measured here or else predicted."""
    signal, own_error = survey.energies
    n = len(survey.samples)
    worst = max(saturated, key=lambda operator: operator.noise)
    evidence = {
        "snr_computed_exactly": measured(level(own_error, signal), "dB", n),
        "snr_of_the_worst_sums": measured(level(worst.noise, 1), "dB", worst.sums),
        "sums_that_saturate": measured(worst.share, n=worst.sums),
        "operators": measured(len(saturated)),
    }
    if added is None:
        where = "on x86 CPUs without VNNI; this CPU is not affected"
        added = PARTS * sum(operator.noise for operator in saturated) * signal
        how_severe = _severity_elsewhere(level(added, signal))
    else:
        where = "on this CPU, which has no VNNI"
        how_severe = severity(level(added, signal))
        evidence["snr_as_run"] = measured(level(as_run, signal), "dB", n)
    names = [_survey_name(survey, operator.operator) for operator in saturated]
    return Finding(
        "integer-saturation", how_severe, "quality",
        f"sums of 8-bit products overflow 16 bits {where}. First operator: '{names[0]}'; worst "
        f"operator: '{_survey_name(survey, worst.operator)}' ({len(saturated)} operators: "
        f"{named(names)})",
        operator=names[0],
        evidence=evidence,
        next_step="store weights with 7 bits (static with bits=7; reduce_range in ONNX Runtime's "
        "own tool), as uint8 with zero point 128, or keep these operators in float",
        source=survey.source(names[0]),
        operators=tuple(names),
        weight=float(added / signal) ** 0.5,
    )  # fmt: skip


def _severity_elsewhere(decibel: float) -> Severity:
    if severity(decibel) == "note":
        return "note"
    return "warning"


def _survey_name(survey: Survey, operator: str) -> str:
    for node, counterpart in survey.pair.matched.operators.items():
        if str(counterpart.name) == operator:
            return str(node.name)
    return operator
