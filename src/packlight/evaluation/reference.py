"""The reference on the samples: run once for many variants, where its outputs fit in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from packlight.errors import TaskError
from packlight.evaluation.input_features import statistics
from packlight.metrics import Outputs, Rows, predicted_classes
from packlight.metrics.calibration import class_probabilities, nll_and_brier
from packlight.metrics.fidelity import is_float
from packlight.metrics.metric import Decisions, Truths
from packlight.model.model import Model
from packlight.records import SessionOptions
from packlight.runtime import Session, open_session
from packlight.task import Task, user_code

if TYPE_CHECKING:
    from packlight.runtime import Steps

LIMIT = 256 << 20
"""Bytes of outputs kept in memory: all of them, or none."""


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """One sample, judged.

    Attributes:
        row: of the task's metric (k,).
        decisions: (m,); empty where the task decides nothing.
        right: whether each is right (m,).
        confidence: highest probability behind each (m,); 0 where unknown.
        nll: negative log likelihood of the right class, of each (m,); empty where unknown.
        brier: Brier score of each (m,); empty where unknown.
    """

    row: Rows
    decisions: Decisions
    right: Truths
    confidence: Rows
    nll: Rows
    brier: Rows


class Reference:
    """Outputs and scores of the model that others are compared with, sample by sample.

    Attributes:
        model: the reference.
        task: whose samples it runs.
        session: that runs it.
    """

    def __init__(
        self, model: Model, task: Task, options: SessionOptions, limit: int = LIMIT
    ) -> None:
        self.model = model
        self.task = task
        self.session = open_session(model, options)
        self._room = limit
        self._keep = True
        self._outputs: dict[int, Outputs] = {}
        self._scores: dict[int, Score] = {}
        self._inputs: dict[int, Rows] = {}

    def outputs(self, index: int, steps: Steps) -> Outputs:
        """What the reference gives on a sample.

        Raises:
            TaskError: it is not finite.
        """
        if index in self._outputs:
            return self._outputs[index]
        found = results(self.session, steps, self.task.state)
        bad = not_finite(found)
        if bad:
            raise TaskError(
                f"the reference must give finite outputs; '{self.model.name}' gives NaN or "
                f"infinity in '{bad}' on sample {index} of task '{self.task.name}'. "
                "Look at the sample, or at the model as it came"
            )
        self._remember(index, found)
        return found

    def score(self, index: int, outputs: Outputs) -> Score:
        """How the reference's own outputs on a sample are judged."""
        if index not in self._scores:
            self._scores[index] = score(self.task, index, outputs, outputs)
        return self._scores[index]

    def inputs(self, index: int, steps: Steps) -> Rows:
        """What the inputs of a sample are like, in a few numbers; computed once."""
        if index not in self._inputs:
            self._inputs[index] = statistics(steps)
        return self._inputs[index]

    def _remember(self, index: int, found: Outputs) -> None:
        """Keep outputs while all of them can be expected to fit; else let all go."""
        size = sum(array.nbytes for array in found.values())
        self._room -= size
        expected = size * (len(self.task.samples) - len(self._outputs) - 1)
        if self._keep and self._room >= 0 and (self._outputs or expected <= self._room):
            self._outputs[index] = found
        else:
            self._keep = False
            self._outputs.clear()


def results(session: Session, steps: Steps, state: Mapping[str, str]) -> Outputs:
    """Outputs of a sample without the state, which is carried on and is no result."""
    found = session.run_steps(steps, state)
    return {name: array for name, array in found.items() if name not in state} or found


def not_finite(outputs: Outputs) -> str:
    """Name of the first float output that holds NaN or infinity; empty where all are finite."""
    for name, array in outputs.items():
        if is_float(array.dtype) and not np.isfinite(array).all():
            return name
    return ""


def score(task: Task, index: int, outputs: Outputs, reference: Outputs) -> Score:
    """Judge outputs on one sample by the task's metric.

    Raises:
        TaskError: the metric fails, or gives no finite vector.
    """
    metric = task.metric
    target = task.targets[index] if metric.against == "target" else reference
    where = f"metric '{metric.name}' on sample {index} of task '{task.name}'"
    with user_code(where):
        row = np.asarray(metric.row(outputs, target), dtype=np.float64)
        decisions = np.zeros(0) if metric.decide is None else np.asarray(metric.decide(outputs))
        right = np.zeros(0, bool) if metric.decide is None else metric.right(decisions, target)
    if row.ndim != 1 or not np.isfinite(row).all():
        raise TaskError(f"{where} must give a vector of finite numbers; it gives {row}")
    return Score(row, decisions, right, *trust(task, index, outputs, len(decisions)))


NONE = np.zeros(0)


def trust(task: Task, index: int, outputs: Outputs, count: int) -> tuple[Rows, Rows, Rows]:
    """Confidence, negative log likelihood and Brier score of ``count`` decisions.

    The last two are empty unless decisions are the most probable classes and targets are known.
    """
    table = class_probabilities(outputs, count) if count else np.zeros((0, 0))
    if not table.size:
        return np.zeros(count), NONE, NONE
    sure, metric = table.max(axis=1), task.metric
    if not metric.scores or metric.decide is not predicted_classes or metric.against != "target":
        return sure, NONE, NONE
    return sure, *nll_and_brier(table, task.targets[index])
