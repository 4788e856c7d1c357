"""Metrics that need no labels: fidelity of outputs to those of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from packlight.metrics.classes import predicted_classes, score_table
from packlight.metrics.metric import Decisions, Outputs, Rows, Truths, of_sums, ratio

CEILING = 150.0
"""dB; the rounding of float64 limits larger values."""

SUM_TOLERANCE = 1e-3
SMALLEST = 1e-12
"""Least probability of a class, so that its logarithm exists."""


def float_vector(outputs: Outputs) -> Rows:
    """All float outputs of one sample in one vector."""
    parts = [value.reshape(-1) for value in outputs.values() if is_float(value.dtype)]
    if not parts:
        return np.zeros(0)
    return np.concatenate(parts).astype(np.float64)


def is_float(dtype: np.dtype[np.generic]) -> bool:
    """Test whether a type holds real numbers, those of ml_dtypes included."""
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))


def _agreement_row(outputs: Outputs, reference: object) -> Rows:
    chosen = predicted_classes(outputs)
    agreed = chosen == predicted_classes(cast("Outputs", reference))
    return np.array([np.count_nonzero(agreed), chosen.size], dtype=np.float64)


def _as_reference(decisions: Decisions, reference: object) -> Truths:
    return np.asarray(decisions == predicted_classes(cast("Outputs", reference)), dtype=np.bool_)


def _noise_row(outputs: Outputs, reference: object) -> Rows:
    return signal_and_noise(float_vector(outputs), float_vector(cast("Outputs", reference)))


def signal_and_noise(values: Rows, reference: Rows) -> Rows:
    """Energy of ``reference`` and of the difference (2,)."""
    noise = values - reference
    return np.array([dot(reference, reference), dot(noise, noise)])


def dot(first: Rows, second: Rows) -> float:
    """Inner product in one thread: faster here than in several, and in a fixed order."""
    return float(np.einsum("i,i->", first, second))


def decibels(sums: Rows) -> Rows:
    """Signal and noise (..., 2) -> dB, within +-150; no noise is 150."""
    signal = sums[..., 0]
    noise = sums[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        level = 10 * np.log10(signal / noise)
    level = np.where(noise == 0, CEILING, np.where(signal == 0, -CEILING, level))
    return np.asarray(np.clip(level, -CEILING, CEILING))


def _cosine_row(outputs: Outputs, reference: object) -> Rows:
    return cosine(float_vector(outputs), float_vector(cast("Outputs", reference)))


def cosine(values: Rows, reference: Rows) -> Rows:
    """Cosine of two vectors, and 1 (2,); 1 for two zero vectors, 0 for one."""
    lengths = np.sqrt(dot(values, values)) * np.sqrt(dot(reference, reference))
    if lengths == 0:
        return np.array([float(np.array_equal(values, reference)), 1.0])
    return np.array([np.clip(dot(values, reference) / lengths, -1, 1), 1.0])


def _divergence_row(outputs: Outputs, reference: object) -> Rows:
    scores = score_table(outputs)
    expected = score_table(cast("Outputs", reference))
    to_logs = _log_probabilities if are_probabilities(expected) else log_softmax
    logs = to_logs(expected)
    nats = (np.exp(logs) * (logs - to_logs(scores))).sum(axis=1)
    return np.array([np.maximum(nats, 0).sum(), len(nats)])


def are_probabilities(table: Rows) -> bool:
    """Test whether every row (m, classes) is non-negative and sums to 1."""
    if table.shape[1] == 1 or table.min(initial=0.0) < -SUM_TOLERANCE:
        return False
    return bool(np.all(np.abs(table.sum(axis=1) - 1) < SUM_TOLERANCE))


def _log_probabilities(table: Rows) -> Rows:
    return np.asarray(np.log(np.maximum(table, SMALLEST)))


def log_softmax(table: Rows) -> Rows:
    """Logarithms of the softmax of each row."""
    shifted = table - table.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def fidelity_rows(outputs: Outputs, reference: Outputs, *, classes: bool) -> Mapping[str, Rows]:
    """The rows of ``snr`` and ``cosine``, and of ``kl`` where the first output scores classes.

    Args:
        outputs: of the variant on one sample.
        reference: outputs of the reference on it, of the same shapes.
        classes: True if the task states that the first output scores classes; probabilities are
            recognized without.
    """
    values = float_vector(outputs)
    expected = float_vector(reference)
    if not expected.size:
        return {}
    rows = {"snr": signal_and_noise(values, expected), "cosine": cosine(values, expected)}
    first = next(iter(reference.values()))
    several = is_float(first.dtype) and first.ndim > 0 and first.shape[-1] > 1
    if several and (classes or are_probabilities(score_table(reference))):
        rows["kl"] = _divergence_row(outputs, reference)
    return rows


FIDELITY_METRICS = {
    "agreement": of_sums(
        "agreement", _agreement_row, ratio, bounded=True, against="reference",
        decide=predicted_classes, right=_as_reference, scores=True,
    ),
    "snr": of_sums("snr", _noise_row, decibels, against="reference", unit="dB"),
    "kl": of_sums(
        "kl", _divergence_row, ratio, higher_is_better=False, against="reference",
        scores=True, unit="nat",
    ),
    "cosine": of_sums("cosine", _cosine_row, ratio, bounded=True, against="reference"),
}  # fmt: skip
"""Metrics by name; their target is the outputs of the reference."""
