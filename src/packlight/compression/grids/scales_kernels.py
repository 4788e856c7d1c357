"""Compiled search for the best scale of a group of weights; see ``uniform``."""

from __future__ import annotations

import numpy as np
from numba import prange

from packlight.compression.compiled import compiled

TINY = 1e-300
WINDOW = 0.8
"""Factor by which the scale falls between checks that clipping already costs too much."""


@compiled()
def _sweep_scales(sizes, weights, tops, start, best):
    """The least squared error of a group over all scales below ``start``.

    While the scale falls, codes change one at a time, where a weight passes the middle between two
    points; between two such scales the error is a parabola of the scale.

    Args:
        sizes: (n,), absolute values.
        weights: (n,), importance, at least 0.
        tops: (n,), highest codes.
        start: largest scale, > 0.
        best: error that the result must beat.

    Returns:
        error, scale; the scale is 0 where no error is below ``best``.
    """
    codes = np.minimum(np.floor(sizes / start + 0.5), tops)
    total = np.sum(weights * sizes * sizes)
    along = np.sum(weights * sizes * codes)
    norm = np.sum(weights * codes * codes)
    best_scale = 0.0
    high = start
    while True:
        if norm > 0 and total - along * along / norm < best:
            best = total - along * along / norm
            best_scale = along / norm
        low = high * WINDOW
        points, indices = _crossings(sizes, tops, codes, low)
        for index in np.argsort(-points):
            i = indices[index]
            along += weights[i] * sizes[i]
            norm += weights[i] * (2 * codes[i] + 1)
            codes[i] += 1
            if norm > 0 and total - along * along / norm < best:
                best = total - along * along / norm
                best_scale = along / norm
        over = np.maximum(sizes - tops * low, 0.0)
        if np.sum(weights * over * over) >= best or np.all((codes == tops) | (sizes == 0.0)):
            return best, best_scale
        high = low
        if high < TINY:
            return best, best_scale


@compiled()
def _crossings(sizes, tops, codes, low):
    """Scales above ``low`` at which a code grows by one, and the index of the code."""
    count = 0
    for i in range(len(sizes)):
        count += int(max(0.0, min(np.floor(sizes[i] / low + 0.5), tops[i]) - codes[i]))
    points = np.empty(count)
    indices = np.empty(count, np.int64)
    at = 0
    for i in range(len(sizes)):
        last = min(np.floor(sizes[i] / low + 0.5), tops[i])
        code = codes[i]
        while code < last:
            points[at] = sizes[i] / (code + 0.5)
            indices[at] = i
            code += 1
            at += 1
    return points, indices


@compiled(parallel=True)
def symmetric_scales(rows, weights, top):
    """The best scale of each group, 0 where all its weights are 0.

    Args:
        rows: (groups, n).
        weights: (groups, n), importance, at least 0.
        top: highest code.

    Returns:
        (groups,).
    """
    scales = np.zeros(len(rows))
    for row in prange(len(rows)):
        sizes = np.abs(rows[row]).astype(np.float64)
        widest = np.max(sizes)
        if widest > 0:
            tops = np.full(len(sizes), float(top))
            start = widest / (top - 0.5)
            _, scales[row] = _sweep_scales(sizes, weights[row], tops, start, np.inf)
    return scales


@compiled(parallel=True)
def asymmetric_scales(rows, weights, top, reach):
    """The best scale and zero of each group.

    Args:
        rows: (groups, n).
        weights: (groups, n), importance, at least 0.
        top: highest code; the lowest is 0.
        reach: distance from the zero of the widest range up to which zeros are tried.

    Returns:
        scale (groups,), 0 where all weights are 0; zero (groups,).
    """
    scales = np.zeros(len(rows))
    zeros = np.zeros(len(rows))
    for row in prange(len(rows)):
        values = rows[row].astype(np.float64)
        sizes = np.abs(values)
        if np.max(sizes) == 0:
            continue
        low = min(np.min(values), 0.0)
        high = max(np.max(values), 0.0)
        middle = int(np.rint(-low / (high - low) * top))
        best = np.inf
        for step in range(2 * reach + 1):
            zero = middle + (step + 1) // 2 * (2 * (step % 2) - 1)
            if zero < 0 or zero > top:
                continue
            tops = np.where(values > 0, float(top - zero), float(zero))
            start = max(_start_scale(high, top - zero), _start_scale(-low, zero))
            if start == 0:
                continue
            error, scale = _sweep_scales(sizes, weights[row], tops, start, best)
            if scale > 0:
                best = error
                scales[row] = scale
                zeros[row] = zero
    return scales, zeros


@compiled()
def _start_scale(widest, top):
    """The scale below which the widest weight of one sign takes the highest code of that sign."""
    if top <= 0:
        return 0.0
    return widest / (top - 0.5)
