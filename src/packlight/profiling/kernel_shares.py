"""The measured time of kernels as the time of the operators that they compute.

What profiling adds to a call of a kernel is much the same for every call, so it is taken off
evenly: the difference between runs with and without the profiler, by the calls in a run. What is
then left of each call, from its start to that of the next, is its share of a run without the
profiler. So the time between two kernels belongs to the earlier: it goes to freeing what nobody
reads any more and to the dispatch of the next.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from packlight.profiling.kernel_attribution import Heads, heads_of, placed
from packlight.profiling.kernel_mapping import Placing
from packlight.profiling.node_tags import Marked
from packlight.records import Measurement, OperatorCost, Profile
from packlight.runtime.clock import paired_latency, resample_indices, with_interval
from packlight.runtime.kernel_times import HOLD_BODIES, Kernel, Kernels, Run

Floats = NDArray[np.float64]

MUCH = 1.2
"""Ratio of profiled to unprofiled time from which on shares are estimates."""

LEFT = 0.1
"""Part of the shortest call that is not profiling, at least, so that every call takes some time."""

GAPS = 0.1
"""Share of a profiled run between its kernels from which on that is noted."""


def with_latency(found: Profile, marked: Marked, kernels: Kernels, seed: int = 0) -> Profile:
    """A profile with measured times of operators.

    Args:
        found: what the operators cost.
        marked: the model that was run.
        kernels: what its kernels took.
        seed: of the bootstrap.
    """
    loaded = [marked.operators[at] for at, one in enumerate(found.operators) if one.at_load]
    heads = heads_of(Placing(marked, kernels.graph, loaded), found.operators)
    samples = joined(kernels.runs, kernels.steps)
    seen = list(dict.fromkeys(kernel for run in samples for kernel in run.seconds))
    places = placed(seen, heads)
    timed = paired_latency(kernels.plain, kernels.profiled, seed)
    middle = middle_half(samples)
    added = float(np.median(kernels.profiled) - np.median(kernels.plain))
    rows = by_operator(corrected(middle, seen, added), places, len(found.operators))
    rough = timed["latency_ratio"].value > MUCH
    shares = times(rows, kernels.plain, seed, rough=rough)
    ran = {place: shares[place] for place in places if place is not None}
    totals = {
        "latency": timed["latency_reference"],
        "profiling_ratio": timed["latency_ratio"],
        "between_kernels": gaps(middle, seed),
    }
    return replace(
        found,
        operators=tuple(dressed(found.operators, heads, ran)),
        totals={**found.totals, **totals},
        notes=(*found.notes, *remarks(totals, places.count(None))),
    )


def dressed(
    costs: Sequence[OperatorCost], heads: Heads, ran: Mapping[int, Measurement]
) -> Iterator[OperatorCost]:
    """Operators with what became of them, and the times of those that have kernels that ran."""
    for place, one in enumerate(costs):
        what = heads.placements[place]
        fused = costs[heads.into[place]].name if place in heads.into else ""
        if what == "kernel" and place not in ran:
            what = "not run"
        yield replace(one, latency=ran.get(place), placement=what, into=fused)


def remarks(totals: Mapping[str, Measurement], lost: int) -> Iterator[str]:
    """What there is to say about the measured times."""
    ratio, between = totals["profiling_ratio"].value, totals["between_kernels"].value
    if ratio > MUCH:
        yield f"profiled runs take {ratio:.2g} times as long, so times of operators are estimates"
    if between > GAPS:
        yield (
            f"{between:.0%} of a profiled run lie between kernels; what profiling adds is taken "
            "off, the rest counts at the kernel before it"
        )
    if lost:
        yield f"kernels that could not be placed: {lost}; their time is spread over the others"


def by_operator(own: Floats, places: Sequence[int | None], count: int) -> Floats:
    """Seconds of each operator in each run, (runs, operators), from those of kernels."""
    rows = np.zeros((len(own), count))
    for column, place in enumerate(places):
        if place is not None:
            rows[:, place] += own[:, column]
    return rows


def joined(runs: Sequence[Run], steps: int) -> list[Run]:
    """Runs that belong to one sample as one, on average."""
    return [mean_of(runs[first : first + steps]) for first in range(0, len(runs), steps)]


def mean_of(runs: Sequence[Run]) -> Run:
    """One call of the model, on average over some."""
    if len(runs) == 1:
        return runs[0]
    taken: dict[Kernel, float] = defaultdict(float)
    calls: dict[Kernel, float] = defaultdict(float)
    for run in runs:
        for kernel, seconds in run.seconds.items():
            taken[kernel] += seconds / len(runs)
            calls[kernel] += run.calls[kernel] / len(runs)
    length = sum(run.length for run in runs) / len(runs)
    return Run(length, sum(run.within for run in runs) / len(runs), taken, calls)


def middle_half(runs: Sequence[Run]) -> list[Run]:
    """Runs that are neither among the shortest nor the longest quarter, in their order.

    A mean over them is as little moved by disturbed runs as a median is, and times of kernels,
    which come in whole microseconds, add up in it.
    """
    low, high = np.quantile([run.length for run in runs], [0.25, 0.75])
    return [run for run in runs if low <= run.length <= high]


def corrected(runs: Sequence[Run], seen: Sequence[Kernel], added: float) -> Floats:
    """Seconds of each kernel in each run, (runs, kernels), without what profiling added.

    Args:
        runs: profiled.
        seen: the kernels.
        added: seconds that profiling adds to a run.
    """
    taken = np.array([[run.seconds.get(kernel, 0.0) for kernel in seen] for run in runs])
    calls = np.array([[run.calls.get(kernel, 0.0) for kernel in seen] for run in runs])
    plain = np.array([kernel.op not in HOLD_BODIES for kernel in seen]) & calls.any(axis=0)
    shortest = (taken[:, plain].sum(axis=0) / calls[:, plain].sum(axis=0)).min(initial=np.inf)
    fixed = max(0.0, min(added / float(calls.sum(axis=1).mean()), (1 - LEFT) * float(shortest)))
    own: Floats = np.maximum(0.0, taken - fixed * calls)
    return own


def times(rows: Floats, plain: Floats, seed: int, *, rough: bool) -> list[Measurement]:
    """The time of each operator in an unprofiled run.

    Args:
        rows: seconds of each operator in profiled runs, (runs, operators).
        plain: seconds of unprofiled runs, (rounds,).
        seed: of the bootstrap.
        rough: whether they are no more than estimates.
    """
    picks = resample_indices(len(rows), seed)
    weights = np.stack([np.bincount(pick, minlength=len(rows)) for pick in picks])
    spread = (
        parts(weights @ rows)
        * np.median(plain[resample_indices(len(plain), seed + 1)], axis=1)[:, None]
    )
    middle = parts(rows.sum(axis=0, keepdims=True))[0] * float(np.median(plain))
    found = [
        with_interval(float(value), spread[:, place], "s", len(rows))
        for place, value in enumerate(middle)
    ]
    return [replace(one, how="estimated") for one in found] if rough else found


def parts(rows: Floats) -> Floats:
    """Each number of a row as a share of their sum."""
    found: Floats = rows / rows.sum(axis=1, keepdims=True)
    return found


def gaps(runs: Sequence[Run], seed: int) -> Measurement:
    """Share of profiled runs in which no kernel runs."""
    length = np.array([run.length for run in runs])
    within = np.array([run.within for run in runs])
    picks = resample_indices(len(runs), seed)
    spread = 1 - within[picks].sum(axis=1) / length[picks].sum(axis=1)
    return with_interval(float(1 - within.sum() / length.sum()), spread, "1", len(runs))
