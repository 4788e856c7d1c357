"""Weights of integer operators, rounded in the order they run, behind quantized activations.

Each is rounded for the inputs that it really gets: those of quantized activations and of the
weights rounded before. Its bias takes up what that does to the means of its outputs.
Source: Frantar et al., "GPTQ" (ICLR 2023); Nagel et al., "Data-Free Quantization" (ICCV 2019),
section 4.2, for the means, which are measured on samples here.

x86 processors without VNNI add products of neighboring weights in 16 bits. With codes of
activations up to 255, no sum leaves them where weights of one sign sum up to 128 at most in every
pair. Few pairs of 8-bit weights do more, so a little less of the range is cut off than by 7 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.backends.capabilities import policy
from packlight.compression.grids import grouping
from packlight.compression.grids.uniform import Uniform, fit_grid
from packlight.compression.reconstruction.bias_correction import Bias, bias_of
from packlight.compression.reconstruction.gptq import gptq_blocks
from packlight.compression.reconstruction.hessian import Observers, observe_hessians
from packlight.compression.reconstruction.sequential import hessian_batches
from packlight.compression.reconstruction.shrinkage import importance, shrunk_blocks
from packlight.compression.sites.weight_matrix import weight_layout
from packlight.compression.sites.weight_sites import WeightSite
from packlight.records.configs import DynamicInt8, StaticInt8
from packlight.records.granularity import PerChannel, PerTensor
from packlight.runtime.calibration import Calibrator
from packlight.runtime.kernel_sums import MOST_NEGATIVE, MOST_POSITIVE

Floats = NDArray[np.float32]
DAMPING = 0.1
"""Share of the mean squared input by which GPTQ trusts its samples less."""


IntegerConfig = StaticInt8 | DynamicInt8


def weight_granularity(config: IntegerConfig, node: ir.Node) -> PerChannel | PerTensor:
    """Who shares a scale of an operator's weight: all of it where the runtime has one scale.

    So has an LSTM: with a scale for each output its kernel takes a tenth more time.
    """
    if isinstance(config, DynamicInt8):
        return PerTensor() if node.op_type == "LSTM" else config.granularity
    if node.op_type in policy(config.runtime).runtime.per_channel:
        return config.granularity
    return PerTensor()


def _has_one_scale(config: IntegerConfig, reader: Reader) -> bool:
    return isinstance(weight_granularity(config, reader.node), PerTensor)


@dataclass(frozen=True, slots=True, eq=False)
class Reader(WeightSite):
    """An operator in integers with its weight.

    Attributes:
        least: of shape (1,) or (out,), what its scales must reach.
    """

    least: Floats

    @property
    def node(self) -> ir.Node:
        """The operator."""
        return self.weight.roles[0].node

    @property
    def has_own_inputs(self) -> bool:
        """True if no other operator reads the weight, so that samples can tell how to round it."""
        return len(self.weight.value.uses()) == 1


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """A weight in integers.

    Attributes:
        codes: of the weight's shape.
        scale: of shape (out,), or () for the whole tensor.
        floats: what they stand for.
    """

    codes: NDArray[np.int8]
    scale: Floats
    floats: Floats


def round_to_nearest(reader: Reader, config: IntegerConfig) -> Codes:
    """A weight to the nearest points of its grid."""
    weight = reader.weight.read()
    points = _weight_grid(reader, weight, np.ones_like(weight), config)
    return _coded(reader, points, points.nearest(weight), config)


def blank_codes(reader: Reader, config: IntegerConfig) -> Codes:
    """Codes and scales of a weight's shapes, for a file whose size is all that is asked."""
    shape = reader.weight.shape
    split = reader.weight.split_shape
    summed = reader.weight.summed
    outputs = math.prod(size for axis, size in enumerate(split) if axis not in summed)
    scale = np.ones(() if _has_one_scale(config, reader) else outputs, np.float32)
    return Codes(np.zeros(shape, np.int8), scale, np.zeros(shape, np.float32))


