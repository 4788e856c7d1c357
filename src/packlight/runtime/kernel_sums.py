"""Which sums of 8-bit products the kernels of an optimised graph compute, as matrices.

On x86 without VNNI those of unsigned codes with signed weights saturate. Other combinations and
depthwise convolutions have kernels with 16-bit factors, ConvInteger puts its unsigned input where
signed weights go, and signed activations run in portable code; none of these saturate.
Source: ``MlasGemmQuantGetDispatch``, ``QLinearConv::PrePack`` and the kernels for AVX2 in ONNX
Runtime; all of it was also tried on an emulated processor without VNNI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from packlight.model import stored_tensor
from packlight.runtime.exact_products import given
from packlight.runtime.pair_sums import Codes, Weights

Array = NDArray[np.generic]
MICROSOFT = "com.microsoft"
SPATIAL = 2
"""Axes of a convolution's input before its spatial ones."""


@dataclass(frozen=True, slots=True)
class Operands:
    """Which inputs of a kernel are multiplied.

    Attributes:
        codes: the activation; -1 for one that no tensor shows.
        weight: what it is multiplied with.
        zero: zero point of the activation; -1 where it has none.
        layout: how the weight becomes matrices.
        floats: whether the activation is float and gets codes by its own range in the kernel.
    """

    codes: int
    weight: int
    zero: int
    layout: Callable[[ir.Node, Array], Weights]
    floats: bool = False


def columns(node: ir.Node, weight: Array) -> Weights:
    """(in, out) or (batch, in, out) as matrices (groups, in, out)."""
    del node
    return np.asarray(weight.reshape(-1, *weight.shape[-2:]), np.int8)


def gemm_columns(node: ir.Node, weight: Array) -> Weights:
    """(in, out), or (out, in) with transB, as one matrix."""
    turned = weight.T if node.attributes.get_int("transB", 0) else weight
    return np.asarray(turned[None], np.int8)


def kernel_columns(node: ir.Node, weight: Array) -> Weights:
    """(out, in / groups, ...kernel) as (groups, kernel x in / groups, out / groups).

    Channels are neighbours: images run with the channels last.
    """
    groups = node.attributes.get_int("group", 1)
    split = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    moved = split.transpose(0, 3, 2, 1)
    return np.asarray(moved.reshape(groups, -1, moved.shape[-1]), np.int8)


KERNELS: Mapping[tuple[str, str], tuple[Operands, ...]] = {
    ("", "QLinearConv"): (Operands(0, 3, 2, kernel_columns),),
    (MICROSOFT, "QLinearConv"): (Operands(0, 3, 2, kernel_columns),),
    ("", "QLinearMatMul"): (Operands(0, 3, 2, columns),),
    ("", "MatMulInteger"): (Operands(0, 1, 2, columns),),
    (MICROSOFT, "MatMulIntegerToFloat"): (Operands(0, 1, 4, columns),),
    (MICROSOFT, "QGemm"): (Operands(0, 3, 2, gemm_columns),),
    (MICROSOFT, "DynamicQuantizeMatMul"): (Operands(0, 1, -1, columns, floats=True),),
    (MICROSOFT, "DynamicQuantizeLSTM"): (
        Operands(0, 1, -1, columns, floats=True),
        Operands(-1, 2, -1, columns, floats=True),
    ),
    (MICROSOFT, "QAttention"): (Operands(0, 1, 6, columns),),
}
"""By domain and type; the second weight of an LSTM multiplies states that no tensor shows."""


