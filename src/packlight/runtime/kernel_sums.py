"""Sums of 8-bit products in the kernels of an optimized graph, and their saturation at 16 bits.

On x86 without VNNI sums of unsigned codes with signed weights saturate: ``vpmaddubsw`` multiplies
them and adds neighboring products along the inputs, the first with the second, the third with the
fourth; sums outside 16 bits become the nearest number inside. ``vpmaddwd`` adds such pairs in 32
bits, where they have room. Other combinations and depthwise convolutions have kernels with 16-bit
factors, ConvInteger puts its unsigned input where signed weights go, and signed activations run in
portable code; none of these saturate.
Source: Intel's manual of instructions; ``MlasGemmQuantGetDispatch``, ``QLinearConv::PrePack`` and
the kernels QgemmU8S8, QgemvU8S8 and ConvSym for AVX2 and AVX512 of ONNX Runtime's MLAS, which pair
neighbors from the first input on; all of it was also tried on an emulated processor without VNNI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from packlight.model import optional_input, stored_tensor
from packlight.runtime.exact_integers import MICROSOFT

Array = NDArray[np.generic]
Codes = NDArray[np.uint8]
Weights = NDArray[np.int8]
Integers = NDArray[np.int32]
Mask = NDArray[np.bool_]

INT16_LOW = -(2**15)
INT16_HIGH = 2**15 - 1

LARGEST_CODE = 255
"""Largest code of an activation."""

MOST_POSITIVE = INT16_HIGH // LARGEST_CODE
MOST_NEGATIVE = -(-INT16_LOW // LARGEST_CODE)
"""Largest sums of the weights of a pair that never saturate: 128 and -128."""

SPATIAL = 2
"""Axes of a convolution's input before its spatial ones."""


@dataclass(frozen=True, slots=True)
class Operands:
    """Indices of the inputs that a kernel multiplies.

    Attributes:
        codes: the activation; -1 for a state inside the kernel.
        weight: the factor of the codes.
        zero: zero point of the activation; -1 where it has none.
        layout: function that turns the weight into matrices.
        floats: True for a float activation, which the kernel quantizes by its range.
    """

    codes: int
    weight: int
    zero: int
    layout: Callable[[ir.Node, Array], Weights]
    floats: bool = False


def _matrix_columns(node: ir.Node, weight: Array) -> Weights:
    del node
    return np.asarray(weight.reshape(-1, *weight.shape[-2:]), np.int8)


def _gemm_columns(node: ir.Node, weight: Array) -> Weights:
    if node.attributes.get_int("transB", 0):
        weight = weight.T
    return np.asarray(weight[None], np.int8)


def _kernel_columns(node: ir.Node, weight: Array) -> Weights:
    """(out, in / groups, ...kernel) as (groups, kernel x in / groups, out / groups).

    Channels are neighbors: images run with the channels last.
    """
    groups = node.attributes.get_int("group", 1)
    split = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    moved = split.transpose(0, 3, 2, 1)
    return np.asarray(moved.reshape(groups, -1, moved.shape[-1]), np.int8)


KERNELS: Mapping[tuple[str, str], tuple[Operands, ...]] = {
    ("", "QLinearConv"): (Operands(0, 3, 2, _kernel_columns),),
    (MICROSOFT, "QLinearConv"): (Operands(0, 3, 2, _kernel_columns),),
    ("", "QLinearMatMul"): (Operands(0, 3, 2, _matrix_columns),),
    ("", "MatMulInteger"): (Operands(0, 1, 2, _matrix_columns),),
    (MICROSOFT, "MatMulIntegerToFloat"): (Operands(0, 1, 4, _matrix_columns),),
    (MICROSOFT, "QGemm"): (Operands(0, 3, 2, _gemm_columns),),
    (MICROSOFT, "DynamicQuantizeMatMul"): (Operands(0, 1, -1, _matrix_columns, floats=True),),
    (MICROSOFT, "DynamicQuantizeLSTM"): (
        Operands(0, 1, -1, _matrix_columns, floats=True),
        Operands(-1, 2, -1, _matrix_columns, floats=True),
    ),
    (MICROSOFT, "QAttention"): (Operands(0, 1, 6, _matrix_columns),),
}
"""By domain and type; the second weight of an LSTM multiplies states inside the kernel."""


