"""Run a variant and its reference over the samples, keeping scores and no outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from packlight.errors import ModelError, TaskError
from packlight.evaluation.input_features import named_columns
from packlight.evaluation.neighbors import FEWEST, rank_agreement, sampled_indices
from packlight.evaluation.reference import Reference, Score, not_finite, sample_outputs
from packlight.evaluation.reference import score as score_sample
from packlight.metrics import Outputs, Rows, first_output
from packlight.metrics.divergence import Distance, distance, distance_for
from packlight.metrics.fidelity import fidelity_rows
from packlight.runtime import Session
from packlight.runtime.output_values import is_text
from packlight.task import SampleTable, Task, user_code

Progress = Callable[[int, int], None]
"""Called with the samples done and their total."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Scores of a variant and the reference on the same samples.

    Attributes:
        after: the table of the variant.
        before: the table of the reference.
        reshaped: outputs that changed their shape, for which there is no fidelity.
        distance: the quantity in the column ``divergence`` of ``after``.
    """

    after: SampleTable
    before: SampleTable
    reshaped: tuple[str, ...]
    distance: Distance


def observe(
    session: Session | None, name: str, reference: Reference, progress: Progress
) -> Observed:
    """Run a variant and the reference on each sample.

    Args:
        session: runs the variant; None where the variant is the reference itself.
        name: of the variant, for messages.
        reference: on the same task.
        progress: called after every sample.
    """
    task = reference.task
    notes = Notes()
    itself = Notes()
    scores: list[Score] = []
    reference_scores: list[Score] = []
    for index in range(len(task.samples)):
        with user_code(f"sample {index} of task '{task.name}'"):
            steps = task.samples[index]
        expected = reference.outputs(index, steps)
        if task.metric.against == "reference" and all(map(is_text, expected.values())):
            raise TaskError(
                f"fidelity compares numbers; '{reference.model.name}' gives texts only. Judge it "
                "by a metric of your own, in a task as packlight init-task writes one"
            )
        outputs = reference.second_run(steps, expected)
        reference_score = reference.score(index, outputs, expected)
        score = reference_score
        if reference.is_random:
            itself.compare(task, index, (outputs, score), (expected, score))
        if session is not None:
            outputs = sample_outputs(session, steps, task.state)
            _check_finite(outputs, name, index)
            score = score_sample(task, index, outputs, expected)
        scores.append(score)
        reference_scores.append(reference_score)
        notes.inputs.append(reference.inputs(index, steps))
        notes.compare(task, index, (outputs, score), (expected, reference_score))
        progress(index + 1, len(task.samples))
    inputs = named_columns(np.array(notes.inputs))
    before = table(reference_scores, itself.fidelity_tables(), inputs, task)
    columns = {**inputs, **notes.columns(len(scores))}
    after = table(scores, notes.fidelity_tables(), columns, task)
    return Observed(after, before, tuple(sorted(notes.reshaped)), notes.distance)


class Notes:
    """Per-sample comparisons of outputs, collected while the outputs of both models are there.

    Attributes:
        inputs: statistics of each sample.
        reshaped: outputs whose shape the variant changes.
        distance: the quantity that ``divergence`` measures.
    """

    def __init__(self) -> None:
        self.inputs: list[Rows] = []
        self.reshaped: set[str] = set()
        self._fidelity: list[Mapping[str, Rows]] = []
        self.distance: Distance = "RMS difference"
        self._distances: list[float] = []
        self._vector_indices: set[int] = set()
        self._vectors: tuple[list[Rows], list[Rows]] = ([], [])

    def compare(
        self,
        task: Task,
        index: int,
        variant: tuple[Outputs, Score],
        reference: tuple[Outputs, Score],
    ) -> None:
        """Add the differences between the two models on a sample."""
        outputs, score = variant
        expected, reference_score = reference
        if index == 0:
            self.distance = distance_for(task.metric, expected)
            if task.metric.form == "vectors":
                indices = sampled_indices(len(task.samples), first_output(expected).size)
                self._vector_indices = set(indices.tolist())
        changed = _reshaped_outputs(outputs, expected)
        self.reshaped |= changed
        if not changed:
            self._fidelity.append(fidelity_rows(outputs, expected, classes=task.metric.scores))
        if not changed or self.distance == "edit distance":
            decisions = score.decisions, reference_score.decisions
            self._distances.append(distance(self.distance, outputs, expected, *decisions))
        if index in self._vector_indices and not changed:
            for vectors, arrays in zip(self._vectors, (outputs, expected), strict=True):
                vectors.append(first_output(arrays).reshape(-1).astype(np.float32))

    def fidelity_tables(self) -> Mapping[str, Rows]:
        """Rows of the fidelity metrics that all samples have; none where shapes change."""
        if self.reshaped or not self._fidelity:
            return {}
        names = set.intersection(*(set(rows) for rows in self._fidelity))
        return {name: np.array([rows[name] for rows in self._fidelity]) for name in sorted(names)}

    def columns(self, n: int) -> Mapping[str, Rows]:
        """Divergence of each sample (n,), and rank agreement of embeddings where measured."""
        columns = {}
        if len(self._distances) == n:
            columns["divergence"] = np.array(self._distances)
        indices = sorted(self._vector_indices)
        if len(indices) >= FEWEST and not self.reshaped and _have_one_length(self._vectors[0]):
            after, before = (np.array(vectors, dtype=np.float64) for vectors in self._vectors)
            for name, values in zip(RANKS, rank_agreement(before, after), strict=True):
                columns[name] = np.full(n, np.nan)
                columns[name][indices] = values
        return columns


RANKS = ("rank_agreement", "same_nearest")


def _have_one_length(vectors: Sequence[Rows]) -> bool:
    sizes = {vector.size for vector in vectors}
    return len(sizes) == 1 and sizes != {1}


def _check_finite(outputs: Outputs, name: str, index: int) -> None:
    """Refuse NaN and infinity where the reference has none.

    Raises:
        ModelError: there are some.
    """
    bad = not_finite(outputs)
    if bad:
        raise ModelError(
            f"outputs must be finite as the reference's are; variant '{name}' gives NaN or "
            f"infinity in output '{bad}' on sample {index}. Leave the operators that overflow in "
            "float"
        )


def _reshaped_outputs(outputs: Outputs, expected: Outputs) -> set[str]:
    shapes = {name: array.shape for name, array in outputs.items()}
    expected_shapes = {name: array.shape for name, array in expected.items()}
    names = expected_shapes.keys() | shapes.keys()
    return {name for name in names if shapes.get(name) != expected_shapes.get(name)}


def table(
    scores: Sequence[Score],
    fidelity: Mapping[str, Rows],
    samples: Mapping[str, Rows],
    task: Task,
) -> SampleTable:
    """Join the scores of single samples into a table.

    Raises:
        TaskError: the metric's rows differ in length, and may not.
    """
    longest = max(score.row.size for score in scores)
    if not task.metric.ragged and any(score.row.size < longest for score in scores):
        raise TaskError(
            f"metric '{task.metric.name}' must give rows of one length for all samples of task "
            f"'{task.name}'; it gives {sorted({score.row.size for score in scores})}"
        )
    right = np.concatenate([score.right for score in scores])
    details = {
        "nll": np.concatenate([score.nll for score in scores]),
        "brier": np.concatenate([score.brier for score in scores]),
    }
    if not right.size or details["nll"].size != right.size:
        details = {}
    return SampleTable(
        rows=np.array([np.pad(score.row, (0, longest - score.row.size)) for score in scores]),
        decisions=np.concatenate([score.decisions for score in scores]),
        right=right,
        owner=np.repeat(np.arange(len(scores)), [score.right.size for score in scores]),
        confidence=np.concatenate([score.confidence for score in scores]),
        fidelity=fidelity,
        samples=samples,
        details=details,
    )
