"""How a sparse weight is stored: a bit for each number, and the numbers that are not zero.

The mask is unpacked and summed up, which says for every number which of the stored ones it is; the
zeros are number 0. ONNX Runtime computes all of it once, when the session starts.
Source: the ONNX operators CumSum-14 and Gather-13.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.functions import Body, call_unpack, reshape_flat, zero_code
from packlight.compression.encoding.packing import packed_bytes
from packlight.compression.encoding.storage import (
    FLOAT_BYTES,
    UNSIGNED_TYPES,
    Expansion,
    Parts,
    code_bytes,
    store_codes,
)

Array = NDArray[np.generic]
Float = NDArray[np.float32]
Values = Literal["float", "grid", "palette"]

MASK_BYTES = 160
"""About what the operator and the names that put the values of one weight in their places take."""

VALUE_BYTES = 40
"""About what more they take where the values are codes."""


@dataclass(frozen=True, slots=True)
class SparseForm:
    """How one sparse weight is stored.

    Attributes:
        shape: of the weight.
        summed: axes that its operators sum over.
        kept: numbers that are not made zero, at least 1.
        values: what they are.
        bits: of a code or an index.
        scaled: whether each output channel has a scale.
    """

    shape: tuple[int, ...]
    summed: tuple[int, ...]
    kept: int
    values: Values
    bits: int
    scaled: bool

    @property
    def size(self) -> int:
        """Numbers in the weight."""
        return math.prod(self.shape)

    @property
    def outer(self) -> tuple[int, ...]:
        """Axes that tell output channels apart."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.summed)

    @property
    def scales(self) -> tuple[int, ...]:
        """Shape of the scales."""
        return tuple(size if axis in self.outer else 1 for axis, size in enumerate(self.shape))

    @property
    def channels(self) -> int:
        """Output channels."""
        return math.prod(self.scales)

    @property
    def beside_parts(self) -> tuple[str, ...]:
        """Names of what is stored beside mask and values."""
        table = ("table",) if self.values == "palette" else ()
        return (*table, "scale") if self.scaled else table

    def beside(self) -> int:
        """Bytes of scales and table."""
        table = 2**self.bits * FLOAT_BYTES if self.values == "palette" else 0
        return table + (self.channels * FLOAT_BYTES if self.scaled else 0)

    def value_bytes(self, count: int) -> int:
        """Bytes of so many values."""
        if self.values == "float":
            return count * FLOAT_BYTES
        return code_bytes(count, self.bits)

    def stored_bytes(self) -> int:
        """Bytes of mask, values, scales and table."""
        return packed_bytes(self.size, 1) + self.value_bytes(self.kept) + self.beside()

    def dense_bytes(self) -> int:
        """Bytes of the whole weight stored as such values without a mask."""
        return self.value_bytes(self.size) + self.beside()


class _FittedValues(Protocol):
    """What a weight became."""

    @property
    def stored(self) -> Mapping[str, Float]:
        """Scales and table by the name of the part."""


def stored_parts(form: SparseForm, found: _FittedValues, codes: Float) -> Mapping[str, Array]:
    """Mask, values, scales and table as they are stored.

    Args:
        form: how.
        found: gives scales and table.
        codes: of the weight's shape, NaN for a zero.
    """
    kept = ~np.isnan(codes)
    values = codes[kept]
    assert len(values) == form.kept, "as many stay as the size was reckoned with"
    shift = np.float32(_zero_code(form))
    coded: Array = values if form.values == "float" else (values + shift).astype(np.uint8)
    beside = {part: array for part, array in found.stored.items() if part in form.beside_parts}
    return {"mask": kept.astype(np.uint8), "values": coded, **beside}


def _zero_code(form: SparseForm) -> int:
    """The stored code of 0.0, which is in the middle of a grid."""
    return 1 << (form.bits - 1) if form.values == "grid" else 0


def restore_sparse(place: Expansion, form: SparseForm, parts: Parts) -> ir.Value:
    """Write what restores one weight; gives the weight."""
    inputs = {"mask": store_codes(place, parts, 1, (form.size,), part="mask")}
    if form.values == "float":
        inputs["values"] = place.store_part(parts, "values", ir.DataType.FLOAT, (form.kept,))
    else:
        inputs["values"] = store_codes(place, parts, form.bits, (form.kept,), part="values")
    if form.values == "palette":
        inputs["table"] = place.store_part(parts, "table", ir.DataType.FLOAT, (2**form.bits,))
    if form.scaled:
        inputs["scale"] = place.store_part(parts, "scale", ir.DataType.FLOAT, form.scales)
    return place.call(_function_name(form), inputs, partial(_restore, form), shape=form.shape)


def _function_name(form: SparseForm) -> str:
    """Name of the function that restores a weight of this form."""
    width = f"{form.bits if form.bits in UNSIGNED_TYPES else '_packed'}"
    values = "" if form.values == "float" else f"_{form.values}{width}"
    return f"sparse{values}{'_scaled' if form.scaled else ''}"


def _restore(form: SparseForm, body: Body) -> ir.Value:
    """Write the function: values in the places where the mask has ones, zeros elsewhere."""
    operator, first = body.operator, body.constant(np.asarray(0, np.int64))
    bits = body.cast(call_unpack(body, body.inputs["mask"]), ir.DataType.INT32)
    index = operator("Mul", operator("CumSum", bits, first), bits)
    zero = body.constant(np.zeros(1, np.float32))
    spread = operator(
        "Gather", operator("Concat", zero, _nonzero_values(form, body), axis=0), index
    )
    value = reshape_flat(body, spread, "shape")
    return operator("Mul", value, body.inputs["scale"]) if form.scaled else value


def _nonzero_values(form: SparseForm, body: Body) -> ir.Value:
    """The values that are not zero, but for their scales; up to seven more follow."""
    values = codes = body.inputs["values"]
    if form.values == "float":
        return values
    if form.bits not in UNSIGNED_TYPES:
        values = call_unpack(body, codes)
    if form.values == "palette":
        indices = body.cast(values, ir.DataType.INT32)
        return body.operator("Gather", body.inputs["table"], indices, axis=0)
    if form.bits in UNSIGNED_TYPES:
        zero = body.constant(np.asarray(_zero_code(form), np.float32))
    else:
        zero = zero_code(body, codes)
    return body.operator("Sub", body.floats(values), zero)