def saturating_operands(node: ir.Node) -> Iterator[Operands]:
    """Operands of a kernel whose sums may saturate."""
    domain = node.domain if node.domain != "ai.onnx" else ""
    for candidate in KERNELS.get((domain, node.op_type), ()):
        weight = optional_input(node, candidate.weight)
        codes = _element_type(optional_input(node, candidate.codes))
        zero = _element_type(optional_input(node, candidate.zero))
        signed = not candidate.floats and ir.DataType.INT8 in (codes, zero)
        if _element_type(weight) == ir.DataType.INT8 and not signed and not depthwise(node, weight):
            yield candidate


def _element_type(value: ir.Value | None) -> ir.DataType | None:
    if value is None:
        return None
    return (stored_tensor(value) or value).dtype


def depthwise(node: ir.Node, weight: ir.Value | None) -> bool:
    """Test whether every output channel of a convolution reads one input channel of its own."""
    tensor = stored_tensor(weight) if weight is not None else None
    if node.op_type != "QLinearConv" or tensor is None:
        return False
    groups = node.attributes.get_int("group", 1)
    return groups > 1 and tensor.shape.numpy()[:SPATIAL] == (groups, 1)


def code_matrices(node: ir.Node, codes: Array, weight: Array, zero: int, max_rows: int) -> Codes:
    """Code matrices that multiply those of a weight, (groups, n, in); (1, n, in) for all groups.

    Args:
        node: the kernel.
        codes: of its activation.
        weight: an array of its weight's shape.
        zero: code of 0.0, which pads images.
        max_rows: rows at most for each group, spread evenly; 0 gives all.
    """
    unsigned = np.asarray(codes, np.uint8)
    if node.op_type == "QLinearConv":
        return patches(node, unsigned, weight.shape[SPATIAL:], zero, max_rows)
    if "MatMul" in node.op_type and weight.ndim > SPATIAL:
        return _sample_rows(unsigned.reshape(-1, *unsigned.shape[-2:]), max_rows)
    return _sample_rows(unsigned.reshape(1, -1, unsigned.shape[-1]), max_rows)


def _sample_rows(rows: Codes, max_rows: int) -> Codes:
    count = rows.shape[1]
    if not max_rows or count <= max_rows:
        return rows
    return rows[:, np.linspace(0, count - 1, max_rows).astype(np.int64)]


def patches(node: ir.Node, images: Codes, kernel: Sequence[int], zero: int, max_rows: int) -> Codes:
    """Patches that a kernel reads, (groups, n, kernel x in / groups), channels innermost."""
    if node.domain == MICROSOFT and node.attributes.get_int("channels_last", 0) == 1:
        images = np.moveaxis(images, -1, 1)
    rank = len(kernel)
    strides = node.attributes.get_ints("strides", [1] * rank)
    dilations = node.attributes.get_ints("dilations", [1] * rank)
    edges = padding(node, images.shape[SPATIAL:], kernel, strides, dilations)
    padded = np.pad(images, [(0, 0), (0, 0), *edges], constant_values=zero)
    extent = [(size - 1) * gap + 1 for size, gap in zip(kernel, dilations, strict=True)]
    axes = tuple(range(SPATIAL, SPATIAL + rank))
    windows = sliding_window_view(padded, extent, axis=axes)
    steps = [slice(None, None, step) for step in (*strides, *dilations)]
    windows = windows[(slice(None), slice(None), *steps)]
    return _sample_patches(windows, node.attributes.get_int("group", 1), rank, max_rows)


