"""Read how each weight of an ONNX model is stored, and take the encoding out of the graph.

packlight's own files restore weights by calls of functions in the domain ``packlight``; those of
others by DequantizeLinear, or by Cast of 16-bit floats. What follows a restored weight and only
moves its numbers (Reshape, Slice, Transpose) is applied to codes and scales alike, so that an
encoding lies as the operators read the weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from packlight.compression.encoding.functions import CODES_PER_RUN, DOMAIN
from packlight.exporting.moves import Positions, moved
from packlight.exporting.weights import (
    Array,
    DenseWeight,
    Encoding,
    FloatWeight,
    GridWeight,
    PaletteWeight,
    Shared,
    SparseWeight,
    StoredWeight,
)
from packlight.model import optional_input, stored_tensor

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16)
CODE_BITS: Mapping[ir.DataType, int] = {
    ir.DataType.INT4: 4,
    ir.DataType.UINT4: 4,
    ir.DataType.INT8: 8,
    ir.DataType.UINT8: 8,
    ir.DataType.INT16: 16,
    ir.DataType.UINT16: 16,
    ir.DataType.INT32: 32,
}
"""Bits of a code by its type."""

CONTAINERS = {ir.DataType.INT4: np.int8, ir.DataType.UINT4: np.uint8}
"""Types that hold codes of 4 bits here."""

ZERO_INPUT = 2
"""Input of QuantizeLinear and DequantizeLinear that is their zero point."""

FAMILIES = ("grid", "palette", "sparse")
"""First parts of the names of packlight's functions that restore a weight."""

Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """A weight as an operator restores it, before others move its numbers.

    Attributes:
        kind: of the values: ``float``, ``grid`` or ``palette``.
        codes: all codes, indices or floats, flat.
        bits: of a code.
        parts: arrays of shared values by part: ``scale`` and ``zero`` flat, ``table`` with the
            entries of each table along its second axis.
        positions: index of each number's code, and of each shared value by part.
        dtype: of the restored weight.
        mask: True where a number is stored, flat; None without a mask.
    """

    kind: str
    codes: Array
    bits: int
    parts: Arrays
    positions: Mapping[str, Positions]
    dtype: str = "float32"
    mask: Array | None = None

    def encoding(self, positions: Mapping[str, Positions]) -> Encoding:
        """The encoding of the weight after its numbers were moved to these positions."""
        layout = _compact_layout(positions)
        placed = {part: array.reshape(layout) for part, array in positions.items()}
        codes = np.ascontiguousarray(self.codes[placed["codes"]])
        shared = {part: _shared(array, placed[part]) for part, array in self.parts.items()}
        values = self._values(codes, shared)
        if self.mask is None:
            return values
        return SparseWeight(np.asarray(self.mask[placed["codes"]], np.bool_), values)

    def _values(self, codes: Array, shared: Mapping[str, Shared]) -> DenseWeight:
        if self.kind == "float":
            return FloatWeight(codes)
        integers = codes.astype(codes.dtype)
        assert integers.dtype.kind in "iu"
        if self.kind == "palette":
            return PaletteWeight(integers, shared["table"], shared.get("scale"), self.bits)
        zero = shared.get("zero")
        if zero is not None and not zero.values.any():
            zero = None
        return GridWeight(integers, shared["scale"], zero, self.bits)


def detach_encodings(model: ir.Model) -> dict[str, StoredWeight]:
    """Replace every restored weight by an input of the graph, in place, and return the encodings.

    Weights in bodies of operators stay where they are.
    """
    weights: dict[str, StoredWeight] = {}
    for node in list(model.graph):
        if node.graph is None:
            continue  # followed another weight, and was removed with it
        restored = _restored(node, model)
        if restored is None or node.outputs[0].is_graph_output():
            continue
        value, positions, dtype = _follow(node.outputs[0], restored)
        shape = positions["codes"].shape
        weight = StoredWeight(
            str(value.name), restored.encoding(positions), shape, dtype, _name_of_codes(node)
        )
        weights[weight.name] = weight
        _make_input(model.graph, value, weight)
    if weights:
        common.RemoveUnusedNodesPass()(model)
    return weights


