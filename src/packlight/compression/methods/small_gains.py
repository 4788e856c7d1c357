"""Weights whose codes would save too few bytes for the error that they add.

Codes of every weight add about the same error to the outputs, as each is rounded to the same share
of its size; so the codes of a small weight cost as much as those of a large one, and save little.
The same bytes, spent as bits on all weights, would take less error away: a bit of each number takes
three quarters of the noise. A weight stays in 16 bits where its share of the noise is more than
that. Vectors, with a single output, count more: they are often scores that a Softmax sharpens, and
the codes of one, of 356 numbers, made three quarters of a model's noise (46.6 dB became 40.3).
This needs no data: it goes by sizes and roles alone, so that the size of a file is known before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from packlight.compression.sites.weight_matrix import weight_layout
from packlight.compression.sites.weight_sites import S, WeightSite

HALF_BYTES = 2
MARGIN = 2.0
"""Times that a weight's share of the noise must be worth its bytes, as the share is an estimate."""

MAX_SHARE = 0.005
"""Share of all bytes of weights that may be spent so."""

VECTOR_SHARES = 4.0
"""Shares of the noise that a weight with a single output counts."""

NOISE_PER_BIT = math.log(4)
"""Relative change of the noise with a bit, for small changes."""


def sites_of_small_gain(sites: Sequence[S], stored_bytes: Callable[[S], int]) -> Collection[int]:
    """Identities of the sites whose weights are better left in 16 bits.

    Args:
        sites: of all weights that codes make smaller.
        stored_bytes: bytes of a site's codes and whatever restores them.
    """
    total = sum(map(stored_bytes, sites))
    numbers = sum(site.weight.tensor.size for site in sites)
    shares = sum(map(_noise_shares, sites))
    chosen = set[int]()
    spent = 0
    for site in sorted(sites, key=lambda site: _extra_bytes(site, stored_bytes)):
        extra = _extra_bytes(site, stored_bytes)
        if extra <= 0 or spent + extra > MAX_SHARE * total:
            continue
        bits_for_all = 8 * extra / numbers
        if _noise_shares(site) / shares > MARGIN * NOISE_PER_BIT * bits_for_all:
            chosen.add(id(site))
            spent += extra
    return chosen


def _extra_bytes(site: S, stored_bytes: Callable[[S], int]) -> int:
    return HALF_BYTES * site.weight.tensor.size - stored_bytes(site)


def _noise_shares(site: WeightSite) -> float:
    if site.weight.is_table:
        return 1.0
    groups, outputs, _ = weight_layout(site.weight).sizes()
    return VECTOR_SHARES if groups * outputs == 1 else 1.0