def _weight_grid(reader: Reader, weight: Floats, matters: Floats, config: IntegerConfig) -> Uniform:
    """The grid of a weight: as wide as is best, as its bias needs, and as pairs stay safe."""
    shape = reader.weight.shape
    single = _has_one_scale(config, reader)
    least = reader.least
    if single:
        groups = grouping.per_tensor(shape)
        least = least.max()
    else:
        groups = grouping.per_channel(reader.weight.split_shape, reader.weight.summed)
    fitted = fit_grid(weight, matters, groups, config.bits, symmetric=True, search=config.search)
    scale: Floats = np.maximum(fitted.scale.ravel(), least)
    form = _paired_rows(reader, config)
    if form is not None:
        rows = form.rows(weight)
        top = grouping.top_code(config.bits)
        scale_of_rows = np.broadcast_to(scale, len(rows)).astype(np.float32)
        scale = _portable_scale(rows, form.rows(matters), scale_of_rows, top)
        if single:
            scale = scale.max()
    scale = scale.reshape(fitted.scale.shape).astype(np.float32)
    return Uniform(groups, config.bits, True, scale, np.zeros_like(scale))


def _paired_rows(reader: Reader, config: IntegerConfig) -> PairLayout | None:
    if not config.portable:
        return None
    return pair_layout(reader.node, reader.weight.shape)


def _coded(reader: Reader, points: Uniform, codes: Floats, config: IntegerConfig) -> Codes:
    form = _paired_rows(reader, config)
    if form is not None:
        codes = form.weight(hold_pairs(form.rows(codes)))
    scale = points.scale.reshape(() if _has_one_scale(config, reader) else (-1,))
    return Codes(codes.astype(np.int8), scale, points.values(codes))


def _bias_of(reader: Reader) -> Bias | None:
    groups, outputs, _ = weight_layout(reader.weight).sizes()
    return bias_of(reader.weight.roles[0], groups * outputs)


def add_biases(readers: Sequence[Reader]) -> None:
    """Give every operator that can have one a bias of its own, so that the file's size is known."""
    for reader in readers:
        vector = _bias_of(reader)
        if vector is not None and vector.is_new:
            groups, outputs, _ = weight_layout(reader.weight).sizes()
            vector.shift(np.zeros((groups, outputs)))


def round_by_samples(
    graph: ir.Model, readers: Sequence[Reader], calibrator: Calibrator, config: IntegerConfig
) -> dict[Reader, Codes]:
    """Round weight after weight, and leave in the graph what their codes stand for.

    Args:
        graph: changed in place; its activations are quantized already.
        readers: in the order they run.
        calibrator: runs calibration samples; without any, nothing is rounded.
        config: how to round.
    """
    rounded: dict[Reader, Codes] = {}
    if calibrator.sizes_only:
        return rounded
    for batch in hessian_batches(readers, calibrator):
        hessians = observe_hessians(graph, batch, calibrator)
        for reader in batch:
            rounded[reader] = _round_weight(reader, hessians.pop(id(reader)), config)
    return rounded


def _round_weight(reader: Reader, observers: Observers, config: IntegerConfig) -> Codes:
    """Round one weight."""
    if not all(observer.calls for observer in observers):
        codes_of_reader = round_to_nearest(reader, config)
        reader.weight.put(codes_of_reader.floats)
        return codes_of_reader
    weight = reader.weight.read()
    form = weight_layout(reader.weight)
    bias = _bias_of(reader) if config.bias else None
    hessian = shrunk_blocks(observers, DAMPING, centered=bias is not None)
    mean = np.concatenate([observer.mean() for observer in observers], axis=1)
    del observers  # as large as the Hessian
    points = _weight_grid(reader, weight, importance(hessian, form), config)
    codes = points.nearest(weight)
    matrices = form.matrices(weight).astype(np.float64)
    if config.rounding == "gptq":
        rows = gptq_blocks(matrices, hessian, points.lattice(form), ordered=True)
        codes = form.weight(rows).astype(np.float32)
    codes_of_reader = _coded(reader, points, codes, config)
    reader.weight.put(codes_of_reader.floats)
    if bias is not None:
        error = matrices - form.matrices(codes_of_reader.floats).astype(np.float64)
        bias.shift((error @ mean[:, :, None])[:, :, 0])
    return codes_of_reader


SPATIAL = 2
TRIED = 6
"""Scales tried for each output, from the one wanted to the one at which no pair is cut off."""


