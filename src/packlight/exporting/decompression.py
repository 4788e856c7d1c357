"""A neutral form as plain ONNX: codes, Cast, and arithmetic that restores each weight.

Runtimes that read ONNX know this form of a compressed weight, whatever its granularity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir

from packlight.exporting.neutral import Neutral
from packlight.exporting.weights import Array, FloatWeight, GridWeight, Shared, StoredWeight
from packlight.model import Model

NARROW_BITS = 4
LEAST_OPSET = 21
"""The first opset whose Cast reads codes of 4 bits."""


def decompressing_model(neutral: Neutral) -> Model:
    """The model with every encoded weight restored by operators of ONNX.

    Args:
        neutral: its encoded weights are floats of 16 bits and grids.
    """
    graph = neutral.graph.clone()
    encoded = neutral.encoded
    first = next(iter(graph.graph), None)
    for value in list(graph.graph.inputs):
        weight = encoded.get(str(value.name))
        if weight is None:
            continue
        graph.graph.inputs.remove(value)
        builder = _Builder(graph.graph, weight.name, first)
        builder.restore(weight, value)
    if encoded:
        graph.opset_imports[""] = max(graph.opset_imports[""], LEAST_OPSET)
    return Model(graph, neutral.name)


class _Builder:
    """Adds the operators that restore one weight."""

    def __init__(self, graph: ir.Graph, name: str, before: ir.Node | None) -> None:
        self.graph = graph
        self.name = name
        self.before = before
        self.parts = 0

    def restore(self, weight: StoredWeight, value: ir.Value) -> None:
        """Compute a value from a weight's stored arrays."""
        dtype = ir.DataType.from_numpy(np.dtype(weight.dtype))
        encoding = weight.encoding
        if isinstance(encoding, FloatWeight):
            self.operator("Cast", [self.stored(encoding.array)], value, to=int(dtype))
            return
        assert isinstance(encoding, GridWeight)
        codes = encoding.codes.reshape(_view(encoding))
        kind = _code_type(encoding)
        floats = self.operator("Cast", [self.stored(codes, kind)], to=int(dtype))
        if encoding.zero is not None:
            zero = _spread(encoding.zero, encoding)
            floats = self.operator(
                "Sub", [floats, self.operator("Cast", [self.stored(zero, kind)], to=int(dtype))]
            )
        scale = _spread(encoding.scale, encoding).astype(weight.dtype)
        if codes.shape == weight.shape:
            self.operator("Mul", [floats, self.stored(scale)], value)
            return
        product = self.operator("Mul", [floats, self.stored(scale)])
        shape = self.stored(np.array(weight.shape, np.int64))
        self.operator("Reshape", [product, shape], value)

    def stored(self, array: Array, kind: ir.DataType | None = None) -> ir.Value:
        """Store an array; codes of 4 bits in their own type."""
        name = f"{self.name}.part{self.parts}"
        self.parts += 1
        narrow = {ir.DataType.INT4: ml_dtypes.int4, ir.DataType.UINT4: ml_dtypes.uint4}
        if kind in narrow:
            array = array.astype(narrow[kind])
        tensor = ir.Tensor(np.ascontiguousarray(array), dtype=kind, name=name)
        value = ir.Value(name=name, const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def operator(
        self, op: str, inputs: Sequence[ir.Value], output: ir.Value | None = None, **attributes: int
    ) -> ir.Value:
        """Add an operator before all others."""
        if output is None:
            output = ir.Value(name=f"{self.name}.part{self.parts}")
            self.parts += 1
        typed = [ir.AttrInt64(key, number) for key, number in attributes.items()]
        node = ir.Node("", op, inputs, typed, outputs=[output])
        if self.before is None:
            self.graph.append(node)
        else:
            self.graph.insert_before(self.before, node)
        return output


def _code_type(encoding: GridWeight) -> ir.DataType:
    if encoding.bits == NARROW_BITS:
        return ir.DataType.INT4 if encoding.is_signed else ir.DataType.UINT4
    return ir.DataType.from_numpy(encoding.codes.dtype)


def _blocks(encoding: GridWeight) -> Iterator[tuple[int, int]]:
    """Size and common block of each axis; blocks divide the size."""
    zero = encoding.zero or encoding.scale
    for size, first, second in zip(encoding.shape, encoding.scale.block, zero.block, strict=True):
        yield size, math.gcd(size, first, second)


def _view(encoding: GridWeight) -> tuple[int, ...]:
    """The shape in which every block is a product of whole axes."""
    shape: list[int] = []
    for size, block in _blocks(encoding):
        shape += [size // block, block] if 1 < block < size else [size]
    return tuple(shape)


def _spread(shared: Shared, encoding: GridWeight) -> Array:
    """Shared values in a shape that spreads to the view by broadcasting."""
    corners = []
    shape: list[int] = []
    for (size, block), old in zip(_blocks(encoding), shared.block, strict=True):
        corners.append(np.arange(0, size, block) // old)
        shape += [size // block, 1] if 1 < block < size else [size // block]
    return shared.values[np.ix_(*corners)].reshape(shape)
