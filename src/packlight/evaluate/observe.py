"""Run a variant over the samples beside the reference, keeping rows and never outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from packlight.errors import ModelError, TaskError
from packlight.evaluate.reference import Reference, Score, not_finite, results
from packlight.evaluate.reference import score as score_sample
from packlight.metrics import Outputs, Rows
from packlight.metrics.fidelity import fidelity_rows
from packlight.runtime import Session
from packlight.task import SampleTable, Task, user_code

Progress = Callable[[int, int], None]
"""Samples done, and all of them."""


def observe(
    session: Session | None, name: str, reference: Reference, progress: Progress
) -> tuple[SampleTable, SampleTable, tuple[str, ...]]:
    """What a variant and the reference do on each sample.

    Args:
        session: runs the variant; None where the variant is the reference itself.
        name: of the variant, for messages.
        reference: on the same task.
        progress: told after every sample.

    Returns:
        The table of the variant, that of the reference, and outputs that changed their shape, on
        which fidelity is not told.
    """
    task = reference.task
    ours: list[Score] = []
    wanted: list[Score] = []
    fidelity: list[Mapping[str, Rows]] = []
    reshaped: set[str] = set()
    for index in range(len(task.samples)):
        with user_code(f"sample {index} of task '{task.name}'"):
            steps = task.samples[index]
        expected = reference.outputs(index, steps)
        wanted.append(reference.score(index, expected))
        found = expected if session is None else results(session, steps, task.state)
        check_finite(found, name, index)
        ours.append(wanted[-1] if session is None else score_sample(task, index, found, expected))
        changed = reshaped_outputs(found, expected)
        reshaped |= changed
        if not changed:
            fidelity.append(fidelity_rows(found, expected, classes=task.metric.scores))
        progress(index + 1, len(task.samples))
    kept = [] if reshaped else fidelity
    return table(ours, kept, task), table(wanted, [], task), tuple(sorted(reshaped))


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
    scores: Sequence[Score], fidelity: Sequence[Mapping[str, Rows]], task: Task
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
    common = set.intersection(*(set(rows) for rows in fidelity)) if fidelity else set()
    return SampleTable(
        rows=np.array([score.row for score in scores]),
        decisions=np.concatenate([score.decisions for score in scores]),
        right=np.concatenate([score.right for score in scores]),
        owner=np.repeat(np.arange(len(scores)), [score.right.size for score in scores]),
        confidence=np.concatenate([score.confidence for score in scores]),
        fidelity={name: np.array([rows[name] for rows in fidelity]) for name in sorted(common)},
    )
