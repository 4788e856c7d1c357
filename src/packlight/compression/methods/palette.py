"""Palettes: weights stored as indices into a small table of values.

The table is the exact solution of one-dimensional k-means, so no table of its size has a smaller
squared error. Gather restores the weights when the session starts, from the tables of all groups of
channels in a row. Indices lie as the weights do, so that nothing has to be moved.
Source: Han et al., "Deep Compression" (ICLR 2016), with ``kmeans`` in place of Lloyd's iterations.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

import numpy as np
import onnx_ir as ir

from packlight.compression.encoding.functions import (
    Body,
    call_unpack,
    is_padded,
    shape_codes,
)
from packlight.compression.encoding.scales import (
    decoded_scale,
    read_scale,
    scale_bytes,
    scale_parts,
    store_scale,
)
from packlight.compression.encoding.storage import (
    FLOAT_BYTES,
    MIN_OPSET,
    OPERATOR_BYTES,
    UNSIGNED_TYPES,
    Expansion,
    Parts,
    code_bytes,
    store_codes,
)
from packlight.compression.grids.codebook import Codebook, blank_codebook, fit_codebook
from packlight.compression.grids.grouping import shape_of_outputs
from packlight.compression.methods.stored_weights import Array, Float, WeightStorage, function_name
from packlight.compression.reconstruction.sequential import EncodedWeight
from packlight.compression.sites.weight_sites import Weight, WeightSite
from packlight.records.configs import Palette, PaletteWidth
from packlight.records.granularity import PerGroup
from packlight.records.storage import StoredPalette
from packlight.records.variant import Refusal

SHORT_BITS = 8
"""Bits of a short entry of a table."""


@dataclass(frozen=True, slots=True)
class Site(WeightSite):
    """A weight with the decisions about it.

    Attributes:
        order: axes of its split shape, those of output channels first.
        tables: number of tables.
        channels: output channels that share a table; the last table may have fewer.
        bits: of an index.
    """

    order: tuple[int, ...]
    tables: int
    channels: int
    bits: int

    @property
    def ordered_shape(self) -> tuple[int, ...]:
        """The split shape of the weight with its axes in ``order``."""
        shape = self.weight.split_shape
        return tuple(shape[axis] for axis in self.order)

    @property
    def outputs(self) -> int:
        """Output channels."""
        return math.prod(self.ordered_shape[: len(self.order) - len(self.weight.summed)])

    @property
    def scales(self) -> tuple[int, ...]:
        """Shape of the scales: of the weight, 1 along the axes that its outputs sum over."""
        return shape_of_outputs(self.weight.split_shape, self.weight.summed)


def _decide(config: Palette, weight: Weight) -> Site | Refusal:
    """The tables of one weight, or why it stays as it is."""
    shape = weight.split_shape
    outer = tuple(axis for axis in range(len(shape)) if axis not in weight.summed)
    outputs = math.prod(shape[axis] for axis in outer)
    channels = outputs
    if isinstance(config.granularity, PerGroup):
        channels = min(config.granularity.size, outputs)
    site = Site(weight, (*outer, *weight.summed), -(-outputs // channels), channels, config.bits)
    after = _stored_bytes(config, site) + OPERATOR_BYTES + weight.cast_bytes
    if after >= weight.tensor.nbytes:
        reason = f"indices and tables would take {after} bytes, the weight {weight.tensor.nbytes}"
        return Refusal(weight.operator, "not-smaller", reason, "use larger groups")
    return site


def _stored_bytes(config: Palette, site: Site) -> int:
    """Bytes of indices, tables and scales."""
    total: int = code_bytes(math.prod(site.weight.shape), site.bits)
    total += site.tables * 2**site.bits * config.entry // 8
    if config.entry == SHORT_BITS:
        total += site.tables * FLOAT_BYTES
    if config.scaled:
        total += scale_bytes(site.outputs, config.scales)
    return total


def _least_opset(config: Palette) -> int:
    if config.mixed:
        return max(MIN_OPSET.values())
    return MIN_OPSET[config.bits]


def _fit(
    config: Palette, site: Site, weight: Float, importance: Float, *, rough: bool = False
) -> Codebook:
    """The tables of one weight."""
    if not config.weighted:
        importance = np.broadcast_to(np.float32(1), weight.shape)
    codebook = fit_codebook(
        blank_codebook(
            site.weight.split_shape, site.order, site.channels, site.bits, outputs=site.outputs
        ),
        weight,
        importance,
        scaled=config.scaled,
        short=config.entry == SHORT_BITS,
        rough=rough,
    )
    if config.scaled:
        codebook = replace(codebook, scale=decoded_scale(codebook.scale, config.scales))
    return codebook


def _parts(config: Palette, site: Site, codebook: Codebook, codes: Float) -> Mapping[str, Array]:
    """Indices, tables and scales as they are stored."""
    shape = site.weight.split_shape
    parts: dict[str, Array] = {"codes": codes.astype(np.uint8).reshape(shape)}
    if config.entry == SHORT_BITS:
        parts |= codebook.short_tables()
    else:
        parts["table"] = codebook.tables if site.tables > 1 else codebook.tables[0]
    if config.scaled:
        parts |= scale_parts(codebook.scale, config.scales)
    return parts


def _restore(config: Palette, site: Site, parts: Parts, expansion: Expansion) -> ir.Value:
    inputs = {
        "codes": store_codes(expansion, parts, site.bits, site.weight.split_shape),
        **_store_tables(config, site, parts, expansion),
    }
    if config.scaled:
        inputs |= store_scale(expansion, parts, config.scales, site.scales)
    packed = site.bits not in UNSIGNED_TYPES
    padded = packed and is_padded(site.weight.shape)
    form = Form(packed, padded, grouped=site.tables > 1)
    value = expansion.call(form.name(inputs), inputs, form.build, **form.attributes(site))
    if site.weight.split_shape != site.weight.shape:
        value = expansion.reshape(value, site.weight.shape)
    return value


def _store_tables(
    config: Palette, site: Site, parts: Parts, expansion: Expansion
) -> dict[str, ir.Value]:
    entries: tuple[int, ...] = (2**site.bits,)
    steps: tuple[int, ...] = ()
    if site.tables > 1:
        entries = (site.tables, *entries)
        steps = (site.tables, 1)
    if config.entry != SHORT_BITS:
        return {"table": expansion.store_part(parts, "table", ir.DataType.FLOAT, entries)}
    return {
        "table": expansion.store_part(parts, "table", ir.DataType.INT8, entries),
        "step": expansion.store_part(parts, "step", ir.DataType.FLOAT, steps),
    }


@dataclass(frozen=True, slots=True)
class Form:
    """Traits that tell the functions apart that restore weights.

    Attributes:
        packed: whether indices are packed into bytes.
        padded: whether the last of them are padding.
        grouped: whether there are several tables.
    """

    packed: bool
    padded: bool
    grouped: bool

    def name(self, inputs: Collection[str]) -> str:
        """Name of the function."""
        traits = {
            "packed": self.packed,
            "padded": self.padded,
            "grouped": self.grouped,
            "short": "step" in inputs,
            "scaled": "scale" in inputs,
            "half": "half" in inputs,
        }
        return function_name("palette", traits)

    def attributes(self, site: Site) -> dict[str, Sequence[int]]:
        """Attributes of a call."""
        attributes: dict[str, Sequence[int]] = {}
        if self.packed:
            attributes["shape"] = site.weight.split_shape
        if self.grouped:
            attributes["channels"] = [site.channels]
            attributes["outputs"] = site.scales
        return attributes

    def build(self, body: Body) -> ir.Value:
        """Write the function."""
        operator = body.operator
        indices = body.inputs["codes"]
        table = body.inputs["table"]
        if "step" in body.inputs:
            table = operator("Mul", body.floats(table), body.inputs["step"])
        if self.packed:
            unpacked = call_unpack(body, indices)
            indices = shape_codes(body, unpacked, "shape", padded=self.padded)
        indices = body.cast(indices, ir.DataType.INT32)
        if self.grouped:
            indices = operator("Add", indices, _first_entries(body, table))
            table = operator("Reshape", table, body.constant(np.array([-1])))
        value = operator("Gather", table, indices, axis=0)
        if not body.inputs.keys().isdisjoint({"scale", "half"}):
            value = operator("Mul", value, read_scale(body))
        return value


def _first_entries(body: Body, tables: ir.Value) -> ir.Value:
    """Index of the first entry of each output channel's table in all tables in a row, as int32."""
    operator = body.operator
    sizes = body.integers("outputs")
    zero = body.constant(np.asarray(0))
    one = body.constant(np.asarray(1))
    outputs = operator("ReduceProd", sizes, keepdims=0)
    group = operator("Div", operator("Range", zero, outputs, one), body.integers("channels"))
    entries = operator("Gather", operator("Shape", tables), body.constant(np.array([1])))
    first = operator("Mul", group, entries)
    return body.cast(operator("Reshape", first, sizes), ir.DataType.INT32)


def _describe(config: Palette, encoded: EncodedWeight[Site]) -> StoredPalette:
    granularity = config.granularity
    if isinstance(granularity, PerGroup):
        granularity = PerGroup(encoded.site.channels)
    return StoredPalette(encoded.site.bits, granularity, encoded.rounding, notes=encoded.notes)


WIDTHS: tuple[PaletteWidth, ...] = get_args(PaletteWidth)
"""Bits that an index can have."""

METHOD = WeightStorage(
    kind="palette",
    decide=_decide,
    fit=_fit,
    parts=_parts,
    restore=_restore,
    describe=_describe,
    stored_bytes=_stored_bytes,
    needs_inputs=lambda config: config.weighted,
    rough_fit=partial(_fit, rough=True),
    widths=WIDTHS,
).method("store weights as indices into small tables, compute in float", Palette, _least_opset)
