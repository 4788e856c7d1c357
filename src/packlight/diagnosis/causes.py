"""Which cause each rounded activation and each weight falls under, by what it is like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.diagnosis.cure import Cure
from packlight.diagnosis.evidence import Rounding, Survey, Weight
from packlight.diagnosis.weight_storage import channel_axis

Rows = NDArray[np.float64]

WIDE = 4.0
"""Times as wide as the numbers that a grid may be: two bits are lost there."""

FAR = 8.0
"""Factor between the largest numbers and the rest from which on three bits serve outliers alone."""

BETTER = 4.0
"""Times less noise by a scale for each channel from which on sharing one is the cause (6 dB)."""

GONE = 0.3
"""Share of zeros that were none before, from which on a weight is pruned."""

FEWER = 0.75
"""Share of the usual bits below which a layer has fewer than the others."""

EIGHT, GRID = 8.0, 256
MATRIX = 2

HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
NEAR, MOST_POINTS = 1e-3, 1024
"""How near numbers come to whole steps of a grid that is no chance, and its points at most."""

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
        survey: what was measured.

    Attributes:
        roundings: by cause.
        weights: by cause.
    """

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.roundings: dict[str, list[Rounding]] = defaultdict(list)
        self.weights: dict[str, list[Weight]] = defaultdict(list)
        weighted = [one.operator for one in survey.weights]
        self.ends = set(ends(survey))
        bits = [stored_bits(one) for one in survey.weights if is_on_grid(one)]
        self.usual = float(np.median(bits)) if bits else EIGHT
        grids = [one.grid.bits for one in survey.roundings if one.grid is not None]
        self.usual_grid = float(np.median(grids)) if grids else EIGHT
        self.weighted = weighted
        for one in survey.roundings:
            self.roundings[self.of_rounding(one)].append(one)
        for weight in survey.weights:
            self.weights[self.of_weight(weight)].append(weight)

    def of_rounding(self, one: Rounding) -> str:
        """The cause of what a rounding adds."""
        if one.seen.is_clipped and one.grid is not None:
            return self.of_range(one)
        return next((cause for cause, test in ROUNDING_TESTS if test(self, one)), "bits")

    def of_range(self, one: Rounding) -> str:
        """Whose fault a range that is too narrow is: the data's, or that of who chose it."""
        if one.calibrated is not None:
            same = one.calibrated.noise * BETTER >= one.seen.noise and one.calibrated.is_clipped
            return "clipped" if same else "calibration"
        grids = [each for each in self.survey.roundings if each.grid is not None]
        cut = sum(each.seen.is_clipped for each in grids)
        return "calibration" if cut > 1 and cut * 2 > len(grids) else "clipped"

    def of_weight(self, one: Weight) -> str:
        """The cause of what a weight lost."""
        return next((cause for cause, test in WEIGHT_TESTS if test(self, one)), "bits")

    def cure(self, *causes: str) -> Cure:
        """What takes away all that falls under some causes."""
        return cure_of(
            [one for cause in causes for one in self.roundings[cause]],
            [one for cause in causes for one in self.weights[cause]],
        )

    def cure_at(self, operator: str, *causes: str) -> Cure:
        """What takes away what falls under some causes at one operator."""
        return cure_of(
            [one for cause in causes for one in self.roundings[cause] if one.operator == operator],
            [one for cause in causes for one in self.weights[cause] if one.operator == operator],
        )

    def operators(self, *causes: str) -> list[str]:
        """Operators under some causes, the noisiest first."""
        found = [
            *((one.noise, one.operator) for cause in causes for one in self.roundings[cause]),
            *((one.noise, one.operator) for cause in causes for one in self.weights[cause]),
        ]
        return list(dict.fromkeys(name for _, name in sorted(found, key=lambda it: -it[0])))

    def any(self, *causes: str) -> bool:
        """Whether anything falls under some causes."""
        return any(self.roundings[cause] or self.weights[cause] for cause in causes)


def cure_of(roundings: Sequence[Rounding], weights: Sequence[Weight]) -> Cure:
    """What takes away some roundings, and gives some operators the reference's weights."""
    return Cure(
        tuple(one.key for one in roundings),
        {(one.node, one.place): whole(one) for one in weights},
    )


def whole(one: Weight) -> Rows:
    """The reference's weight in its own shape."""
    value = one.node.inputs[one.place]
    assert value is not None
    assert value.shape is not None
    shape = [int(size) for size in value.shape if isinstance(size, int)]
    axis = channel_axis(one.node, one.place, len(shape))
    moved = [shape[axis], *shape[:axis], *shape[axis + 1 :]]
    return np.asarray(np.moveaxis(one.wanted.reshape(moved), 0, axis))


def ends(survey: Survey) -> list[str]:
    """Names of the first and the last operator with a weight, and of inputs and outputs."""
    flow = survey.pair.matched.reference
    weighted = [
        str(node.name)
        for node in flow.operators
        if any(v.shape is not None and len(v.shape) > 1 for _, v in flow.weights(node))
    ]
    fed = [str(value.name) for value in flow.graph.inputs]
    return [*weighted[:1], *weighted[-1:], *fed]


def is_wide(sites: Sites, one: Rounding) -> bool:
    """A grid much wider than what it holds."""
    del sites
    return one.seen.slack >= WIDE


def is_stretched(sites: Sites, one: Rounding) -> bool:
    """A grid that a few numbers, or a few channels, make wide."""
    del sites
    return one.seen.outliers >= FAR


