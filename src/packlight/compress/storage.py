"""How compressed weights are stored and turned back into floats inside the graph.

``expand="load"`` uses Cast and Mul, which ONNX Runtime computes once when the session starts;
``expand="run"`` uses DequantizeLinear, which it computes at every run or fuses into MatMulNBits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compress.grid import Grouping
from packlight.compress.packing import DOMAIN, EIGHT, add_unpack, pack, packed_bytes, unpack_name

Array = NDArray[np.generic]
FLOAT_BYTES = 4
OPERATOR_BYTES = 300
"""About what the operators and names that restore one weight take in the file."""

STORED = {4: ir.DataType.INT4, 8: ir.DataType.INT8}
"""Type that holds a signed code of so many bits."""

NUMPY = {
    ir.DataType.INT4: ml_dtypes.int4,
    ir.DataType.UINT4: ml_dtypes.uint4,
    ir.DataType.INT8: np.int8,
}
UNSIGNED = {4: ir.DataType.UINT4, 8: ir.DataType.UINT8}
"""Type that holds an unsigned code; codes of other widths are packed into bytes."""

OPSET = {**dict.fromkeys(range(1, 8), 18), 4: 21, 8: 13}
"""The first opset that stores codes of so many bits, and restores them at load or at run."""

BLOCKED_OPSET = 21
"""The first opset whose DequantizeLinear knows blocks."""


class Parts:
    """Arrays of one weight that are computed together, and let go when each is taken.

    Whoever writes a file takes all parts of a weight in a row, so that they are computed once and
    no more than one weight is there at a time.

    Args:
        compute: gives every part by its name; the same ones at every call.
    """

    def __init__(self, compute: Callable[[], Mapping[str, Array]]) -> None:
        self.compute = compute
        self.kept: dict[str, Array] = {}

    def take(self, part: str) -> Array:
        """One part, which is not kept here any longer."""
        if part not in self.kept:
            self.kept = dict(self.compute())
        return self.kept.pop(part)


class Expansion:
    """Writes the operators that restore one weight, in the graph that owns it.

    Args:
        owner: the stored value that is replaced.
    """

    def __init__(self, owner: ir.Value) -> None:
        self.stem = str(owner.name)
        self.owner = owner
        self.graph = owning_graph(owner)
        self.before = first_use(owner, self.graph)
        self.written: list[str] = []

    def store(
        self, part: str, kind: ir.DataType, shape: Sequence[int], compute: Callable[[], Array]
    ) -> ir.Value:
        """Add a stored value whose content is computed when it is written."""
        name = f"{self.stem}.{part}"
        cast = NUMPY.get(kind)

        def tensor() -> ir.TensorProtocol:
            array = compute()
            return ir.Tensor(array.astype(cast) if cast else array, dtype=kind, name=name)

        lazy = ir.LazyTensor(tensor, dtype=kind, shape=ir.Shape(shape), name=name, cache=False)
        value = ir.Value(name=name, const_value=lazy)
        self.graph.register_initializer(value)
        return value

    def store_part(
        self, parts: Parts, part: str, kind: ir.DataType, shape: Sequence[int]
    ) -> ir.Value:
        """Add one of the arrays that are computed together."""
        return self.store(part, kind, shape, lambda: parts.take(part).reshape(shape))

    def constant(self, part: str, array: Array) -> ir.Value:
        """Add a small stored value."""
        name = f"{self.stem}.{part}"
        value = ir.Value(name=name, const_value=ir.Tensor(array, name=name))
        self.graph.register_initializer(value)
        return value

    def shared(self, name: str, array: Array) -> ir.Value:
        """A small stored value that other weights of this graph use too."""
        found = self.graph.initializers.get(name)
        if found is not None:
            return found
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
        again = self.written.count(op)
        self.written.append(op)
        name = f"{self.stem}.{op}{again + 1 if again else ''}"
        node = ir.node(op, inputs, attributes=attributes, domain=domain, name=name)
        self.graph.insert_before(self.before, node)
        output: ir.Value = node.outputs[0]
        output.name = f"{name}.out"
        return output

    def reshape(self, value: ir.Value, shape: Sequence[int], part: str) -> ir.Value:
        """Add a Reshape; ``part`` tells it from others of the same weight."""
        target = self.constant(f"{part}.shape", np.asarray(shape, np.int64))
        node = ir.node("Reshape", [value, target], name=f"{self.stem}.{part}")
        self.graph.insert_before(self.before, node)
        output: ir.Value = node.outputs[0]
        output.name = f"{node.name}.out"
        return output

    def cut(self, value: ir.Value, end: int, part: str, *axis: int) -> ir.Value:
        """Add a Slice that keeps what lies before ``end``, along the first axis or a named one."""
        bounds = [("starts", 0), ("ends", end), *(("axes", one) for one in axis)]
        ends = [self.constant(f"{part}.{name}", np.asarray([n], np.int64)) for name, n in bounds]
        return self.operator("Slice", [value, *ends])

    def replace(self, restored: ir.Value) -> None:
        """Let everything that read the old value read the restored one."""
        self.owner.replace_all_uses_with(restored)
        remove_stored(self.owner)


def owning_graph(value: ir.Value) -> ir.Graph:
    """The graph that stores a value, as an initializer or in a Constant."""
    node = value.producer()
    graph = node.graph if node is not None else value.graph
    assert isinstance(graph, ir.Graph)
    return graph


def first_use(value: ir.Value, graph: ir.Graph) -> ir.Node:
    """An operator of the graph before all that read the value: the first of them where it can.

    A reader in a subgraph makes it the first operator of all: stored values wait for nothing.
    """
    readers = list(value.consumers())
    if any(node.graph is not graph for node in readers):
        return graph[0]
    if len(readers) == 1:
        return readers[0]
    wanted = set(map(id, readers))
    return next(node for node in graph if id(node) in wanted)


def remove_stored(value: ir.Value) -> None:
    """Take a stored value that nobody reads out of its graph."""
    node = value.producer()
    if node is not None:
        owner = node.graph
        assert owner is not None
        owner.remove(node, safe=True)
    else:
        graph = owning_graph(value)
        graph.initializers.pop(str(value.name))


def code_bytes(count: int, bits: int) -> int:
    """Bytes of so many codes, in a type of their width or packed."""
    return -(-count * bits // EIGHT) if bits in STORED else packed_bytes(count, bits)


def store_codes(
    model: ir.Model,
    place: Expansion,
    parts: Parts,
    bits: int,
    shape: Sequence[int],
    *,
    kinds: Mapping[int, ir.DataType] = UNSIGNED,
) -> ir.Value:
    """Store the part ``codes`` in a type of their width, or packed and unpacked to UINT8."""
    if bits in kinds:
        return place.store_part(parts, "codes", kinds[bits], shape)
    add_unpack(model, bits)
    count = math.prod(shape)
    size = (packed_bytes(count, bits) // bits, bits)
    packed = place.store(
        "packed", ir.DataType.UINT8, size, lambda: pack(unsigned(parts, "codes"), bits)
    )
    value = place.operator(unpack_name(bits), [packed], domain=DOMAIN)
    if count % EIGHT:
        value = place.cut(value, count, "codes")
    return place.reshape(value, shape, "codes")


def unsigned(parts: Parts, part: str) -> NDArray[np.uint8]:
    """A part whose numbers are stored from 0 on."""
    return parts.take(part).astype(np.uint8, copy=False)


def expand_at_load(
    place: Expansion, floats: ir.Value, scale: ir.Value, grouping: Grouping, shape: Sequence[int]
) -> ir.Value:
    """Codes as floats -> Mul, reshaped around it for blocks, sliced where blocks were padded."""
    value = place.operator("Mul", [floats, scale])
    if grouping.padded != grouping.shape:
        value = place.reshape(value, grouping.padded, "whole")
        axis = next(i for i, n in enumerate(grouping.shape) if n != grouping.padded[i])
        value = place.cut(value, grouping.shape[axis], "slice", axis)
    if grouping.view != tuple(shape):
        value = place.reshape(value, shape, "restored")
    return value
