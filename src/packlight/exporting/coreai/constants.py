"""Constants of Core AI whose numbers are packed without gaps, and operators that restore weights.

Sub-byte numbers lie in a buffer low bits first. ``coreai.constant`` of such arrays takes a byte for
each and crashes the runtime, so buffers are packed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from packlight.exporting.weights import (
    BYTE_BITS,
    Array,
    DenseWeight,
    Encoding,
    FloatWeight,
    GridWeight,
    PaletteWeight,
    Shared,
    SparseWeight,
    StoredWeight,
    shared_parts,
)

Value = Any
"""A value of Core AI's graph; its package has no types for it."""


class WeightLowering:
    """Writes the operators of Core AI that restore a weight.

    Args:
        ir: module of coreai-onnx that holds Core AI's private interface.
    """

    def __init__(self, ir: Any) -> None:
        self.ir = ir
        self.coreai = ir.coreai_dialect
        self.numbers = count()

    def weight(self, stored: StoredWeight) -> Value:
        """The value of a weight as operators read it."""
        encoding = stored.encoding
        if isinstance(encoding, FloatWeight):
            return self._float(encoding, stored)
        value = self._encoded(encoding)
        if not stored.is_in_layout:
            value = self.coreai.reshape(value, list(stored.shape))
        return value

    def _float(self, encoding: FloatWeight, stored: StoredWeight) -> Value:
        if encoding.array.dtype == np.float16 and stored.dtype != "float16":
            halves = self.constant(encoding.array.view(np.uint16), 16, self.ir.F16Type.get())
            return self.coreai.cast(halves, self.ir.F32Type.get())
        return self.coreai.constant(np.ascontiguousarray(stored.decode().astype(np.float32)))

    def _encoded(self, encoding: Encoding) -> Value:
        if isinstance(encoding, SparseWeight):
            return self._sparse(encoding)
        assert not isinstance(encoding, FloatWeight)
        whole = padded(encoding)
        value = self._dense(whole)
        if whole.shape != encoding.shape:
            rank = len(encoding.shape)
            value = self.coreai.slice_(value, [0] * rank, list(encoding.shape), [1] * rank)
        return value

    def _dense(self, encoding: GridWeight | PaletteWeight) -> Value:
        if isinstance(encoding, PaletteWeight):
            indices = self.codes(encoding.indices, encoding.bits)
            dense = self._look_up(self.coreai.lut_to_dense, indices, encoding)
            return self._scaled(dense, encoding.scale, encoding.shape)
        return self._shifted(self.codes(encoding.codes, encoding.bits), encoding)

    def _look_up(
        self, operator: Callable[..., Value], indices: Value, encoding: PaletteWeight
    ) -> Value:
        table = dividing(encoding.table, encoding.shape)
        lut = self.coreai.constant(table.values.astype(np.float32)[..., None])
        return operator(indices, lut, self.coreai.constant(np.array(0, np.int16)))

    def _shifted(self, codes: Value, encoding: GridWeight) -> Value:
        """(code - zero) * scale."""
        scale = dividing(encoding.scale, encoding.shape)
        zero = encoding.zero and dividing(encoding.zero, encoding.shape)
        if zero is not None and zero.block != scale.block:
            block = tuple(map(min, zero.block, scale.block))
            scale = refined(scale, block, encoding.shape)
            zero = refined(zero, block, encoding.shape)
        scales = scale.values.astype(np.float32)
        zeros = np.zeros(scales.shape, encoding.codes.dtype)
        if zero is not None:
            zeros = zero.values.reshape(scales.shape)
        return self.coreai.blockwise_shift_scale(
            codes,
            self.coreai.constant(scales),
            self.codes(zeros, encoding.bits),
            self.zeros(scales.shape),
        )

    def _scaled(self, value: Value, scale: Shared | None, shape: tuple[int, ...]) -> Value:
        """A value times factors that spread by broadcasting."""
        if scale is None:
            return value
        block = tuple(
            size if part == size else 1 for part, size in zip(scale.block, shape, strict=True)
        )
        factors = refined(scale, block, shape).values.astype(np.float32)
        return self.coreai.broadcasting_mul(value, self.coreai.constant(factors))

    def _sparse(self, encoding: SparseWeight) -> Value:
        values = encoding.values
        nonzeros = encoding.nonzeros()
        if isinstance(values, FloatWeight):
            stored = self._nonzero_floats(nonzeros)
        else:
            stored = self.codes(nonzeros, values.bits)
        mask = self.mask(encoding.mask)
        sparse = self.coreai.build_sparse_with_bitmask(stored, mask)
        if isinstance(values, PaletteWeight):
            sparse = self._look_up(self.coreai.lut_to_sparse_with_bitmask, sparse, values)
        dense = self.coreai.sparse_with_bitmask_to_dense(sparse)
        return self._finished(dense, values)

    def _nonzero_floats(self, nonzeros: Array) -> Value:
        return self.coreai.constant(np.ascontiguousarray(nonzeros.astype(np.float32)))

    def _finished(self, dense: Value, values: DenseWeight) -> Value:
        if isinstance(values, GridWeight):
            return self._shifted(dense, values)
        if isinstance(values, PaletteWeight):
            return self._scaled(dense, values.scale, values.shape)
        return dense

    def codes(self, array: Array, bits: int) -> Value:
        """A constant of codes of so many bits."""
        signed = array.dtype.kind == "i"
        integer = self.ir.IntegerType
        kind = integer.get_signed(bits) if signed else integer.get_unsigned(bits)
        return self.constant(array, bits, kind)

    def mask(self, array: Array) -> Value:
        """A constant of truth values, a bit for each."""
        return self.constant(array.astype(np.uint8), 1, self.ir.IntegerType.get_unsigned(1))

    def constant(self, array: Array, bits: int, kind: Any) -> Value:
        """A constant whose buffer holds ``bits`` of each number, low bits first."""
        from coreai._compiler.ir import DenseResourceElementsAttr  # noqa: PLC0415  an extra

        name = f"packlight_{next(self.numbers)}"
        shaped = self.ir.RankedTensorType.get(list(array.shape), kind)
        buffer = packed(array, bits)
        stored = DenseResourceElementsAttr.get_from_buffer(buffer, name, shaped)
        return self.coreai.ConstantOp(value=stored).results[0]

    def zeros(self, shape: tuple[int, ...]) -> Value:
        """A constant of float zeros, stored once."""
        kind = self.ir.F32Type.get()
        shaped = self.ir.RankedTensorType.get(list(shape), kind)
        zero = self.ir.FloatAttr.get(kind, 0.0)
        splat = self.ir.DenseElementsAttr.get_splat(shaped, zero)
        return self.coreai.ConstantOp(value=splat).results[0]


