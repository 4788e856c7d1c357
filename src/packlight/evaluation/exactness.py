"""Whether what the runtime computes is what the model says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from packlight.evaluation.reference import Reference, results
from packlight.metrics import METRICS, Rows
from packlight.metrics.fidelity import dot, float_vector, signal_and_noise
from packlight.metrics.paired import measure
from packlight.model.model import Model
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
        labels: ``runtime differs``, and operators without exact arithmetic; empty when all is well.
        snr_exact: signal to noise against the reference, computed exactly, in dB.
        snr_runtime: the same as the runtime computes it.
        difference: between the two, relative to the exact outputs.
        sentence: what was found.
        samples: of each sample (n,) the energies that the two levels are made of: ``exact_signal``
            of the reference, ``exact_noise`` and ``runtime_noise``; NaN where it was not taken.
    """

    labels: tuple[str, ...]
    snr_exact: Measurement
    snr_runtime: Measurement
    difference: float
    sentence: str
    samples: Mapping[str, Rows]

    @property
    def differs(self) -> bool:
        """Whether the runtime's error is larger than the variant's own."""
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
    """Compare what the runtime computes with exact arithmetic, on evenly spread samples.

    The runtime differs where ``|runtime - exact|^2 > |exact - reference|^2``, the energies over all
    float outputs and samples: where the kernels add more error than compression did. Differences
    below float noise (1e-4 relative) do not count.

    Args:
        model: the variant.
        reference: the original; a :class:`Reference` must run in exact arithmetic.
        task: whose samples are taken.
        options: of the runtime; ``arithmetic`` is set by this function.
        limit: samples at most.
        seed: of the bootstrap.
    """
    exactly = replace(options, arithmetic="exact")
    beside = reference if isinstance(reference, Reference) else Reference(reference, task, exactly)
    rows, inexact = compared(model, beside, options, limit)
    _, own, _, gap, exact = rows.sum(axis=0)
    difference = float(np.sqrt(gap / exact)) if exact else float(gap > 0)
    differs = bool(gap > own and difference > NOISE)
    labels: tuple[str, ...] = (RUNTIME_DIFFERS,) if differs else ()
    if inexact:
        labels += (f"exact arithmetic not available: {', '.join(inexact)}",)
    snr_exact = measure(METRICS["snr"], rows[:, [0, 1]], seed)
    snr_runtime = measure(METRICS["snr"], rows[:, [0, 2]], seed)
    told = sentence(snr_exact, snr_runtime, differs)
    samples = by_sample(rows, len(task.samples), limit)
    return Exactness(labels, snr_exact, snr_runtime, difference, told, samples)


def by_sample(rows: Rows, n: int, limit: int) -> dict[str, Rows]:
    """Energies of the samples taken as columns over all n."""
    found = {}
    for column, name in enumerate(("exact_signal", "exact_noise", "runtime_noise")):
        found[name] = np.full(n, np.nan)
        found[name][list(spread(n, limit))] = rows[:, column]
    return found


def compared(
    model: Model, reference: Reference, options: SessionOptions, limit: int
) -> tuple[Rows, tuple[str, ...]]:
    """Energies for each sample taken, and operators without exact arithmetic.

    Returns:
        (n, 5): the reference, exact minus reference, runtime minus reference, runtime minus exact,
        the exact outputs.
    """
    task = reference.task
    runtime = open_session(model, replace(options, arithmetic="runtime"))
    exact = open_session(model, replace(options, arithmetic="exact"))
    rows = []
    for index in spread(len(task.samples), limit):
        with user_code(f"sample {index} of task '{task.name}'"):
            steps = task.samples[index]
        wanted = float_vector(reference.outputs(index, steps))
        ideal = float_vector(results(exact, steps, task.state))
        found = float_vector(results(runtime, steps, task.state))
        rows.append(sample_energies(wanted, ideal, found))
    return np.array(rows), exact.inexact


def sample_energies(wanted: Rows, ideal: Rows, found: Rows) -> Rows:
    """The five energies of one sample (5,); outputs that change their shape are wholly noise."""
    if not wanted.size == ideal.size == found.size:
        return np.full(5, dot(wanted, wanted))
    signal, own = signal_and_noise(ideal, wanted)
    return np.array(
        [
            signal,
            own,
            signal_and_noise(found, wanted)[1],
            signal_and_noise(found, ideal)[1],
            dot(ideal, ideal),
        ]
    )


def spread(n: int, limit: int) -> Iterator[int]:
    """At most ``limit`` indices below n, evenly spread.

    >>> list(spread(10, 4))
    [0, 3, 6, 9]
    """
    yield from np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype(int)).tolist()


def sentence(exact: Measurement, runtime: Measurement, differs: bool) -> str:
    """What was found, for people."""
    levels = f"{exact.value:.1f} dB computed exactly, {runtime.value:.1f} dB by the runtime"
    if differs:
        return f"the runtime adds more error than compression did: {levels}"
    return f"the runtime computes what the model says: {levels}"
