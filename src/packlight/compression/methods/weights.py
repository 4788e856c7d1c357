"""Weight-only quantization: weights stored as small integers, everything computed in float.

Each weight W becomes (Q - z) * s with integers Q, and a float scale s and a code z of zero for each
group of weights. Source: the ONNX operator DequantizeLinear-21; Jacob et al., "Quantization
and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (CVPR 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.backends.onnxruntime.qdq import fuses_blocked_weight
from packlight.compression.bit_allocation.allocate import allocate_bits, sites_by_width
from packlight.compression.encoding.functions import (
    Body,
    call_unpack,
    reshape_flat,
    widen_scale,
    zero_code,
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
)
from packlight.compression.grids import granularity, uniform
from packlight.compression.grids.granularity import Float, Grouping
from packlight.compression.grids.uniform import Codes, Uniform
from packlight.compression.method import Method
from packlight.compression.reconstruction.sequential import (
    EncodedWeight,
    encode_rounded,
    round_lazily,
    round_sequentially,
    round_unobserved,
)
from packlight.compression.sites.weight_sites import Weight, WeightSite, decide_sites, weight_defect
from packlight.records.configs import WeightOnly, WeightWidth
from packlight.records.granularity import Granularity, PerBlock, PerChannel, PerTensor
from packlight.records.storage import StoredGrid
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

Array = NDArray[np.generic]
WIDTHS: tuple[WeightWidth, ...] = get_args(WeightWidth)
"""Bits that a code can have."""


@dataclass(frozen=True, slots=True)
class Site(WeightSite):
    """A weight with the decisions about it.

    Attributes:
        grouping: who shares a scale.
        bits: width of a code.
        expand: when it becomes float.
    """

    grouping: Grouping
    bits: int
    expand: Literal["load", "run"]


def sites(graph: ir.Model, config: WeightOnly) -> Iterator[Site | Refusal]:
    """Every stored weight that gains, and why others do not."""
    return decide_sites(graph, partial(decide, config))


def decide(config: WeightOnly, weight: Weight) -> Site | Refusal:
    """Grouping and expansion of one weight, or why it is left alone."""
    summed = weight.summed
    if isinstance(config.granularity, PerBlock) and summed != tuple(
        range(summed[0], summed[-1] + 1)
    ):
        kind = weight.roles[0].node.op_type
        reason = f"blocks do not lie in a row in a {kind}"
        return Refusal(weight.operator, "unsupported-axes", reason, "use per=channel")
    grouping = group(weight, config)
    expand = when(weight, grouping, config)
    if expand == "run" and config.bits not in SIGNED_TYPES:
        reason = "DequantizeLinear reads codes of 4 or 8 bits"
        return Refusal(weight.operator, "unsupported-bits", reason, "use expand=load")
    if expand == "run" and isinstance(config.granularity, PerChannel) and len(along(grouping)) > 1:
        return Refusal(
            weight.operator,
            "unsupported-axes",
            "DequantizeLinear has scales along one axis; its outputs lie along several",
            "use expand=load",
        )
    if expand == "run" and isinstance(config.granularity, PerBlock) and len(summed) > 1:
        return Refusal(
            weight.operator,
            "unsupported-axes",
            "DequantizeLinear has blocks along one axis; this operator sums over several",
            "use expand=load",
        )
    site = Site(weight, grouping, config.bits, expand)
    after = stored_bytes(site, config) + OPERATOR_BYTES
    if after >= weight.tensor.nbytes:
        reason = (
            f"codes and scales would take {after} bytes, the float weight {weight.tensor.nbytes}"
        )
        return Refusal(weight.operator, "not-smaller", reason, "use larger groups")
    return site


def group(weight: Weight, config: WeightOnly) -> Grouping:
    """Who shares a scale."""
    if isinstance(config.granularity, PerTensor):
        return granularity.per_tensor(weight.shape)
    if isinstance(config.granularity, PerBlock):
        return granularity.per_block(weight.shape, weight.summed, config.granularity.size)
    return granularity.per_channel(weight.shape, weight.summed)


def when(weight: Weight, grouping: Grouping, config: WeightOnly) -> Literal["load", "run"]:
    """When the weight becomes float.

    Where ONNX Runtime does not fuse DequantizeLinear it computes it at every run, at 2.4 to 2.7
    times the time of float.
    """
    if config.expand != "best":
        return config.expand
    if not isinstance(config.granularity, PerBlock) or config.bits not in SIGNED_TYPES:
        return "load"
    block = config.granularity.size
    whole = grouping.padded == grouping.shape and grouping.block == block
    if not whole or len(weight.roles) != 1:
        return "load"
    fuses = fuses_blocked_weight(weight.roles[0].node, weight.value, block, config.bits)
    return "run" if fuses else "load"


def along(grouping: Grouping) -> list[int]:
    """Axes that have more than one scale."""
    return [axis for axis, size in enumerate(grouping.scale) if size > 1]


def stored_bytes(site: Site, config: WeightOnly) -> int:
    """Bytes of codes, scales and zeros."""
    stored = site.grouping.padded if site.expand == "load" else site.grouping.shape
    count, groups = math.prod(stored), site.grouping.groups()
    zeros = 0 if config.symmetric else code_bytes(groups, zero_bits(site))
    return code_bytes(count, site.bits) + scale_bytes(groups, config.scales) + zeros


def zero_bits(site: Site) -> int:
    """Width of a stored zero: that of the codes beside which the runtime wants it, or a byte."""
    return site.bits if site.expand == "run" else 8


def least_opset(config: WeightOnly) -> int:
    """The least opset that has the type and the operator."""
    blocked_run = isinstance(config.granularity, PerBlock) and config.expand != "load"
    if config.mixed:
        return BLOCKED_OPSET
    return max(
        MIN_OPSET[config.bits], BLOCKED_OPSET if blocked_run and config.bits in SIGNED_TYPES else 0
    )


def apply(
    graph: ir.Model, found: Sequence[Site], calibrator: Calibrator, config: WeightOnly
) -> list[Change | Refusal]:
    """Replace each weight by codes, scales and the operators that restore it."""
    stored, fit = partial(parts, config), partial(fitted, config)
    if not looks(config):
        made = round_lazily(found, fit, stored)
    elif calibrator.sizes_only:
        made = round_unobserved(found, fit, stored, config)
    else:
        found = widths(graph, found, calibrator, config) if config.mixed else found
        made = encode_rounded(round_sequentially(graph, found, calibrator, fit, config), stored)
    return [encode(graph, one, config) for one in made]


def looks(config: WeightOnly) -> bool:
    """Whether calibration samples are needed."""
    return config.is_calibrated or config.range == "moments"


def widths(
    graph: ir.Model, found: Sequence[Site], calibrator: Calibrator, config: WeightOnly
) -> Sequence[Site]:
    """The sites with the width that each does best with."""

    def at(weight: Weight, bits: WeightWidth) -> Site | Refusal:
        return decide(replace(config, bits=bits), weight)

    options = sites_by_width(found, WIDTHS, at)
    return allocate_bits(graph, options, calibrator, partial(fitted, config), config)


def fitted(config: WeightOnly, site: Site, weight: Float, importance: Float) -> Uniform:
    """The grid of one weight."""
    grouping = site.grouping
    found = uniform.fit_grid(
        weight,
        importance,
        grouping,
        site.bits,
        symmetric=config.symmetric,
        search=config.range,
    )
    return replace(found, scale=decoded_scale(found.scale, config.scales))


def parts(config: WeightOnly, site: Site, found: Uniform, codes: Codes) -> Mapping[str, Array]:
    """Codes and scales as they are stored."""
    kind = np.int8 if found.symmetric and site.bits in SIGNED_TYPES else np.uint8
    shift = offset(site.bits) if found.symmetric and site.bits not in SIGNED_TYPES else 0
    whole = site.grouping.split(codes) if site.expand == "load" else codes
    stored: dict[str, Array] = {
        "codes": (whole + np.float32(shift)).astype(kind),
        **scale_parts(found.scale, config.scales),
    }
    if config.symmetric:
        return stored
    return {**stored, "zero": found.zero.astype(np.uint8)}


def offset(bits: int) -> int:
    """What makes a signed code unsigned.

    >>> offset(3)
    4
    """
    return 1 << (bits - 1)


def encode(graph: ir.Model, one: EncodedWeight[Site], config: WeightOnly) -> Change:
    """Write codes and scales of one weight and what restores it."""
    site = one.site
    before = site.weight.tensor.nbytes
    place = Expansion(graph, site.weight.value)
    encoding = Encoding(place, site, one.parts, config)
    place.replace(encoding.at_load() if site.expand == "load" else encoding.at_run())
    granularity: Granularity = config.granularity
    if isinstance(granularity, PerBlock):
        granularity = PerBlock(site.grouping.block)
    storage = StoredGrid(site.bits, granularity, one.rounding, site.expand, one.notes)
    return Change(site.operator, "weights", storage, before, stored_bytes(site, config))


@dataclass(frozen=True, slots=True)
class Encoding:
    """Writes what restores one weight.

    Attributes:
        place: where the weight is.
        site: the weight.
        parts: what is stored of it.
        config: how.
    """

    place: Expansion
    site: Site
    parts: Parts
    config: WeightOnly

    def at_load(self) -> ir.Value:
        """Codes as floats times scale, which the runtime computes once."""
        place, grouping, packed = self.place, self.site.grouping, self.site.bits not in SIGNED_TYPES
        inputs = {"codes": self.codes(grouping.view), **self.scales(grouping.scale)}
        if not self.config.symmetric:
            inputs["zero"] = self.store("zero", ir.DataType.UINT8, grouping.scale)
        kind = [name for name, holds in (("packed", packed), *flags(inputs)) if holds]
        view = {"shape": grouping.view} if packed else {}
        value = place.call("_".join(["grid", *kind]), inputs, partial(restore, packed), **view)
        if grouping.padded != grouping.shape:
            value = place.reshape(value, grouping.padded)
            axis = next(i for i, n in enumerate(grouping.shape) if n != grouping.padded[i])
            value = place.cut(value, grouping.shape[axis], axis)
        shape = self.site.weight.shape
        if grouping.view == shape:
            return value
        return place.reshape(value, shape)

    def at_run(self) -> ir.Value:
        """DequantizeLinear, which the runtime fuses or computes at every run."""
        grouping, of_blocks = self.site.grouping, isinstance(self.config.granularity, PerBlock)
        if of_blocks:
            axis = self.site.weight.summed[0]
            sizes = tuple(n for i, n in enumerate(grouping.scale) if i != axis + 1)
        else:
            wide = along(grouping)
            axis, sizes = wide[0] if wide else 0, (grouping.groups(),) if wide else ()
        inputs = [self.codes(self.site.weight.shape), self.floats(sizes)]
        if not self.config.symmetric:
            inputs.append(self.store("zero", UNSIGNED_TYPES[self.site.bits], sizes))
        operator = partial(self.place.operator, "DequantizeLinear", inputs, axis=axis)
        if of_blocks:
            return operator(block_size=grouping.block)
        return operator()

    def codes(self, shape: Sequence[int]) -> ir.Value:
        """The codes, in a type of their width or packed."""
        kinds = SIGNED_TYPES if self.config.symmetric else UNSIGNED_TYPES
        return store_codes(self.place, self.parts, self.site.bits, shape, kinds=kinds)

    def scales(self, shape: Sequence[int]) -> dict[str, ir.Value]:
        """What is stored of the scales."""
        return store_scale(self.place, self.parts, self.config.scales, shape)

    def floats(self, shape: Sequence[int]) -> ir.Value:
        """The scales as float32."""
        stored = self.scales(shape)
        if "scale" in stored:
            return stored["scale"]
        return self.place.call("half", stored, widen_scale)

    def store(self, part: str, kind: ir.DataType, shape: Sequence[int]) -> ir.Value:
        """Add a part as a stored value."""
        return self.place.store_part(self.parts, part, kind, shape)


def flags(inputs: Mapping[str, ir.Value]) -> Iterator[tuple[str, bool]]:
    """What tells functions apart: inputs that not all have."""
    return ((name, name in inputs) for name in ("half", "zero"))


def restore(packed: bool, body: Body) -> ir.Value:
    """Write the function that restores a weight."""
    codes, scale = body.inputs["codes"], read_scale(body)
    whole = reshape_flat(body, call_unpack(body, codes), "shape") if packed else codes
    floats, zero = body.floats(whole), body.inputs.get("zero")
    if zero is not None:
        floats = body.operator("Sub", floats, body.floats(zero))
    elif packed:
        floats = body.operator("Sub", floats, zero_code(body, codes))
    return body.operator("Mul", floats, scale)


METHOD = Method(
    summary="store weights as small integers, compute in float",
    config=WeightOnly,
    opset=least_opset,
    sites=sites,
    apply=apply,
    inspect=lambda site: weight_defect(site.weight),
    uses_data=looks,
    replaces=True,
    makes_up=lambda config: config.targets_float,
)