def packed(array: Array, bits: int) -> bytes:
    """The low bits of each number, one after another, the lowest first.

    >>> packed(np.array([1, 2, 15, 0], np.uint8), 4)
    b'!\\x0f'
    """
    if bits >= BYTE_BITS:
        return np.ascontiguousarray(array).tobytes()
    flat = np.ascontiguousarray(array).view(np.uint8).ravel()
    planes = np.unpackbits(flat[:, None], axis=1, count=bits, bitorder="little")
    return np.packbits(planes.ravel(), bitorder="little").tobytes()


def padded(encoding: GridWeight | PaletteWeight) -> GridWeight | PaletteWeight:
    """The same weight with zeros appended, so that all blocks of shared values are full."""
    shape = encoding.shape
    parts = shared_parts(encoding).values()
    whole = []
    for axis, size in enumerate(shape):
        blocks = [part.block[axis] for part in parts if part.block[axis] < size]
        unit = math.lcm(*blocks)
        whole.append(-(-size // unit) * unit)
    gaps = [(0, after - before) for before, after in zip(shape, whole, strict=True)]
    scale = encoding.scale and _widened(encoding.scale, shape, whole)
    if isinstance(encoding, PaletteWeight):
        table = _widened(encoding.table, shape, whole)
        return replace(encoding, indices=np.pad(encoding.indices, gaps), table=table, scale=scale)
    zero = encoding.zero and _widened(encoding.zero, shape, whole)
    assert scale is not None
    return replace(encoding, codes=np.pad(encoding.codes, gaps), scale=scale, zero=zero)


def _widened(shared: Shared, shape: Sequence[int], whole: Sequence[int]) -> Shared:
    """Shared values of a padded weight: one that all numbers along an axis share still is."""
    block = tuple(
        after if part >= size else part
        for part, size, after in zip(shared.block, shape, whole, strict=True)
    )
    return Shared(shared.values, block)


def dividing(shared: Shared, shape: tuple[int, ...]) -> Shared:
    """The same shared values in blocks that divide a weight's shape."""
    block = tuple(
        math.gcd(size, min(part, size)) for size, part in zip(shape, shared.block, strict=True)
    )
    return refined(shared, block, shape)


def refined(shared: Shared, block: tuple[int, ...], shape: tuple[int, ...]) -> Shared:
    """The same shared values in smaller blocks, of which larger ones are multiples."""
    if block == shared.block:
        return shared
    corners = tuple(
        np.arange(0, size, part) // old
        for size, part, old in zip(shape, block, shared.block, strict=True)
    )
    return Shared(np.ascontiguousarray(shared.values[np.ix_(*corners)]), block)
