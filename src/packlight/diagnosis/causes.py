"""Assign each rounded activation and each weight to a cause, by its numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.diagnosis.evidence import Cure, Rounding, Survey, Weight

Rows = NDArray[np.float64]

WIDE = 4.0
"""Width of a grid over the range of its numbers from which on it is too wide: two bits are lost."""

FAR = 8.0
"""Largest numbers over the bulk from which on three bits serve outliers alone."""

BETTER = 4.0
"""Noise of a shared scale over that of channel scales from which on it is the cause (6 dB)."""

GONE = 0.3
"""Share of new zeros from which on a weight counts as pruned."""

FEWER = 0.75
"""Share of the usual bits below which a layer has fewer than the others."""

EIGHT = 8.0
GRID = 256
MATRIX = 2

HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
NEAR = 1e-3
MOST_POINTS = 1024
"""Distance from whole steps up to which numbers lie on a grid, and its points at most."""

REALS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)

NORMS = frozenset({
    "LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization",
    "SimplifiedLayerNormalization", "SkipLayerNormalization", "BatchNormalization", "ReduceMean",
})  # fmt: skip
GATES = frozenset({"Sigmoid", "HardSigmoid", "LSTM", "GRU", "RNN", "HardSwish"})
SOFT = frozenset({"Softmax", "LogSoftmax"})


class Sites:
    """Roundings and weights by cause.

    Args:
        survey: the measurements.

    Attributes:
        roundings: by cause.
        weights: by cause.
    """

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.roundings: dict[str, list[Rounding]] = defaultdict(list)
        self.weights: dict[str, list[Weight]] = defaultdict(list)
        self.ends = set(ends(survey))
        bits = [stored_bits(weight) for weight in survey.weights if is_on_grid(weight)]
        self.usual_bits = float(np.median(bits or [EIGHT]))
        grids = [rounding.grid.bits for rounding in survey.roundings if rounding.grid is not None]
        self.usual_grid = float(np.median(grids or [EIGHT]))
        for rounding in survey.roundings:
            self.roundings[self.cause_of_rounding(rounding)].append(rounding)
        for weight in survey.weights:
            self.weights[self.cause_of_weight(weight)].append(weight)

    def cause_of_rounding(self, rounding: Rounding) -> str:
        """The cause of a rounding's noise."""
        if rounding.spread.is_clipped and rounding.grid is not None:
            return self.cause_of_clipping(rounding)
        return next((cause for cause, test in ROUNDING_TESTS if test(self, rounding)), "bits")

    def cause_of_clipping(self, rounding: Rounding) -> str:
        """The cause of a narrow range: unlike calibration data, or the choice of the range."""
        calibrated = rounding.calibrated
        if calibrated is not None:
            same = calibrated.noise * BETTER >= rounding.spread.noise and calibrated.is_clipped
            return "clipped" if same else "calibration"
        clipped = [
            site.spread.is_clipped for site in self.survey.roundings if site.grid is not None
        ]
        many = sum(clipped) > 1 and sum(clipped) * 2 > len(clipped)
        return "calibration" if many else "clipped"

    def cause_of_weight(self, weight: Weight) -> str:
        """The cause of a weight's error."""
        return next((cause for cause, test in WEIGHT_TESTS if test(self, weight)), "bits")

    def cure(self, *causes: str, operator: str = "") -> Cure:
        """The cure of some causes, everywhere or at one operator."""
        roundings = [rounding for cause in causes for rounding in self.roundings[cause]]
        weights = [weight for cause in causes for weight in self.weights[cause]]
        return Cure(
            tuple(item.key for item in roundings if operator in ("", item.operator)),
            {
                (item.node, item.index): item.as_read(item.reference)
                for item in weights
                if operator in ("", item.operator)
            },
        )

    def operators(self, *causes: str) -> list[str]:
        """Operators under some causes, the noisiest first."""
        sites: list[Rounding | Weight] = []
        for cause in causes:
            sites += self.roundings[cause]
        for cause in causes:
            sites += self.weights[cause]
        noise = [(site.noise, site.operator) for site in sites]
        noise.sort(key=lambda entry: -entry[0])
        return list(dict.fromkeys(name for _, name in noise))

    def any(self, *causes: str) -> bool:
        """Return whether anything falls under some causes."""
        return any(self.roundings[cause] or self.weights[cause] for cause in causes)


def ends(survey: Survey) -> list[str]:
    """Names of the first and the last operator with a weight, and of inputs and outputs."""
    flow = survey.pair.matched.reference
    weighted = [
        str(node.name)
        for node in flow.operators
        if any(v.shape is not None and len(v.shape) > 1 for _, v in flow.weights(node))
    ]
    inputs = [str(value.name) for value in flow.graph.inputs]
    return [*weighted[:1], *weighted[-1:], *inputs]


def _is_wide(sites: Sites, rounding: Rounding) -> bool:
    del sites
    return rounding.spread.slack >= WIDE


def _is_stretched(sites: Sites, rounding: Rounding) -> bool:
    del sites
    return rounding.spread.outliers >= FAR


def _is_uneven(sites: Sites, rounding: Rounding) -> bool:
    del sites
    tops_by_axis = rounding.spread.tops.values()
    return any(np.median(tops) > 0 and tops.max() / np.median(tops) >= FAR for tops in tops_by_axis)


