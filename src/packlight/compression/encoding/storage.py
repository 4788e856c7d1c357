"""Storage of compressed weights, and the operators that restore them inside the graph.

``expand="load"`` calls a function of the model's own, which ONNX Runtime computes once when the
session starts; ``expand="run"`` uses DequantizeLinear, which it computes at every run or fuses into
MatMulNBits. What is stored of the third weight is called ``w0002.codes``, ``w0002.scale``; what is
restored has the name that the weight had.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.functions import CODES_PER_RUN, DOMAIN, Body, add_function
from packlight.compression.encoding.stored_values import UniqueNames
from packlight.model import initializers, owning_graph

Array = NDArray[np.generic]
Bytes = NDArray[np.uint8]
FLOAT_BYTES = 4
OPERATOR_BYTES = 150
"""Approximate size in the file of the operator and the names that restore one weight."""

SIGNED_TYPES = {4: ir.DataType.INT4, 8: ir.DataType.INT8}
"""Type of a signed code of so many bits."""

_NUMPY_TYPES = {
    ir.DataType.INT4: ml_dtypes.int4,
    ir.DataType.UINT4: ml_dtypes.uint4,
    ir.DataType.INT8: np.int8,
}
UNSIGNED_TYPES = {4: ir.DataType.UINT4, 8: ir.DataType.UINT8}
"""Type of an unsigned code; codes of other widths are packed into bytes."""

MIN_OPSET = {**dict.fromkeys(range(1, 8), 18), 4: 21, 8: 13}
"""The first opset that stores codes of so many bits, and restores them at load or at run."""

BLOCKED_OPSET = 21
"""The first opset whose DequantizeLinear has blocks."""


class Parts:
    """Arrays of one weight that are computed together, and released one by one as they are taken.

    A file is written with all parts of a weight in a row, so that they are computed once and no
    more than one weight is in memory at a time.

    Args:
        compute: returns every part by its name; equal ones at every call.
    """

    def __init__(self, compute: Callable[[], Mapping[str, Array]]) -> None:
        self.compute = compute
        self.arrays: dict[str, Array] = {}

    def take(self, part: str) -> Array:
        """Return one part and release it here."""
        if part not in self.arrays:
            self.arrays = dict(self.compute())
        return self.arrays.pop(part)


class Expansion:
    """Writes the operators that restore one weight, in the graph that owns it.

    Args:
        model: that has the graph.
        owner: the stored value to replace.
    """

    def __init__(self, model: ir.Model, owner: ir.Value) -> None:
        self.model = model
        self.name = str(owner.name)
        self.stem = _fresh_stem(model)
        self.owner = owner
        self.graph = owning_graph(owner)
        self.before = _first_use(owner, self.graph)
        self.written = 0

    def store(
        self, part: str, kind: ir.DataType, shape: Sequence[int], compute: Callable[[], Array]
    ) -> ir.Value:
        """Add a stored value whose array is computed when it is written."""
        name = f"{self.stem}.{part}"
        cast = _NUMPY_TYPES.get(kind)

        def tensor() -> ir.TensorProtocol:
            array = compute()
            if cast:
                array = array.astype(cast)
            return ir.Tensor(array, dtype=kind, name=name)

        lazy = ir.LazyTensor(tensor, dtype=kind, shape=ir.Shape(shape), name=name, cache=False)
        value = ir.Value(name=name, const_value=lazy)
        self.graph.register_initializer(value)
        return value

    def store_part(
        self, parts: Parts, part: str, kind: ir.DataType, shape: Sequence[int]
    ) -> ir.Value:
        """Add one of the arrays of a weight that are computed together."""
        return self.store(part, kind, shape, lambda: parts.take(part).reshape(shape))

    def constant(self, part: str, array: Array) -> ir.Value:
        """Add a small stored value."""
        name = f"{self.stem}.{part}"
        value = ir.Value(name=name, const_value=ir.Tensor(array, name=name))
        self.graph.register_initializer(value)
        return value

    def operator(
        self,
        op: str,
        inputs: Sequence[ir.Value],
        domain: str = "",
        **attributes: int | Sequence[int],
    ) -> ir.Value:
        """Add an operator before the first use of the weight."""
        name = f"{self.stem}.{self.written}" if self.written else self.stem
        self.written += 1
        typed = [attribute(key, value) for key, value in attributes.items()]
        node = ir.Node(domain, op, inputs, typed, name=name)
        self.graph.insert_before(self.before, node)
        output: ir.Value = node.outputs[0]
        output.name = f"{name}.out"
        return output

    def call(
        self,
        name: str,
        inputs: Mapping[str, ir.Value],
        build: Callable[[Body], ir.Value],
        **attributes: Sequence[int],
    ) -> ir.Value:
        """Add a call of a function, which is added to the model once.

        Args:
            name: distinguishes all that ``build`` depends on; a number is appended where the model
                has a different function of this name.
            inputs: of the call, by their names in the function.
            build: writes the function and returns its result.
            attributes: of the call.
        """
        called = add_function(self.model, name, tuple(inputs), build)
        return self.operator(called, list(inputs.values()), DOMAIN, **attributes)

    def reshape(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """Add a Reshape."""
        target = self.constant(f"shape{self.written}", np.asarray(shape, np.int64))
        return self.operator("Reshape", [value, target])

    def cut(self, value: ir.Value, end: int, axis: int) -> ir.Value:
        """Add a Slice up to ``end``."""
        bounds = {"start": 0, "end": end, "axis": axis}
        ends = [self.constant(name, np.asarray([n], np.int64)) for name, n in bounds.items()]
        return self.operator("Slice", [value, *ends])

    def replace(self, restored: ir.Value) -> None:
        """Let all readers of the old value read the restored one, which takes its name."""
        self.owner.replace_all_uses_with(restored)
        remove_stored(self.owner)
        restored.name = self.name


def attribute(name: str, value: int | Sequence[int]) -> ir.Attr:
    """An integer attribute or a list of them; onnx-ir finds out the type 40 times as slowly."""
    if isinstance(value, int):
        return ir.AttrInt64(name, value)
    return ir.AttrInt64s(name, value)


NEXT_STEM = "packlight.next"
COMPUTED_STEMS = "packlight.computed"


def _fresh_stem(model: ir.Model) -> str:
    """A new beginning of names, for the stored values of one weight only."""
    if NEXT_STEM not in model.meta:
        stored = _stems(str(value.name) for value in initializers(model))
        model.meta[NEXT_STEM] = max((int(stem[1:]) for stem in stored), default=-1) + 1
        model.meta[COMPUTED_STEMS] = _stems(UniqueNames(model).taken) - stored
    while (stem := f"w{model.meta[NEXT_STEM]:04}") in model.meta[COMPUTED_STEMS]:
        model.meta[NEXT_STEM] += 1
    model.meta[NEXT_STEM] += 1
    return stem


def _stems(names: Iterable[str]) -> set[str]:
    return {stem for name in names if re.fullmatch(r"w\d+", stem := name.split(".")[0])}


def _first_use(value: ir.Value, graph: ir.Graph) -> ir.Node:
    """An operator of the graph that comes before all readers of a value: the first of them.

    For readers in a subgraph it is the first operator of all: stored values wait for nothing.
    """
    readers = list(value.consumers())
    if any(node.graph is not graph for node in readers):
        return graph[0]
    if len(readers) == 1:
        return readers[0]
    identities = set(map(id, readers))
    return next(node for node in graph if id(node) in identities)


def remove_stored(value: ir.Value) -> None:
    """Remove a stored value without readers from its graph."""
    node = value.producer()
    if node is not None:
        owner = node.graph
        assert owner is not None
        owner.remove(node, safe=True)
    else:
        graph = owning_graph(value)
        graph.initializers.pop(str(value.name))


def packed_bytes(count: int, bits: int) -> int:
    """Bytes of so many packed codes: eight codes of b bits fill b bytes.

    >>> packed_bytes(9, 3)
    6
    """
    return -(-count // CODES_PER_RUN) * bits


def pack_codes(codes: Bytes, bits: int) -> Bytes:
    """Codes (any shape), each below 2^bits, as bytes (count / 8 rounded up, bits).

    The first code of eight lies in the lowest bits; ``functions.add_unpack`` is the inverse in the
    graph.
    """
    flat = codes.ravel()
    padded = np.zeros(-(-flat.size // CODES_PER_RUN) * CODES_PER_RUN, np.uint8)
    padded[: flat.size] = flat
    planes = np.unpackbits(padded[:, None], axis=1, count=bits, bitorder="little")
    return np.packbits(planes.reshape(-1, CODES_PER_RUN * bits), axis=1, bitorder="little")


def twos_complement(codes: NDArray[np.float32], bits: int) -> Bytes:
    """Signed codes as unsigned ones of so many bits.

    >>> twos_complement(np.float32([-1, 0, 3]), 3)
    array([7, 0, 3], dtype=uint8)
    """
    lowest = np.uint8((1 << bits) - 1)
    return codes.astype(np.int8).view(np.uint8) & lowest


def code_bytes(count: int, bits: int) -> int:
    """Bytes of so many codes, in a type of their width or packed."""
    if bits in SIGNED_TYPES:
        return -(-count * bits // 8)
    return packed_bytes(count, bits)


def store_codes(
    expansion: Expansion,
    parts: Parts,
    bits: int,
    shape: Sequence[int],
    *,
    kinds: Mapping[int, ir.DataType] = UNSIGNED_TYPES,
    part: str = "codes",
) -> ir.Value:
    """Store codes in a type of their width, else packed into bytes."""
    if bits in kinds:
        return expansion.store_part(parts, part, kinds[bits], shape)
    size = (packed_bytes(math.prod(shape), bits) // bits, bits)
    return expansion.store(
        part, ir.DataType.UINT8, size, lambda: pack_codes(_unsigned(parts, part), bits)
    )


def _unsigned(parts: Parts, part: str) -> NDArray[np.uint8]:
    return parts.take(part).astype(np.uint8, copy=False)
