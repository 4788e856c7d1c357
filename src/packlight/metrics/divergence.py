"""Distance between the outputs of two models on one sample."""

from __future__ import annotations

from typing import Literal

import numpy as np

from packlight.metrics.classes import score_table
from packlight.metrics.fidelity import SMALLEST, are_probabilities, cosine, float_vector, is_float
from packlight.metrics.metric import Decisions, Metric, Outputs, Rows, first_output
from packlight.metrics.probabilities import class_probabilities
from packlight.metrics.sequences import edit_distance

Distance = Literal["Jensen-Shannon", "edit distance", "1 - cosine", "RMS difference"]


def distance_for(metric: Metric, reference: Outputs) -> Distance:
    """The distance that fits a task: of probabilities, of texts, of directions, or of numbers."""
    output = first_output(reference)
    if metric.form == "sequences":
        return "edit distance"
    several = is_float(output.dtype) and output.ndim > 0 and output.shape[-1] > 1
    if several and (metric.form == "classes" or are_probabilities(score_table(reference))):
        return "Jensen-Shannon"
    if metric.form == "classes" and not is_float(output.dtype):
        return "edit distance"
    if metric.form == "vectors":
        return "1 - cosine"
    return "RMS difference"


def distance(
    kind: Distance, outputs: Outputs, expected: Outputs, ours: Decisions, theirs: Decisions
) -> float:
    """Distance of the outputs of one sample; 0 for equal outputs.

    Args:
        kind: of distance.
        outputs: of the variant.
        expected: outputs of the reference, of the same shapes unless decisions are compared.
        ours: decisions of the variant.
        theirs: decisions of the reference.

    Returns:
        Jensen-Shannon divergence in nats, in the mean over decisions, at most ln 2 (Lin, IEEE
        Transactions on Information Theory 37, 1991); edits over the longer of the two; 1 minus the
        cosine; or the root of the mean squared difference.
    """
    if kind == "edit distance":
        items = _edit_items(ours)
        expected_items = _edit_items(theirs)
        return edit_distance(items, expected_items) / max(len(items), len(expected_items), 1)
    if kind == "Jensen-Shannon":
        return _jensen_shannon(outputs, expected)
    vector = float_vector(outputs)
    expected_vector = float_vector(expected)
    if kind == "1 - cosine":
        return float(max(1 - cosine(vector, expected_vector)[0], 0.0))
    if not vector.size:
        return 0.0
    return float(np.sqrt(np.square(vector - expected_vector).mean()))


def _edit_items(decisions: Decisions) -> list[object]:
    items: list[object] = decisions.tolist()
    if len(items) == 1 and isinstance(items[0], str):
        return list(items[0])
    return items


def _jensen_shannon(outputs: Outputs, expected: Outputs) -> float:
    count = len(score_table(expected))
    ours = class_probabilities(outputs, count)
    theirs = class_probabilities(expected, count)
    middle = np.maximum((ours + theirs) / 2, SMALLEST)
    return float(
        max(((_kl_from_mean(ours, middle) + _kl_from_mean(theirs, middle)) / 2).mean(), 0.0)
    )


def _kl_from_mean(chance: Rows, middle: Rows) -> Rows:
    logs = np.log(np.maximum(chance, SMALLEST)) - np.log(middle)
    return np.asarray((chance * logs).sum(axis=1))
