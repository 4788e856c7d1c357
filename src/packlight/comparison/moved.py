"""Samples that changed most: those that were right and are wrong now first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from packlight.comparison.flips import outcomes
from packlight.records import Moved
from packlight.task import SampleTable

MOVED = 20
"""Samples listed among those that changed most."""

LONGEST = 80
"""Characters of a decision in a record, at most."""

LEAST_PER_CLASS = 2
"""Samples of a class, on average, that must agree on its name."""

Outcome = Literal["lost", "won", "changed", "same", ""]
RANKED: tuple[Outcome, ...] = ("lost", "won", "changed")
NOTHING: Outcome = "same"


def moved(before: SampleTable, after: SampleTable, names: Mapping[str, str]) -> tuple[Moved, ...]:
    """The samples that changed most; none with a divergence of 0.

    Samples that were right and are wrong now come first, then those that are right now, those that
    are wrong in another way, and those of the same decision; each kind by its divergence.

    Args:
        before: scores of the reference.
        after: scores of the variant.
        names: of classes, by decision.
    """
    if "divergence" not in after.samples:
        return ()
    divergence = after.samples["divergence"]
    paired = before.same_decision_counts(after)
    kinds = np.zeros(len(divergence), np.int64)
    if paired:
        kinds = _kinds(before, after, len(divergence))
    order = np.lexsort((-divergence, kinds))
    found = []
    for sample in order[divergence[order] > 0][:MOVED].tolist():
        of_sample = after.owner == sample
        outcome: Outcome = ""
        decided = ("", "")
        if paired:
            outcome = (*RANKED, NOTHING)[kinds[sample]] if of_sample.any() else ""
            decided = _text(before, of_sample, names), _text(after, of_sample, names)
        found.append(Moved(sample, float(divergence[sample]), *decided, outcome))
    return tuple(found)


def _kinds(
    before: SampleTable, after: SampleTable, n: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Place of each sample's outcome in ``RANKED``, or behind its end."""
    kinds = np.full(n, len(RANKED), np.int64)
    flags = outcomes(before, after)
    for place, name in reversed(list(enumerate(RANKED))):
        kinds[after.owner[flags[name]]] = place
    return kinds


def class_names(table: SampleTable, columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Names of classes by decision: a group column that says what the right decisions say.

    Each class must be one group and each group one class, over all samples that are decided right.
    Empty where no column is like that, or where a sample has other than one decision.
    """
    if not np.array_equal(table.owner, np.arange(len(table.rows))):
        return {}
    right = np.flatnonzero(table.right)
    decided = [str(decision) for decision in table.decisions[right].tolist()]
    for groups in columns.values():
        pairs = set(zip(decided, (str(groups[sample]) for sample in right.tolist()), strict=True))
        names = dict(pairs)
        is_one_to_one = len(pairs) == len(names) == len(set(names.values()))
        if is_one_to_one and len(names) > 1 and len(right) >= LEAST_PER_CLASS * len(names):
            return names
    return {}


def _text(
    table: SampleTable,
    of_sample: np.ndarray[tuple[int], np.dtype[np.bool_]],
    names: Mapping[str, str],
) -> str:
    decisions = [str(decision) for decision in table.decisions[of_sample].tolist()]
    text = " ".join(names.get(decision, decision) for decision in decisions)
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 3]}..."
