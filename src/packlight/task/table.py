"""What single samples did, so that flips and intervals need no second run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from packlight.metrics.metric import Decisions, Rows, Truths

FIDELITY, SAMPLE, DECISION = "fidelity.", "sample.", "decision."


@dataclass(frozen=True, slots=True, eq=False)
class SampleTable:
    """One variant on n samples, with m decisions (nearly always m = n).

    Attributes:
        rows: of the task's metric (n, k).
        decisions: classes or texts (m,); empty where the task decides nothing.
        right: whether each is right (m,).
        owner: the sample each belongs to (m,).
        confidence: highest probability behind each (m,); 0 where unknown.
        fidelity: by name of a fidelity metric, its rows (n, 2).
        samples: further numbers of each sample (n,) by name, as ``divergence`` from the reference,
            or ``input_mean``; NaN where one has none.
        details: further numbers of each decision (m,) by name, as ``nll``.
    """

    rows: Rows
    decisions: Decisions
    right: Truths
    owner: NDArray[np.int64]
    confidence: Rows
    fidelity: Mapping[str, Rows] = field(default_factory=dict)
    samples: Mapping[str, Rows] = field(default_factory=dict)
    details: Mapping[str, Rows] = field(default_factory=dict)

    def decides_as_often(self, other: SampleTable) -> bool:
        """Whether there are decisions, and as many on each sample as in another table."""
        return bool(self.owner.size) and np.array_equal(self.owner, other.owner)

    def to_bytes(self) -> bytes:
        """The table as an .npz; the same table gives the same bytes."""
        arrays = {
            "rows": self.rows,
            "decisions": texts(self.decisions),
            "right": self.right,
            "owner": self.owner,
            "confidence": self.confidence,
            **{FIDELITY + name: rows for name, rows in sorted(self.fidelity.items())},
            **{SAMPLE + name: values for name, values in sorted(self.samples.items())},
            **{DECISION + name: values for name, values in sorted(self.details.items())},
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()


def read_table(data: bytes) -> SampleTable:
    """The table that ``to_bytes`` gave."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    return SampleTable(
        rows=kept["rows"],
        decisions=kept["decisions"],
        right=kept["right"],
        owner=kept["owner"],
        confidence=kept["confidence"],
        fidelity=under(FIDELITY, kept),
        samples=under(SAMPLE, kept),
        details=under(DECISION, kept),
    )


def under(prefix: str, arrays: Mapping[str, NDArray[np.float64]]) -> dict[str, Rows]:
    """Arrays whose name begins with a prefix, by the rest of it."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def texts(decisions: Decisions) -> Decisions:
    """Decisions without Python objects."""
    return decisions.astype(np.str_) if decisions.dtype.kind == "O" else decisions