def operands(node: ir.Node) -> Iterator[Operands]:
    """What a kernel multiplies in sums that may saturate."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    for found in KERNELS.get((domain, node.op_type), ()):
        weight, codes = given(node, found.weight), given(node, found.codes)
        point = given(node, found.zero) if found.zero >= 0 else None
        signed = not found.floats and ir.DataType.INT8 in (kind(codes), kind(point))
        if kind(weight) == ir.DataType.INT8 and not signed and not depthwise(node, weight):
            yield found


def kind(value: ir.Value | None) -> ir.DataType | None:
    """Type of what a kernel reads, as far as the graph says it."""
    tensor = None if value is None else stored_tensor(value)
    return tensor.dtype if tensor is not None else value.dtype if value is not None else None


def depthwise(node: ir.Node, weight: ir.Value | None) -> bool:
    """Whether every output of a convolution sees one channel that no other output sees."""
    tensor = None if weight is None else stored_tensor(weight)
    if node.op_type != "QLinearConv" or tensor is None:
        return False
    groups, shape = node.attributes.get_int("group", 1), tensor.shape.numpy()
    return groups > 1 and shape[:SPATIAL] == (groups, 1)


def matrices(node: ir.Node, codes: Array, weight: Array, zero: int, places: int) -> Codes:
    """What the matrices of a weight are multiplied with, (groups, n, in); (1, n, in) shared by all.

    Args:
        node: the kernel.
        codes: of its activation.
        weight: of its weight's shape.
        zero: code of 0.0, which images are padded with.
        places: rows at most for each group, spread evenly; 0 gives all.
    """
    unsigned = np.asarray(codes, np.uint8)
    if node.op_type == "QLinearConv":
        return patches(node, unsigned, weight.shape[SPATIAL:], zero, places)
    if "MatMul" in node.op_type and weight.ndim > SPATIAL:
        return thinned(unsigned.reshape(-1, *unsigned.shape[-2:]), places)
    return thinned(unsigned.reshape(1, -1, unsigned.shape[-1]), places)


def thinned(rows: Codes, places: int) -> Codes:
    """Evenly spread rows of every group."""
    count = rows.shape[1]
    if not places or count <= places:
        return rows
    return rows[:, np.linspace(0, count - 1, places).astype(np.int64)]


def patches(node: ir.Node, images: Codes, kernel: Sequence[int], zero: int, places: int) -> Codes:
    """What a kernel sees at each place, (groups, n, kernel x in / groups), channels innermost."""
    if node.domain == MICROSOFT and node.attributes.get_int("channels_last", 0) == 1:
        images = np.moveaxis(images, -1, 1)
    rank, given_ints = len(kernel), node.attributes.get_ints
    strides, gaps = (given_ints(name, [1] * rank) for name in ("strides", "dilations"))
    edges = padding(node, images.shape[SPATIAL:], kernel, strides, gaps)
    padded = np.pad(images, [(0, 0), (0, 0), *edges], constant_values=zero)
    reach = [(size - 1) * gap + 1 for size, gap in zip(kernel, gaps, strict=True)]
    axes = tuple(range(SPATIAL, SPATIAL + rank))
    windows = sliding_window_view(padded, reach, axis=axes)
    whole: tuple[slice, ...] = (slice(None), slice(None))
    windows = windows[(*whole, *(slice(None, None, step) for step in (*strides, *gaps)))]
    return spread(windows, node.attributes.get_int("group", 1), rank, places)


def spread(windows: Codes, groups: int, rank: int, places: int) -> Codes:
    """Patches at evenly spread places from windows (batch, channels, ...places, ...kernel)."""
    batch, depth = windows.shape[:SPATIAL]
    where = windows.shape[SPATIAL : SPATIAL + rank]
    count = int(np.prod(where))
    few = min(count, max(1, places // batch)) if places else count
    index = np.unravel_index(np.linspace(0, count - 1, few).astype(np.int64), where)
    chosen: tuple[slice | NDArray[np.intp], ...] = (slice(None), slice(None), *index)
    picked = windows[chosen].reshape(batch, groups, depth // groups, few, -1)
    moved = picked.transpose(1, 0, 3, 4, 2)
    return np.ascontiguousarray(moved).reshape(groups, batch * few, -1)


def padding(
    node: ir.Node,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    gaps: Sequence[int],
) -> list[tuple[int, int]]:
    """Places added before and after each spatial axis."""
    rank, automatic = len(kernel), node.attributes.get_string("auto_pad", "NOTSET")
    pads = [0] * 2 * rank
    if automatic == "NOTSET":
        pads = list(node.attributes.get_ints("pads", pads))
    elif automatic != "VALID":
        for axis, (size, step) in enumerate(zip(sizes, strides, strict=True)):
            reach = (kernel[axis] - 1) * gaps[axis] + 1
            total = max(0, (-(-size // step) - 1) * step + reach - size)
            less, more = total // 2, total - total // 2
            first, last = (less, more) if automatic == "SAME_UPPER" else (more, less)
            pads[axis], pads[axis + rank] = first, last
    return [(pads[axis], pads[axis + rank]) for axis in range(rank)]
