"""Metrics of decided sequences: error rates by edit distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from packlight.metrics.classes import predicted_classes
from packlight.metrics.metric import Decisions, Metric, Outputs, Rows, Truths, of_sums, ratio


def edit_distance(source: Sequence[object], target: Sequence[object]) -> int:
    """Least number of insertions, deletions and substitutions from ``source`` to ``target``.

    Computed row by row: given substitutions and deletions, insertions are a running minimum, so one
    loop suffices.

    Source: Wagner and Fischer, Journal of the ACM 21 (1974).

    >>> edit_distance("kitten", "sitting")
    3
    """
    codes: dict[object, int] = {}
    first, second = (
        np.array([codes.setdefault(item, len(codes)) for item in text], np.int64)
        for text in (source, target)
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
    path = predicted_classes(outputs)
    new_symbol = np.ones(path.size, bool)
    new_symbol[1:] = path[1:] != path[:-1]
    return np.asarray(path[new_symbol & (path != blank)], dtype=np.int64)


def error_rate(decode: Callable[[Outputs], str], name: str = "cer", words: bool = False) -> Metric:
    """Edit distance to the target over the length of the target, summed over all samples.

    Args:
        decode: outputs of a sample -> its text.
        name: of the metric.
        words: True to count words instead of characters.
    """

    def parts(text: object) -> list[str]:
        if words:
            return str(text).split()
        return list(str(text))

    def row(outputs: Outputs, target: object) -> Rows:
        expected = parts(target)
        edits = edit_distance(parts(decode(outputs)), expected)
        return np.array([edits, len(expected)], np.float64)

    def decide(outputs: Outputs) -> Decisions:
        return np.array([decode(outputs)])

    return of_sums(
        name, row, ratio, higher_is_better=False, bounded=True, decide=decide, right=_same_text
    )


def _same_text(decisions: Decisions, target: object) -> Truths:
    return np.array([str(decisions[0]) == str(target)])
