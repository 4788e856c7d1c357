"""Compare a variant with its reference inside: value by value and weight by weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from packlight.layers.signal_noise import SignalNoise
from packlight.layers.walk import MatchedPair, Walk, match_models
from packlight.layers.weights import weight_contrasts
from packlight.model import Model, random_operators
from packlight.profiling.source_lines import source_of
from packlight.records import Layer, Layers, SessionOptions
from packlight.task import Task

WRONG_BELOW_SNR_DB = 20.0
"""SNR below which a value counts as wrong: the noise is a tenth of the signal, in amplitude."""

HALF_NOISE_DB = 10 * np.log10(2)
"""An operator's own noise is at least half of all noise if its SNR is at most this much higher."""

Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Show no progress."""


def layers(
    reference: Model,
    variant: Model,
    task: Task,
    options: SessionOptions,
    *,
    limit: int = 200,
    progress: Progress = no_progress,
) -> Layers:
    """Compare two models inside, on evenly spread samples of a task.

    Both run in exact arithmetic, without the error that a runtime's kernels add.

    Args:
        reference: the original.
        variant: the compressed model.
        task: source of the samples.
        options: of the sessions.
        limit: samples at most.
        progress: called with the samples done and their total.

    Raises:
        ModelError: a model fails.
        TaskError: a sample does not fit.
    """
    pair = match_models(reference, variant, options)
    indices = evenly_spread(len(task.samples), limit)
    noise = sum_over_samples(pair, task, indices, progress)
    return _layers_record(pair, noise, len(indices))


def evenly_spread(n: int, limit: int) -> Sequence[int]:
    """At most ``limit`` indices below n, evenly spread; a range where all n fit."""
    if n <= limit:
        return range(n)
    return [int(index) for index in np.unique(np.linspace(0, n - 1, limit).round())]


def sum_over_samples(
    pair: MatchedPair, task: Task, indices: Sequence[int], progress: Progress = no_progress
) -> dict[str, SignalNoise]:
    """Sum the energies and ranges of every value over samples."""
    noise = {key: SignalNoise() for key in pair.names}
    turn = -1
    last_sample = -1
    for values in Walk(pair, task.state).over(task.samples, indices):
        turn += values.sample != last_sample
        last_sample = values.sample
        for key, signal_noise in noise.items():
            tensors = values.reference[key], values.variant[key], values.isolated[key]
            signal_noise.add(turn, *tensors)
        progress(turn + 1, len(indices))
    return noise


def _layers_record(pair: MatchedPair, noise: dict[str, SignalNoise], n: int) -> Layers:
    rows = tuple(_layer_rows(pair, noise))
    reshaped = [key for key, signal_noise in noise.items() if signal_noise.reshaped]
    matched = pair.matched
    unmatched = [
        str(node.name)
        for node in matched.reference.operators
        if node not in matched.operators
        and not any(value in matched.values for value in node.outputs)
    ]
    return Layers(
        reference=pair.reference.name,
        variant=pair.variant.name,
        n=n,
        layers=rows,
        weights=tuple(weight_contrasts(pair)),
        first=_first_wrong(rows),
        unmatched=tuple(unmatched),
        notes=(
            *(f"'{key}' has another shape in the variant" for key in reshaped),
            *_random_notes(pair.reference),
        ),
    )


def _random_notes(model: Model) -> Iterator[str]:
    if any(random_operators(model.graph)):
        yield (
            f"'{model.name}' draws random numbers; both models draw the same ones here, as far as "
            "their operators have the same outputs"
        )


def _layer_rows(pair: MatchedPair, noise: dict[str, SignalNoise]) -> Iterator[Layer]:
    """A row for each value that was computed in both models."""
    for key, signal_noise in noise.items():
        if not signal_noise.outside.any():
            continue
        node = pair.maker(key)
        yield Layer(
            name=key if node is None else str(node.name),
            op="input" if node is None else node.op_type,
            value=key,
            counterpart=pair.names[key],
            snr=signal_noise.snr(1),
            own=signal_noise.snr(2),
            low=float(signal_noise.reference[0]),
            high=float(signal_noise.reference[1]),
            variant_low=float(signal_noise.variant[0]),
            variant_high=float(signal_noise.variant[1]),
            outside=signal_noise.outside_share(),
            source=None if node is None else source_of(node),
        )


def _first_wrong(rows: Sequence[Layer]) -> str:
    wrong = [row for row in rows if row.snr.value < WRONG_BELOW_SNR_DB]
    source = [row for row in wrong if row.own.value <= row.snr.value + HALF_NOISE_DB]
    return next((row.name for row in (*source, *wrong)), "")
