"""How a sparse weight is stored: a bit for each number, and the numbers that are not zero.

The mask is unpacked and summed up, which says for every number which of the stored ones it is; the
zeros are number 0. ONNX Runtime computes all of it once, when the session starts.
Source: the ONNX operators CumSum-14 and Gather-13.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compress.packing import (
    DOMAIN,
    EIGHT,
    Body,
    add_unpack,
    has_function,
    pack,
    packed_bytes,
    unpack_name,
)
from packlight.compress.storage import FLOAT_BYTES, UNSIGNED, Expansion, Parts, code_bytes, unsigned

Array = NDArray[np.generic]
Float = NDArray[np.float32]
Values = Literal["float", "grid", "palette"]

MASK_BYTES = 350
"""About what the operators and names that put the values of one weight in their places take."""

VALUE_BYTES = 300
"""About what those take that make floats of its codes."""


@dataclass(frozen=True, slots=True)
class Form:
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


class Found(Protocol):
    """What a weight became."""

    @property
    def stored(self) -> Mapping[str, Float]:
        """Scales and table by the name of the part."""


def stored_parts(form: Form, found: Found, codes: Float) -> Mapping[str, Array]:
    """Mask, values, scales and table as they are stored.

    Args:
        form: how.
        found: gives scales and table.
        codes: of the weight's shape, NaN for a zero.
    """
    kept = ~np.isnan(codes)
    values = codes[kept]
    assert len(values) == form.kept, "as many stay as the size was reckoned with"
    shift = np.float32(offset(form))
    coded: Array = values if form.values == "float" else (values + shift).astype(np.uint8)
    beside = {part: array for part, array in found.stored.items() if part in form.beside_parts}
    return {"mask": kept.astype(np.uint8), "values": coded, **beside}


def offset(form: Form) -> int:
    """The stored code of 0.0, which is in the middle of a grid."""
    return 1 << (form.bits - 1) if form.values == "grid" else 0


def restored(graph: ir.Model, place: Expansion, form: Form, parts: Parts) -> ir.Value:
    """Write what restores one weight; gives the weight."""
    add_spread(graph)
    size = (packed_bytes(form.size, 1), 1)
    packed = place.store("mask", ir.DataType.UINT8, size, lambda: pack(unsigned(parts, "mask"), 1))
    kept = kept_values(graph, place, form, parts)
    value = place.operator(SPREAD, [packed, kept], domain=DOMAIN)
    if form.size % EIGHT:
        value = place.cut(value, form.size, "mask")
    value = place.reshape(value, form.shape, "restored")
    if not form.scaled:
        return value
    scale = place.store_part(parts, "scale", ir.DataType.FLOAT, form.scales)
    return place.operator("Mul", [value, scale])


SPREAD = "spread"
"""Name of the function that puts values where a mask has ones."""


def add_spread(model: ir.Model) -> None:
    """Give the model the function, once: bytes (n, 1) and values (k) -> (8 n) with zeros."""
    if has_function(model, SPREAD):
        return
    mask, values, body = ir.Value(name="mask"), ir.Value(name="values"), Body(CONSTANTS)
    value, operator = body.constants, body.operator
    bits = operator("BitShift", mask, value["right"], direction="RIGHT")
    bits = operator("BitwiseAnd", bits, value["one"])
    bits = operator("Cast", operator("Reshape", bits, value["flat"]), to=int(ir.DataType.INT32))
    index = operator("Mul", operator("CumSum", bits, value["axis"]), bits)
    spread = operator("Gather", operator("Concat", value["zero"], values, axis=0), index)
    body.add_to(model, SPREAD, [mask, values], spread)


CONSTANTS: Mapping[str, Array] = {
    "right": np.arange(EIGHT, dtype=np.uint8),
    "one": np.asarray(1, np.uint8),
    "flat": np.array([-1], np.int64),
    "axis": np.asarray(0, np.int64),
    "zero": np.zeros(1, np.float32),
}


def kept_values(graph: ir.Model, place: Expansion, form: Form, parts: Parts) -> ir.Value:
    """The values that are not zero, but for their scales."""
    if form.values == "float":
        return place.store_part(parts, "values", ir.DataType.FLOAT, (form.kept,))
    codes = kept_codes(graph, place, form, parts)
    if form.values == "grid":
        floats = place.operator("Cast", [codes], to=int(ir.DataType.FLOAT))
        middle = np.asarray(offset(form), np.float32)
        return place.operator("Sub", [floats, place.shared(f"packlight.zero{form.bits}", middle)])
    table = place.store_part(parts, "table", ir.DataType.FLOAT, (2**form.bits,))
    indices = place.operator("Cast", [codes], to=int(ir.DataType.INT32))
    return place.operator("Gather", [table, indices], axis=0)


def kept_codes(graph: ir.Model, place: Expansion, form: Form, parts: Parts) -> ir.Value:
    """The codes of the values that are not zero; up to seven more follow that no index reaches."""
    if form.bits in UNSIGNED:
        return place.store_part(parts, "values", UNSIGNED[form.bits], (form.kept,))
    add_unpack(graph, form.bits)
    size = (packed_bytes(form.kept, form.bits) // form.bits, form.bits)
    packed = place.store(
        "values", ir.DataType.UINT8, size, lambda: pack(unsigned(parts, "values"), form.bits)
    )
    return place.operator(unpack_name(form.bits), [packed], domain=DOMAIN)
