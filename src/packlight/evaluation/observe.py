"""Run a variant over the samples beside the reference, keeping rows and never outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from packlight.errors import ModelError, TaskError
from packlight.evaluation.input_features import named
from packlight.evaluation.neighbors import FEWEST, chosen, rank_agreement
from packlight.evaluation.reference import Reference, Score, not_finite, results
from packlight.evaluation.reference import score as score_sample
from packlight.metrics import Outputs, Rows, first_output
from packlight.metrics.divergence import Distance, distance, distance_for
from packlight.metrics.fidelity import fidelity_rows
from packlight.runtime import Session
from packlight.task import SampleTable, Task, user_code

Progress = Callable[[int, int], None]
"""Samples done, and all of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What a variant and the reference did on the same samples.

    Attributes:
        after: the table of the variant.
        before: that of the reference.
        reshaped: outputs that changed their shape, on which fidelity is not told.
        distance: what ``divergence`` in ``after`` is.
    """

    after: SampleTable
    before: SampleTable
    reshaped: tuple[str, ...]
    distance: Distance


def observe(
    session: Session | None, name: str, reference: Reference, progress: Progress
) -> Observed:
    """What a variant and the reference do on each sample.

    Args:
        session: runs the variant; None where the variant is the reference itself.
        name: of the variant, for messages.
        reference: on the same task.
        progress: told after every sample.
    """
    task = reference.task
    notes = Notes()
    ours: list[Score] = []
    wanted: list[Score] = []
    for index in range(len(task.samples)):
        with user_code(f"sample {index} of task '{task.name}'"):
            steps = task.samples[index]
        expected = reference.outputs(index, steps)
        wanted.append(reference.score(index, expected))
        found = expected if session is None else results(session, steps, task.state)
        check_finite(found, name, index)
        ours.append(wanted[-1] if session is None else score_sample(task, index, found, expected))
        notes.inputs.append(reference.inputs(index, steps))
        notes.beside(task, index, (found, ours[-1]), (expected, wanted[-1]))
        progress(index + 1, len(task.samples))
    inputs = named(np.array(notes.inputs))
    before = table(wanted, {}, inputs, task)
    after = table(ours, notes.fidelity_tables(), {**inputs, **notes.columns(len(ours))}, task)
    return Observed(after, before, tuple(sorted(notes.reshaped)), notes.distance)


class Notes:
    """What is kept of each sample beside its scores, while the outputs of both models are there.

    Attributes:
        inputs: statistics of each sample.
        reshaped: outputs whose shape the variant changes.
        distance: what is taken between the outputs of a sample.
    """

    def __init__(self) -> None:
        self.inputs: list[Rows] = []
        self.reshaped: set[str] = set()
        self._fidelity: list[Mapping[str, Rows]] = []
        self.distance: Distance = "RMS difference"
        self._distances: list[float] = []
        self._kept: set[int] = set()
        self._vectors: tuple[list[Rows], list[Rows]] = ([], [])

    def beside(
        self, task: Task, index: int, ours: tuple[Outputs, Score], wanted: tuple[Outputs, Score]
    ) -> None:
        """Note how far the two lie apart on a sample."""
        (found, own), (expected, other) = ours, wanted
        if index == 0:
            self.distance = distance_for(task.metric, expected)
            if task.metric.form == "vectors":
                kept = chosen(len(task.samples), first_output(expected).size)
                self._kept = set(kept.tolist())
        changed = reshaped_outputs(found, expected)
        self.reshaped |= changed
        if not changed:
            self._fidelity.append(fidelity_rows(found, expected, classes=task.metric.scores))
        if not changed or self.distance == "edit distance":
            decided = own.decisions, other.decisions
            self._distances.append(distance(self.distance, found, expected, *decided))
        if index in self._kept and not changed:
            for vectors, outputs in zip(self._vectors, (found, expected), strict=True):
                vectors.append(first_output(outputs).reshape(-1).astype(np.float32))

    def fidelity_tables(self) -> Mapping[str, Rows]:
        """Rows of the fidelity metrics that all samples have; none where shapes change."""
        if self.reshaped or not self._fidelity:
            return {}
        names = set.intersection(*(set(rows) for rows in self._fidelity))
        return {name: np.array([rows[name] for rows in self._fidelity]) for name in sorted(names)}

    def columns(self, n: int) -> Mapping[str, Rows]:
        """Divergence of each sample (n,), and agreement of neighbours for those kept."""
        found = {}
        if len(self._distances) == n:
            found["divergence"] = np.array(self._distances)
        if len(self._kept) >= FEWEST and not self.reshaped and alike(self._vectors[0]):
            after, before = (np.array(vectors, dtype=np.float64) for vectors in self._vectors)
            for name, values in zip(RANKS, rank_agreement(before, after), strict=True):
                found[name] = np.full(n, np.nan)
                found[name][sorted(self._kept)] = values
        return found


RANKS = ("rank_agreement", "same_nearest")


def alike(vectors: Sequence[Rows]) -> bool:
    """Whether all have one length, above 1."""
    sizes = {vector.size for vector in vectors}
    return len(sizes) == 1 and sizes != {1}


def check_finite(outputs: Outputs, name: str, index: int) -> None:
    """Refuse NaN and infinity where the reference has none.

    Raises:
        ModelError: there are some.
    """
    bad = not_finite(outputs)
    if bad:
        raise ModelError(
            f"outputs must be finite as the reference's are; variant '{name}' gives NaN or "
            f"infinity in output '{bad}' on sample {index}. Leave out the operators that overflow"
        )


def reshaped_outputs(found: Outputs, expected: Outputs) -> set[str]:
    """Names of outputs whose shape is not the reference's."""
    return {name for name, array in expected.items() if found[name].shape != array.shape}


def table(
    scores: Sequence[Score],
    fidelity: Mapping[str, Rows],
    samples: Mapping[str, Rows],
    task: Task,
) -> SampleTable:
    """Scores of single samples as one table.

    Raises:
        TaskError: the metric's rows differ in length.
    """
    if len({score.row.size for score in scores}) > 1:
        raise TaskError(
            f"metric '{task.metric.name}' must give rows of one length for all samples of task "
            f"'{task.name}'; it gives {sorted({score.row.size for score in scores})}"
        )
    right = np.concatenate([score.right for score in scores])
    nll, brier = (
        np.concatenate([getattr(score, name) for score in scores]) for name in ("nll", "brier")
    )
    known = bool(right.size) and nll.size == right.size
    return SampleTable(
        rows=np.array([score.row for score in scores]),
        decisions=np.concatenate([score.decisions for score in scores]),
        right=right,
        owner=np.repeat(np.arange(len(scores)), [score.right.size for score in scores]),
        confidence=np.concatenate([score.confidence for score in scores]),
        fidelity=fidelity,
        samples=samples,
        details={"nll": nll, "brier": brier} if known else {},
    )
