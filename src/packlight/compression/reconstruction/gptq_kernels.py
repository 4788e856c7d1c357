"""Compiled inner loops of error feedback; see ``feedback``.

Every row of every group is on its own, so the result does not depend on how many threads run.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, inline="always")
def nearest_code(value, scale, zero, low, high, table):
    """Code of the grid point, or of the table entry, nearest to a value."""
    if table.shape[0] == 0:
        if scale == 0.0:
            return value
        code = np.rint(value / scale) + zero
        return min(max(code, low), high)
    if scale == 0.0:
        return 0.0
    target = value / scale
    first, last = 0, table.shape[0] - 1
    while first < last:
        middle = (first + last) // 2
        if target > (table[middle] + table[middle + 1]) / 2:
            first = middle + 1
        else:
            last = middle
    return first * 1.0


@njit(cache=True, inline="always")
def real_value(code, scale, zero, table):
    """What a code stands for."""
    if table.shape[0] == 0:
        return code if scale == 0.0 else (code - zero) * scale
    return table[int(code)] * scale


@njit(cache=True, parallel=True)
def feed_back(
    left, upper, order, start, drop, scale, zero, block, low, high, tables, table_of, codes
):
    """Round some columns, one after another; what one loses is made up for by those after it.

    Args:
        left: (groups, out, columns), what to approach in ``order``; later columns are changed.
        upper: (groups, columns, columns), factor of the inverse moments of these columns.
        order: (groups, in), which column comes when.
        start: place in ``order`` of the first of these columns.
        drop: (groups, out, columns), which become zero.
        scale: (groups, out, blocks).
        zero: (groups, out, blocks).
        block: columns that share a scale.
        low: lowest code.
        high: highest code.
        tables: (tables, entries), sorted; no entries for a uniform grid.
        table_of: (groups, out), which table a row uses.
        codes: (groups, out, in), written.

    Returns:
        What each column lost (groups, out, columns), over the diagonal of ``upper``.
    """
    groups, rows, columns = left.shape
    errors = np.empty((groups, rows, columns))
    for place in prange(groups * rows):
        group, row = place // rows, place % rows
        table = tables[table_of[group, row]]
        for j in range(columns):
            column = order[group, start + j]
            s, z = scale[group, row, column // block], zero[group, row, column // block]
            code = nearest_code(left[group, row, j], s, z, low, high, table)
            codes[group, row, column] = code
            value = 0.0 if drop[group, row, j] else real_value(code, s, z, table)
            gap = left[group, row, j] - value
            lost = gap / upper[group, j, j]
            errors[group, row, j] = lost
            for i in range(j + 1, columns):
                left[group, row, i] -= lost * upper[group, j, i]
    return errors


@njit(cache=True, parallel=True)
def descend(value, pull, moments, scale, zero, block, low, high, tables, table_of, codes, sweeps):
    """Change one code after another to the best given all others, until none changes.

    Args:
        value: (groups, out, in), what the codes stand for; written.
        pull: (groups, out, in), gaps to what is approached times ``moments``; written.
        moments: (groups, in, in), second moments of the inputs, with a positive diagonal.
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
    groups, rows, columns = value.shape
    for place in prange(groups * rows):
        group, row = place // rows, place % rows
        table = tables[table_of[group, row]]
        for _ in range(sweeps):
            changed = False
            for j in range(columns):
                s, z = scale[group, row, j // block], zero[group, row, j // block]
                best = value[group, row, j] + pull[group, row, j] / moments[group, j, j]
                code = nearest_code(best, s, z, low, high, table)
                if code != codes[group, row, j]:
                    changed = True
                    codes[group, row, j] = code
                    step = real_value(code, s, z, table) - value[group, row, j]
                    value[group, row, j] += step
                    for i in range(columns):
                        pull[group, row, i] -= step * moments[group, j, i]
            if not changed:
                break
