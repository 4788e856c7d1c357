"""A width for every weight: more bits where errors reach the outputs, fewer elsewhere.

How much of a weight's error reaches the outputs is measured, by rounding it alone and running a
few samples. What every width would cost there is computed for some of its rows by error feedback.
Their product is predicted for every weight and width, and the widths with the least sum within the
bits that there are follow by integer programming. Where errors come back through a state
the product says little, so that every width is tried.
Source: the sum is the first-order model of Nahshan et al., "Loss Aware Post-Training Quantization"
(2021), and of Frantar and Alistarh, "SPDY" (ICML 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.bit_allocation.sensitivity_outputs import compared
from packlight.compression.method import Look
from packlight.compression.reconstruction.bias_correction import GATED
from packlight.compression.reconstruction.gptq import Columns, round_rows
from packlight.compression.reconstruction.hessian import Moments
from packlight.compression.reconstruction.sequential import (
    HELD,
    F,
    Fit,
    Fitted,
    Floats,
    S,
    batched,
    form_of,
    gathered,
    moment_bytes,
)
from packlight.compression.reconstruction.shrinkage import damped, importance
from packlight.compression.reconstruction.zero_masks import DENSE
from packlight.compression.sites.weight_sites import Weight, WeightSite
from packlight.records.configs import RoundingConfig
from packlight.records.variant import Refusal

Doubles = NDArray[np.float64]

W = TypeVar("W", bound=int)
PROBE = 6
"""Width at which a weight is rounded alone to see how much of the error arrives."""

PROBED = 8
"""Calibration samples that show it."""

ROWS = 16
"""Rows of a weight whose errors stand for all, and groups likewise."""


def allocate(
    graph: ir.Model,
    options: Sequence[Mapping[int, S]],
    look: Look,
    fit: Fit[S, F],
    config: RoundingConfig,
) -> list[S]:
    """Choose a width for every weight so that ``config.mixed`` bits are spent on average.

    Args:
        graph: left as it is.
        options: for every weight, its site by width; in the order they run.
        look: streams calibration samples.
        fit: chooses the values that a weight can take.
        config: how weights will be rounded.
    """
    sizes = np.array([next(iter(sites.values())).weight.tensor.size for sites in options])
    found = list(survey(graph, options, look, fit, config))
    predicted = [
        cost or middle(tried(sites, look, config.mixed), config.mixed)
        for sites, cost in zip(options, found, strict=True)
    ]
    widths = cheapest_widths(predicted, sizes, config.mixed)
    return [
        sites[width] if cost else replace(sites[width], note=UNMOVED)
        for sites, width, cost in zip(options, widths, found, strict=True)
    ]


UNMOVED = "the mean width, for rounding it changes nothing that is compared"
"""What is said of a weight whose errors reach no output."""


def by_width(
    sites: Sequence[S], widths: Sequence[W], decide: Callable[[Weight, W], S | Refusal]
) -> list[dict[int, S]]:
    """For every weight, its site at every width that gains."""
    found: list[dict[int, S]] = []
    for site in sites:
        every = {width: decide(site.weight, width) for width in widths}
        found.append({width: one for width, one in every.items() if not isinstance(one, Refusal)})
    return found


def middle(widths: Collection[int], mean: float) -> dict[int, float]:
    """The mean width alone, for a weight whose errors reach no output: nothing is known of it."""
    return {min(widths, key=lambda width: (abs(width - mean), width)): 0.0}


def probe(sites: Mapping[int, object]) -> int:
    """The width that is probed, or the nearest that there is."""
    return min(sites, key=lambda width: abs(width - PROBE))


GAP = 1e-4
"""Share by which a sum of errors may be above the least."""


def cheapest_widths(
    predicted: Sequence[Mapping[int, float]], sizes: NDArray[np.int64], mean: float
) -> list[int]:
    """The widths with the least sum of errors within a mean, but for a share of ``GAP``.

    Args:
        predicted: for every weight, the error by width.
        sizes: numbers in every weight.
        mean: bits for each number, on average at most; where even the least widths are above it,
            those are taken.
    """
    pairs = [(index, width) for index, cost in enumerate(predicted) for width in sorted(cost)]
    costs = np.array([predicted[index][width] for index, width in pairs])
    bits = np.array([sizes[index] * width for index, width in pairs], np.float64)
    least = sum(size * min(cost) for size, cost in zip(sizes, predicted, strict=True))
    one = np.zeros((len(predicted), len(pairs)))
    one[[index for index, _ in pairs], np.arange(len(pairs))] = 1
    share = bits / float(max(mean * sizes.sum(), least))
    taken = cheapest(costs, one, share)
    return [width for _, width in sorted(pairs[place] for place in taken)]


def cheapest(costs: Doubles, one: Doubles, share: Doubles) -> NDArray[np.intp]:
    """The choices with the least sum of costs, but for a share of ``GAP``.

    The solver stops within a millionth of its unit, which may be more than the least sum where one
    cost is far above the others. So it starts again in units of the sum that it found, without the
    costs that are above that, until nothing is gained.

    Args:
        costs: (choices,) from 0.
        one: (weights, choices) 1 for the choices of a weight, of which one is taken.
        share: (choices,) of all that may be spent.
    """
    unit = float(costs.max())
    found = solved(costs, unit, one, share)
    while 0 < (total := float(costs[found].sum())) < unit * (1 - GAP):
        unit, again = total, solved(costs, total, one, share)
        if costs[again].sum() < total * (1 - GAP):
            found = again
    return found


def solved(costs: Doubles, unit: float, one: Doubles, share: Doubles) -> NDArray[np.intp]:
    """The choices that integer programming takes of those that cost at most a unit."""
    from scipy.optimize import LinearConstraint, milp  # noqa: PLC0415  scipy takes long to load

    limits = [LinearConstraint(one, 1, 1), LinearConstraint(share, -np.inf, 1)]
    found = milp(
        np.minimum(costs, unit) / (unit or 1.0),
        constraints=limits,
        integrality=np.ones_like(costs),
        bounds=(0, costs <= unit),
        options={"mip_rel_gap": GAP},
    )
    assert found.x is not None, "the least widths are always within the mean"
    return np.flatnonzero(found.x > 1 / 2)


@dataclass(slots=True)
class Kept:
    """The values of an output, call by call."""

    values: list[NDArray[np.generic]] = field(default_factory=list)

    def update(self, value: NDArray[np.generic]) -> None:
        """Keep one."""
        self.values.append(value)


class Distance:
    """Squared distance of an output to what it was, relative to its square.

    Args:
        before: what it was, call by call.
    """

    def __init__(self, before: Kept) -> None:
        self.before = iter(before.values)
        self.gap = 0.0
        self.power = 0.0

    def update(self, value: NDArray[np.generic]) -> None:
        """Compare the values of one call where they were finite.

        Those of another shape, or no longer finite, are as far as can be.
        """
        old = np.asarray(next(self.before), np.float64)
        if not np.isfinite(old).all():
            return
        self.power += float(np.sum(old**2))
        same = old.shape == value.shape and bool(np.isfinite(value).all())
        self.gap += (
            float(np.sum((value.astype(np.float64) - old) ** 2)) if same else float(np.sum(old**2))
        )


def survey(
    graph: ir.Model,
    options: Sequence[Mapping[int, S]],
    look: Look,
    fit: Fit[S, F],
    config: RoundingConfig,
) -> Iterator[dict[int, float]]:
    """For every weight, the relative error of the outputs for each width, predicted or measured.

    Nothing for a weight whose errors do not reach them.
    """
    outputs = Outputs.seen(graph, look)
    probed = [sites[probe(sites)] for sites in options]
    by_site = {id(site): sites for site, sites in zip(probed, options, strict=True)}
    for few in batched(probed, moment_bytes, HELD, len(options)):
        fed = gathered(graph, few, look, SEEN)
        for site in few:
            moments = moments_of(site, fed.get(id(site)))
            weight, sites = site.weight.read(), by_site[id(site)]
            matters = importance(moments, form_of(site.weight))
            widths = tried(sites, look, config.mixed)
            fits = {width: fit(sites[width], weight, matters) for width in widths}
            trial = Trial(site, weight, fits, moments)
            back = returns(site, look)
            yield trial.measured(outputs, config) if back else trial.predicted(outputs, config)


def tried(sites: Mapping[int, WeightSite], look: Look, mean: float) -> list[int]:
    """Widths that a weight may get."""
    return near(sites, mean) if returns(sites[probe(sites)], look) else [*sites]


def returns(site: WeightSite, look: Look) -> bool:
    """Whether what a weight loses comes back to it through a state.

    Such errors grow from call to call and are not in proportion to the squared error of a weight.
    """
    return bool(look.carried) or site.weight.roles[0].node.op_type in GATED


NEAR = 1.5
"""Bits below the mean that are not tried where errors come back: what samples show of those holds
least for others. With 2 bits for its LSTM a voice detector kept 29 dB on its calibration samples,
and 13 dB on other speech; with 4 bits for its first convolution it kept 29 and 19 dB."""


def near(widths: Collection[int], mean: float) -> list[int]:
    """The widths that are not far below a mean; all where there is none."""
    return [width for width in widths if width > mean - NEAR] or [*widths]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is compared, before anything is rounded: real outputs, or what comes nearest to them.

    Attributes:
        graph: whose values they are.
        look: streams calibration samples.
        kept: values by name, call by call.
    """

    graph: ir.Model
    look: Look
    kept: Mapping[str, Kept]

    @classmethod
    def seen(cls, graph: ir.Model, look: Look) -> Outputs:
        """Of a graph as it is now."""
        kept = {name: Kept() for name in compared(graph, look.carried)}
        look(graph, {name: [values] for name, values in kept.items()}, PROBED)
        return cls(graph, look, kept)

    def distance(self) -> float:
        """Relative squared error of the outputs that the graph gives now."""
        gaps = {name: Distance(values) for name, values in self.kept.items()}
        self.look(self.graph, {name: [gap] for name, gap in gaps.items()}, PROBED)
        return sum(gap.gap / gap.power for gap in gaps.values() if gap.power)