def float_weights(model: ir.Model) -> dict[str, StoredWeight]:
    """Weights that the main graph stores as floats; those in Constants are not among them."""
    weights = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and tensor.dtype in FLOATS and value.uses():
            array = tensor.numpy()
            weights[name] = StoredWeight(name, FloatWeight(array), array.shape, str(array.dtype))
    return weights


def _name_of_codes(node: ir.Node) -> str:
    """Name of the stored value with the codes of a weight; a sparse one has its mask before."""
    is_sparse = node.op_type.startswith("sparse") and node.domain == DOMAIN
    value = node.inputs[int(is_sparse)]
    assert value is not None
    return str(value.name)


def _make_input(graph: ir.Graph, value: ir.Value, weight: StoredWeight) -> None:
    name = weight.name
    value.name = f"{name}.restored"
    dtype = ir.DataType.from_numpy(np.dtype(weight.dtype))
    stand_in = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(weight.shape))
    graph.inputs.append(stand_in)
    value.replace_all_uses_with(stand_in)


def _follow(value: ir.Value, restored: Restored) -> tuple[ir.Value, dict[str, Positions], str]:
    """The weight that operators read, with the positions and the type of its numbers."""
    positions = dict(restored.positions)
    dtype = restored.dtype
    while (node := _only_reader(value)) is not None:
        if node.op_type == "Cast":
            kind = ir.DataType(node.attributes["to"].as_int())
            if kind not in FLOATS or node.outputs[0].is_graph_output():
                break
            dtype = str(kind.numpy())
            value = node.outputs[0]
            break
        places = {part: moved(array, node) for part, array in positions.items()}
        moved_positions = {part: array for part, array in places.items() if array is not None}
        if len(moved_positions) < len(positions) or node.outputs[0].is_graph_output():
            break
        positions = moved_positions
        value = node.outputs[0]
    return value, positions, dtype


def _only_reader(value: ir.Value) -> ir.Node | None:
    """The operator that alone reads a value as its first input, in the same graph."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    node, index = uses[0]
    producer = value.producer()
    if index != 0 or node.domain or producer is None or node.graph is not producer.graph:
        return None
    return node


def _restored(node: ir.Node, model: ir.Model) -> Restored | None:
    """The weight that an operator restores from stored values; None for all other operators."""
    if not node.inputs or not node.outputs:
        return None
    if not node.domain and node.op_type == "DequantizeLinear":
        return _from_dequantize(node)
    if not node.domain and node.op_type == "Cast":
        return _from_cast(node)
    function = model.functions.get((node.domain, node.op_type, ""))
    if node.domain == DOMAIN and function is not None:
        return _from_call(node, function)
    return None


def _from_cast(node: ir.Node) -> Restored | None:
    """A weight of 16-bit floats that operators read in a wider type."""
    tensor = stored_tensor(node.inputs[0])
    kind = ir.DataType(node.attributes["to"].as_int())
    if tensor is None or tensor.dtype not in FLOATS or kind not in FLOATS:
        return None
    if tensor.dtype.itemsize >= kind.itemsize:
        return None
    array = tensor.numpy()
    positions = {"codes": _indices(array.shape)}
    bits = array.dtype.itemsize * 8
    return Restored("float", array.ravel(), bits, {}, positions, str(kind.numpy()))


def _from_dequantize(node: ir.Node) -> Restored | None:
    """A weight that DequantizeLinear restores from stored codes."""
    coded = _codes(node.inputs[0])
    scale = _array(node.inputs[1])
    if coded is None or scale is None:
        return None
    codes, bits = coded
    zero_value = optional_input(node, ZERO_INPUT)
    zero = _codes(zero_value)
    if zero_value is not None and zero is None:
        return None
    axis = node.attributes.get_int("axis", 1)
    place = _scale_positions(
        codes.shape, scale.shape, axis, node.attributes.get_int("block_size", 0)
    )
    parts = {"scale": scale.astype(np.float32).ravel()}
    positions = {"codes": _indices(codes.shape), "scale": place}
    if zero is not None:
        parts["zero"] = zero[0].ravel()
        positions["zero"] = place
    return Restored("grid", codes.ravel(), bits, parts, positions, str(scale.dtype))


def _scale_positions(
    shape: tuple[int, ...], scales: tuple[int, ...], axis: int, block: int
) -> Positions:
    """Index of the scale of each code, as DequantizeLinear finds it."""
    count = math.prod(scales)
    if count == 1:
        return np.zeros(shape, np.int64)
    if block:
        full = np.repeat(_indices(scales), block, axis=axis)
        return np.take(full, range(shape[axis]), axis=axis)
    along = [1] * len(shape)
    along[axis] = count
    return np.broadcast_to(_indices((count,)).reshape(along), shape)


def _from_call(node: ir.Node, function: ir.Function) -> Restored | None:
    """A weight that a function of packlight's restores."""
    family, *traits = node.op_type.split("_")
    if family not in FAMILIES:
        return None
    names = [str(value.name) for value in function.inputs]
    arrays: dict[str, Array] = {}
    for name, value in zip(names, node.inputs, strict=True):
        array = _array(value)
        if array is None:
            return None
        arrays[name] = array
    if family == "sparse":
        return _sparse_call(node, traits, arrays)
    codes, bits = _call_codes(
        node.inputs[0], arrays["codes"], traits, signed="zero" not in arrays and family == "grid"
    )
    shape = arrays["codes"].shape
    if "packed" in traits:
        shape = _integers(node, "shape")
    codes = codes.ravel()[: math.prod(shape)]
    parts, positions = _call_parts(node, arrays, shape)
    return Restored(family, codes, bits, parts, {"codes": _indices(shape), **positions})


