"""The model card of a bundle, in Markdown, and its short table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from packlight.presentation.numbers import show_bytes, show_named
from packlight.records.export import (
    Bundle,
    ExportedWeight,
    Parity,
    form_label,
)

TITLES = {
    "onnx": "ONNX",
    "ort": "ORT format",
    "coreai": "Core AI",
    "coreml": "Core ML",
    "litert": "LiteRT",
    "executorch": "ExecuTorch",
    "openvino": "OpenVINO",
}


def model_card(bundle: Bundle) -> str:
    """The model card of a bundle, in Markdown."""
    parts = [
        f"# {_plain(bundle.model)} as {TITLES[bundle.format]}",
        "\n".join(_facts(bundle)),
        "## Weights",
        "\n".join(_weight_rows(bundle)),
        "## Parity with the ONNX model",
        "\n".join(_parity_rows(bundle.parity)),
    ]
    if bundle.measured:
        parts += ["## Measured quality of the ONNX model", "\n".join(_measured_rows(bundle))]
    if bundle.unmeasured:
        parts += ["## Not verified here", "\n".join(f"- {text}" for text in bundle.unmeasured)]
    parts += ["## How to run it", "\n".join(_example_rows(bundle))]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """A name without characters that mean something in Markdown."""
    return "".join(character if character not in "`*_|<>#[]\n\r" else " " for character in text)


def _facts(bundle: Bundle) -> Iterator[str]:
    yield "| | |"
    yield "| --- | --- |"
    yield f"| file | `{bundle.entry}`, {show_bytes(bundle.bytes)} |"
    ratio = bundle.bytes / bundle.onnx_bytes
    size = show_bytes(bundle.onnx_bytes)
    yield f"| from | ONNX, {size} ({ratio:.3g}x), content `{bundle.digest}` |"
    if bundle.recipe:
        yield f"| recipe | `{bundle.recipe}` |"
    for budget in bundle.budgets:
        yield f"| budget | {_plain(budget)} |"
    for name, text in bundle.bound.items():
        yield f"| bound | {_plain(name)} = {_plain(text)} |"
    for name, new in bundle.renamed.items():
        yield f"| renamed | {_plain(name)} is `{_plain(new)}` in the file |"
    for name in bundle.timestamps:
        yield f"| varies | the bytes of `{name}` differ from run to run, its content does not |"
    for name, version in bundle.environment.items():
        yield f"| {name} | {version} |"
    if bundle.session:
        options = ", ".join(f"{name} {text}" for name, text in bundle.session.items())
        yield f"| session | {_plain(options)} |"
    if bundle.machine:
        yield f"| measured on | {_plain(bundle.machine)} |"


def _weight_rows(bundle: Bundle) -> Iterator[str]:
    yield "| stored as | weights | numbers | bytes |"
    yield "| --- | ---: | ---: | ---: |"
    for group in weight_groups(bundle):
        yield f"| {group.label} | {group.weights} | {group.elements:,} | {group.bytes:,} |"


@dataclass(frozen=True, slots=True)
class WeightGroup:
    """Weights of a bundle that are stored in the same way.

    Attributes:
        label: of the storage.
        weights: number of weights.
        elements: numbers in them.
        bytes: that they take.
    """

    label: str
    weights: int
    elements: int
    bytes: int


def weight_groups(bundle: Bundle) -> Iterator[WeightGroup]:
    """Weights of a bundle by storage."""
    ranked = sorted(bundle.weights, key=_label)
    for label, group in groupby(ranked, key=_label):
        rows = list(group)
        elements = sum(row.elements for row in rows)
        yield WeightGroup(label, len(rows), elements, sum(row.bytes for row in rows))


def _label(weight: ExportedWeight) -> str:
    label = form_label(weight.stored)
    if weight.expanded:
        return f"{label}, expanded from {form_label(weight.source)}"
    return label


def _parity_rows(parity: Parity | None) -> Iterator[str]:
    if parity is None:
        yield "Not measured."
        return
    verdict = "passed" if parity.passed else "FAILED"
    yield f"**{verdict}** in {parity.runtime}, on {parity.samples} inputs ({parity.random} random)."
    yield ""
    yield f"- worst {decibels(parity.worst)}, median {decibels(parity.median)}"
    for other in parity.other_runs:
        yield f"- {other.runtime}: worst {decibels(other.worst)}, median {decibels(other.median)}"
    yield f"- required: {decibels(parity.required)}"
    if parity.agreement is not None:
        yield f"- equal decisions: {show_named('agreement', parity.agreement)}"
    for name, measurement in parity.metrics.items():
        yield f"- {name}: {show_named(name, measurement)}"
    if parity.latency_ratio is not None:
        yield f"- latency over ONNX Runtime: {show_named('latency_ratio', parity.latency_ratio)}"
    if parity.first_difference is not None:
        first = parity.first_difference
        name = f"{first.op_type} `{_plain(first.operator)}`"
        yield f"- the first operator that differs is {name}: {decibels(first.decibels)}"
    for note in parity.notes:
        yield f"- {note}"


def decibels(value: float) -> str:
    """A signal-to-noise ratio for people.

    >>> decibels(134.93), decibels(float("inf"))
    ('134.9 dB', 'equal')
    """
    if math.isinf(value):
        return "equal" if value > 0 else "no agreement at all"
    return f"{value:.1f} dB"


def _measured_rows(bundle: Bundle) -> Iterator[str]:
    for name, measurement in bundle.measured.items():
        yield f"- {_plain(name)}: {show_named(name, measurement)}"


def _example_rows(bundle: Bundle) -> Iterator[str]:
    for snippet in bundle.snippets:
        state = "executed here" if snippet.executed else "not executed here"
        yield f"- `{snippet.path}` ({snippet.language}, {state})"