@dataclass(frozen=True, slots=True)
class Trial:
    """One weight with the values that it can take at every width.

    Attributes:
        site: the weight at one of the widths.
        weight: its numbers.
        fits: by width.
        moments: second moments of its inputs.
    """

    site: WeightSite
    weight: Floats
    fits: Mapping[int, Fitted]
    moments: Doubles

    def predicted(self, outputs: Outputs, config: RoundingConfig) -> dict[int, float]:
        """Errors of the outputs, from one width that is tried; none where they are not reached."""
        costs = errors(self.site, self.weight, self.fits, self.moments, ordered=config.ordered)
        own = disturb(self.site, self.weight, self.fits[probe(self.fits)], self.moments)
        far = outputs.distance()
        self.site.weight.restore()
        reached = own > 0 < far
        return {width: cost * far / own for width, cost in costs.items()} if reached else {}

    def measured(self, outputs: Outputs, config: RoundingConfig) -> dict[int, float]:
        """Errors of the outputs with every width tried; none where no width reaches them."""
        found = {}
        for width, fitted in self.fits.items():
            self.site.weight.put(fitted.values(self.codes(fitted, config)))
            found[width] = outputs.distance()
        self.site.weight.restore()
        return found if any(found.values()) else {}

    def codes(self, fitted: Fitted, config: RoundingConfig) -> Floats:
        """As the weight will be rounded."""
        if config.rounding != "gptq":
            return fitted.nearest(self.weight)
        form = form_of(self.site.weight)
        matrices = form.matrices(self.weight).astype(np.float64)
        rows = round_rows(matrices, self.moments, fitted.lattice(form), config.ordered)
        return np.asarray(form.weight(rows), np.float32)


