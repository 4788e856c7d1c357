"""A model on another machine against this one: outputs, decisions, operators, latency, memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from packlight.evaluation import Reference, evaluate
from packlight.machines.operators import EQUAL_SNR_DB, MOST_CALLS, Comparison, compare_operators
from packlight.machines.remote import RemoteMachine, RemoteModel, remote_session
from packlight.machines.targets import Target
from packlight.metrics.fidelity import decibels
from packlight.metrics.paired import measure
from packlight.model import Model
from packlight.records import Measurement, SessionOptions
from packlight.records.portability import ProcessorResult
from packlight.runtime import machine
from packlight.runtime.clock import LEAST_RUNS, MOST_RUNS, ROUNDS, latency_quantiles
from packlight.runtime.memory import REPEATS
from packlight.task import SampleTable, Task

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model to measure elsewhere.

    Attributes:
        model: as a value.
        content: of its file.
        reference: the same model on the samples of a task, on this machine.
        options: of every session.
        seconds: to spend on latency.
        seed: of the bootstrap.
    """

    model: Model
    content: bytes
    reference: Reference
    options: SessionOptions
    seconds: float
    seed: int

    @property
    def task(self) -> Task:
        """Whose samples it runs."""
        return self.reference.task


@dataclass(frozen=True, slots=True)
class Measured:
    """Results of a model on another machine.

    Attributes:
        result: there.
        here: the task's metric on this machine.
    """

    result: ProcessorResult
    here: Measurement


def measure_there(
    subject: Subject, target: Target, remote: RemoteMachine, progress: Progress
) -> Measured:
    """Measure a model on another machine.

    Args:
        subject: the model, with its results here.
        target: the machine, as the user named it.
        remote: the same, reached.
        progress: told what is being done.

    Raises:
        DeviceError: the machine fails.
        ModelError: the model fails there, or gives NaN where it gives none here.
    """
    model = RemoteModel(remote, subject.content, subject.options)
    judged = evaluate(
        subject.model,
        subject.task,
        subject.options,
        reference=subject.reference,
        variant=target.name,
        reference_id="here",
        session=remote_session(model, subject.reference.session),
        seed=subject.seed,
        progress=lambda done, total: progress(f"running on {target.name}", done, total),
    )
    names = ("snr", "agreement", subject.task.metric.name, "drop")
    evaluated = judged.evaluation.metrics
    metrics = {name: evaluated[name] for name in names if name in evaluated}
    metrics.update(_snr_over_samples(judged.table))
    comparison = Comparison((), 0, 0)
    both_saturate = remote.machine.saturates and machine().saturates
    if both_saturate or "snr" not in metrics or metrics["snr"].value < EQUAL_SNR_DB:
        samples = [subject.task.samples[index] for index in _worst_samples(judged.table)]
        comparison = compare_operators(
            remote, subject.model, samples, subject.task.state, subject.options,
            progress=lambda done, total: progress("comparing operators", done, total),
        )  # fmt: skip
    if target.kind == "agent":
        metrics.update(_costs(subject, model, remote, progress))
    result = ProcessorResult(
        name=target.name,
        kind=target.kind,
        title=_title(target, remote),
        machine=remote.machine,
        metrics=metrics,
        operators=comparison.differences,
        compared=comparison.compared,
        skipped=comparison.skipped,
    )
    rows = judged.reference_table.rows
    return Measured(result, measure(subject.task.metric, rows, subject.seed))


def _title(target: Target, remote: RemoteMachine) -> str:
    if target.kind != "agent":
        return target.title
    return f"{remote.name}, {remote.machine.processor}, {remote.machine.system}"


def _snr_over_samples(table: SampleTable) -> dict[str, Measurement]:
    """Worst and median signal-to-noise ratio of the samples; empty where shapes change."""
    if "snr" not in table.fidelity:
        return {}
    levels = decibels(table.fidelity["snr"])
    n = len(levels)
    return {
        name: Measurement(value, "dB", value, value, "measured", n)
        for name, value in (
            ("snr_worst", float(levels.min())),
            ("snr_median", float(np.median(levels))),
        )
    }


def _worst_samples(table: SampleTable) -> list[int]:
    """Indices of the samples whose outputs differ most; the first ones where that is not known."""
    if "snr" not in table.fidelity:
        return list(range(min(MOST_CALLS, len(table.rows))))
    levels = decibels(table.fidelity["snr"])
    return [int(index) for index in np.argsort(levels, kind="stable")[:MOST_CALLS]]


def _costs(
    subject: Subject, model: RemoteModel, remote: RemoteMachine, progress: Progress
) -> dict[str, Measurement]:
    """Latency over several openings, and peak memory of several processes."""
    steps = subject.task.samples[0]
    taken: list[float] = []
    for number in range(1, ROUNDS + 1):
        progress("measuring latency", number - 1, ROUNDS)
        opened = RemoteModel(remote, subject.content, subject.options, number)
        taken += opened.time(
            steps, subject.task.state, seconds=subject.seconds / ROUNDS,
            least=LEAST_RUNS // ROUNDS, most=MOST_RUNS // ROUNDS,
        )  # fmt: skip
    latency = latency_quantiles(np.array(taken), subject.seed)
    peaks = []
    for repeat in range(REPEATS):
        progress("measuring memory", repeat, REPEATS)
        peaks.append(model.peak_memory(steps, subject.task.state, repeat))
    memory = Measurement(median(peaks), "B", min(peaks), max(peaks), "measured", REPEATS)
    return {**latency, "peak_memory": memory}
