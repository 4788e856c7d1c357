"""Compiled inner loops of GPTQ and of coordinate descent; see ``gptq``.

Every row of every group is on its own, so the result does not depend on how many threads run.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from packlight.compression.compiled import compiled


@compiled(inline="always")
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
    first = 0
    last = table.shape[0] - 1
    while first < last:
        middle = (first + last) // 2
        if target > (table[middle] + table[middle + 1]) / 2:
            first = middle + 1
        else:
            last = middle
    return first * 1.0


@compiled(inline="always")
def real_value(code, scale, zero, table):
    """Real value of a code."""
    if table.shape[0] == 0:
        return code if scale == 0.0 else (code - zero) * scale
    return table[int(code)] * scale


@compiled(parallel=True)
def gptq_block(
    target, upper, order, start, drop, scale, zero, block, low, high, tables, table_of, codes
):
    """Round some columns, one after another; those after it compensate for the error of each.

    Args:
        target: (groups, out, columns), to be approached in ``order``; later columns are changed.
        upper: (groups, columns, columns), factor of the inverse Hessian of these columns.
        order: (groups, in), which column comes when.
        start: index in ``order`` of the first of these columns.
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
        The error of each column (groups, out, columns), over the diagonal of ``upper``.
    """
    groups, rows, columns = target.shape
    errors = np.empty((groups, rows, columns))
    for index in prange(groups * rows):
        group = index // rows
        row = index % rows
        table = tables[table_of[group, row]]
        for j in range(columns):
            column = order[group, start + j]
            s = scale[group, row, column // block]
            z = zero[group, row, column // block]
            code = nearest_code(target[group, row, j], s, z, low, high, table)
            codes[group, row, column] = code
            value = 0.0 if drop[group, row, j] else real_value(code, s, z, table)
            error = (target[group, row, j] - value) / upper[group, j, j]
            errors[group, row, j] = error
            for i in range(j + 1, columns):
                target[group, row, i] -= error * upper[group, j, i]
    return errors


@compiled(parallel=True)
def coordinate_descent(
    value, pull, hessian, scale, zero, block, low, high, tables, table_of, codes, sweeps
):
    """Change one code after another to the best given all others, until none changes.

    Args:
        value: (groups, out, in), real values of the codes; written.
        pull: (groups, out, in), gaps to the target times ``hessian``; written.
        hessian: (groups, in, in), with a positive diagonal.
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
    groups, rows, columns = value.shape
    for index in prange(groups * rows):
        group = index // rows
        row = index % rows
        table = tables[table_of[group, row]]
        for _ in range(sweeps):
            changed = False
            for j in range(columns):
                s = scale[group, row, j // block]
                z = zero[group, row, j // block]
                best = value[group, row, j] + pull[group, row, j] / hessian[group, j, j]
                code = nearest_code(best, s, z, low, high, table)
                if code != codes[group, row, j]:
                    changed = True
                    codes[group, row, j] = code
                    step = real_value(code, s, z, table) - value[group, row, j]
                    value[group, row, j] += step
                    for i in range(columns):
                        pull[group, row, i] -= step * hessian[group, j, i]
            if not changed:
                break