def _sparse_call(node: ir.Node, traits: Sequence[str], arrays: Arrays) -> Restored:
    """A weight of a mask and its nonzero values."""
    shape = _integers(node, "shape")
    size = math.prod(shape)
    mask = np.unpackbits(arrays["mask"].ravel(), bitorder="little")[:size].astype(np.bool_)
    kind = next((trait for trait in traits if trait in ("grid", "palette")), "float")
    values = arrays["values"]
    bits = values.dtype.itemsize * 8
    if kind != "float":
        values, bits = _call_codes(node.inputs[1], values, traits, signed=kind == "grid")
    codes = np.zeros(size, values.dtype)
    codes[mask] = values.ravel()[: int(mask.sum())]
    parts, positions = _call_parts(node, arrays, shape)
    return Restored(kind, codes, bits, parts, {"codes": _indices(shape), **positions}, mask=mask)


def _call_codes(
    value: ir.Value | None, array: Array, traits: Sequence[str], *, signed: bool
) -> tuple[Array, int]:
    """Codes of a call in 8 bits, and their width; packed ones with up to seven of padding."""
    if "packed" in traits:
        return _unpack(array, signed=signed), array.shape[1]
    coded = _codes(value)
    assert coded is not None
    return coded


def _unpack(packed: Array, *, signed: bool) -> Array:
    """Codes (n * 8,) from bytes (n, bits)."""
    bits = packed.shape[1]
    planes = np.unpackbits(packed.astype(np.uint8), axis=1, bitorder="little")
    lanes = planes.reshape(-1, CODES_PER_RUN, bits)
    codes = np.packbits(lanes, axis=2, bitorder="little")[:, :, 0].ravel()
    if not signed:
        return codes
    spare = CODES_PER_RUN - bits
    signed_codes: Array = (codes << spare).view(np.int8) >> spare
    return signed_codes


def _call_parts(
    node: ir.Node, arrays: Arrays, shape: tuple[int, ...]
) -> tuple[Arrays, dict[str, Positions]]:
    """Shared values of a call, and where each number of the weight finds its own."""
    parts: dict[str, Array] = {}
    positions: dict[str, Positions] = {}
    scale = arrays.get("scale")
    if "half" in arrays:
        scale = arrays["half"].astype(np.float32) * arrays["widest"]
    for part, array in (("scale", scale), ("zero", arrays.get("zero"))):
        if array is not None:
            parts[part] = array.ravel()
            positions[part] = np.broadcast_to(_indices(array.shape), shape)
    if "table" in arrays:
        tables = arrays["table"]
        if "step" in arrays:
            tables = tables.astype(np.float32) * arrays["step"]
        parts["table"] = tables.reshape(-1, tables.shape[-1])
        positions["table"] = np.broadcast_to(_groups(node), shape)
    return parts, positions


def _groups(node: ir.Node) -> Positions:
    """Index of the table of each output channel, of a shape that spreads to the weight's."""
    if "channels" not in node.attributes:
        return np.zeros((), np.int64)
    outputs = _integers(node, "outputs")
    return _indices(outputs) // _integers(node, "channels")[0]