SEEN = 64
"""Calibration samples whose second moments tell the errors of widths apart."""


def disturb(site: WeightSite, weight: Floats, fitted: Fitted, moments: Doubles) -> float:
    """Round one weight to the nearest, and say what squared error its outputs then have."""
    form = form_of(site.weight)
    rounded = fitted.values(fitted.nearest(weight))
    site.weight.put(rounded)
    return lost(form.matrices(rounded - weight).astype(np.float64), moments)


TRUSTED = 0.01
"""Damping of moments that errors are measured by; that of rounding would hide much of them."""


def moments_of(site: WeightSite, fed: Moments | None) -> Doubles:
    """Second moments of what a weight multiplies; all alike where they are unknown."""
    if fed is None or not fed.calls:
        return np.eye(form_of(site.weight).sizes()[2])[None]
    return damped(fed, TRUSTED, centred=False)


def lost(gap: Doubles, moments: Doubles) -> float:
    """Squared error of outputs for errors (groups, out, in) of a weight."""
    return float(np.sum((gap @ moments) * gap))


def errors(
    site: WeightSite,
    weight: Floats,
    fits: Mapping[int, Fitted],
    moments: Doubles,
    *,
    ordered: bool,
) -> dict[int, float]:
    """What rounding some rows of one weight costs at every width, scaled up to all."""
    form = form_of(site.weight)
    groups, outputs, width = form.sizes()
    some, rows = few_of(groups, ROWS), few_of(outputs, max(1, 2 * ROWS // min(groups, ROWS)))
    held = moments[some] if len(moments) > 1 else moments
    shape = (len(held), -1, width)
    matrices = form.matrices(weight)[np.ix_(some, rows)].reshape(shape).astype(np.float64)
    columns = Columns.of(held, ordered)
    plan = columns.planned(matrices, DENSE)
    share = groups * outputs / (len(some) * len(rows))
    found = {}
    for bits, fitted in fits.items():
        lattice = fitted.lattice(form).part(some, rows)
        lattice = lattice.merged() if len(held) < len(some) else lattice
        codes = columns.rounded(matrices, lattice, DENSE, plan)
        found[bits] = lost(lattice.values(codes) - matrices, held) * share
    return found


def few_of(count: int, most: int) -> NDArray[np.intp]:
    """Places spread evenly over so many."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp))
