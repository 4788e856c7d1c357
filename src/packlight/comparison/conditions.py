"""Conditions under which two evaluations may be ranked against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from packlight.records import Evaluation


def reference_of(evaluation: Evaluation) -> str:
    """Id of the reference; ``none`` for the reference itself."""
    return "none" if evaluation.reference == evaluation.variant else evaluation.reference


CONDITIONS: Mapping[str, Callable[[Evaluation], object]] = {
    "data": lambda evaluation: evaluation.data,
    "split": lambda evaluation: evaluation.split,
    "task code (preprocessing)": lambda evaluation: evaluation.code or "none",
    "seed": lambda evaluation: evaluation.seed,
    "arithmetic": lambda evaluation: evaluation.session.arithmetic,
    "threads": lambda evaluation: evaluation.session.threads,
    "accuracy level": lambda evaluation: evaluation.session.matmul_accuracy,
    "machine": lambda evaluation: evaluation.machine or "unknown",
    "reference": reference_of,
}
"""Conditions that must be equal, by name."""


def differences(first: Evaluation, second: Evaluation) -> tuple[str, ...]:
    """Conditions that differ, as ``seed: 0 and 1``; empty where none does.

    ``data`` is a digest of the samples as the model gets them, so it differs with preprocessing
    too; the digest of the task's own code, where it has any, shows which of the two changed.
    """
    unlike = []
    for name, read in CONDITIONS.items():
        if name == "reference" and first.reference == second.reference:
            continue
        if read(first) != read(second):
            unlike.append(f"{name}: {read(first)} and {read(second)}")
    return tuple(unlike)