@dataclass(frozen=True, slots=True)
class PairLayout:
    """How a weight becomes rows (out, in) in which weights are added in pairs.

    Attributes:
        shape: of the weight.
        order: its axes, those of the outputs first.
        outer: axes of the outputs.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    outer: int = 1

    @property
    def first(self) -> tuple[int, ...]:
        """Axes of the outputs, as they lie in the weight."""
        return self.order[: self.outer]

    def rows(self, weight: Floats) -> Floats:
        """(out, in) from an array of the weight's shape."""
        moved = weight.transpose(self.order)
        return moved.reshape(math.prod(moved.shape[: self.outer]), -1)

    def weight(self, rows: Floats) -> Floats:
        """An array of the weight's shape from (out, in)."""
        moved = tuple(self.shape[axis] for axis in self.order)
        return rows.reshape(moved).transpose(np.argsort(self.order))


def pair_layout(node: ir.Node, shape: tuple[int, ...]) -> PairLayout | None:
    """Pairs of weights that are added in 16 bits; None where sums have 32.

    Depthwise convolutions have; transposed ones have no integer kernel in ONNX Runtime at all.
    """
    if node.op_type == "ConvTranspose":
        return None
    if node.op_type == "Conv":
        groups = node.attributes.get_int("group", 1)
        if groups > 1 and shape[:SPATIAL] == (groups, 1):
            return None
        return PairLayout(shape, (0, *range(SPATIAL, len(shape)), 1))
    if node.op_type == "LSTM":
        return PairLayout(shape, (0, 1, 2), outer=2)
    turned = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
    if turned:
        return PairLayout(shape, (0, 1))
    return PairLayout(shape, (1, 0))


def in_pairs(rows: Floats) -> Floats:
    """Rows (out, in) as (out, pairs, 2); an odd input is paired with zero."""
    wide = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    return wide.reshape(len(rows), -1, 2)


def excess(codes: Floats) -> Floats:
    """Excess by which the weights of one sign in each pair (out, pairs, 2) go beyond what is safe.

    Positive above, negative below; they cannot be both.
    """
    above = np.maximum(codes, 0).sum(axis=-1) - MOST_POSITIVE
    below = np.minimum(codes, 0).sum(axis=-1) - MOST_NEGATIVE
    return np.asarray(np.maximum(above, 0) + np.minimum(below, 0), np.float32)


def hold_pairs(rows: Floats) -> Floats:
    """The nearest codes (out, in), whole numbers, whose pairs are safe."""
    codes = in_pairs(rows)
    over = excess(codes)
    half = np.trunc(over / 2)
    safe = codes - np.stack([over - half, half], axis=-1)
    return np.asarray(safe.reshape(len(rows), -1)[:, : rows.shape[1]], np.float32)


def _safe_scale(rows: Floats) -> Floats:
    pairs = in_pairs(rows)
    above = np.maximum(pairs, 0).sum(axis=-1).max(axis=1, initial=0.0)
    below = -np.minimum(pairs, 0).sum(axis=-1).min(axis=1, initial=0.0)
    return np.asarray(np.maximum(above, below) / (MOST_POSITIVE - 1), np.float32)


def _portable_scale(rows: Floats, matters: Floats, scale_asked: Floats, top: int) -> Floats:
    """The scale of each row at which rounding and holding the pairs costs least.

    Args:
        rows: weights (out, in).
        matters: how much a squared error matters, of the same shape.
        scale_asked: the best scale (out,) were there no pairs.
        top: largest code.

    Returns:
        (out,), from ``wanted`` to the one at which no pair is cut off.
    """
    widest = np.maximum(_safe_scale(rows), scale_asked)
    best = scale_asked.copy()
    least = np.full(len(rows), np.inf)
    for share in np.linspace(0, 1, TRIED):
        scale = (scale_asked * (widest / scale_asked) ** share).astype(np.float32)
        codes = hold_pairs(np.clip(np.rint(rows / scale[:, None]), -top, top))
        cost = (matters * (codes * scale[:, None] - rows) ** 2).sum(axis=1)
        better = cost < least
        best[better] = scale[better]
        least[better] = cost[better]
    return best
