"""Compare a variant with its reference inside: value by value and weight by weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from packlight.layers.signal_noise import Moments
from packlight.layers.walk import Pair, Walk, paired
from packlight.layers.weights import weight_contrasts
from packlight.model import Model
from packlight.profiling.source_lines import source_of
from packlight.records import Layer, Layers, SessionOptions
from packlight.task import Task

BAD = 20.0
"""dB below which a value counts as wrong: the noise is a tenth of the signal, in amplitude."""

HALF = 10 * np.log10(2)
"""dB by which an operator's own noise may lie below all noise to be at least half of it."""

Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Progress that is not shown."""


def layers(
    reference: Model,
    variant: Model,
    task: Task,
    options: SessionOptions,
    *,
    limit: int = 200,
    progress: Progress = silent,
) -> Layers:
    """Compare two models inside, on evenly spread samples of a task.

    What runs is exact arithmetic: what the two models say, without what a kernel adds.

    Args:
        reference: the one.
        variant: the other.
        task: whose samples are taken.
        options: of the sessions.
        limit: samples at most.
        progress: told the samples done and all of them.

    Raises:
        ModelError: a model fails.
        TaskError: a sample does not fit.
    """
    pair = paired(reference, variant, options)
    places = spread(len(task.samples), limit)
    found = summed(pair, task, places, progress)
    return told(pair, found, len(places))


def spread(n: int, limit: int) -> Sequence[int]:
    """At most ``limit`` indices below n, evenly spread; all of them in no memory."""
    if n <= limit:
        return range(n)
    return [int(at) for at in np.unique(np.linspace(0, n - 1, limit).round())]


def summed(
    pair: Pair, task: Task, places: Sequence[int], progress: Progress = silent
) -> dict[str, Moments]:
    """Energies and ranges of every value over samples."""
    found = {key: Moments() for key in pair.names}
    turn, last = -1, -1
    for seen in Walk(pair, task.state).over(task.samples, places):
        turn, last = turn + (seen.sample != last), seen.sample
        for key, one in found.items():
            one.add(turn, seen.reference[key], seen.variant[key], seen.own[key])
        progress(turn + 1, len(places))
    return found


def told(pair: Pair, found: dict[str, Moments], n: int) -> Layers:
    """The record."""
    rows = tuple(rows_of(pair, found))
    reshaped = [key for key, one in found.items() if one.reshaped]
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
        first=first_wrong(rows),
        unmatched=tuple(unmatched),
        notes=tuple(f"'{key}' has another shape in the variant" for key in reshaped),
    )


def rows_of(pair: Pair, found: dict[str, Moments]) -> Iterator[Layer]:
    """A row for each value that was computed in both models."""
    for key, one in found.items():
        if not one.outside.any():
            continue
        maker = pair.maker(key)
        yield Layer(
            name=key if maker is None else str(maker.name),
            op="input" if maker is None else maker.op_type,
            value=key,
            counterpart=pair.names[key],
            snr=one.level(1),
            own=one.level(2),
            low=float(one.reference[0]),
            high=float(one.reference[1]),
            variant_low=float(one.variant[0]),
            variant_high=float(one.variant[1]),
            outside=one.share(),
            source=None if maker is None else source_of(maker),
        )


def first_wrong(rows: Sequence[Layer]) -> str:
    """Name of the operator where things go wrong first; empty where nothing does."""
    wrong = [row for row in rows if row.snr.value < BAD]
    source = [row for row in wrong if row.own.value <= row.snr.value + HALF]
    return next((row.name for row in (*source, *wrong)), "")
