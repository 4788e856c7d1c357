"""Whether two evaluations may be ranked against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from packlight.records import Evaluation

CONDITIONS: Mapping[str, Callable[[Evaluation], object]] = {
    "data": lambda found: found.data,
    "split": lambda found: found.split,
    "task code (preprocessing)": lambda found: found.code or "none",
    "seed": lambda found: found.seed,
    "arithmetic": lambda found: found.session.arithmetic,
    "threads": lambda found: found.session.threads,
    "accuracy level": lambda found: found.session.matmul_accuracy,
    "machine": lambda found: found.machine or "unknown",
    "reference": lambda found: "none" if found.reference == found.variant else found.reference,
}
"""What must be alike, by its name."""


def differences(one: Evaluation, other: Evaluation) -> tuple[str, ...]:
    """What differs between how two models were judged, as ``seed: 0 and 1``; empty where nothing.

    ``data`` is a digest of the samples as the model gets them, so that it differs with
    preprocessing too; the task's own code, where it has any, tells the two apart.
    """
    pairs = ((name, read(one), read(other)) for name, read in CONDITIONS.items())
    return tuple(
        f"{name}: {first} and {second}"
        for name, first, second in pairs
        if first != second and not (name == "reference" and one.reference == other.reference)
    )
