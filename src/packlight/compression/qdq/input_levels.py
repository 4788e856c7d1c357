"""Operators that turn a model's input into whole numbers for the first convolution.

Photos have 256 levels. Normalised, each channel has evenly spaced ones of its own, on which no
grid for all channels together lies; so a grid rounds what was exact. A product and a sum for each
channel give the numbers of the levels back, the convolution takes up what that changes, and a grid
of step 1 holds them exactly; a padded 0 lies between two of them. Source: Jacob et al. (CVPR
2018), section 2, for grids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.stored_values import StoredValues
from packlight.compression.grids.ranges import Affine
from packlight.compression.reconstruction.bias_correction import Bias
from packlight.compression.sites.weight_sites import Weight, weight_site
from packlight.records.reason_code import ReasonCode
from packlight.records.variant import Refusal
from packlight.runtime.calibration import Calibrator

Doubles = NDArray[np.float64]
CODES = 256
"""Levels that an 8-bit grid holds."""

EVEN = 0.01
"""Share of a step by which a level may be off, because float32 rounds."""

GRID = Affine(1.0, CODES // 2)
"""The grid of the numbers; where a convolution pads, its 0 is rounded to the nearest level."""

BIAS = 2
CHANNELS = 1
"""Axis of an activation that counts them."""

SPATIAL = 2
"""Axes of an activation before those that are padded."""


@dataclass(frozen=True, slots=True)
class Evenly:
    """The levels of each channel: ``zero + step * number``, numbers from -128 to 127.

    Numbers around 0 keep what rounding a weight does to the mean of its outputs small.

    Attributes:
        zero: (channels,), the level with the number 0.
        step: (channels,), > 0.
    """

    zero: Doubles
    step: Doubles


class Levels:
    """Distinct numbers in each channel of the observed values, as long as they are countable."""

    def __init__(self) -> None:
        self.channels: list[NDArray[np.float32]] = []
        self.is_countable = True

    def update(self, value: NDArray[np.generic]) -> None:
        """Take in the numbers of one call (n, channels, ...)."""
        self.is_countable = self.is_countable and value.ndim > CHANNELS
        if not self.is_countable:
            return
        rows = np.moveaxis(np.asarray(value, np.float32), CHANNELS, 0).reshape(value.shape[1], -1)
        before = self.channels or [np.zeros(0, np.float32)] * len(rows)
        self.channels = [np.union1d(old, row) for old, row in zip(before, rows, strict=True)]
        self.is_countable = all(
            len(channel) <= CODES and np.isfinite(channel).all() for channel in self.channels
        )

    def evenly(self) -> Evenly | None:
        """The levels; None where there are too many or they are not evenly spaced."""
        if not self.is_countable:
            return None
        lines = [_fit_line(channel.astype(np.float64)) for channel in self.channels]
        if not lines or None in lines:
            return None
        zero, step = np.array(lines, np.float64).T
        return Evenly(zero, step)


def _fit_line(values: Doubles) -> tuple[float, float] | None:
    """The level with the number 0 and the step of levels (n,) in order; None where they are uneven.

    Numbers that were not seen are divided between both ends.
    """
    if not len(values):
        return None
    if len(values) == 1:
        return float(values[0]), 1.0
    numbers = np.rint((values - values[0]) / np.diff(values).min())
    spare = CODES - 1 - int(numbers[-1])
    if spare < 0:
        return None
    step, low = np.polyfit(numbers, values, 1)
    if np.abs(low + step * numbers - values).max() > EVEN * step:
        return None
    return float(low + (CODES // 2 - spare // 2) * step), float(step)


def number_levels(
    graph: ir.Model, node: ir.Node, weight: Weight, calibrator: Calibrator
) -> tuple[Weight, Refusal | None]:
    """Let a convolution read the numbers of its input's levels, in place.

    Returns:
        Its weight as it is now, and why nothing was done where nothing was.
    """
    source = node.inputs[0]
    assert source is not None
    refusal = _unsuited(node, weight)
    levels = Levels()
    if refusal is None and not calibrator.sizes_only:
        calibrator.collected.observe(graph, {str(source.name): [levels]})
    even = levels.evenly()
    if refusal is None and calibrator.sizes_only:
        even = Evenly(np.zeros(weight.shape[1]), np.ones(weight.shape[1]))
    if refusal is None and even is None:
        reason = "what it reads does not have 256 evenly spaced levels in each channel, or fewer"
        refusal = _refusal(node, "uneven-levels", reason)
    if even is None or refusal is not None:
        return weight, refusal
    wide = (1, -1, *(1,) * (len(weight.shape) - SPATIAL))
    old = weight.read().astype(np.float64)
    shift = (old * even.zero.reshape(wide)).sum(axis=weight.summed)
    _insert_numbering(graph, node, even, wide)
    Bias(node, BIAS, weight.shape[0], weight.roles[0].names).shift(shift[None])
    weight.put((old * even.step.reshape(wide)).astype(np.float32))
    site = weight_site(weight.value, weight.roles)
    assert isinstance(site, Weight)
    return site, None


def _unsuited(node: ir.Node, weight: Weight) -> Refusal | None:
    """Reason why an operator cannot read numbers of levels; None where it can."""
    if node.op_type != "Conv" or node.attributes.get_int("group", 1) > 1:
        return _refusal(node, "unsupported-operator", "it is no convolution over all channels")
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        reason = "what it pads follows from the size of its input (auto_pad)"
        return _refusal(node, "unsupported-attributes", reason)
    if len(weight.value.uses()) > 1:
        return _refusal(node, "shared", "others read its weight")
    return None


def _refusal(node: ir.Node, code: ReasonCode, reason: str) -> Refusal:
    return Refusal(str(node.name), code, f"first=levels leaves it as it is: {reason}")


def _insert_numbering(graph: ir.Model, node: ir.Node, even: Evenly, wide: Sequence[int]) -> None:
    """Put padding, product and sum before a convolution, which then pads no more."""
    inside = node.graph
    source = node.inputs[0]
    assert isinstance(inside, ir.Graph)
    assert source is not None
    stock = StoredValues(graph)
    stem = str(node.name)
    pads = list(node.attributes.get_ints("pads", ()))
    steps: list[tuple[str, NDArray[np.generic]]] = []
    if any(pads):
        half = len(pads) // 2
        pads_of_all = [0] * SPATIAL + pads[:half] + [0] * SPATIAL + pads[half:]
        steps.append(("Pad", np.array(pads_of_all, np.int64)))
        node.attributes["pads"] = ir.AttrInt64s("pads", [0] * len(pads))
    factor = 1 / even.step
    shift = -even.zero / even.step
    steps += [("Mul", factor.reshape(wide).astype(np.float32))]
    steps += [("Add", shift.reshape(wide).astype(np.float32))]
    for kind, array in steps:
        name = f"{stem}.levels.{kind.lower()}"
        stored = stock.store(inside, f"{name}.constant", array)
        operator = ir.node(kind, [source, stored], name=name)
        operator.outputs[0].name = stock.fresh(f"{name}.given")
        inside.insert_before(node, operator)
        source = operator.outputs[0]
    node.replace_input_with(0, source)
