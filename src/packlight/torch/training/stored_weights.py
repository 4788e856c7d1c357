"""Compressed weights of a graph: read with their forms, and written back in the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from packlight.compression.encoding.functions import DOMAIN
from packlight.compression.encoding.storage import pack_codes, twos_complement
from packlight.compression.sites.weight_roles import is_standard, stored
from packlight.torch.training.stored_forms import GridForm, PaletteForm, SparseForm, StoredForm
from packlight.torch.values import Tensor

Array = NDArray[Any]
SIGNED = (ir.DataType.INT4, ir.DataType.INT8)
WIDTHS = {
    ir.DataType.INT4: 4,
    ir.DataType.UINT4: 4,
    ir.DataType.INT8: 8,
    ir.DataType.UINT8: 8,
}
"""Bits of codes in a type of their width."""


@dataclass(frozen=True, slots=True, eq=False)
class CompressedWeight:
    """A weight in codes.

    Attributes:
        node: restores it.
        parts: its stored values, by the name of the part.
        form: how it is restored.
        codes: as they are, in the shape in which the operator restores them.
        packed: bits of each packed code, by part; none where it has a type of its width.
        signed: whether codes are signed.
    """

    node: ir.Node
    parts: Mapping[str, ir.Value]
    form: StoredForm
    codes: Tensor
    packed: Mapping[str, int]
    signed: bool

    @property
    def output(self) -> ir.Value:
        """The restored value."""
        output: ir.Value = self.node.outputs[0]
        return output

    def tensors(self, latent: Tensor) -> Iterator[tuple[str, ir.TensorProtocol]]:
        """Names of stored values with what they hold for a latent weight."""
        with torch.no_grad():
            arrays = self.form.arrays(latent)
        for part, array in arrays.items():
            value = self.parts[part]
            tensor = stored(value)
            assert tensor is not None
            yield str(value.name), self._encoded(part, array, tensor)

    def _encoded(self, part: str, array: Array, old: ir.TensorProtocol) -> ir.TensorProtocol:
        shape = tuple(old.shape.numpy())
        bits = self.packed.get(part)
        if bits is not None:
            codes = array.astype(np.float32)
            raw = twos_complement(codes, bits) if self.signed else array.astype(np.uint8)
            return ir.Tensor(pack_codes(raw, bits).reshape(shape), name=old.name)
        typed = np.ascontiguousarray(array.reshape(shape)).astype(old.dtype.numpy())
        return ir.Tensor(typed, dtype=old.dtype, name=old.name)


def compressed_weights(graph: ir.Model) -> Iterator[CompressedWeight]:
    """Every weight of the main graph that packlight stored in codes or with a mask."""
    for node in graph.graph:
        weight = None
        if node.domain == DOMAIN:
            weight = _from_call(graph, node)
        elif is_standard(node, "DequantizeLinear"):
            weight = _from_dequantize(node)
        if weight is not None:
            yield weight


def _from_call(graph: ir.Model, node: ir.Node) -> CompressedWeight | None:
    function = graph.functions.get((DOMAIN, node.op_type, ""))
    if function is None or any(value is None or stored(value) is None for value in node.inputs):
        return None
    names = [str(value.name) for value in function.inputs]
    parts = {name: value for name, value in zip(names, node.inputs, strict=True) if value}
    arrays = {name: _array(value) for name, value in parts.items()}
    if "mask" in parts:
        return _sparse(node, parts, arrays)
    if "codes" not in parts:
        return None
    shape = _shape(node, arrays["codes"])
    packed = _packed(node, parts, "codes")
    signed = "table" not in parts and "zero" not in parts
    codes = _unpacked(arrays["codes"], shape, packed.get("codes"), signed=signed)
    form = _values_form(node, parts, {**arrays, "codes": codes}, packed.get("codes"))
    return CompressedWeight(node, parts, form, torch.from_numpy(codes), packed, signed)


def _array(value: ir.Value) -> Array:
    tensor = stored(value)
    assert tensor is not None
    array = np.asarray(tensor.numpy())
    if tensor.dtype in (ir.DataType.INT4, ir.DataType.UINT4):
        return array.astype(np.int8 if tensor.dtype in SIGNED else np.uint8)
    return array


def _shape(node: ir.Node, codes: Array) -> tuple[int, ...]:
    if "shape" in node.attributes:
        return tuple(node.attributes["shape"].as_ints())
    return tuple(codes.shape)


def _packed(node: ir.Node, parts: Mapping[str, ir.Value], part: str) -> dict[str, int]:
    """Bits of packed codes; empty where a type has their width."""
    tensor = stored(parts[part])
    assert tensor is not None
    packed_shape = "shape" in node.attributes and tensor.dtype == ir.DataType.UINT8
    if not packed_shape or (len(tensor.shape) == 1 and part == "values"):
        return {}
    return {part: int(tensor.shape.numpy()[-1])}


def _unpacked(
    packed: Array, shape: tuple[int, ...], bits: int | None, *, signed: bool
) -> Array:
    """Codes as integers in a shape."""
    if bits is None:
        return packed.reshape(shape).astype(np.int64)
    planes = np.unpackbits(packed.astype(np.uint8), axis=1, bitorder="little")
    rows = planes.reshape(-1, bits).astype(np.int64)[: math.prod(shape)]
    codes = rows @ (1 << np.arange(bits))
    if signed:
        codes = np.where(codes >= 1 << (bits - 1), codes - (1 << bits), codes)
    return np.asarray(codes.reshape(shape))


def _values_form(
    node: ir.Node, parts: Mapping[str, ir.Value], arrays: Mapping[str, Array], bits: int | None
) -> GridForm | PaletteForm:
    if "table" in parts:
        table_of = None
        if "channels" in node.attributes:
            channels = node.attributes["channels"].as_ints()[0]
            sizes = node.attributes["outputs"].as_ints()
            table_of = (np.arange(math.prod(sizes)) // channels).reshape(sizes)
        return PaletteForm(arrays, table_of)
    if bits is None:
        tensor = stored(parts.get("codes") or parts["values"])
        assert tensor is not None
        bits = WIDTHS[tensor.dtype]
    scale = arrays.get("half", arrays.get("scale", np.ones(1)))
    return GridForm(arrays, _limits(bits, symmetric="zero" not in parts), scale.shape)


def _limits(bits: int, *, symmetric: bool) -> tuple[int, int]:
    if symmetric:
        top = (1 << (bits - 1)) - 1
        return -top, top
    return 0, (1 << bits) - 1


def _sparse(
    node: ir.Node, parts: Mapping[str, ir.Value], arrays: Mapping[str, Array]
) -> CompressedWeight:
    shape = tuple(node.attributes["shape"].as_ints())
    mask = _unpacked(arrays["mask"], shape, 1, signed=False).astype(bool)
    packed = _packed(node, parts, "values")
    count = int(mask.sum())
    signed = "table" not in parts
    if arrays["values"].dtype.kind == "f":
        values = np.zeros(shape, np.float32)
        values[mask] = arrays["values"].astype(np.float32)
        form = SparseForm(mask, None)
        return CompressedWeight(node, parts, form, torch.from_numpy(values), {}, signed)
    codes = np.zeros(shape, np.int64)
    codes[mask] = _unpacked(arrays["values"], (count,), packed.get("values"), signed=signed)
    inner = _values_form(node, parts, arrays, packed.get("values"))
    return CompressedWeight(
        node, parts, SparseForm(mask, inner), torch.from_numpy(codes), packed, signed
    )


def _from_dequantize(node: ir.Node) -> CompressedWeight | None:
    """A weight whose codes are restored at every run; None for other uses of the operator."""
    if any(value is not None and stored(value) is None for value in node.inputs):
        return None
    codes = node.inputs[0]
    scale = node.inputs[1]
    assert codes is not None
    assert scale is not None
    tensor = stored(codes)
    if tensor is None or tensor.dtype not in WIDTHS or tensor.size < 2:  # noqa: PLR2004
        return None
    parts = {"codes": codes, "scale": scale}
    if len(node.inputs) > 2 and node.inputs[2] is not None:  # noqa: PLR2004
        parts["zero"] = node.inputs[2]
    arrays = {name: _array(value) for name, value in parts.items()}
    if arrays["scale"].dtype != np.float32:
        return None
    signed = tensor.dtype in SIGNED
    rank = len(tensor.shape)
    axis = node.attributes.get_int("axis", 1) % max(rank, 1)
    block = node.attributes.get_int("block_size", 0)
    shape = [1] * rank
    shape[axis] = -1
    scale_shape = list(arrays["scale"].shape) if block else shape
    limits = _limits(WIDTHS[tensor.dtype], symmetric=signed)
    form = GridForm(arrays, limits, scale_shape, (axis, block) if block else None)
    integers = torch.from_numpy(arrays["codes"].astype(np.int64))
    return CompressedWeight(node, parts, form, integers, {}, signed)
