"""Storage of a sparse weight: a bit for each element, and the elements that are not zero.

The mask is unpacked and summed up, which gives every element the index of its stored value; zeros
have index 0. ONNX Runtime computes all of it once, when the session starts.
Source: the ONNX operators CumSum-14 and Gather-13.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.functions import Body, call_unpack, reshape_flat, zero_code
from packlight.compression.encoding.storage import (
    FLOAT_BYTES,
    UNSIGNED_TYPES,
    Expansion,
    Parts,
    code_bytes,
    packed_bytes,
    store_codes,
)
from packlight.records.configs import SparseStorage

Array = NDArray[np.generic]
Float = NDArray[np.float32]

MASK_BYTES = 160
"""Approximate size of the operator and the names that restore one weight."""

VALUE_BYTES = 40
"""Approximate additional size where the values are codes."""


@dataclass(frozen=True, slots=True)
class SparseForm:
    """Storage form of one sparse weight.

    Attributes:
        shape: of the weight, with an axis more where groups of outputs need one.
        summed: axes that its operators sum over.
        nonzeros: elements that are not zero, at least 1.
        values: storage of these elements.
        bits: of a code or an index.
        scaled: whether each output channel has a scale.
        half: whether the weight is in half precision, and its values with it.
    """

    shape: tuple[int, ...]
    summed: tuple[int, ...]
    nonzeros: int
    values: SparseStorage
    bits: int
    scaled: bool
    half: bool = False

    @property
    def value_type(self) -> ir.DataType:
        """Type of values that are stored as they are."""
        return ir.DataType.FLOAT16 if self.half else ir.DataType.FLOAT

    @property
    def size(self) -> int:
        """Elements of the weight."""
        return math.prod(self.shape)

    @property
    def outer(self) -> tuple[int, ...]:
        """Axes that tell output channels apart."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.summed)

    @property
    def scales(self) -> tuple[int, ...]:
        """Shape of the scales."""
        return tuple(1 if axis in self.summed else size for axis, size in enumerate(self.shape))

    @property
    def channels(self) -> int:
        """Output channels."""
        return math.prod(self.scales)

    @property
    def side_parts(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the parts that are stored beside mask and values."""
        parts: dict[str, tuple[int, ...]] = {}
        if self.values == "palette":
            parts["table"] = (2**self.bits,)
        if self.scaled:
            parts["scale"] = self.scales
        return parts

    def side_bytes(self) -> int:
        """Bytes of scales and table."""
        return sum(map(math.prod, self.side_parts.values())) * FLOAT_BYTES

    def value_bytes(self, count: int) -> int:
        """Bytes of so many values."""
        if self.values == "float":
            return count * FLOAT_BYTES // (1 + self.half)
        return code_bytes(count, self.bits)

    def stored_bytes(self) -> int:
        """Bytes of mask, values, scales and table."""
        return packed_bytes(self.size, 1) + self.value_bytes(self.nonzeros) + self.side_bytes()

    def dense_bytes(self) -> int:
        """Bytes of the weight stored as such values without a mask."""
        return self.value_bytes(self.size) + self.side_bytes()


class _FittedValues(Protocol):
    @property
    def stored(self) -> Mapping[str, Float]:
        """Scales and table by the name of the part."""


def stored_parts(form: SparseForm, fitted: _FittedValues, codes: Float) -> Mapping[str, Array]:
    """Arrays of mask, values, scales and table, by the name of the part.

    Args:
        form: of the weight.
        fitted: has scales and table.
        codes: of the weight's shape, NaN for a zero.
    """
    mask = ~np.isnan(codes)
    values = codes[mask]
    assert len(values) == form.nonzeros, "the size was computed with another number of nonzeros"
    encoded: Array = values.astype(form.value_type.numpy())
    if form.values != "float":
        encoded = (values + np.float32(_zero_code(form))).astype(np.uint8)
    side = {part: array for part, array in fitted.stored.items() if part in form.side_parts}
    return {"mask": mask.astype(np.uint8), "values": encoded, **side}


def _zero_code(form: SparseForm) -> int:
    """The stored code of 0.0, in the middle of a grid."""
    if form.values != "grid":
        return 0
    return 1 << (form.bits - 1)


def restore_sparse(expansion: Expansion, form: SparseForm, parts: Parts) -> ir.Value:
    """Write the operators that restore one weight, and return the weight."""
    inputs = {"mask": store_codes(expansion, parts, 1, (form.size,), part="mask")}
    if form.values == "float":
        count = (form.nonzeros,)
        inputs["values"] = expansion.store_part(parts, "values", form.value_type, count)
    else:
        inputs["values"] = store_codes(expansion, parts, form.bits, (form.nonzeros,), part="values")
    for part, shape in form.side_parts.items():
        inputs[part] = expansion.store_part(parts, part, ir.DataType.FLOAT, shape)
    return expansion.call(_function_name(form), inputs, partial(_restore, form), shape=form.shape)


def _function_name(form: SparseForm) -> str:
    """Name of the function that restores a weight of this form."""
    name = "sparse"
    if form.values != "float":
        name += f"_{form.values}{form.bits if form.bits in UNSIGNED_TYPES else '_packed'}"
    elif form.half:
        name += "_half"
    if form.scaled:
        name += "_scaled"
    return name


def _restore(form: SparseForm, body: Body) -> ir.Value:
    """Write the function: values where the mask has ones, zeros elsewhere."""
    operator = body.operator
    first = body.constant(np.asarray(0, np.int64))
    bits = body.cast(call_unpack(body, body.inputs["mask"]), ir.DataType.INT32)
    index = operator("Mul", operator("CumSum", bits, first), bits)
    zero = body.constant(np.zeros(1, np.float32))
    spread = operator(
        "Gather", operator("Concat", zero, _nonzero_values(form, body), axis=0), index
    )
    value = reshape_flat(body, spread, "shape")
    if form.scaled:
        value = operator("Mul", value, body.inputs["scale"])
    return value


def _nonzero_values(form: SparseForm, body: Body) -> ir.Value:
    """The values that are not zero, without their scales; up to seven of padding follow."""
    values = codes = body.inputs["values"]
    if form.values == "float":
        return body.floats(values) if form.half else values
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
