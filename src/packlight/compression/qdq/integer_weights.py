"""Weights of integer operators, rounded in the order they run, behind quantized activations.

Each is rounded for the inputs that it really gets: those of quantized activations and of the
weights rounded before. Its bias takes up what that does to the means of its outputs.
Source: Frantar et al., "GPTQ" (ICLR 2023); Nagel et al., "Data-Free Quantization" (ICCV 2019),
section 4.2, for the means, which are measured on samples here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.backends.capabilities import policy
from packlight.compression.grids import granularity
from packlight.compression.grids.uniform import Uniform, fit_grid
from packlight.compression.qdq.int16_saturation import held, neighbours, portable_scale
from packlight.compression.reconstruction.bias_correction import Bias, bias_of
from packlight.compression.reconstruction.gptq import gptq
from packlight.compression.reconstruction.hessian import HessianObserver, observe_hessians
from packlight.compression.reconstruction.sequential import hessian_batches
from packlight.compression.reconstruction.shrinkage import importance, shrunk_hessian
from packlight.compression.sites.weight_matrix import weight_layout
from packlight.compression.sites.weight_sites import WeightSite
from packlight.records.configs import DynamicInt8, StaticInt8
from packlight.records.granularity import PerChannel, PerTensor
from packlight.runtime.calibration import Calibrator

Floats = NDArray[np.float32]
DAMPING = 0.1
"""Share of the mean squared input by which GPTQ trusts its samples less."""


IntegerConfig = StaticInt8 | DynamicInt8


def weight_granularity(config: IntegerConfig, node: ir.Node) -> PerChannel | PerTensor:
    """Who shares a scale of an operator's weight: all of it where the runtime has one scale."""
    if isinstance(config, StaticInt8):
        has_channel_scales = node.op_type in policy(config.runtime).runtime.per_channel
        if has_channel_scales:
            return config.granularity
        return PerTensor()
    return config.granularity


def has_one_scale(config: IntegerConfig, reader: Reader) -> bool:
    """Whether a weight has one scale for the whole tensor."""
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


def nearest(reader: Reader, config: IntegerConfig) -> Codes:
    """A weight to the nearest points of its grid."""
    weight = reader.weight.read()
    points = grid_of(reader, weight, np.ones_like(weight), config)
    return coded(reader, points, points.nearest(weight), config)


def blank(reader: Reader, config: IntegerConfig) -> Codes:
    """Codes and scales of a weight's shapes, for a file whose size is all that is asked."""
    shape = reader.weight.shape
    summed = reader.weight.summed
    outputs = math.prod(size for axis, size in enumerate(shape) if axis not in summed)
    scale = np.ones(() if has_one_scale(config, reader) else outputs, np.float32)
    return Codes(np.zeros(shape, np.int8), scale, np.zeros(shape, np.float32))


def grid_of(reader: Reader, weight: Floats, matters: Floats, config: IntegerConfig) -> Uniform:
    """The grid of a weight: as wide as is best, as its bias needs, and as pairs stay safe."""
    single = has_one_scale(config, reader)
    shape = reader.weight.shape
    summed = reader.weight.summed
    groups = granularity.per_tensor(shape) if single else granularity.per_channel(shape, summed)
    fitted = fit_grid(weight, matters, groups, config.bits, symmetric=True, search=config.search)
    least = reader.least.max() if single else reader.least
    scale = np.maximum(fitted.scale.ravel(), least)
    form = neighbours(reader.node, shape) if config.portable else None
    if form is not None:
        rows = form.rows(weight)
        top = granularity.top_code(config.bits)
        scale_of_rows = np.broadcast_to(scale, len(rows)).astype(np.float32)
        scale = portable_scale(rows, form.rows(matters), scale_of_rows, top)
        scale = scale.max() if single else scale
    scale = scale.reshape(fitted.scale.shape).astype(np.float32)
    return Uniform(groups, config.bits, True, scale, np.zeros_like(scale))


def coded(reader: Reader, points: Uniform, codes: Floats, config: IntegerConfig) -> Codes:
    """Codes as they are stored, their pairs held within 16 bits where that is asked for."""
    form = neighbours(reader.node, reader.weight.shape) if config.portable else None
    if form is not None:
        codes = form.weight(held(form.rows(codes)))
    single = has_one_scale(config, reader)
    scale = points.scale.reshape(() if single else (-1,))
    return Codes(codes.astype(np.int8), scale, points.values(codes))


def absorber(reader: Reader) -> Bias | None:
    """The bias that can take up what integers do to the means of an operator's outputs."""
    groups, outputs, _ = weight_layout(reader.weight).sizes()
    return bias_of(reader.weight.roles[0], groups * outputs)


def grow(readers: Sequence[Reader]) -> None:
    """Give every operator that can have one a bias of its own, so that the file's size is known."""
    for reader in readers:
        vector = absorber(reader)
        if vector is not None and vector.is_new:
            groups, outputs, _ = weight_layout(reader.weight).sizes()
            vector.shift(np.zeros((groups, outputs)))


def rounded(
    graph: ir.Model,
    readers: Sequence[Reader],
    calibrator: Calibrator,
    config: IntegerConfig,
) -> Iterator[Codes]:
    """Round weight after weight, and leave in the graph what their codes stand for.

    Args:
        graph: changed in place; its activations are quantized already.
        readers: in the order they run.
        calibrator: runs calibration samples.
        config: how to round.
    """
    for batch in hessian_batches(readers, calibrator):
        hessians = observe_hessians(graph, batch, calibrator)
        for reader in batch:
            yield round_one(reader, hessians.pop(id(reader)), config)


def round_one(reader: Reader, observer: HessianObserver, config: IntegerConfig) -> Codes:
    """Round one weight."""
    if not observer.calls:
        codes_of_reader = nearest(reader, config)
        reader.weight.put(codes_of_reader.floats)
        return codes_of_reader
    weight = reader.weight.read()
    form = weight_layout(reader.weight)
    vector = absorber(reader) if config.bias else None
    hessian = shrunk_hessian(observer, DAMPING, centered=vector is not None)
    points = grid_of(reader, weight, importance(hessian, form), config)
    codes = points.nearest(weight)
    matrices = form.matrices(weight).astype(np.float64)
    if config.rounding == "gptq":
        rows = gptq(matrices, hessian, points.lattice(form), ordered=True)
        codes = form.weight(rows).astype(np.float32)
    codes_of_reader = coded(reader, points, codes, config)
    reader.weight.put(codes_of_reader.floats)
    if vector is not None:
        lost = matrices - form.matrices(codes_of_reader.floats).astype(np.float64)
        vector.shift((lost @ observer.mean()[:, :, None])[:, :, 0])
    return codes_of_reader
