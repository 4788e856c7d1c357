"""Compiled inner loop of exchanging zeros; see ``feedback``.

Every row of every group is on its own, so the result does not depend on how many threads run.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from packlight.compression.reconstruction.gptq_kernels import nearest_code, real_value

ENOUGH = 1e-3
"""Share of a row's error below which what another sweep gains is not worth its time."""

SURELY = 1 + 1e-6
"""How much more a weight must gain elsewhere before it moves, so that none moves for ever."""


@njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})
def most_gain(held, row, pull, room):
    """What the best zero would gain if a weight worth ``held`` with these moments were out."""
    most = 0.0
    for i in range(len(pull)):
        freed = pull[i] + held * row[i]
        most = max(most, freed * freed * room[i])
    return most


@njit(cache=True)
def best_zero(held, row, pull, room, stay):
    """That zero; ``stay`` where there is none."""
    best, most = stay, -1.0
    for i in range(len(pull)):
        freed = pull[i] + held * row[i]
        gain = freed * freed * room[i]
        if room[i] > 0.0 and gain > most:
            best, most = i, gain
    return best


@njit(cache=True)
def sweep_row(value, pull, moments, zeros, run, scale, zero, block, low, high, table, codes):
    """One sweep over a row; what it gained. Arguments are those of ``exchange`` for the row."""
    gained, columns = 0.0, len(value)
    room = np.zeros(columns)
    for j in range(columns):
        room[j] = 1 / moments[j, j] if zeros[j] else 0.0
    for j in range(columns):
        if zeros[j]:
            continue
        held, row = value[j], moments[j]
        freed, b = pull[j] + held * row[j], j // block
        code = nearest_code(freed / row[j], scale[b], zero[b], low, high, table)
        new = real_value(code, scale[b], zero[b], table)
        target, gain = j, new * (2 * freed - new * row[j])
        first = 0 if run == 0 else j // run * run
        last = columns if run == 0 else min(columns, first + run)
        parts = row[first:last], pull[first:last], room[first:last]
        if most_gain(held, *parts) > gain * SURELY:
            other = first + best_zero(held, *parts, j - first)
            away, weight, b = pull[other] + held * row[other], moments[other, other], other // block
            there = nearest_code(away / weight, scale[b], zero[b], low, high, table)
            reached = real_value(there, scale[b], zero[b], table)
            most = reached * (2 * away - reached * weight)
            if most > gain * SURELY:
                target, gain, code, new = other, most, there, reached
        if target == j and new == held:
            continue
        gained += gain - held * (2 * freed - held * row[j])
        value[j], zeros[j], room[j] = 0.0, True, 1 / row[j]
        value[target], zeros[target], room[target] = new, False, 0.0
        codes[target] = code
        for i in range(columns):
            pull[i] += held * row[i] - new * moments[target, i]
    return gained


@njit(cache=True, parallel=True)
def exchange(
    value, pull, moments, zeros, run, error, scale, zero, block, low, high, tables, table_of, codes,
    sweeps,
):  # fmt: skip
    """Take out one weight after another, and put the best value in the best place instead.

    A row, and every run of it, keeps as many weights as it has; its error does not rise.

    Args:
        value: (groups, out, in), what the codes stand for, 0 where they became zero; written.
        pull: (groups, out, in), gaps to what is approached times ``moments``; written.
        moments: (groups, in, in), second moments of the inputs, with a positive diagonal.
        zeros: (groups, out, in), which became zero; written.
        run: columns within which a weight may move; 0 where it may anywhere in its row.
        error: (groups, out), of each row as it is.
        scale: as in ``feed_back``, and so all after it.
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
    for place in prange(groups * rows):
        group, row = place // rows, place % rows
        left = error[group, row]
        for _ in range(sweeps):
            gained = sweep_row(
                value[group, row], pull[group, row], moments[group], zeros[group, row], run,
                scale[group, row], zero[group, row], block, low, high,
                tables[table_of[group, row]], codes[group, row],
            )  # fmt: skip
            left -= gained
            if gained <= ENOUGH * left:
                break
