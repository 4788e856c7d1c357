"""Stored weights with their encodings, each in the layout of the weight itself.

Values that several numbers of a weight share (scales, zero points, tables) are arrays of the
weight's rank; how many neighbors along each axis share one is stated beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from packlight.records.export import (
    FloatForm,
    GridForm,
    GridGranularity,
    PaletteForm,
    SparseForm,
    WeightForm,
)

Array = NDArray[Any]
Floats = NDArray[np.float32]
Codes = NDArray[Any]
"""Integers of 8, 16 or 32 bits."""
Mask = NDArray[np.bool_]

BYTE_BITS = 8

MIDDLE_CODES: Mapping[str, int] = {"int8": 0, "uint8": 128}
"""Codes of 8 bits in the middle of their range, by the name of their type in NumPy."""


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Values that blocks of a weight share.

    Attributes:
        values: array of the weight's rank; tables have their entries along one axis more.
        block: numbers along each axis of the weight that share a value; the last block of an axis
            may be shorter.
    """

    values: Array
    block: tuple[int, ...]

    def spread(self, shape: Sequence[int]) -> Array:
        """The value of every number of a weight of this shape (with the entries, for tables)."""
        array = self.values
        for axis, (size, block) in enumerate(zip(shape, self.block, strict=True)):
            array = np.repeat(array, block, axis=axis)
            array = np.take(array, range(size), axis=axis)
        return array

    def at(self, index: int) -> Shared:
        """The values of one place along the first axis, which is gone then."""
        return Shared(self.values[index // self.block[0]], self.block[1:])

    def divides(self, shape: Sequence[int]) -> bool:
        """Test whether all blocks of a weight of this shape are of full size."""
        return all(size % block == 0 for size, block in zip(shape, self.block, strict=True))

    def axes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Axes along which values differ."""
        pairs = enumerate(zip(shape, self.block, strict=True))
        return tuple(axis for axis, (size, block) in pairs if block < size)


@dataclass(frozen=True, slots=True, eq=False)
class FloatWeight:
    """A weight stored as floats, of 16, 32 or 64 bits.

    Attributes:
        array: the numbers.
    """

    kind: ClassVar[str] = "float"

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return self.array.shape

    @property
    def bits(self) -> int:
        """Bits of a number."""
        return self.array.dtype.itemsize * BYTE_BITS

    def form(self) -> FloatForm:
        """The form, without the numbers."""
        return FloatForm(self.bits)

    def decode(self) -> Floats:
        """The weight as float32."""
        return self.array.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class GridWeight:
    """A weight stored as integers: (code - zero) * scale.

    Attributes:
        codes: of the weight's shape, int8, uint8 or int32.
        scale: float32.
        zero: codes of 0.0, of the type of ``codes``; None where all are 0.
        bits: of a code; codes of 4 bits lie in 8-bit arrays here.
    """

    kind: ClassVar[str] = "grid"

    codes: Codes
    scale: Shared
    zero: Shared | None
    bits: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return self.codes.shape

    @property
    def is_signed(self) -> bool:
        """True if codes are in two's complement."""
        return self.codes.dtype.kind == "i"

    @property
    def middle(self) -> int:
        """The code in the middle of the range: 0 of signed codes."""
        if self.is_signed:
            return 0
        return 1 << (self.bits - 1)

    @property
    def is_centered(self) -> bool:
        """True if 0.0 has the code in the middle of the range everywhere."""
        if self.zero is None:
            return self.middle == 0
        return bool(np.all(self.zero.values == self.middle))

    def with_shared(self, codes: Codes, change: Callable[[Shared], Shared]) -> GridWeight:
        """The weight with other codes, and scales and zero points changed alike."""
        return GridWeight(codes, change(self.scale), self.zero and change(self.zero), self.bits)

    def form(self) -> GridForm:
        """The form, without the numbers."""
        axes = self.scale.axes(self.shape)
        blocked = [axis for axis in axes if self.scale.block[axis] > 1]
        granularity: GridGranularity = "tensor"
        block = 0
        if blocked:
            granularity = "block"
            block = math.prod(self.scale.block[axis] for axis in blocked)
        elif axes:
            granularity = "channel"
        return GridForm(
            self.bits,
            self.is_signed,
            self.zero is None,
            granularity,
            _only_axis(blocked or axes),
            block,
        )

    def decode(self) -> Floats:
        """The weight as float32."""
        floats = self.codes.astype(np.float32)
        if self.zero is not None:
            floats = floats - self.zero.spread(self.shape).astype(np.float32)
        result: Floats = floats * self.scale.spread(self.shape).astype(np.float32)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class PaletteWeight:
    """A weight stored as indices into tables.

    Attributes:
        indices: of the weight's shape, uint8.
        table: float32, entries along the last axis; 2^bits of them.
        scale: float32 factors beside the tables; None where there are none.
        bits: of an index.
    """

    kind: ClassVar[str] = "palette"

    indices: Codes
    table: Shared
    scale: Shared | None
    bits: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return self.indices.shape

    @property
    def codes(self) -> Codes:
        """The indices, by the name that they have in a grid."""
        return self.indices

    @property
    def tables(self) -> int:
        """Number of tables."""
        return math.prod(self.table.values.shape[:-1])

    def form(self) -> PaletteForm:
        """The form, without the numbers."""
        axis = _only_axis(self.table.axes(self.shape))
        return PaletteForm(self.bits, self.tables, axis, self.scale is not None)

    def decode(self) -> Floats:
        """The weight as float32."""
        blocks = self.table.values.shape[:-1]
        numbers = Shared(np.arange(self.tables).reshape(blocks), self.table.block)
        tables = self.table.values.reshape(self.tables, -1)
        floats: Floats = tables[numbers.spread(self.shape), self.indices].astype(np.float32)
        if self.scale is not None:
            floats = floats * self.scale.spread(self.shape).astype(np.float32)
        return floats


def _only_axis(axes: Sequence[int]) -> int:
    """The axis where there is one; -1 for none and for several."""
    if len(axes) != 1:
        return -1
    return axes[0]


DenseWeight = FloatWeight | GridWeight | PaletteWeight
"""A weight without a mask."""


def shared_parts(weight: DenseWeight) -> dict[str, Shared]:
    """Scales, zero points and tables of a weight by the name of its attribute, those it has."""
    parts = {name: getattr(weight, name, None) for name in ("scale", "zero", "table")}
    return {name: part for name, part in parts.items() if part is not None}


@dataclass(frozen=True, slots=True, eq=False)
class SparseWeight:
    """A weight with zeros that are not stored.

    Attributes:
        mask: of the weight's shape, True where a number is stored.
        values: the weight in its own shape; what it holds where the mask is False means nothing.
    """

    kind: ClassVar[str] = "sparse"

    mask: Mask
    values: DenseWeight

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return self.mask.shape

    def nonzeros(self) -> Array:
        """Codes, indices or floats where the mask is True, in the order of the weight (n,)."""
        values = self.values
        if isinstance(values, FloatWeight):
            return np.asarray(values.array[self.mask])
        return np.asarray(values.codes[self.mask])

    def form(self) -> SparseForm:
        """The form, without the numbers."""
        zeros = np.count_nonzero(~self.mask) / max(self.mask.size, 1)
        return SparseForm(round(zeros, 6), self.values.form())

    def decode(self) -> Floats:
        """The weight as float32."""
        return np.where(self.mask, self.values.decode(), np.float32(0))


Encoding = FloatWeight | GridWeight | PaletteWeight | SparseWeight
"""Storage of a weight, with its numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredWeight:
    """A stored weight of a model.

    Attributes:
        name: of the value that operators read.
        encoding: its storage. It has the weight's own shape, except where blocks run across
            several axes: then these axes are one, and the numbers lie in the same order.
        shape: of the weight.
        dtype: type that operators read: ``float32``, ``float16`` or ``float64``.
        codes: name of the stored value of the ONNX file that holds its codes, indices or nonzero
            numbers; empty for plain floats.
    """

    name: str
    encoding: Encoding
    shape: tuple[int, ...]
    dtype: str = "float32"
    codes: str = ""

    @property
    def size(self) -> int:
        """Numbers in the weight."""
        return math.prod(self.shape)

    @property
    def is_in_layout(self) -> bool:
        """True if the encoding has the weight's own shape."""
        return self.encoding.shape == self.shape

    def form(self) -> WeightForm:
        """The form, without the numbers."""
        return self.encoding.form()

    def decode(self) -> Array:
        """The weight as operators read it."""
        encoding = self.encoding
        if isinstance(encoding, FloatWeight):
            return encoding.array.astype(self.dtype).reshape(self.shape)
        return encoding.decode().astype(self.dtype).reshape(self.shape)
