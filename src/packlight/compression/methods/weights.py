"""Weight-only quantization: weights stored as small integers, everything computed in float.

Each weight W becomes (Q - z) * s with integers Q, and a float scale s and a code z of zero for each
group of weights. Source: the ONNX operator DequantizeLinear-21; Jacob et al., "Quantization
and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (CVPR 2018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import onnx_ir as ir

from packlight.backends.onnxruntime.qdq import fuses_blocked_weight
from packlight.compression.encoding.functions import (
    Body,
    call_unpack,
    is_padded,
    raised_scale,
    shape_codes,
    widen_scale,
)
from packlight.compression.encoding.scales import (
    decoded_scale,
    read_scale,
    scale_bytes,
    scale_parts,
    store_scale,
)
from packlight.compression.encoding.storage import (
    BLOCKED_OPSET,
    MIN_OPSET,
    OPERATOR_BYTES,
    SIGNED_TYPES,
    UNSIGNED_TYPES,
    Expansion,
    Parts,
    code_bytes,
    store_codes,
    twos_complement,
)
from packlight.compression.grids import grouping, uniform
from packlight.compression.grids.grouping import Float, Grouping
from packlight.compression.grids.uniform import Codes, Uniform
from packlight.compression.methods.stored_weights import Array, WeightStorage, function_name
from packlight.compression.reconstruction.sequential import EncodedWeight
from packlight.compression.sites.weight_sites import Weight, WeightSite
from packlight.records.configs import WeightOnly, WeightWidth
from packlight.records.granularity import PerBlock, PerChannel, PerTensor
from packlight.records.storage import StoredGrid
from packlight.records.variant import Refusal

Expand = Literal["load", "run"]


@dataclass(frozen=True, slots=True)
class Site(WeightSite):
    """A weight with the decisions about it.

    Attributes:
        grouping: numbers that share a scale.
        bits: width of a code.
        expand: when it becomes float.
    """

    grouping: Grouping
    bits: int
    expand: Expand


def _decide(config: WeightOnly, weight: Weight) -> Site | Refusal:
    """Grouping and expansion of one weight, or why it stays as it is."""
    summed = weight.summed
    in_a_row = summed == tuple(range(summed[0], summed[-1] + 1))
    if isinstance(config.granularity, PerBlock) and not in_a_row:
        kind = weight.roles[0].node.op_type
        reason = f"blocks do not lie in a row in a {kind}"
        return Refusal(weight.operator, "unsupported-axes", reason, "use per=channel")
    grouping = _group(weight, config)
    expand = _best_expansion(weight, grouping, config)
    refusal = _run_refusal(weight, config)
    if expand == "run" and refusal is not None:
        return refusal
    site = Site(weight, grouping, config.bits, expand)
    after = _stored_bytes(config, site) + OPERATOR_BYTES + weight.cast_bytes
    before = weight.tensor.nbytes
    if after >= before:
        reason = f"codes and scales would take {after} bytes, the float weight {before}"
        return Refusal(weight.operator, "not-smaller", reason, "use larger groups")
    return site


def _group(weight: Weight, config: WeightOnly) -> Grouping:
    if isinstance(config.granularity, PerTensor):
        return grouping.per_tensor(weight.shape)
    if isinstance(config.granularity, PerBlock):
        return grouping.per_block(weight.split_shape, weight.summed, config.granularity.size)
    return grouping.per_channel(weight.split_shape, weight.summed)


def _best_expansion(weight: Weight, grouping: Grouping, config: WeightOnly) -> Expand:
    """When the weight becomes float.

    Where ONNX Runtime does not fuse DequantizeLinear it computes it at every run, at 2.4 to 2.7
    times the time of float.
    """
    if config.expand != "best":
        return config.expand
    if not isinstance(config.granularity, PerBlock) or config.bits not in SIGNED_TYPES:
        return "load"
    if weight.dtype != ir.DataType.FLOAT or weight.is_table:
        return "load"
    block = config.granularity.size
    has_full_blocks = grouping.padded == grouping.shape and grouping.block == block
    if not has_full_blocks or len(weight.roles) != 1:
        return "load"
    if fuses_blocked_weight(weight.roles[0].node, weight.value, block, config.bits):
        return "run"
    return "load"


def _run_refusal(weight: Weight, config: WeightOnly) -> Refusal | None:
    """Reason why DequantizeLinear cannot restore the weight; None where it can."""
    remedy = "use expand=load"
    if config.bits not in SIGNED_TYPES:
        reason = "DequantizeLinear reads codes of 4 or 8 bits"
        return Refusal(weight.operator, "unsupported-bits", reason, remedy)
    if isinstance(config.granularity, PerChannel) and not weight.lies_along_one_axis:
        reason = "DequantizeLinear has scales along one axis; its outputs lie along several"
        return Refusal(weight.operator, "unsupported-axes", reason, remedy)
    if isinstance(config.granularity, PerBlock) and len(weight.summed) > 1:
        reason = "DequantizeLinear has blocks along one axis; this operator sums over several"
        return Refusal(weight.operator, "unsupported-axes", reason, remedy)
    return None


def _scaled_axes(grouping: Grouping) -> list[int]:
    return [axis for axis, size in enumerate(grouping.scale) if size > 1]


def _stored_bytes(config: WeightOnly, site: Site) -> int:
    """Bytes of codes, scales and zeros."""
    shape = site.grouping.shape
    zero_bits = site.bits
    if site.expand == "load":
        shape = site.grouping.padded
        zero_bits = 8
    groups = site.grouping.groups()
    total = code_bytes(math.prod(shape), site.bits) + scale_bytes(groups, config.scales)
    if not config.symmetric:
        total += code_bytes(groups, zero_bits)
    return total


def _least_opset(config: WeightOnly) -> int:
    can_run = config.expand != "load" and config.bits in SIGNED_TYPES
    if config.mixed or (can_run and isinstance(config.granularity, PerBlock)):
        return BLOCKED_OPSET
    return MIN_OPSET[config.bits]


def _fit(config: WeightOnly, site: Site, weight: Float, importance: Float) -> Uniform:
    """The grid of one weight."""
    grid = uniform.fit_grid(
        weight,
        importance,
        site.grouping,
        site.bits,
        symmetric=config.symmetric,
        search=config.range,
    )
    return replace(grid, scale=decoded_scale(grid.scale, config.scales))


def _parts(config: WeightOnly, site: Site, grid: Uniform, codes: Codes) -> Mapping[str, Array]:
    """Codes and scales as they are stored."""
    if site.expand == "load":
        codes = site.grouping.split(codes)
    stored: dict[str, Array] = {}
    if grid.symmetric and site.bits in SIGNED_TYPES:
        stored["codes"] = codes.astype(np.int8)
    elif grid.symmetric:
        stored["codes"] = twos_complement(codes, site.bits)
    else:
        stored["codes"] = codes.astype(np.uint8)
    stored |= scale_parts(grid.scale, config.scales)
    if not config.symmetric:
        stored["zero"] = grid.zero.astype(np.uint8)
    return stored


def _restore(config: WeightOnly, site: Site, parts: Parts, expansion: Expansion) -> ir.Value:
    restoration = Restoration(expansion, site, parts, config)
    if site.expand == "load":
        return restoration.at_load()
    return restoration.at_run()


@dataclass(frozen=True, slots=True)
class Restoration:
    """Writes stored values and operators that restore one weight.

    Attributes:
        expansion: of the weight.
        site: the weight.
        parts: its stored arrays.
        config: of the step.
    """

    expansion: Expansion
    site: Site
    parts: Parts
    config: WeightOnly

    def at_load(self) -> ir.Value:
        """Codes as floats times scale, which the runtime computes once."""
        expansion = self.expansion
        grouping = self.site.grouping
        packed = self.site.bits not in SIGNED_TYPES
        inputs = {"codes": self.codes(grouping.view), **self.scales(grouping.scale)}
        if not self.config.symmetric:
            inputs["zero"] = self.expansion.store_part(
                self.parts, "zero", ir.DataType.UINT8, grouping.scale
            )
        padded = packed and is_padded(grouping.view)
        traits = {
            "packed": packed,
            "padded": padded,
            "half": "half" in inputs,
            "zero": "zero" in inputs,
        }
        view = {"shape": grouping.view} if packed else {}
        build = partial(_build_restore, packed, padded)
        value = expansion.call(function_name("grid", traits), inputs, build, **view)
        shape = grouping.view
        if grouping.padded != grouping.shape:
            shape = grouping.shape
            value = expansion.reshape(value, grouping.padded)
            axis = next(i for i, n in enumerate(shape) if n != grouping.padded[i])
            value = expansion.cut(value, shape[axis], axis)
        if shape != self.site.weight.shape:
            value = expansion.reshape(value, self.site.weight.shape)
        return value

    def at_run(self) -> ir.Value:
        """DequantizeLinear, which the runtime fuses or computes at every run."""
        grouping = self.site.grouping
        axis = 0
        sizes: tuple[int, ...] = ()
        if isinstance(self.config.granularity, PerBlock):
            axis = self.site.weight.summed[0]
            sizes = tuple(n for i, n in enumerate(grouping.scale) if i != axis + 1)
        elif scaled_axes := _scaled_axes(grouping):
            axis = scaled_axes[0]
            sizes = (grouping.groups(),)
        inputs = [self.codes(self.site.weight.shape), self.float_scales(sizes)]
        if not self.config.symmetric:
            inputs.append(
                self.expansion.store_part(self.parts, "zero", UNSIGNED_TYPES[self.site.bits], sizes)
            )
        dequantize = partial(self.expansion.operator, "DequantizeLinear", inputs, axis=axis)
        if isinstance(self.config.granularity, PerBlock):
            return dequantize(block_size=grouping.block)
        return dequantize()

    def codes(self, shape: Sequence[int]) -> ir.Value:
        """Store the codes, in a type of their width or packed."""
        kinds = SIGNED_TYPES if self.config.symmetric else UNSIGNED_TYPES
        return store_codes(self.expansion, self.parts, self.site.bits, shape, kinds=kinds)

    def scales(self, shape: Sequence[int]) -> dict[str, ir.Value]:
        """Store the scales."""
        return store_scale(self.expansion, self.parts, self.config.scales, shape)

    def float_scales(self, shape: Sequence[int]) -> ir.Value:
        """Store the scales, and give them as float32."""
        stored = self.scales(shape)
        if "scale" in stored:
            return stored["scale"]
        return self.expansion.call("half", stored, widen_scale)


def _build_restore(packed: bool, padded: bool, body: Body) -> ir.Value:
    """Write the function that restores a weight."""
    stored = codes = body.inputs["codes"]
    scale = read_scale(body)
    zero = body.inputs.get("zero")
    if packed:
        unpacked = call_unpack(body, stored, signed=zero is None)
        codes = shape_codes(body, unpacked, "shape", padded=padded)
    floats = body.floats(codes)
    if zero is not None:
        floats = body.operator("Sub", floats, body.floats(zero))
    elif packed:
        scale = raised_scale(body, scale, stored)
    return body.operator("Mul", floats, scale)


def _describe(config: WeightOnly, encoded: EncodedWeight[Site]) -> StoredGrid:
    site = encoded.site
    shared = config.granularity
    if isinstance(shared, PerBlock):
        shared = PerBlock(site.grouping.block)
    return StoredGrid(site.bits, shared, encoded.rounding, site.expand, encoded.notes)


WIDTHS: tuple[WeightWidth, ...] = get_args(WeightWidth)
"""Bits that a code can have."""

STORAGE = WeightStorage(
    kind="weights",
    decide=_decide,
    fit=_fit,
    parts=_parts,
    restore=_restore,
    describe=_describe,
    stored_bytes=_stored_bytes,
    needs_inputs=lambda config: config.range == "moments",
    widths=WIDTHS,
)
METHOD = STORAGE.method(
    "store weights as small integers, compute in float", WeightOnly, _least_opset
)