def _integers(node: ir.Node, name: str) -> tuple[int, ...]:
    return tuple(node.attributes[name].as_ints())


def _indices(shape: Sequence[int]) -> Positions:
    return np.arange(math.prod(shape)).reshape(tuple(shape))


def _array(value: ir.Value | None) -> Array | None:
    """The array of a stored value, or of scales that are stored in 16 bits."""
    if value is None:
        return None
    tensor = stored_tensor(value)
    if tensor is not None:
        return tensor.numpy()
    node = value.producer()
    if node is None or node.domain != DOMAIN or not node.op_type.startswith("half"):
        return None
    half, widest = (_array(source) for source in node.inputs)
    if half is None or widest is None:
        return None
    return half.astype(np.float32) * widest


def _codes(value: ir.Value | None) -> tuple[Array, int] | None:
    """Stored integer codes in 8, 16 or 32 bits, and their width; None where there are none."""
    if value is None:
        return None
    node = value.producer()
    if node is not None and node.op_type == "QuantizeLinear" and not node.domain:
        return _quantized(node)
    tensor = stored_tensor(value)
    if tensor is None or tensor.dtype not in CODE_BITS:
        return None
    array = tensor.numpy()
    if tensor.dtype in CONTAINERS:
        array = array.astype(CONTAINERS[tensor.dtype])
    return array, CODE_BITS[tensor.dtype]


def _quantized(node: ir.Node) -> tuple[Array, int] | None:
    """Codes of a stored float that QuantizeLinear rounds, as training tools write them."""
    array = _array(node.inputs[0])
    scale = _array(node.inputs[1])
    zero: tuple[Array, int] | None = (np.zeros((), np.uint8), 8)
    if len(node.inputs) > ZERO_INPUT:
        zero = _codes(node.inputs[ZERO_INPUT])
    if array is None or scale is None or zero is None or array.dtype != np.float32:
        return None
    axis = node.attributes.get_int("axis", 1)
    block = node.attributes.get_int("block_size", 0)
    place = _scale_positions(array.shape, scale.shape, axis, block)
    codes, bits = zero
    offsets = codes.ravel()[place].astype(np.float32)
    low = -(1 << (bits - 1)) if codes.dtype.kind == "i" else 0
    high = low + (1 << bits) - 1
    rounded = np.rint(array / scale.ravel()[place]) + offsets
    return np.clip(rounded, low, high).astype(codes.dtype), bits


def _shared(values: Array, positions: Positions) -> Shared:
    """Shared values as blocks of a weight, from the index of each number's."""
    block = _blocks(positions)
    corners = tuple(slice(None, None, size) for size in block)
    return Shared(np.ascontiguousarray(values[positions[corners]]), block)


def _blocks(positions: Positions) -> tuple[int, ...]:
    """Neighbors along each axis that always share a value: the largest such number."""
    sizes = []
    for axis, length in enumerate(positions.shape):
        ahead = np.take(positions, range(1, length), axis=axis)
        behind = np.take(positions, range(length - 1), axis=axis)
        others = tuple(other for other in range(positions.ndim) if other != axis)
        changes = np.flatnonzero((ahead != behind).any(axis=others)) + 1
        size = int(np.gcd.reduce(changes, initial=0)) or length
        sizes.append(max(size, 1))
    return tuple(sizes)


def _compact_layout(positions: Mapping[str, Positions]) -> tuple[int, ...]:
    """The shape in which shared values are fewest: the weight's own, or with axes joined."""
    shape = positions["codes"].shape
    shared = [array for part, array in positions.items() if part != "codes"]
    if not shared:
        return shape
    return min(_layouts(shape), key=lambda layout: _shared_count(shared, layout))


def _layouts(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """A shape, and those in which neighboring axes are joined."""
    yield shape
    for first in range(len(shape)):
        for last in range(first + 2, len(shape) + 1):
            yield (*shape[:first], math.prod(shape[first:last]), *shape[last:])


def _shared_count(shared: Sequence[Positions], layout: tuple[int, ...]) -> int:
    total = 0
    for positions in shared:
        blocks = _blocks(positions.reshape(layout))
        total += math.prod(-(-size // block) for size, block in zip(layout, blocks, strict=True))
    return total
