"""Compare the runtime's arithmetic with exact arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from packlight.evaluation.reference import FIRST_DRAW, Reference, sample_outputs
from packlight.metrics import METRICS, Rows
from packlight.metrics.fidelity import dot, float_vector, signal_and_noise
from packlight.metrics.paired import measure
from packlight.model import Model, with_seeds
from packlight.records import Measurement, SessionOptions
from packlight.runtime import open_session
from packlight.task import Task, user_code

NOISE = 1e-4
"""Relative difference (root of energies) up to which two orders of float32 sums may lie apart."""

RUNTIME_DIFFERS = "runtime differs"


@dataclass(frozen=True, slots=True)
class Exactness:
    """A variant in the runtime's arithmetic and in exact arithmetic.

    Attributes:
        labels: ``runtime differs``, and operators without exact arithmetic; empty without problems.
        snr_exact: signal to noise against the reference, computed exactly, in dB.
        snr_runtime: signal to noise against the reference as the runtime computes it, in dB.
        difference: between the two, relative to the exact outputs.
        sentence: the result, for people.
        samples: of each sample (n,) the energies behind the two ratios: ``exact_signal`` of the
            reference, ``exact_noise`` and ``runtime_noise``; NaN for samples left out.
    """

    labels: tuple[str, ...]
    snr_exact: Measurement
    snr_runtime: Measurement
    difference: float
    sentence: str
    samples: Mapping[str, Rows]

    @property
    def differs(self) -> bool:
        """Return whether the runtime's error is larger than the variant's own."""
        return RUNTIME_DIFFERS in self.labels


def runtime_differs(
    model: Model,
    reference: Model | Reference,
    task: Task,
    options: SessionOptions,
    *,
    limit: int = 200,
    seed: int = 0,
) -> Exactness:
    """Compare the runtime's outputs with exact arithmetic, on evenly spread samples.

    The runtime differs where ``|runtime - exact|^2 > |exact - reference|^2``, the energies over all
    float outputs and samples: where the kernels add more error than compression did. Differences
    below float noise (1e-4 relative) do not count.

    Args:
        model: the variant.
        reference: the original; a :class:`Reference` must run in exact arithmetic.
        task: source of the samples.
        options: of the runtime; ``arithmetic`` is set by this function.
        limit: samples at most.
        seed: of the bootstrap.
    """
    exactly = replace(options, arithmetic="exact")
    model = with_seeds(model, FIRST_DRAW)
    if not isinstance(reference, Reference):
        reference = Reference(reference, task, exactly)
    rows, inexact = _error_energies(model, reference, options, limit)
    _, own_error, _, gap, exact = rows.sum(axis=0)
    difference = float(np.sqrt(gap / exact)) if exact else float(gap > 0)
    differs = bool(gap > own_error and difference > NOISE)
    labels: tuple[str, ...] = (RUNTIME_DIFFERS,) if differs else ()
    if inexact:
        labels += (f"exact arithmetic not available: {', '.join(inexact)}",)
    snr_exact = measure(METRICS["snr"], rows[:, [0, 1]], seed)
    snr_runtime = measure(METRICS["snr"], rows[:, [0, 2]], seed)
    text = sentence(snr_exact, snr_runtime, differs)
    samples = _by_sample(rows, len(task.samples), limit)
    return Exactness(labels, snr_exact, snr_runtime, difference, text, samples)


def _by_sample(rows: Rows, n: int, limit: int) -> dict[str, Rows]:
    columns = {}
    for column, name in enumerate(("exact_signal", "exact_noise", "runtime_noise")):
        columns[name] = np.full(n, np.nan)
        columns[name][list(evenly_spread(n, limit))] = rows[:, column]
    return columns


def _error_energies(
    model: Model, reference: Reference, options: SessionOptions, limit: int
) -> tuple[Rows, tuple[str, ...]]:
    """Measure energies on each sample run, and list operators without exact arithmetic.

    Returns:
        (n, 5): the reference, exact minus reference, runtime minus reference, runtime minus exact,
        the exact outputs.
    """
    task = reference.task
    runtime = open_session(model, replace(options, arithmetic="runtime"))
    exact = open_session(model, replace(options, arithmetic="exact"))
    rows = []
    for index in evenly_spread(len(task.samples), limit):
        with user_code(f"sample {index} of task '{task.name}'"):
            steps = task.samples[index]
        expected = float_vector(reference.outputs(index, steps))
        exact_outputs = float_vector(sample_outputs(exact, steps, task.state))
        runtime_outputs = float_vector(sample_outputs(runtime, steps, task.state))
        rows.append(_sample_energies(expected, exact_outputs, runtime_outputs))
    return np.array(rows), exact.inexact


def _sample_energies(reference: Rows, exact: Rows, runtime: Rows) -> Rows:
    if not reference.size == exact.size == runtime.size:
        return np.full(5, dot(reference, reference))
    signal, own_error = signal_and_noise(exact, reference)
    _, runtime_error = signal_and_noise(runtime, reference)
    _, gap = signal_and_noise(runtime, exact)
    return np.array([signal, own_error, runtime_error, gap, dot(exact, exact)])


def evenly_spread(n: int, limit: int) -> Iterator[int]:
    """At most ``limit`` indices below n, evenly spread.

    >>> list(evenly_spread(10, 4))
    [0, 3, 6, 9]
    """
    yield from np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype(int)).tolist()


def sentence(exact: Measurement, runtime: Measurement, differs: bool) -> str:
    """State the result for people."""
    levels = f"SNR {exact.value:.1f} dB in exact arithmetic, {runtime.value:.1f} dB in the runtime"
    if differs:
        return f"the runtime adds more error than compression did: {levels}"
    return f"the runtime computes what the model says: {levels}"
