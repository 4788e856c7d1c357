"""Bit allocation: more bits for weights whose errors reach the outputs, fewer for the rest.

The sensitivity gives the error of the outputs for every weight and width. The widths with the least
sum of errors within the bits that there are follow by integer programming.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.bit_allocation.sensitivity import candidate_widths, measure_sensitivity
from packlight.compression.reconstruction.sequential import F, FitGrid, S
from packlight.compression.sites.weight_sites import Weight
from packlight.records.configs import RoundingConfig
from packlight.records.storage import Note
from packlight.records.variant import Refusal
from packlight.runtime.calibration import Calibrator
from packlight.runtime.compiled_output import silenced

Doubles = NDArray[np.float64]

W = TypeVar("W", bound=int)

UNMOVED = Note("no-sensitivity")
"""Note for a weight whose errors reach no output."""

OPTIMALITY_GAP = 1e-4
"""Share by which a sum of errors may be above the least."""


def allocate_bits(
    graph: ir.Model,
    options: Sequence[Mapping[int, S]],
    calibrator: Calibrator,
    fit: FitGrid[S, F],
    config: RoundingConfig,
) -> list[S]:
    """Choose a width for every weight so that ``config.mixed`` bits are spent on average.

    Args:
        graph: left as it is.
        options: for every weight, its site by width; in the order they run.
        calibrator: runs calibration samples.
        fit: chooses the values that a weight can take.
        config: how weights will be rounded.
    """
    sizes = np.array([next(iter(sites.values())).weight.tensor.size for sites in options])
    sensitivity = list(measure_sensitivity(graph, options, calibrator, fit, config))
    errors = [
        measured or _mean_width(candidate_widths(sites, calibrator, config.mixed), config.mixed)
        for sites, measured in zip(options, sensitivity, strict=True)
    ]
    chosen = []
    for sites, width, measured in zip(
        options, cheapest_widths(errors, sizes, config.mixed), sensitivity, strict=True
    ):
        site = sites[width]
        chosen.append(site if measured else replace(site, notes=(UNMOVED,)))
    return chosen


def sites_by_width(
    sites: Sequence[S], widths: Sequence[W], decide: Callable[[Weight, W], S | Refusal]
) -> list[dict[int, S]]:
    """For every weight, its site at every width that makes it smaller."""
    options: list[dict[int, S]] = []
    for site in sites:
        decisions = {width: decide(site.weight, width) for width in widths}
        options.append({w: s for w, s in decisions.items() if not isinstance(s, Refusal)})
    return options


def _mean_width(widths: Collection[int], mean: float) -> dict[int, float]:
    return {min(widths, key=lambda width: (abs(width - mean), width)): 0.0}


def cheapest_widths(
    errors: Sequence[Mapping[int, float]], sizes: NDArray[np.int64], mean: float
) -> list[int]:
    """The widths with the least sum of errors within a mean, but for ``OPTIMALITY_GAP``.

    Args:
        errors: for every weight, the error by width.
        sizes: numbers in every weight.
        mean: bits for each number, on average at most; where even the least widths are above it,
            those are taken.
    """
    pairs = [(index, width) for index, by_width in enumerate(errors) for width in sorted(by_width)]
    costs = np.array([errors[index][width] for index, width in pairs])
    bits = np.array([sizes[index] * width for index, width in pairs], np.float64)
    least = sum(size * min(by_width) for size, by_width in zip(sizes, errors, strict=True))
    membership = np.zeros((len(errors), len(pairs)))
    membership[[index for index, _ in pairs], np.arange(len(pairs))] = 1
    share = bits / float(max(mean * sizes.sum(), least))
    chosen = _cheapest_choices(costs, membership, share)
    return [width for _, width in sorted(pairs[index] for index in chosen)]


def _cheapest_choices(costs: Doubles, membership: Doubles, share: Doubles) -> NDArray[np.intp]:
    """The choices with the least sum of costs, but for ``OPTIMALITY_GAP``.

    The solver stops within a millionth of its unit, which may be more than the least sum where one
    cost is far above the rest. So it starts again in units of the last sum, without the costs that
    are above that, until nothing is gained.

    Args:
        costs: (choices,) from 0.
        membership: (weights, choices) 1 for the choices of a weight, of which one is taken.
        share: (choices,) of all that may be spent.
    """
    unit = float(costs.max())
    best = solve(costs, unit, membership, share)
    while 0 < (total := float(costs[best].sum())) < unit * (1 - OPTIMALITY_GAP):
        unit = total
        again = solve(costs, total, membership, share)
        if costs[again].sum() < total * (1 - OPTIMALITY_GAP):
            best = again
    return best


def solve(costs: Doubles, unit: float, membership: Doubles, share: Doubles) -> NDArray[np.intp]:
    """The choices by integer programming, of those that cost at most a unit."""
    from scipy.optimize import LinearConstraint, milp  # noqa: PLC0415  scipy takes long to load

    limits = [LinearConstraint(membership, 1, 1), LinearConstraint(share, -np.inf, 1)]
    with silenced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy passes HiGHS the number of threads, and warns
        solution = milp(
            np.minimum(costs, unit) / (unit or 1.0),
            constraints=limits,
            integrality=np.ones_like(costs),
            bounds=(0, costs <= unit),
            options={"mip_rel_gap": OPTIMALITY_GAP, "threads": 1},
        )
    assert solution.x is not None, "the least widths are always within the mean"
    return np.flatnonzero(solution.x > 1 / 2)
