"""Compiled inner loop that exchanges zeros and nonzeros; see ``sparse_rows``.

Every row of every group is on its own, so the result does not depend on how many threads run.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from packlight.compression.compiled import compiled
from packlight.compression.reconstruction.gptq_kernels import nearest_code, real_value

MIN_GAIN = 1e-3
"""Share of a row's error below which the gain of another sweep is not worth its time."""

MARGIN = 1 + 1e-6
"""How much more a weight must gain elsewhere before it moves, so that none moves for ever."""


@compiled(fastmath={"nnan", "nsz", "reassoc"})
def _largest_gain(removed, row, pull, room):
    largest = 0.0
    for i in range(len(pull)):
        freed = pull[i] + removed * row[i]
        largest = max(largest, freed * freed * room[i])
    return largest


@compiled()
def _best_zero(removed, row, pull, room, default):
    """Index of that zero; ``default`` where there is none."""
    best = default
    largest = -1.0
    for i in range(len(pull)):
        freed = pull[i] + removed * row[i]
        gain = freed * freed * room[i]
        if room[i] > 0.0 and gain > largest:
            best = i
            largest = gain
    return best


@compiled()
def _best_code(freed, weight, scale, zero, low, high, table):
    code = nearest_code(freed / weight, scale, zero, low, high, table)
    value = real_value(code, scale, zero, table)
    return code, value, value * (2 * freed - value * weight)


@compiled()
def _sweep_row(value, pull, hessian, zeros, run, scale, zero, block, low, high, table, codes):
    """Gain of one sweep over a row. Arguments are those of ``exchange`` for the row."""
    total_gain = 0.0
    columns = len(value)
    room = np.where(zeros, 1 / np.diag(hessian), 0.0)
    for j in range(columns):
        if zeros[j]:
            continue
        old = value[j]
        row = hessian[j]
        freed = pull[j] + old * row[j]
        b = j // block
        code, new, gain = _best_code(freed, row[j], scale[b], zero[b], low, high, table)
        target = j
        first = 0
        last = columns
        if run:
            first = j // run * run
            last = min(columns, first + run)
        parts = row[first:last], pull[first:last], room[first:last]
        if _largest_gain(old, *parts) > gain * MARGIN:
            i = first + _best_zero(old, *parts, j - first)
            b = i // block
            zero_freed = pull[i] + old * row[i]
            exchanged = _best_code(zero_freed, hessian[i, i], scale[b], zero[b], low, high, table)
            if exchanged[2] > gain * MARGIN:
                target = i
                code, new, gain = exchanged
        if target == j and new == old:
            continue
        total_gain += gain - old * (2 * freed - old * row[j])
        value[j] = 0.0
        zeros[j] = True
        room[j] = 1 / row[j]
        value[target] = new
        zeros[target] = False
        room[target] = 0.0
        codes[target] = code
        for i in range(columns):
            pull[i] += old * row[i] - new * hessian[target, i]
    return total_gain


@compiled(parallel=True)
def exchange(
    value, pull, hessian, zeros, run, error, scale, zero, block, low, high, tables, table_of, codes,
    sweeps,
):  # fmt: skip
    """Take out one weight after another, and put the best value in the best place instead.

    A row, and every run of it, keeps as many weights as it has; its error does not rise.

    Args:
        value: (groups, out, in), real values of the codes, 0 for a zero; written.
        pull: (groups, out, in), gaps to the target times ``hessian``; written.
        hessian: (groups, in, in), with a positive diagonal.
        zeros: (groups, out, in), mask of the zeros; written.
        run: columns within which a weight may move; 0 where it may anywhere in its row.
        error: (groups, out), of each row at the start.
        scale: as in ``gptq_block``, and so all after it.
        zero: see there.
        block: see there.
        low: see there.
        high: see there.
        tables: see there.
        table_of: see there.
        codes: (groups, out, in), where to start; written.
        sweeps: over all columns, at most.
    """
    groups, rows, _ = value.shape
    for index in prange(groups * rows):
        group = index // rows
        row = index % rows
        row_error = error[group, row]
        for _ in range(sweeps):
            gain = _sweep_row(
                value[group, row], pull[group, row], hessian[group], zeros[group, row], run,
                scale[group, row], zero[group, row], block, low, high,
                tables[table_of[group, row]], codes[group, row],
            )  # fmt: skip
            row_error -= gain
            if gain <= MIN_GAIN * row_error:
                break