def _sample_patches(windows: Codes, groups: int, rank: int, max_rows: int) -> Codes:
    """Evenly spread patches from windows (batch, channels, ...positions, ...kernel)."""
    batch, depth = windows.shape[:SPATIAL]
    positions = windows.shape[SPATIAL : SPATIAL + rank]
    count = int(np.prod(positions))
    chosen_count = count
    if max_rows:
        chosen_count = min(count, max(1, max_rows // batch))
    index = np.unravel_index(np.linspace(0, count - 1, chosen_count).astype(np.int64), positions)
    chosen: tuple[slice | NDArray[np.intp], ...] = (slice(None), slice(None), *index)
    picked = windows[chosen].reshape(batch, groups, depth // groups, chosen_count, -1)
    moved = picked.transpose(1, 0, 3, 4, 2)
    return np.ascontiguousarray(moved).reshape(groups, batch * chosen_count, -1)


def padding(
    node: ir.Node,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]]:
    """Positions added before and after each spatial axis."""
    rank = len(kernel)
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    pads = [0] * 2 * rank
    if automatic == "NOTSET":
        pads = list(node.attributes.get_ints("pads", pads))
    elif automatic != "VALID":
        for axis, (size, step) in enumerate(zip(sizes, strides, strict=True)):
            extent = (kernel[axis] - 1) * dilations[axis] + 1
            total = max(0, (-(-size // step) - 1) * step + extent - size)
            begin = total // 2
            if automatic != "SAME_UPPER":
                begin = total - begin
            pads[axis] = begin
            pads[axis + rank] = total - begin
    return [(pads[axis], pads[axis + rank]) for axis in range(rank)]


def weight_pairs(weight: Weights) -> Integers:
    """A weight (in, out) as pairs (ceil(in / 2), 2, out); an odd input is paired with zero."""
    wide = np.pad(weight.astype(np.int32), ((0, len(weight) % 2), (0, 0)))
    return wide.reshape(-1, 2, weight.shape[1])


def may_saturate(weight: Weights) -> Mask:
    """Mask of the pairs of neighbors whose sum leaves 16 bits for some codes.

    The worst codes are 255 for weights of one sign and 0 for those of the other.

    Args:
        weight: (in, out).

    Returns:
        (ceil(in / 2), out).
    """
    pairs = weight_pairs(weight)
    above = np.maximum(pairs, 0).sum(axis=1) > MOST_POSITIVE
    below = np.minimum(pairs, 0).sum(axis=1) < MOST_NEGATIVE
    return np.asarray(above | below)


def _pair_losses(codes: Codes, weight: Weights) -> Iterator[tuple[NDArray[np.intp], Integers]]:
    """Changes by saturation, pair after pair.

    Args:
        codes: (n, in).
        weight: (in, out).

    Yields:
        Outputs for which a pair can saturate (m,), and the change of their sums (n, m).
    """
    pairs = weight_pairs(weight)
    wide = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    for index, outputs in enumerate(may_saturate(weight)):
        if outputs.any():
            chosen = np.flatnonzero(outputs)
            codes_of_pair = wide[:, 2 * index : 2 * index + 2].astype(np.int32)
            sums: Integers = codes_of_pair @ pairs[index][:, chosen]
            yield chosen, np.clip(sums, INT16_LOW, INT16_HIGH) - sums


def saturation_losses(codes: Codes, weight: Weights) -> tuple[Integers, Integers]:
    """Changes of all sums by saturation, and counts of saturated pairs, (n, out) each."""
    change = np.zeros((len(codes), weight.shape[1]), np.int32)
    count = np.zeros_like(change)
    for outputs, part in _pair_losses(codes, weight):
        change[:, outputs] += part
        count[:, outputs] += part != 0
    return change, count


def exact_product(codes: Codes, weight: Weights) -> Integers:
    """The product without saturation; float64 holds such sums exactly."""
    return np.asarray(codes.astype(np.float64) @ weight.astype(np.float64)).astype(np.int32)


def saturated_product(codes: Codes, weight: Weights) -> Integers:
    """The product (n, out) of codes (n, in) and weights (in, out) as these processors compute it.

    Zero points are subtracted from such sums afterwards, exactly: stored weights multiply stored
    codes, in padding the zero point's.
    """
    return exact_product(codes, weight) + saturation_losses(codes, weight)[0]
