"""How far two models lie apart on one sample, by what they put out."""

from __future__ import annotations

from typing import Literal

import numpy as np

from packlight.metrics.calibration import chances
from packlight.metrics.classes import score_table
from packlight.metrics.fidelity import SMALLEST, are_probabilities, cosine, floats, is_float
from packlight.metrics.metric import Decisions, Metric, Outputs, Rows, primary
from packlight.metrics.sequences import edit_distance

Distance = Literal["Jensen-Shannon", "edit distance", "1 - cosine", "RMS difference"]


def distance_for(metric: Metric, reference: Outputs) -> Distance:
    """What fits a task: of probabilities, of texts, of directions, or of numbers."""
    found = primary(reference)
    if metric.form == "sequences":
        return "edit distance"
    several = is_float(found.dtype) and found.ndim > 0 and found.shape[-1] > 1
    if several and (metric.form == "classes" or are_probabilities(score_table(reference))):
        return "Jensen-Shannon"
    if metric.form == "classes" and not is_float(found.dtype):
        return "edit distance"
    return "1 - cosine" if metric.form == "vectors" else "RMS difference"


def distance(
    kind: Distance, found: Outputs, wanted: Outputs, ours: Decisions, theirs: Decisions
) -> float:
    """One number for a sample, 0 for equal outputs.

    Args:
        kind: of distance.
        found: outputs of the variant.
        wanted: outputs of the reference, of the same shapes unless decisions are compared.
        ours: decisions of the variant.
        theirs: decisions of the reference.

    Returns:
        Jensen-Shannon divergence in nats, in the mean over decisions, at most ln 2 (Lin, IEEE
        Transactions on Information Theory 37, 1991); edits over the longer of the two; 1 minus the
        cosine; or the root of the mean squared difference.
    """
    if kind == "edit distance":
        mine, others = sequence(ours), sequence(theirs)
        return edit_distance(mine, others) / max(len(mine), len(others), 1)
    if kind == "Jensen-Shannon":
        return jensen_shannon(found, wanted)
    one, other = floats(found), floats(wanted)
    if kind == "1 - cosine":
        return float(max(1 - cosine(one, other)[0], 0.0))
    return float(np.sqrt(np.square(one - other).mean())) if one.size else 0.0


def sequence(decisions: Decisions) -> list[object]:
    """Decisions as what is edited: the characters of one text, else the decisions themselves."""
    items: list[object] = decisions.tolist()
    return list(str(items[0])) if len(items) == 1 and isinstance(items[0], str) else items


def jensen_shannon(found: Outputs, wanted: Outputs) -> float:
    """Mean divergence in nats over the decisions of the first output."""
    count = len(score_table(wanted))
    ours, theirs = chances(found, count), chances(wanted, count)
    middle = np.maximum((ours + theirs) / 2, SMALLEST)
    return float(max(((gain(ours, middle) + gain(theirs, middle)) / 2).mean(), 0.0))


def gain(chance: Rows, middle: Rows) -> Rows:
    """KL divergence of each row from the middle, in nats."""
    logs = np.log(np.maximum(chance, SMALLEST)) - np.log(middle)
    return np.asarray((chance * logs).sum(axis=1))