def is_uneven(sites: Sites, one: Rounding) -> bool:
    """A grid for channels of very different ranges."""
    del sites
    return any(
        np.median(tops) > 0 and tops.max() / np.median(tops) >= FAR
        for tops in one.seen.tops.values()
    )


def is_short(sites: Sites, one: Rounding) -> bool:
    """A grid with fewer points than the others, or than 8 bits have."""
    usual = max(sites.usual_grid, EIGHT)
    return one.grid is not None and one.grid.bits < FEWER * usual


def role(sites: Sites, one: Rounding) -> str:
    """Which kind of sensitive operator a rounding stands beside; empty where none."""
    kinds = {one.op, *one.readers}
    is_end = one.op == "input" or one.operator in sites.ends
    found = (
        ("a softmax", bool(kinds & SOFT)),
        ("a gate or a recurrent layer", bool(kinds & GATES)),
        ("a normalisation", bool(kinds & NORMS)),
        ("the first or last layer", is_end),
    )
    return next((name for name, holds in found if holds), "")


ROUNDING_TESTS: tuple[tuple[str, Callable[[Sites, Rounding], bool]], ...] = (
    ("calibration", is_wide),
    ("outliers", is_stretched),
    ("channels", is_uneven),
    ("bits", is_short),
    ("sensitive", lambda sites, one: bool(role(sites, one))),
)
"""Causes of what a rounding adds; the first that holds counts."""


def is_on_grid(one: Weight) -> bool:
    """Whether a weight is stored, or looks, as on a grid or in a table."""
    if one.storage.kind in HALVES:
        return False
    few = one.levels <= min(GRID, one.found.shape[1] // 4)
    return one.storage.unpacked or few or grid_points(one.found) > 0


def stored_bits(one: Weight) -> float:
    """Bits of one number: as stored, else by how many different ones there are."""
    if one.storage.unpacked and one.storage.kind not in REALS:
        return one.storage.codes * 8 / one.wanted.size
    return float(np.log2(grid_points(one.found))) if grid_points(one.found) else one.bits


def grid_points(rows: Rows) -> int:
    """Points between the lowest and the highest number of the first channel (channels, n) that has
    several, where all its numbers are whole steps apart; 0 where they are not."""
    for row in rows:
        levels = np.unique(row.astype(np.float32)).astype(np.float64)
        if len(levels) <= MATRIX:
            continue
        steps = np.diff(levels) / np.diff(levels).min()
        whole_steps = np.abs(steps - np.rint(steps)).max() < NEAR * steps.max()
        points = int(np.rint(steps).sum()) + 1
        return points if whole_steps and points <= MOST_POINTS else 0
    return 0


def is_half(sites: Sites, one: Weight) -> bool:
    """Stored in 16 bits of float."""
    del sites
    return one.storage.kind in HALVES


def is_pruned(sites: Sites, one: Weight) -> bool:
    """Many zeros where there were none."""
    del sites
    return is_zeroed(one)


def is_zeroed(one: Weight) -> bool:
    """Whether many numbers became zero that no rounding makes zero: further from it than a step.

    A step is the least distance of two numbers that a channel has, next to nothing in plain floats.
    """
    ordered = np.sort(one.found.astype(np.float32), axis=1)
    gaps = np.diff(ordered, axis=1)
    step = np.min(gaps, axis=1, keepdims=True, initial=np.inf, where=gaps > 0)
    return float(np.mean((one.found == 0) & (np.abs(one.wanted) > step))) >= GONE


def is_other(sites: Sites, one: Weight) -> bool:
    """Plain floats that are different ones."""
    del sites
    return not is_on_grid(one)


def shares_a_scale(sites: Sites, one: Weight) -> bool:
    """Whether a scale for each channel would leave far less noise at the same width."""
    del sites
    return channel_noise(one.wanted, one.found) > BETTER * per_channel_noise(one)


def channel_noise(wanted: Rows, found: Rows) -> float:
    """Noise relative to the signal on average over channels: what follows may bring them all to
    one size again."""
    signal, noise = (wanted**2).sum(axis=1), ((found - wanted) ** 2).sum(axis=1)
    held = signal > 0
    return float(np.mean(noise[held] / signal[held])) if held.any() else 0.0


def per_channel_noise(one: Weight) -> float:
    """The same for the reference's weight on a grid of as many points for each channel."""
    widest = one.found[[int(np.abs(one.found).max(axis=1).argmax())]]
    points = grid_points(widest) or 2.0 ** round(stored_bits(one))
    scale = np.abs(one.wanted).max(axis=1, keepdims=True) / max(points / 2 - 1, 1.0)
    scale[scale == 0] = 1
    return channel_noise(one.wanted, np.rint(one.wanted / scale) * scale)


def has_fewer_bits(sites: Sites, one: Weight) -> bool:
    """Fewer bits than most weights of the model."""
    return stored_bits(one) < FEWER * sites.usual


WEIGHT_TESTS: tuple[tuple[str, Callable[[Sites, Weight], bool]], ...] = (
    ("half", is_half),
    ("pruned", is_pruned),
    ("other weights", is_other),
    ("channels", shares_a_scale),
    ("bits", has_fewer_bits),
    ("sensitive", lambda sites, one: one.operator in sites.ends or one.node.op_type in GATES),
)
"""Causes of what a weight lost; the first that holds counts."""
