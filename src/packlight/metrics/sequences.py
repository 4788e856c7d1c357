"""Metrics of decided sequences: error rates by edit distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from packlight.metrics.classes import choose
from packlight.metrics.metric import Decisions, Metric, Outputs, Rows, Truths, of_sums, ratio


def edit_distance(one: Sequence[object], other: Sequence[object]) -> int:
    """Insertions, deletions and substitutions that lead from one sequence to the other.

    Row by row: with substitutions and deletions known, an insertion is a running minimum, so that
    only one loop is left.

    Source: Wagner and Fischer, Journal of the ACM 21 (1974).

    >>> edit_distance("kitten", "sitting")
    3
    """
    codes: dict[object, int] = {}
    first, second = (
        np.array([codes.setdefault(item, len(codes)) for item in text], np.int64)
        for text in (one, other)
    )
    steps = np.arange(len(second) + 1)
    row = steps.copy()
    for index, item in enumerate(first, start=1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (second != item))
        row = np.minimum.accumulate(np.concatenate([[index], changed]) - steps) + steps
    return int(row[-1])


def greedy_ctc(outputs: Outputs, blank: int = 0) -> NDArray[np.int64]:
    """Symbols of the best path through the first output (..., steps, classes).

    Source: Graves et al., Connectionist Temporal Classification (2006), best path decoding.
    """
    path = choose(outputs)
    kept = np.concatenate([[True], path[1:] != path[:-1]]) if path.size else np.zeros(0, bool)
    return np.asarray(path[kept & (path != blank)], dtype=np.int64)


def error_rate(decode: Callable[[Outputs], str], name: str = "cer", words: bool = False) -> Metric:
    """Edit distance to the target over the length of the target, summed over all samples.

    Args:
        decode: outputs of a sample -> the text that they say.
        name: of the metric.
        words: whether words count instead of characters.
    """

    def parts(text: object) -> list[str]:
        return str(text).split() if words else list(str(text))

    def row(outputs: Outputs, target: object) -> Rows:
        wanted = parts(target)
        return np.array([edit_distance(parts(decode(outputs)), wanted), len(wanted)], np.float64)

    def decide(outputs: Outputs) -> Decisions:
        return np.array([decode(outputs)])

    return of_sums(
        name, row, ratio, higher_is_better=False, bounded=True, decide=decide, right=same_text
    )


def same_text(decisions: Decisions, target: object) -> Truths:
    """Whether the decided text is the target (1,)."""
    return np.array([str(decisions[0]) == str(target)])
