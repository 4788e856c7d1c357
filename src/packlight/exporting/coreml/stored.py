"""Stored weights in MIL with their encodings: grids, palettes, masks.

The operators are those of iOS 18: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from coremltools.converters.mil.mil import Builder, types

from packlight.exporting.blocks import whole_blocks
from packlight.exporting.bookkeeping import encoded_bytes
from packlight.exporting.operator_view import UnsupportedError
from packlight.exporting.weights import (
    Encoding,
    FloatWeight,
    GridWeight,
    PaletteWeight,
    Shared,
    SparseWeight,
    StoredWeight,
)

if TYPE_CHECKING:
    from packlight.exporting.coreml.lowering import Lowering

Var = Any
GRID_TYPES = {
    (4, True): types.int4,
    (4, False): types.uint4,
    (8, True): types.int8,
    (8, False): types.uint8,
}
INDEX_TYPES = {
    1: types.uint1,
    2: types.uint2,
    3: types.uint3,
    4: types.uint4,
    6: types.uint6,
    8: types.uint8,
}


@dataclass(frozen=True, slots=True)
class Scaled:
    """A weight in the program, and factors that it has yet to be multiplied with.

    Attributes:
        var: of the weight.
        scale: of the weight's rank, to be repeated along it; None where there is none.
    """

    var: Var
    scale: Any


def restore_weight(lowering: Lowering, weight: StoredWeight) -> Scaled:
    """Store a weight as it is encoded, with what restores it."""
    encoding = _narrowed(lowering, weight.encoding)
    scale = None
    if isinstance(encoding, FloatWeight) or _is_bias(encoding):
        array = lowering.array(weight.decode())
        var = Builder.const(val=array, name=lowering.name(weight.name))
        return Scaled(var, None)
    if isinstance(encoding, GridWeight):
        encoding = _whole(weight, encoding)
        var = Builder.constexpr_blockwise_shift_scale(
            data=_codes(encoding), name=lowering.name(weight.name), **_grid(encoding)
        )
    elif isinstance(encoding, PaletteWeight):
        var = Builder.constexpr_lut_to_dense(
            indices=_typed(encoding.indices, INDEX_TYPES[encoding.bits]),
            lut=_table(encoding),
            name=lowering.name(weight.name),
        )
        scale = _factors(encoding)
    else:
        var = _sparse(lowering, weight, encoding)
        if isinstance(encoding.values, PaletteWeight):
            scale = _factors(encoding.values)
    lowering.record(weight.name, encoding.form(), encoded_bytes(encoding))
    if not weight.is_in_layout:
        if scale is not None:
            var = Builder.mul(x=var, y=scale, name=lowering.name(weight.name))
            scale = None
        var = Builder.reshape(x=var, shape=list(weight.shape), name=lowering.name(weight.name))
    return Scaled(var, scale)


def _narrowed(lowering: Lowering, encoding: Encoding) -> Encoding:
    """The encoding with floats, scales and tables in the precision of the program."""

    def narrow(shared: Shared) -> Shared:
        return replace(shared, values=lowering.array(shared.values))

    if isinstance(encoding, SparseWeight):
        values = _narrowed(lowering, encoding.values)
        assert not isinstance(values, SparseWeight)
        return replace(encoding, values=values)
    if isinstance(encoding, FloatWeight):
        return FloatWeight(lowering.array(encoding.array))
    if isinstance(encoding, GridWeight):
        return replace(encoding, scale=narrow(encoding.scale))
    scale = encoding.scale and narrow(encoding.scale)
    return replace(encoding, table=narrow(encoding.table), scale=scale)


def _is_bias(encoding: Any) -> bool:
    return isinstance(encoding, GridWeight) and encoding.codes.dtype == np.int32


def _typed(codes: Any, kind: Any) -> Any:
    return np.ascontiguousarray(codes).astype(types.nptype_from_builtin(kind))


def _codes(grid: GridWeight) -> Any:
    return _typed(grid.codes, GRID_TYPES[grid.bits, grid.is_signed])


def _grid(grid: GridWeight) -> dict[str, Any]:
    """Scales and zero points, of the weight's rank."""
    arguments = {"scale": grid.scale.values}
    if grid.zero is not None:
        zero = np.broadcast_to(grid.zero.values, grid.scale.values.shape)
        arguments["offset"] = _typed(zero, GRID_TYPES[grid.bits, grid.is_signed])
    return arguments


def _whole(weight: StoredWeight, grid: GridWeight) -> GridWeight:
    whole = whole_blocks(grid, shortest=1)
    if whole is None:
        raise UnsupportedError(f"blocks of '{weight.name}' that do not divide it")
    return whole


def _table(palette: PaletteWeight) -> Any:
    """Tables (groups along each axis..., entries, 1)."""
    table = palette.table
    sizes = zip(palette.shape, table.block, strict=True)
    if any(size % min(block, size) for size, block in sizes):
        raise UnsupportedError("tables of groups that are not of one size")
    return table.values[..., None]


def _factors(palette: PaletteWeight) -> Any:
    """Factors beside the tables, to be repeated along the weight."""
    scale = palette.scale
    if scale is None:
        return None
    return _repeatable(scale, palette.shape)


def _repeatable(shared: Shared, shape: tuple[int, ...]) -> Any:
    """Shared values that NumPy's rules repeat along a weight."""
    fits = all(
        block == 1 or count == 1
        for block, count in zip(shared.block, shared.values.shape, strict=True)
    )
    if fits:
        return shared.values
    return shared.spread(shape)


def _sparse(lowering: Lowering, weight: StoredWeight, sparse: SparseWeight) -> Var:
    mask = _typed(sparse.mask, types.uint1)
    values = sparse.values
    stem = weight.name
    if isinstance(values, FloatWeight):
        return Builder.constexpr_sparse_to_dense(
            nonzero_data=sparse.nonzeros(), mask=mask, name=lowering.name(stem)
        )
    if isinstance(values, GridWeight):
        values = _whole(weight, values)
        kept, data = Builder.constexpr_sparse_blockwise_shift_scale(
            data_mask=mask,
            nonzero_data=_typed(sparse.nonzeros(), GRID_TYPES[values.bits, values.is_signed]),
            name=lowering.name(f"{stem}_codes"),
            **_grid(values),
        )
    else:
        kept, data = Builder.constexpr_lut_to_sparse(
            indices_mask=mask,
            indices_nonzero_data=_typed(sparse.nonzeros(), INDEX_TYPES[values.bits]),
            lut=_table(values),
            name=lowering.name(f"{stem}_codes"),
        )
    return Builder.constexpr_sparse_to_dense(nonzero_data=data, mask=kept, name=lowering.name(stem))
