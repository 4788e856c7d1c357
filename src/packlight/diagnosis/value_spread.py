"""Statistics of a value's numbers, and the error that a grid adds to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.model import optional_input, stored_tensor

Array = NDArray[np.generic]
Rows = NDArray[np.float64]

OUTLIER_SHARE = 0.1
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
        codes: number of points.
    """

    step: float
    low: float
    high: float
    codes: int

    @property
    def bits(self) -> float:
        """Width of a code."""
        return float(np.log2(self.codes))

    def apply(self, numbers: Rows) -> tuple[Rows, Rows]:
        """Round numbers onto the grid; return them with and without the limit of its ends."""
        unlimited = np.rint((numbers - self.low) / self.step) * self.step + self.low
        return np.clip(unlimited, self.low, self.high), unlimited


def grid_of(quantizer: ir.Node) -> Grid | None:
    """The grid of a QuantizeLinear with one stored scale; None where it is found at run time."""
    if quantizer.op_type != "QuantizeLinear" or quantizer.inputs[1] is None:
        return None
    scale = stored_tensor(quantizer.inputs[1])
    if scale is None or scale.size != 1:
        return None
    dtype = ir.DataType(quantizer.attributes.get_int("output_dtype", 0))
    if dtype not in CODES:
        dtype = ir.DataType.UINT8
    middle = 0
    zero_point = optional_input(quantizer, 2)
    if zero_point is not None:
        tensor = stored_tensor(zero_point)
        if tensor is None:
            return None
        dtype = tensor.dtype
        middle = int(np.asarray(tensor.numpy()).reshape(-1)[0])
    step = float(np.asarray(scale.numpy()).reshape(-1)[0])
    if dtype not in CODES or step <= 0:
        return None
    first, last = CODES[dtype]
    return Grid(step, (first - middle) * step, (last - middle) * step, last - first + 1)


class Spread:
    """Statistics of one value over calls.

    Args:
        grid: that rounds them; None where there is none, or it is found at run time.

    Attributes:
        energy: of the numbers.
        rounding: error energy of the grid within its ends.
        clipping: error energy beyond its ends.
        clipped: numbers beyond the ends.
        count: numbers.
        low: lowest number.
        high: highest number.
        tops: by axis, the largest magnitude in each channel.
        bulk: sum over calls of the magnitude that 99 of 100 numbers stay below.
        tiny: numbers that are not 0 and too small for float16.
        huge: numbers too large for float16.
        calls: number of calls.
    """

    def __init__(self, grid: Grid | None) -> None:
        self.grid = grid
        self.energy = self.rounding = self.clipping = self.bulk = 0.0
        self.clipped = self.count = self.tiny = self.huge = self.calls = 0
        self.low = np.inf
        self.high = -np.inf
        self.tops: dict[int, Rows] = {}

    def add(self, value: Array) -> None:
        """Add the numbers of one call."""
        numbers = value.astype(np.float64)
        if not numbers.size:
            return
        size = np.abs(numbers)
        self.calls += 1
        self.count += numbers.size
        self.energy += float((numbers**2).sum())
        self.low = min(self.low, numbers.min())
        self.high = max(self.high, numbers.max())
        self.bulk += float(np.quantile(size, 1 - OUTLIER_SHARE / 10))
        self.tiny += int(np.count_nonzero((size > 0) & (size < HALF_LOWEST)))
        self.huge += int(np.count_nonzero(size > HALF_HIGHEST))
        if numbers.ndim > 1:
            for axis in {1, numbers.ndim - 1}:
                self.add_tops(axis, size)
        if self.grid is not None:
            self.add_rounding(self.grid, numbers)

    def add_tops(self, axis: int, size: Rows) -> None:
        """Add the largest magnitude of each channel; calls of another shape are left out."""
        tops = size.max(axis=tuple(i for i in range(size.ndim) if i != axis))
        previous = self.tops.setdefault(axis, tops)
        if previous.shape == tops.shape:
            self.tops[axis] = np.maximum(previous, tops)

    def add_rounding(self, grid: Grid, numbers: Rows) -> None:
        """Add the error that the grid makes."""
        rounded, unlimited = grid.apply(numbers)
        beyond = rounded != unlimited
        self.clipped += int(np.count_nonzero(beyond))
        error = (rounded - numbers) ** 2
        self.clipping += float(error[beyond].sum())
        self.rounding += float(error[~beyond].sum())

    @property
    def noise(self) -> float:
        """Error energy of the grid, relative to that of the numbers."""
        if self.energy:
            return (self.rounding + self.clipping) / self.energy
        return 0.0

    @property
    def is_clipped(self) -> bool:
        """Return whether the ends of the grid make more error than its steps."""
        return self.clipping > self.rounding

    @property
    def width(self) -> float:
        """Range from the lowest to the highest number, 0 included."""
        return max(self.high, 0.0) - min(self.low, 0.0)

    @property
    def slack(self) -> float:
        """Width of the grid over the range of the numbers."""
        if self.grid is None or not self.width:
            return 1.0
        return (max(self.grid.high, 0.0) - min(self.grid.low, 0.0)) / self.width

    @property
    def outliers(self) -> float:
        """Largest magnitude over the bulk of the magnitudes."""
        top = max(abs(self.low), abs(self.high))
        bulk = []
        if self.bulk:
            bulk.append(self.bulk / self.calls)
        for tops in self.tops.values():
            if tops.size >= 1 / OUTLIER_SHARE:
                outliers = max(1, int(tops.size * OUTLIER_SHARE))
                bulk.append(float(np.sort(tops)[-outliers - 1]))
        return max((top / size for size in bulk if size > 0), default=1.0)


HALF_HIGHEST = 65504.0
HALF_LOWEST = 2.0**-25
"""The largest number of float16, and the magnitude below which numbers become 0."""
