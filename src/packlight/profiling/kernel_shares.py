"""The measured time of kernels, attributed to operators.

Profiling adds much the same to every call of a kernel, so its overhead is subtracted evenly: the
difference between runs with and without the profiler, by the calls in a run. The remaining time of
each call, from its start to the start of the next, is its share of a run without the profiler. So
the time between two kernels belongs to the earlier: it frees unused values and dispatches the next.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from packlight.profiling.kernel_attribution import (
    KernelAttribution,
    attribute_kernels,
    operator_indices,
)
from packlight.profiling.kernel_mapping import KernelMapping
from packlight.profiling.node_tags import TaggedModel
from packlight.records import Measurement, OperatorCost, Profile
from packlight.runtime.clock import paired_latency, resample_indices, with_interval
from packlight.runtime.kernel_times import HOLD_BODIES, Kernel, Kernels, Run

Floats = NDArray[np.float64]

ESTIMATE_ABOVE_RATIO = 1.2
"""Ratio of profiled to unprofiled time from which on times of operators are estimates."""

SMALLEST_SHARE = 0.1
"""Share of the shortest call that is not overhead, at least, so that every call takes some time."""

NOTE_ABOVE_IDLE = 0.1
"""Share of a profiled run between its kernels from which on there is a note."""


def with_latency(profile: Profile, tagged: TaggedModel, kernels: Kernels, seed: int = 0) -> Profile:
    """Add measured times of operators to a profile.

    Args:
        profile: counted costs of operators.
        tagged: the model that was run.
        kernels: measured times of its kernels.
        seed: of the bootstrap.
    """
    costs = profile.operators
    loaded = [node for node, cost in zip(tagged.operators, costs, strict=False) if cost.at_load]
    attribution = attribute_kernels(KernelMapping(tagged, kernels.graph, loaded), costs)
    samples = _merge_steps(kernels.runs, kernels.steps)
    timed_kernels = list(dict.fromkeys(kernel for run in samples for kernel in run.seconds))
    indices = operator_indices(timed_kernels, attribution)
    timed = paired_latency(kernels.plain, kernels.profiled, seed)
    middle = _middle_half(samples)
    overhead = float(np.median(kernels.profiled) - np.median(kernels.plain))
    rows = _by_operator(_without_overhead(middle, timed_kernels, overhead), indices, len(costs))
    rough = timed["latency_ratio"].value > ESTIMATE_ABOVE_RATIO
    times = _operator_times(rows, kernels.plain, seed, rough=rough)
    latency = {index: times[index] for index in indices if index is not None}
    totals = {
        "latency": timed["latency_reference"],
        "profiling_ratio": timed["latency_ratio"],
        "between_kernels": _idle_share(middle, seed),
    }
    return replace(
        profile,
        operators=tuple(_with_placements(costs, attribution, latency)),
        totals={**profile.totals, **totals},
        notes=(*profile.notes, *_timing_notes(totals, indices.count(None))),
    )


def _with_placements(
    costs: Sequence[OperatorCost],
    attribution: KernelAttribution,
    latency: Mapping[int, Measurement],
) -> Iterator[OperatorCost]:
    """Operators with their placement, and the times of those with kernels that ran."""
    for index, cost in enumerate(costs):
        placement = attribution.placements[index]
        if placement == "kernel" and index not in latency:
            placement = "not run"
        into = ""
        if index in attribution.into:
            into = costs[attribution.into[index]].name
        yield replace(cost, latency=latency.get(index), placement=placement, into=into)


def _timing_notes(totals: Mapping[str, Measurement], unplaced: int) -> Iterator[str]:
    """Notes on the measured times."""
    ratio = totals["profiling_ratio"].value
    idle = totals["between_kernels"].value
    if ratio > ESTIMATE_ABOVE_RATIO:
        yield f"profiled runs take {ratio:.2g} times as long, so times of operators are estimates"
    if idle > NOTE_ABOVE_IDLE:
        yield (
            f"{idle:.0%} of a profiled run lie between kernels; the profiler's overhead is "
            "subtracted, the remaining time counts at the kernel before it"
        )
    if unplaced:
        yield (
            f"kernels that could not be placed: {unplaced}; their time is spread over the other "
            "kernels"
        )


def _by_operator(seconds: Floats, indices: Sequence[int | None], count: int) -> Floats:
    rows = np.zeros((len(seconds), count))
    for column, index in enumerate(indices):
        if index is not None:
            rows[:, index] += seconds[:, column]
    return rows


def _merge_steps(runs: Sequence[Run], steps: int) -> list[Run]:
    return [_mean_run(runs[start : start + steps]) for start in range(0, len(runs), steps)]


def _mean_run(runs: Sequence[Run]) -> Run:
    """The mean of several calls of the model."""
    if len(runs) == 1:
        return runs[0]
    seconds_of: dict[Kernel, float] = defaultdict(float)
    calls: dict[Kernel, float] = defaultdict(float)
    for run in runs:
        for kernel, seconds in run.seconds.items():
            seconds_of[kernel] += seconds / len(runs)
            calls[kernel] += run.calls[kernel] / len(runs)
    length = sum(run.length for run in runs) / len(runs)
    return Run(length, sum(run.within for run in runs) / len(runs), seconds_of, calls)


def _middle_half(runs: Sequence[Run]) -> list[Run]:
    """Runs that are neither among the shortest nor the longest quarter, in their order.

    A mean over them is as robust against disturbed runs as a median is, and times of kernels,
    which come in whole microseconds, average out in it.
    """
    low, high = np.quantile([run.length for run in runs], [0.25, 0.75])
    return [run for run in runs if low <= run.length <= high]


def _without_overhead(runs: Sequence[Run], kernels: Sequence[Kernel], overhead: float) -> Floats:
    """Seconds of each kernel in each run, (runs, kernels), without the profiler's overhead.

    Args:
        runs: profiled.
        kernels: the kernels.
        overhead: seconds that profiling adds to a run.
    """
    seconds_of = np.array([[run.seconds.get(kernel, 0.0) for kernel in kernels] for run in runs])
    calls = np.array([[run.calls.get(kernel, 0.0) for kernel in kernels] for run in runs])
    plain = np.array([kernel.op not in HOLD_BODIES for kernel in kernels]) & calls.any(axis=0)
    shortest = (seconds_of[:, plain].sum(axis=0) / calls[:, plain].sum(axis=0)).min(initial=np.inf)
    per_call = overhead / float(calls.sum(axis=1).mean())
    per_call = max(0.0, min(per_call, (1 - SMALLEST_SHARE) * float(shortest)))
    seconds: Floats = np.maximum(0.0, seconds_of - per_call * calls)
    return seconds


def _operator_times(rows: Floats, plain: Floats, seed: int, *, rough: bool) -> list[Measurement]:
    """The time of each operator in an unprofiled run.

    Args:
        rows: seconds of each operator in profiled runs, (runs, operators).
        plain: seconds of unprofiled runs, (rounds,).
        seed: of the bootstrap.
        rough: whether they are only estimates.
    """
    picks = resample_indices(len(rows), seed)
    weights = np.stack([np.bincount(pick, minlength=len(rows)) for pick in picks])
    medians = np.median(plain[resample_indices(len(plain), seed + 1)], axis=1)
    draws = shares(weights @ rows) * medians[:, None]
    middle = shares(rows.sum(axis=0, keepdims=True))[0] * float(np.median(plain))
    times = [
        with_interval(float(value), draws[:, index], "s", len(rows))
        for index, value in enumerate(middle)
    ]
    if rough:
        return [replace(time, how="estimated") for time in times]
    return times


def shares(rows: Floats) -> Floats:
    """Each number of a row as a share of their sum."""
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float64)


def _idle_share(runs: Sequence[Run], seed: int) -> Measurement:
    length = np.array([run.length for run in runs])
    within = np.array([run.within for run in runs])
    picks = resample_indices(len(runs), seed)
    draws = 1 - within[picks].sum(axis=1) / length[picks].sum(axis=1)
    return with_interval(float(1 - within.sum() / length.sum()), draws, "1", len(runs))
