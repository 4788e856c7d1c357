"""What differs on other processors, as people read it."""

from __future__ import annotations

from collections.abc import Iterator

from packlight.presentation.numbers import (
    drop_scale,
    plural,
    scaled_value,
    show_named,
    show_share,
    show_value,
)
from packlight.records.measurement import Measurement
from packlight.records.portability import (
    KernelDifference,
    Portability,
    ProcessorResult,
)

IDENTICAL_DB = 150.0
"""SNR of outputs that do not differ at all."""

MISSING = "-"
IDENTICAL = "identical"
MOST_NAMES = 3
HEADS = ("processor", "snr", "worst", "agreement", "here", "there", "drop", "operators")
CAUSES = {
    "saturation": "sums saturate",
    "rounding": "rounds otherwise",
    "kernel": "other result",
}


def headline(record: Portability) -> str:
    """The model, the samples and the machine that all others are compared with."""
    also = ""
    if record.here.saturates:
        also = ", whose sums of 8-bit products saturate too, so outputs may agree and both be wrong"
    return (
        f"{record.model} on {plural(record.n, 'sample')} of {record.task}, against this machine "
        f"({record.here.processor}, ONNX Runtime {record.here.onnxruntime}){also}"
    )


def rows(record: Portability) -> Iterator[tuple[str, ...]]:
    """One row for each processor, under ``HEADS``."""
    for result in record.processors:
        metrics = result.metrics
        differing = MISSING
        if result.compared:
            differing = f"{len(result.operators)} of {result.compared}"
        yield (
            result.name,
            level(metrics.get("snr")),
            level(metrics.get("snr_worst")),
            MISSING if "agreement" not in metrics else show_share(metrics["agreement"].value),
            show_value(record.value),
            show_value(metrics[record.metric]),
            scaled_value(metrics["drop"], drop_scale(record.metric)),
            differing,
        )


def level(snr: Measurement | None) -> str:
    """A signal-to-noise ratio; outputs that are equal bit for bit are called so."""
    if snr is None:
        return MISSING
    if snr.value >= IDENTICAL_DB:
        return IDENTICAL
    return f"{snr.value:.1f} dB"


def difference_row(operator: KernelDifference) -> tuple[str, ...]:
    """Operator, kernel, cause, SNR, share of numbers that differ, and the largest difference."""
    largest = f"{operator.largest:.3g}"
    if operator.codes:
        largest = plural(round(operator.largest), "step")
    return (
        operator.operator,
        operator.kernel,
        CAUSES[operator.cause],
        f"{operator.snr.value:.1f} dB",
        show_share(operator.differing),
        largest,
    )


def costs(result: ProcessorResult) -> str:
    """Latency and memory, with the name of the machine; empty where they were not measured."""
    names = {"latency": "latency", "latency_p90": "p90", "peak_memory": "peak memory"}
    shown = [
        f"{title} {show_named(name, result.metrics[name])}"
        for name, title in names.items()
        if name in result.metrics
    ]
    if not shown:
        return ""
    machine = result.machine
    return (
        f"{', '.join(shown)}; measured on {result.name} ({machine.processor}, "
        f"ONNX Runtime {machine.onnxruntime})"
    )


def advice(result: ProcessorResult) -> Iterator[str]:
    """Sentences on what differs and what to change, the most serious first."""
    saturating = result.operators_of("saturation")
    if saturating:
        worst = max(saturating, key=lambda operator: operator.saturated)
        yield (
            f"Sums of 8-bit products saturate in {plural(len(saturating), 'operator')}, most in "
            f"{worst.operator} ({show_share(worst.saturated)} of its sums): this processor adds "
            "pairs of products in 16 bits. Quantize again with `static`, whose weights are chosen "
            "so that no pair saturates (portable=true, the default), or with weights of 7 bits, "
            "`static:7`."
        )
    other = result.operators_of("kernel")
    if other:
        names = ", ".join(operator.operator for operator in other[:MOST_NAMES])
        yield (
            f"Results differ by more than rounding in {plural(len(other), 'operator')}: {names}. "
            "Leave them in float (`static,skip=NAME`), or evaluate on that processor."
        )
    if saturating or other:
        return
    if result.operators:
        count = f"{len(result.operators)} of {plural(result.compared, 'operator')}"
        yield f"Rounding differs in {count}, by one step at most; nothing needs to change."
    elif result.compared:
        yield (
            "No operator differs alone; its kernels are joined in another way there. Judge it by "
            "the metric."
        )
    elif level(result.metrics.get("snr_worst")) == IDENTICAL:
        yield "Outputs are identical, bit for bit."
    else:
        yield "Outputs are equal up to the rounding of floats; nothing needs to change."


def notes(result: ProcessorResult) -> Iterator[str]:
    """Sentences on how a processor was reached."""
    if result.kind == "emulated":
        yield "emulated by qemu, so times mean nothing and were not measured"
    if result.kind == "kernels":
        yield "on the silicon of this machine, so times were not measured"
    if result.skipped:
        yield f"{plural(result.skipped, 'operator')} with graphs inside or random were not compared"
