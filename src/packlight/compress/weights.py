"""Weight-only quantization: weights stored as small integers, everything computed in float.

Each weight W becomes Q * s with integers Q on a symmetric signed grid and a float32 scale s for
each group of weights. Source: the ONNX operator DequantizeLinear-21; Jacob et al., "Quantization
and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compress import grid
from packlight.compress.grid import Codes, Float, Grouping
from packlight.compress.sites import Weight, unusable, weight_sites
from packlight.compress.storage import (
    BLOCKED_OPSET,
    OPSET,
    STORED,
    Expansion,
    code_bytes,
    expand_at_load,
    store_packed,
)
from packlight.errors import RecipeError
from packlight.method import Method, Observed
from packlight.records.recipe import Option
from packlight.records.variant import Change, Refusal

FLOAT_BYTES = 4
OPERATOR_BYTES = 300
"""About what the operators and names that restore one weight take in the file."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Store weights as ``bits``-wide integers.

    Attributes:
        bits: width of one stored weight.
        per: who shares a scale: the whole ``tensor``, each output ``channel``, or each ``block``
            of inputs of a channel.
        block: inputs in a block. Smaller is more faithful and costs ``32 / block`` more bits per
            weight.
        expand: when integers become floats: at ``load`` (speed and memory of float), at every
            ``run`` (memory of integers where the runtime fuses it), or what is ``best`` for
            each operator: ``run`` for blocked MatMul, ``load`` elsewhere.
    """

    bits: Literal[2, 3, 4, 5, 6, 7, 8] = 8
    per: Literal["tensor", "channel", "block"] = "channel"
    block: int = 32
    expand: Literal["best", "load", "run"] = "best"

    def __post_init__(self) -> None:
        if self.block < 1:
            raise RecipeError(f"weights,block= counts inputs: at least 1; got {self.block}")


def implied(options: Mapping[str, Option]) -> Mapping[str, Option]:
    """Naming a block means one scale per block."""
    return {"per": "block", **options} if "block" in options else options


@dataclass(frozen=True, slots=True)
class Site:
    """A weight with the decisions about it.

    Attributes:
        weight: what is stored now.
        grouping: who shares a scale.
        expand: when it becomes float.
    """

    weight: Weight
    grouping: Grouping
    expand: Literal["load", "run"]

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return self.weight.operator


def sites(graph: ir.Model, config: Weights) -> Iterator[Site | Refusal]:
    """Every stored weight that gains, and why others do not."""
    for found in weight_sites(graph):
        yield found if isinstance(found, Refusal) else decide(found, config)


def decide(weight: Weight, config: Weights) -> Site | Refusal:
    """Grouping and expansion of one weight, or why it is left alone."""
    summed = weight.summed
    if config.per == "block" and summed != tuple(range(summed[0], summed[-1] + 1)):
        kind = weight.roles[0].node.op_type
        return Refusal(
            weight.operator, f"blocks do not lie in a row in a {kind}", "use per=channel"
        )
    grouping = group(weight, config)
    expand = when(weight, grouping, config)
    if expand == "run" and config.bits not in STORED:
        return Refusal(
            weight.operator, "DequantizeLinear reads codes of 4 or 8 bits", "use expand=load"
        )
    if expand == "run" and config.per == "channel" and len(along(grouping)) > 1:
        return Refusal(
            weight.operator,
            "DequantizeLinear has scales along one axis; its outputs lie along several",
            "use expand=load",
        )
    if expand == "run" and config.per == "block" and len(summed) > 1:
        return Refusal(
            weight.operator,
            "DequantizeLinear has blocks along one axis; this operator sums over several",
            "use expand=load",
        )
    after = stored_bytes(weight, grouping, config.bits) + OPERATOR_BYTES
    if after >= weight.tensor.nbytes:
        reason = (
            f"codes and scales would take {after} bytes, the float weight {weight.tensor.nbytes}"
        )
        return Refusal(weight.operator, reason, "use larger groups")
    return Site(weight, grouping, expand)


def group(weight: Weight, config: Weights) -> Grouping:
    """Who shares a scale."""
    if config.per == "tensor":
        return grid.per_tensor(weight.shape)
    if config.per == "channel":
        return grid.per_channel(weight.shape, weight.summed)
    return grid.blocks(weight.shape, weight.summed, config.block)


def when(weight: Weight, grouping: Grouping, config: Weights) -> Literal["load", "run"]:
    """When the weight becomes float.

    ONNX Runtime fuses DequantizeLinear with a MatMul where blocks run along axis 0 of a matrix;
    elsewhere it would compute it at every run, at 2.4 to 2.7 times the time of float.
    """
    if config.expand != "best":
        return config.expand
    if config.bits not in STORED:
        return "load"
    fused = all(fuses(role.node) for role in weight.roles) and weight.summed == (0,)
    whole = grouping.padded == grouping.shape
    return "run" if fused and whole and config.per == "block" else "load"


def along(grouping: Grouping) -> list[int]:
    """Axes that have more than one scale."""
    return [axis for axis, size in enumerate(grouping.scale) if size > 1]


def fuses(node: ir.Node) -> bool:
    """Whether ONNX Runtime makes a MatMulNBits of it."""
    return node.op_type == "MatMul" or (
        node.op_type == "Gemm" and not node.attributes.get_int("transB", 0)
    )


def stored_bytes(weight: Weight, grouping: Grouping, bits: int) -> int:
    """Bytes of codes and scales."""
    count = int(np.prod(grouping.padded, dtype=np.int64)) if grouping.padded else weight.tensor.size
    return code_bytes(count, bits) + grouping.groups() * FLOAT_BYTES


def least_opset(config: Weights) -> int:
    """The least opset that has the type and the operator."""
    blocked_run = config.per == "block" and config.expand != "load"
    return max(OPSET[config.bits], BLOCKED_OPSET if blocked_run and config.bits in STORED else 0)


def apply(
    graph: ir.Model, found: Sequence[Site], observed: Observed, config: Weights
) -> list[Change | Refusal]:
    """Replace each weight by codes, scales and the operators that restore it."""
    del observed
    return [encode(graph, site, config) for site in found]


class Rounded:
    """Codes and scales of one weight, computed when first asked for."""

    def __init__(self, site: Site, bits: int) -> None:
        self.site, self.bits = site, bits

    def scale(self) -> Float:
        """Of shape ``grouping.scale``."""
        return grid.widest_scale(self.site.weight.read(), self.site.grouping, self.bits)

    def unsigned(self) -> NDArray[np.uint8]:
        """The codes from zero on."""
        return (self.codes() + np.int8(offset(self.bits))).astype(np.uint8)

    def codes(self) -> Codes:
        """Of shape ``grouping.view``."""
        weight, grouping = self.site.weight.read(), self.site.grouping
        scale = grid.widest_scale(weight, grouping, self.bits)
        return grid.nearest(weight, scale, grouping, self.bits)


def offset(bits: int) -> int:
    """What makes a signed code unsigned.

    >>> offset(3)
    4
    """
    return 1 << (bits - 1)


def encode(graph: ir.Model, site: Site, config: Weights) -> Change:
    """Write codes and scales of one weight and what restores it."""
    before = site.weight.tensor.nbytes
    place = Expansion(site.weight.value)
    rounded = Rounded(site, config.bits)
    if site.expand == "load":
        place.replace(encode_at_load(graph, place, site, rounded))
    else:
        place.replace(encode_at_run(place, site, rounded, config))
    after = stored_bytes(site.weight, site.grouping, config.bits)
    what = f"int{config.bits} per {config.per}" + (
        f" of {config.block}" if config.per == "block" else ""
    )
    return Change(site.operator, "weights", f"{what}, float at {site.expand}", before, after)


def encode_at_load(graph: ir.Model, place: Expansion, site: Site, rounded: Rounded) -> ir.Value:
    """Codes as floats times scale, which the runtime computes once."""
    grouping, bits = site.grouping, rounded.bits
    packed = bits not in STORED
    if packed:
        codes = store_packed(graph, place, bits, grouping.view, rounded.unsigned)
    else:
        codes = place.store("codes", STORED[bits], grouping.view, rounded.codes)
    floats = place.operator("Cast", [codes], to=int(ir.DataType.FLOAT))
    if packed:
        zero = np.asarray(offset(bits), np.float32)
        floats = place.operator("Sub", [floats, place.shared(f"packlight.zero{bits}", zero)])
    scale = place.store("scale", ir.DataType.FLOAT, grouping.scale, rounded.scale)
    return expand_at_load(place, floats, scale, grouping, site.weight.shape)


def encode_at_run(place: Expansion, site: Site, rounded: Rounded, config: Weights) -> ir.Value:
    """DequantizeLinear, which the runtime fuses or computes at every run."""
    grouping, kind, shape = site.grouping, STORED[config.bits], site.weight.shape
    codes = place.store("codes", kind, shape, lambda: grouping.join(rounded.codes()).reshape(shape))
    if config.per == "block":
        axis = site.weight.summed[0]
        sizes = tuple(n for i, n in enumerate(grouping.scale) if i != axis + 1)
        scale = place.store(
            "scale", ir.DataType.FLOAT, sizes, lambda: rounded.scale().reshape(sizes)
        )
        return place.operator(
            "DequantizeLinear", [codes, scale], axis=axis, block_size=config.block
        )
    wide = along(grouping)
    axis = wide[0] if wide else 0
    sizes = (grouping.groups(),) if wide else ()
    scale = place.store("scale", ir.DataType.FLOAT, sizes, lambda: rounded.scale().reshape(sizes))
    return place.operator("DequantizeLinear", [codes, scale], axis=axis)


METHOD = Method(
    name="weights",
    summary="store weights as small integers, compute in float",
    config=Weights,
    opset=least_opset,
    sites=sites,
    apply=apply,
    inspect=lambda site: unusable(site.weight),
    implied=implied,
)
