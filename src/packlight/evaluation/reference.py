"""The reference on the samples: run once for many variants, where its outputs fit in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from packlight.errors import TaskError
from packlight.evaluation.input_features import statistics
from packlight.metrics import Outputs, Rows, predicted_classes
from packlight.metrics.fidelity import is_float
from packlight.metrics.metric import Decisions, Truths
from packlight.metrics.probabilities import class_probabilities, nll_and_brier
from packlight.model import Model, random_operators, with_seeds
from packlight.records import SessionOptions
from packlight.runtime import Session, open_session
from packlight.task import Task, user_code

if TYPE_CHECKING:
    from packlight.runtime import Steps

FIRST_DRAW = 1
SECOND_DRAW = 2
VARIANT_DRAW = 3
"""Draws of random operators in the two runs of a reference and in that of a variant."""

LIMIT = 256 << 20
"""Bytes of outputs kept in memory: all of them, or none."""


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Scores of one sample.

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
    """Outputs and scores of the original model, sample by sample.

    A model that draws random numbers runs twice: the scores are those of its second run, with the
    first run as the reference.

    Attributes:
        model: the reference.
        task: whose samples it runs.
        session: that runs it.
        is_random: whether it draws random numbers.
    """

    def __init__(
        self, model: Model, task: Task, options: SessionOptions, limit: int = LIMIT
    ) -> None:
        self.model = model
        self.task = task
        self.session = open_session(with_seeds(model, FIRST_DRAW), options)
        self.is_random = any(random_operators(model.graph))
        self._second: Session | None = None
        if self.is_random:
            self._second = open_session(with_seeds(model, SECOND_DRAW), options)
        self._room = limit
        self._keep = True
        self._outputs: dict[int, Outputs] = {}
        self._scores: dict[int, Score] = {}
        self._inputs: dict[int, Rows] = {}

    def outputs(self, index: int, steps: Steps) -> Outputs:
        """Run the reference on a sample, or return its stored outputs.

        Raises:
            TaskError: they are not finite.
        """
        if index in self._outputs:
            return self._outputs[index]
        outputs = sample_outputs(self.session, steps, self.task.state)
        bad = not_finite(outputs)
        if bad:
            raise TaskError(
                f"the reference must give finite outputs; '{self.model.name}' gives NaN or "
                f"infinity in '{bad}' on sample {index} of task '{self.task.name}'. "
                "Check this sample and the original model"
            )
        self._remember(index, outputs)
        return outputs

    def second_run(self, steps: Steps, outputs: Outputs) -> Outputs:
        """Outputs of a second run on a sample: those of the first where nothing is random."""
        if self._second is None:
            return outputs
        return sample_outputs(self._second, steps, self.task.state)

    def score(self, index: int, outputs: Outputs, first: Outputs) -> Score:
        """Score the reference's own outputs on a sample, beside those of its first run."""
        if index not in self._scores:
            self._scores[index] = score(self.task, index, outputs, first)
        return self._scores[index]

    def inputs(self, index: int, steps: Steps) -> Rows:
        """Statistics of the inputs of a sample; computed once."""
        if index not in self._inputs:
            self._inputs[index] = statistics(steps)
        return self._inputs[index]

    def _remember(self, index: int, outputs: Outputs) -> None:
        """Keep outputs while all of them are expected to fit in memory; else drop all."""
        size = sum(array.nbytes for array in outputs.values())
        self._room -= size
        expected = size * (len(self.task.samples) - len(self._outputs) - 1)
        if self._keep and self._room >= 0 and (self._outputs or expected <= self._room):
            self._outputs[index] = outputs
        else:
            self._keep = False
            self._outputs.clear()


def sample_outputs(session: Session, steps: Steps, state: Mapping[str, str]) -> Outputs:
    """Outputs of a sample without the recurrent state, unless there are no others.

    Raises:
        TaskError: the model gives nothing that can be compared.
    """
    outputs = session.run_steps(steps, state)
    if not outputs:
        raise TaskError(
            f"'{session.name}' gives no array on a sample, so nothing can be compared; its outputs "
            f"are {', '.join(session.outputs)}"
        )
    return {name: array for name, array in outputs.items() if name not in state} or outputs


def not_finite(outputs: Outputs) -> str:
    """Name of the first float output that holds NaN or infinity; empty where all are finite."""
    for name, array in outputs.items():
        if is_float(array.dtype) and not np.isfinite(array).all():
            return name
    return ""


def score(task: Task, index: int, outputs: Outputs, reference: Outputs) -> Score:
    """Score outputs on one sample by the task's metric.

    Raises:
        TaskError: the metric fails, or gives no finite vector.
    """
    metric = task.metric
    target = task.targets[index] if metric.against == "target" else reference
    where = f"metric '{metric.name}' on sample {index} of task '{task.name}'"
    decisions = np.zeros(0)
    right = np.zeros(0, bool)
    with user_code(where):
        row = np.asarray(metric.row(outputs, target), dtype=np.float64)
        if metric.decide is not None:
            decisions = np.asarray(metric.decide(outputs))
            right = metric.right(decisions, target)
    if row.ndim != 1 or not np.isfinite(row).all():
        raise TaskError(f"{where} must give a vector of finite numbers; it gives {row}")
    confidence, nll, brier = _confidence_scores(task, index, outputs, len(decisions))
    return Score(row, decisions, right, confidence, nll, brier)


NONE = np.zeros(0)


def _confidence_scores(
    task: Task, index: int, outputs: Outputs, count: int
) -> tuple[Rows, Rows, Rows]:
    """Confidence, negative log likelihood and Brier score of ``count`` decisions.

    The last two are empty unless decisions are the most probable classes and targets are known.
    """
    probabilities = class_probabilities(outputs, count) if count else np.zeros((0, 0))
    if not probabilities.size:
        return np.zeros(count), NONE, NONE
    confidence = probabilities.max(axis=1)
    metric = task.metric
    if not metric.scores or metric.decide is not predicted_classes or metric.against != "target":
        return confidence, NONE, NONE
    return confidence, *nll_and_brier(probabilities, task.targets[index])