def _is_short(sites: Sites, rounding: Rounding) -> bool:
    usual = max(sites.usual_grid, EIGHT)
    return rounding.grid is not None and rounding.grid.bits < FEWER * usual


def role(sites: Sites, rounding: Rounding) -> str:
    """Kind of the sensitive operator at a rounding; empty where there is none."""
    kinds = {rounding.op, *rounding.readers}
    is_end = rounding.op == "input" or rounding.operator in sites.ends
    roles = (
        ("a softmax", bool(kinds & SOFT)),
        ("a gate or a recurrent layer", bool(kinds & GATES)),
        ("a normalization", bool(kinds & NORMS)),
        ("the first or last layer", is_end),
    )
    return next((name for name, applies in roles if applies), "")


ROUNDING_TESTS: tuple[tuple[str, Callable[[Sites, Rounding], bool]], ...] = (
    ("calibration", _is_wide),
    ("outliers", _is_stretched),
    ("channels", _is_uneven),
    ("bits", _is_short),
    ("sensitive", lambda sites, rounding: bool(role(sites, rounding))),
)
"""Causes of rounding noise; the first that applies counts."""


def is_on_grid(weight: Weight) -> bool:
    """Return whether a weight is stored on a grid or in a table, or looks so."""
    if weight.storage.kind in HALVES:
        return False
    few_levels = weight.levels <= min(GRID, weight.variant.shape[1] // 4)
    return weight.storage.unpacked or few_levels or _grid_points(weight.variant) > 0


def stored_bits(weight: Weight) -> float:
    """Bits of one number: as stored, else by the count of different numbers."""
    if weight.storage.unpacked and weight.storage.kind not in REALS:
        return weight.storage.codes * 8 / weight.reference.size
    points = _grid_points(weight.variant)
    if points:
        return float(np.log2(points))
    return weight.bits


def _grid_points(rows: Rows) -> int:
    """Points of the grid of the first channel (channels, n) with several numbers; 0 without grid.

    They are counted from the lowest to the highest number, where all lie whole steps apart.
    """
    for row in rows:
        levels = np.unique(row.astype(np.float32)).astype(np.float64)
        if len(levels) <= MATRIX:
            continue
        steps = np.diff(levels) / np.diff(levels).min()
        are_whole = np.abs(steps - np.rint(steps)).max() < NEAR * steps.max()
        points = int(np.rint(steps).sum()) + 1
        if are_whole and points <= MOST_POINTS:
            return points
        return 0
    return 0


def _is_half(sites: Sites, weight: Weight) -> bool:
    del sites
    return weight.storage.kind in HALVES


def _is_pruned(sites: Sites, weight: Weight) -> bool:
    del sites
    return is_zeroed(weight)


def is_zeroed(weight: Weight) -> bool:
    """Return whether many numbers became zero that lie further from it than a rounding step.

    A step is the least distance of two numbers in a channel, next to nothing in plain floats.
    """
    ordered = np.sort(weight.variant.astype(np.float32), axis=1)
    gaps = np.diff(ordered, axis=1)
    step = np.min(gaps, axis=1, keepdims=True, initial=np.inf, where=gaps > 0)
    return float(np.mean((weight.variant == 0) & (np.abs(weight.reference) > step))) >= GONE


def _is_other(sites: Sites, weight: Weight) -> bool:
    del sites
    return not is_on_grid(weight)


def _shares_a_scale(sites: Sites, weight: Weight) -> bool:
    del sites
    noise = channel_noise(weight.reference, weight.variant)
    return noise > BETTER * per_channel_noise(weight)


def channel_noise(expected: Rows, actual: Rows) -> float:
    """Noise over signal, averaged over channels, since later operators may rescale them."""
    signal = (expected**2).sum(axis=1)
    noise = ((actual - expected) ** 2).sum(axis=1)
    nonzero = signal > 0
    if not nonzero.any():
        return 0.0
    return float(np.mean(noise[nonzero] / signal[nonzero]))


def per_channel_noise(weight: Weight) -> float:
    """Channel noise of the reference's weight on a grid of as many points per channel."""
    widest = weight.variant[[int(np.abs(weight.variant).max(axis=1).argmax())]]
    points = _grid_points(widest) or 2.0 ** round(stored_bits(weight))
    scale = np.abs(weight.reference).max(axis=1, keepdims=True) / max(points / 2 - 1, 1.0)
    scale[scale == 0] = 1
    return channel_noise(weight.reference, np.rint(weight.reference / scale) * scale)


def _has_fewer_bits(sites: Sites, weight: Weight) -> bool:
    return stored_bits(weight) < FEWER * sites.usual_bits


WEIGHT_TESTS: tuple[tuple[str, Callable[[Sites, Weight], bool]], ...] = (
    ("half", _is_half),
    ("pruned", _is_pruned),
    ("other weights", _is_other),
    ("channels", _shares_a_scale),
    ("bits", _has_fewer_bits),
    (
        "sensitive",
        lambda sites, weight: weight.operator in sites.ends or weight.node.op_type in GATES,
    ),
)
"""Causes of weight errors; the first that applies counts."""
