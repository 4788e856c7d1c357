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
from packlight.compression.qdq.integer_weights import (
    PairLayout,
    excess,
    in_pairs,
    pair_layout,
)
from packlight.compression.sites.weight_roles import is_standard, stored
from packlight.compression.training.stored_forms import (
    BiasForm,
    GridForm,
    PaletteForm,
    SparseForm,
    StoredForm,
)
from packlight.torch.operators.quantization import TRAINING_DOMAIN
from packlight.torch.values import Tensor, array_of

Array = NDArray[Any]
SIGNED = (ir.DataType.INT4, ir.DataType.INT8)
LEAST = 2
"""Numbers from which stored values are weights."""

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
        typed = np.array(array.reshape(shape), old.dtype.numpy(), order="C")
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
    return array_of(tensor)


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


def _unpacked(packed: Array, shape: tuple[int, ...], bits: int | None, *, signed: bool) -> Array:
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
        table_of: Array | None = None
        if "channels" in node.attributes:
            channels = node.attributes["channels"].as_ints()[0]
            sizes = node.attributes["outputs"].as_ints()
            table_of = (np.arange(math.prod(sizes)) // channels).reshape(sizes)
        return PaletteForm(arrays, table_of)
    if bits is None:
        tensor = stored(parts["codes" if "codes" in parts else "values"])
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
    form: SparseForm
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
    inputs = [value for value in node.inputs if value is not None]
    parts = dict(zip(("codes", "scale", "zero"), inputs, strict=False))
    tensor = stored(parts["codes"])
    if tensor is None or tensor.dtype not in (*WIDTHS, ir.DataType.INT32) or tensor.size < LEAST:
        return None
    arrays = {name: _array(value) for name, value in parts.items()}
    if arrays["scale"].dtype != np.float32:
        return None
    integers = torch.from_numpy(arrays["codes"].astype(np.int64))
    rank = len(tensor.shape)
    axis = node.attributes.get_int("axis", 1) % max(rank, 1)
    aligned = [1] * rank
    aligned[axis] = -1
    if tensor.dtype == ir.DataType.INT32:
        zero = arrays.get("zero", np.zeros_like(arrays["scale"]))
        aligned = aligned if arrays["scale"].size > 1 else []
        bias = BiasForm(arrays["scale"].reshape(aligned), zero.reshape(aligned))
        return CompressedWeight(node, parts, bias, integers, {}, signed=True)
    signed = tensor.dtype in SIGNED
    block = node.attributes.get_int("block_size", 0)
    low, high = _limits(WIDTHS[tensor.dtype], symmetric=signed)
    limits = (min(low, int(integers.min())), high)
    in_integers = _multiplies_codes(node.outputs[0])
    form = GridForm(
        arrays,
        limits,
        list(arrays["scale"].shape) if block else aligned,
        (axis, block) if block else None,
        _safe_pairs(node.outputs[0], arrays["codes"]) if in_integers and signed else None,
        learns_scale=not in_integers,
    )
    return CompressedWeight(node, parts, form, integers, {}, signed)


def _multiplies_codes(weight: ir.Value) -> bool:
    """Tell whether operators read a weight beside activations in codes.

    Pairs are one operator here. Scales of biases follow from those of the weight, which stay as
    they are then: kernels take the product for granted.
    """
    inputs = [value for node in weight.consumers() for value in node.inputs]
    makers = [value.producer() for value in inputs if value is not None]
    return any(maker is not None and maker.domain == TRAINING_DOMAIN for maker in makers)


def _safe_pairs(weight: ir.Value, codes: Array) -> PairLayout | None:
    """Pairs of weights that are added in 16 bits, where all are safe; else None."""
    readers = list(weight.consumers())
    form = pair_layout(readers[0], codes.shape) if readers else None
    if form is None:
        return None
    safe = not excess(in_pairs(form.rows(codes.astype(np.float32)))).any()
    return form if safe else None
