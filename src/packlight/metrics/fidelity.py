"""Metrics that need no labels: how near outputs are to those of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from packlight.metrics.classes import choose, score_table
from packlight.metrics.metric import Decisions, Outputs, Rows, Truths, of_sums, ratio

CEILING = 150.0
"""dB; beyond it lies the rounding of float64 itself."""

SUM_TOLERANCE = 1e-3
SMALLEST = 1e-12
"""Probability below which a class counts as this, so that its logarithm exists."""


def floats(outputs: Outputs) -> Rows:
    """All float outputs of one sample in one vector."""
    parts = [value.reshape(-1) for value in outputs.values() if is_float(value.dtype)]
    if not parts:
        return np.zeros(0)
    return np.concatenate(parts).astype(np.float64)


def is_float(dtype: np.dtype[np.generic]) -> bool:
    """Whether values of a type are real numbers, those of ml_dtypes included."""
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))


def agreement_row(outputs: Outputs, reference: object) -> Rows:
    """Equal decisions, and all decisions (2,)."""
    found, wanted = choose(outputs), choose(cast("Outputs", reference))
    return np.array([np.count_nonzero(found == wanted), found.size], dtype=np.float64)


def as_reference(decisions: Decisions, reference: object) -> Truths:
    """Whether each decision (m,) is what the reference decides."""
    return np.asarray(decisions == choose(cast("Outputs", reference)), dtype=np.bool_)


def noise_row(outputs: Outputs, reference: object) -> Rows:
    """Energy of the reference's float outputs, and of the difference to them (2,)."""
    return energies(floats(outputs), floats(cast("Outputs", reference)))


def energies(found: Rows, wanted: Rows) -> Rows:
    """Energy of ``wanted`` and of the difference (2,)."""
    noise = found - wanted
    return np.array([dot(wanted, wanted), dot(noise, noise)])


def dot(one: Rows, other: Rows) -> float:
    """Inner product in one thread: faster here than in many, and always in the same order."""
    return float(np.einsum("i,i->", one, other))


def decibels(sums: Rows) -> Rows:
    """Signal and noise (..., 2) -> dB, within +-150; no noise is 150."""
    signal, noise = sums[..., 0], sums[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        level = 10 * np.log10(signal / noise)
    level = np.where(noise == 0, CEILING, np.where(signal == 0, -CEILING, level))
    return np.asarray(np.clip(level, -CEILING, CEILING))


def cosine_row(outputs: Outputs, reference: object) -> Rows:
    """Cosine between all float outputs and the reference's, and 1 (2,)."""
    return cosine(floats(outputs), floats(cast("Outputs", reference)))


def cosine(found: Rows, wanted: Rows) -> Rows:
    """Cosine of two vectors, and 1 (2,); two zero vectors agree, one disagrees."""
    lengths = np.sqrt(dot(found, found)) * np.sqrt(dot(wanted, wanted))
    if lengths == 0:
        return np.array([float(np.array_equal(found, wanted)), 1.0])
    return np.array([np.clip(dot(found, wanted) / lengths, -1, 1), 1.0])


def divergence_row(outputs: Outputs, reference: object) -> Rows:
    """Sum of KL(reference || outputs) in nats over the rows of scores, and their number (2,)."""
    found, wanted = score_table(outputs), score_table(cast("Outputs", reference))
    if are_probabilities(wanted):
        log_found, log_wanted = (np.log(np.maximum(p, SMALLEST)) for p in (found, wanted))
    else:
        log_found, log_wanted = log_softmax(found), log_softmax(wanted)
    nats = (np.exp(log_wanted) * (log_wanted - log_found)).sum(axis=1)
    return np.array([np.maximum(nats, 0).sum(), len(nats)])


def are_probabilities(table: Rows) -> bool:
    """Whether every row (m, classes) is non-negative and sums to 1."""
    if table.shape[1] == 1 or table.min(initial=0.0) < -SUM_TOLERANCE:
        return False
    return bool(np.all(np.abs(table.sum(axis=1) - 1) < SUM_TOLERANCE))


def log_softmax(table: Rows) -> Rows:
    """Logarithms of the softmax of each row."""
    shifted = table - table.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def fidelity_rows(found: Outputs, reference: Outputs, *, classes: bool) -> Mapping[str, Rows]:
    """The rows of ``snr`` and ``cosine``, and of ``kl`` where the first output scores classes.

    Args:
        found: outputs of the variant on one sample.
        reference: outputs of the reference on it, of the same shapes.
        classes: whether the task says that the first output scores classes; probabilities are
            recognised without.
    """
    ours, wanted = floats(found), floats(reference)
    if not wanted.size:
        return {}
    rows = {"snr": energies(ours, wanted), "cosine": cosine(ours, wanted)}
    first = next(iter(reference.values()))
    several = is_float(first.dtype) and first.ndim > 0 and first.shape[-1] > 1
    if several and (classes or are_probabilities(score_table(reference))):
        rows["kl"] = divergence_row(found, reference)
    return rows


FIDELITY_METRICS = {
    "agreement": of_sums(
        "agreement", agreement_row, ratio, bounded=True, against="reference",
        decide=choose, right=as_reference, scores=True,
    ),
    "snr": of_sums("snr", noise_row, decibels, against="reference", unit="dB"),
    "kl": of_sums(
        "kl", divergence_row, ratio, higher_is_better=False, against="reference",
        scores=True, unit="nat",
    ),
    "cosine": of_sums("cosine", cosine_row, ratio, bounded=True, against="reference"),
}  # fmt: skip
"""Each by its name; their target is the outputs of the reference."""
