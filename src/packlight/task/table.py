"""Results of single samples, so that flips and intervals need no second run."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics.metric import Decisions, Rows, Truths
from packlight.task.unpacking import check_unpacked

FIDELITY = "fidelity."
SAMPLE = "sample."
DECISION = "decision."
STORED = "a stored table of samples"


@dataclass(frozen=True, slots=True, eq=False)
class SampleTable:
    """One variant on n samples, with m decisions (nearly always m = n).

    Attributes:
        rows: of the task's metric (n, k).
        decisions: classes or texts (m,); empty for a task without decisions.
        right: True for each correct decision (m,).
        owner: index of the sample of each decision (m,).
        confidence: highest probability of each decision (m,); 0 where unknown.
        fidelity: by name of a fidelity metric, its rows (n, 2).
        samples: further numbers of each sample (n,) by name, such as ``divergence`` from the
            reference, or ``input_mean``; NaN where one has none.
        details: further numbers of each decision (m,) by name, such as ``nll``.
    """

    rows: Rows
    decisions: Decisions
    right: Truths
    owner: NDArray[np.int64]
    confidence: Rows
    fidelity: Mapping[str, Rows] = field(default_factory=dict)
    samples: Mapping[str, Rows] = field(default_factory=dict)
    details: Mapping[str, Rows] = field(default_factory=dict)

    def same_decision_counts(self, table: SampleTable) -> bool:
        """Test whether there are decisions, and as many on each sample as in ``table``."""
        return bool(self.owner.size) and np.array_equal(self.owner, table.owner)

    def to_bytes(self) -> bytes:
        """The table as an .npz; the same table gives the same bytes."""
        arrays = {
            "rows": self.rows,
            "decisions": _without_objects(self.decisions),
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
    """Read a table from the bytes of ``to_bytes``.

    Raises:
        TaskError: they are no such table, or unpack to far more.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            check_unpacked(unpacked, len(data), STORED)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            stored = {name: arrays[name] for name in arrays.files}
        return _table_of(stored)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise TaskError(f"{STORED} cannot be read: {error}. Start a new project") from error


def _table_of(stored: Mapping[str, NDArray[Any]]) -> SampleTable:
    return SampleTable(
        rows=stored["rows"],
        decisions=stored["decisions"],
        right=stored["right"],
        owner=stored["owner"],
        confidence=stored["confidence"],
        fidelity=_arrays_by_prefix(FIDELITY, stored),
        samples=_arrays_by_prefix(SAMPLE, stored),
        details=_arrays_by_prefix(DECISION, stored),
    )


def _arrays_by_prefix(prefix: str, arrays: Mapping[str, NDArray[np.float64]]) -> dict[str, Rows]:
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays[name] for name in names}


def _without_objects(decisions: Decisions) -> Decisions:
    if decisions.dtype.kind == "O":
        return decisions.astype(np.str_)
    return decisions
