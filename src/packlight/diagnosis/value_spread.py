"""What the numbers of one value are like, and what a grid does to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.model import stored_tensor

Array = NDArray[np.generic]
Rows = NDArray[np.float64]

FEW = 0.1
"""Share of channels, and ten times the share of numbers, that count as outliers."""

CODES: dict[ir.DataType, tuple[int, int]] = {
    ir.DataType.UINT8: (0, 255), ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT16: (0, 65535), ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT4: (0, 15), ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT2: (0, 3), ir.DataType.INT2: (-2, 1),
}  # fmt: skip
"""Lowest and highest code of each type."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The grid of one activation, with one scale.

    Attributes:
        step: between two points.
        low: lowest point.
        high: highest point.
        codes: how many points there are.
    """

    step: float
    low: float
    high: float
    codes: int

    @property
    def bits(self) -> float:
        """Of a code."""
        return float(np.log2(self.codes))

    def apply(self, numbers: Rows) -> tuple[Rows, Rows]:
        """Numbers as the grid gives them, and as it would without its ends."""
        free = np.rint((numbers - self.low) / self.step) * self.step + self.low
        return np.clip(free, self.low, self.high), free


def grid_of(rounder: ir.Node) -> Grid | None:
    """The grid of a QuantizeLinear with one stored scale; None where it is found at run time."""
    if rounder.op_type != "QuantizeLinear" or rounder.inputs[1] is None:
        return None
    scale = stored_tensor(rounder.inputs[1])
    zero = rounder.inputs[2] if len(rounder.inputs) > 2 else None  # noqa: PLR2004
    point = None if zero is None else stored_tensor(zero)
    if scale is None or scale.size != 1 or (zero is not None and point is None):
        return None
    kind = ir.DataType(rounder.attributes.get_int("output_dtype", 0))
    kind = point.dtype if point is not None else kind if kind in CODES else ir.DataType.UINT8
    if kind not in CODES:
        return None
    first, last = CODES[kind]
    step = float(np.asarray(scale.numpy()).reshape(-1)[0])
    middle = 0 if point is None else int(np.asarray(point.numpy()).reshape(-1)[0])
    if step <= 0:
        return None
    return Grid(step, (first - middle) * step, (last - middle) * step, last - first + 1)


class Spread:
    """Numbers of one value over calls.

    Args:
        grid: on which they are rounded; None where there is none, or it is found at run time.

    Attributes:
        energy: of the numbers.
        rounding: of what the grid adds within its ends.
        clipping: of what its ends cut off.
        clipped: numbers beyond the ends.
        count: numbers.
        low: lowest number.
        high: highest number.
        tops: by axis, the largest magnitude in each channel.
        bulk: sum over calls of the magnitude that 99 of 100 numbers stay below.
        tiny: numbers that are not 0 and too small for float16.
        huge: numbers too large for float16.
        calls: seen.
    """

    def __init__(self, grid: Grid | None) -> None:
        self.grid = grid
        self.energy = self.rounding = self.clipping = self.bulk = 0.0
        self.clipped = self.count = self.tiny = self.huge = self.calls = 0
        self.low, self.high = np.inf, -np.inf
        self.tops: dict[int, Rows] = {}

    def add(self, value: Array) -> None:
        """Take in the numbers of one call."""
        numbers = value.astype(np.float64)
        if not numbers.size:
            return
        size = np.abs(numbers)
        self.calls += 1
        self.count += numbers.size
        self.energy += float((numbers**2).sum())
        self.low, self.high = min(self.low, numbers.min()), max(self.high, numbers.max())
        self.bulk += float(np.quantile(size, 1 - FEW / 10))
        self.tiny += int(np.count_nonzero((size > 0) & (size < HALF_LOWEST)))
        self.huge += int(np.count_nonzero(size > HALF_HIGHEST))
        for axis in {1, numbers.ndim - 1} if numbers.ndim > 1 else ():
            others = tuple(i for i in range(numbers.ndim) if i != axis)
            tops = size.max(axis=others)
            known = self.tops.get(axis, tops)
            self.tops[axis] = np.maximum(known, tops) if known.shape == tops.shape else known
        if self.grid is not None:
            self.round(self.grid, numbers)

    def round(self, grid: Grid, numbers: Rows) -> None:
        """Add up what the grid does to numbers."""
        given, free = grid.apply(numbers)
        beyond = given != free
        self.clipped += int(np.count_nonzero(beyond))
        error = (given - numbers) ** 2
        self.clipping += float(error[beyond].sum())
        self.rounding += float(error[~beyond].sum())

    @property
    def noise(self) -> float:
        """Energy of what the grid does, relative to that of the numbers."""
        return (self.rounding + self.clipping) / self.energy if self.energy else 0.0

    @property
    def is_clipped(self) -> bool:
        """Whether the ends of the grid do more harm than its steps."""
        return self.clipping > self.rounding

    @property
    def width(self) -> float:
        """From the lowest to the highest number, 0 included."""
        return max(self.high, 0.0) - min(self.low, 0.0)

    @property
    def slack(self) -> float:
        """How many times as wide as the numbers the grid is."""
        if self.grid is None or not self.width:
            return 1.0
        return (max(self.grid.high, 0.0) - min(self.grid.low, 0.0)) / self.width

    @property
    def outliers(self) -> float:
        """How far the largest numbers lie above the rest, as a factor of the magnitude."""
        top = max(abs(self.low), abs(self.high))
        rest = [self.bulk / self.calls] if self.bulk else []
        for tops in self.tops.values():
            if tops.size >= 1 / FEW:
                few = max(1, int(tops.size * FEW))
                rest.append(float(np.sort(tops)[-few - 1]))
        return max((top / one for one in rest if one > 0), default=1.0)


HALF_HIGHEST, HALF_LOWEST = 65504.0, 2.0**-25
"""The largest number of float16, and the one below which numbers become 0."""
