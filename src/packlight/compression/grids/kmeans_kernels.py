"""Compiled inner loops of exact k-means; see ``kmeans``.

Arguments ``mass``, ``first`` and ``second`` are cumulative sums (n + 1,) of w, w x and w x^2, from
any index on. With ``bare`` a run of one value costs exactly 0, without the remainder of rounding.
"""

from __future__ import annotations

import numpy as np

from packlight.compression.compiled import compiled


@compiled(inline="always")
def _cost(mass, first, second, bare, i, j):
    """Weighted squared distance of values i to j - 1 to their mean."""
    total = mass[j] - mass[i]
    if total <= 0.0 or (bare and j - i == 1):
        return 0.0
    moment = first[j] - first[i]
    return max(0.0, second[j] - second[i] - moment * moment / total)


@compiled()
def _crossing(mass, first, second, bare, best, a, b, low, high):
    """The first end from which a later start b is at least as good as a; high + 1 where none."""
    while low <= high:
        middle = (low + high) // 2
        cost_a = best[a] + _cost(mass, first, second, bare, a, middle)
        cost_b = best[b] + _cost(mass, first, second, bare, b, middle)
        if cost_b <= cost_a:
            high = middle - 1
        else:
            low = middle + 1
    return low


@compiled()
def runs_at_price(mass, first, second, bare, price):
    """Best runs where each costs a price more: start of the run for each end, and their number."""
    n = len(mass) - 1
    best = np.zeros(n + 1)
    count = np.zeros(n + 1, np.int64)
    origin = np.zeros(n + 1, np.int64)
    queue = np.zeros(n + 1, np.int64)
    since = np.zeros(n + 2, np.int64)
    head = 0
    tail = 0
    since[0] = 1
    for j in range(1, n + 1):
        while head < tail and since[head + 1] <= j:
            head += 1
        start = queue[head]
        best[j] = best[start] + _cost(mass, first, second, bare, start, j) + price
        count[j] = count[start] + 1
        origin[j] = start
        if j == n:
            break
        while True:
            enter = _crossing(mass, first, second, bare, best, queue[tail], j, j + 1, n)
            if tail > head and enter <= since[tail]:
                tail -= 1
                continue
            break
        if enter <= n:
            tail += 1
            queue[tail] = j
            since[tail] = enter
    return origin, count[n]


@compiled()
def exact_runs(mass, first, second, bare, k):
    """Best k runs by one layer of the program for each run."""
    n = len(mass) - 1
    before = np.empty(n + 1)
    for j in range(n + 1):
        before[j] = _cost(mass, first, second, bare, 0, j)
    origin = np.zeros((k, n + 1), np.int32)
    for layer in range(1, k):
        after = np.full(n + 1, np.inf)
        stack = np.empty((128, 4), np.int64)
        depth = 1
        stack[0] = (layer + 1, n, layer, n)
        while depth:
            depth -= 1
            low, high, first_start, last_start = stack[depth]
            if low > high:
                continue
            middle = (low + high) // 2
            start = first_start
            least = np.inf
            for i in range(max(first_start, layer), min(last_start, middle - 1) + 1):
                total = before[i] + _cost(mass, first, second, bare, i, middle)
                if total < least:
                    start = i
                    least = total
            after[middle] = least
            origin[layer, middle] = start
            stack[depth] = (low, middle - 1, first_start, start)
            stack[depth + 1] = (middle + 1, high, start, last_start)
            depth += 2
        before = after
    ends = np.empty(k + 1, np.int64)
    ends[k] = n
    for layer in range(k - 1, 0, -1):
        ends[layer] = origin[layer, ends[layer + 1]]
    ends[0] = 0
    return ends
