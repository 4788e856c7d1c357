"""Palettes: weights stored as indices into a small table of values.

The table is the exact solution of one-dimensional k-means, so no table of its size has a smaller
squared error. Gather restores the weights when the session starts; where groups of channels have
tables of their own, GatherElements does. Then the channels go back to their axis.
Source: Han et al., "Deep Compression" (ICLR 2016), with ``kmeans`` in place of Lloyd's iterations.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.bit_allocation.allocate import allocate_bits, sites_by_width
from packlight.compression.encoding.functions import Body, call_unpack, reshape_flat
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
from packlight.compression.method import Method
from packlight.compression.reconstruction.sequential import (
    EncodedWeight,
    encode_rounded,
    round_lazily,
    round_sequentially,
    round_unobserved,
)
from packlight.compression.sites.weight_sites import Weight, WeightSite, decide_sites, weight_defect
from packlight.records.configs import Palette, PaletteWidth
from packlight.records.granularity import PerGroup
from packlight.records.storage import StoredPalette
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

Array = NDArray[np.generic]
Float = NDArray[np.float32]
WIDTHS: tuple[PaletteWidth, ...] = get_args(PaletteWidth)
"""Bits that an index can have."""


@dataclass(frozen=True, slots=True)
class Site(WeightSite):
    """A weight with the decisions about it.

    Attributes:
        order: its axes, those that tell outputs apart first.
        tables: how many.
        channels: output channels that share one; the last table may have fewer.
        bits: of one index.
    """

    order: tuple[int, ...]
    tables: int
    channels: int
    bits: int

    @property
    def turned(self) -> tuple[int, ...]:
        """Shape of the weight with its axes in ``order``."""
        shape = self.weight.shape
        return tuple(shape[axis] for axis in self.order)

    @property
    def outputs(self) -> int:
        """Output channels."""
        kept = len(self.order) - len(self.weight.summed)
        return math.prod(self.turned[:kept])

    @property
    def rows(self) -> tuple[int, int]:
        """(tables, indices in each), padded so that every table has equally many."""
        return self.tables, self.channels * (self.weight.tensor.size // self.outputs)


def sites(graph: ir.Model, config: Palette) -> Iterator[Site | Refusal]:
    """Every stored weight that gains, and why others do not."""
    return decide_sites(graph, partial(decide, config))


def decide(config: Palette, weight: Weight) -> Site | Refusal:
    """The tables of one weight, or why it is left alone."""
    kept = tuple(axis for axis in range(len(weight.shape)) if axis not in weight.summed)
    whole = Site(weight, (*kept, *weight.summed), 1, 0, config.bits)
    channels = whole.outputs
    if isinstance(config.granularity, PerGroup):
        channels = min(config.granularity.size, whole.outputs)
    site = Site(weight, whole.order, -(-whole.outputs // channels), channels, config.bits)
    after = stored_bytes(site, config) + OPERATOR_BYTES
    if after >= weight.tensor.nbytes:
        reason = f"indices and tables would take {after} bytes, the weight {weight.tensor.nbytes}"
        return Refusal(weight.operator, "not-smaller", reason, "use larger groups")
    return site


def stored_bytes(site: Site, config: Palette) -> int:
    """Bytes of indices, tables and scales."""
    entries = site.tables * 2**site.bits * config.entry // 8
    steps = site.tables * FLOAT_BYTES if config.entry == EIGHT else 0
    scales = scale_bytes(site.outputs, config.scales) if config.scaled else 0
    total: int = code_bytes(math.prod(site.rows), site.bits) + entries + steps + scales
    return total


EIGHT = 8
"""Bits of a short entry."""


def least_opset(config: Palette) -> int:
    """The least opset that has the type of the indices."""
    if config.mixed:
        return max(MIN_OPSET.values())
    return MIN_OPSET[config.bits]


def apply(
    graph: ir.Model, found: Sequence[Site], calibrator: Calibrator, config: Palette
) -> list[Change | Refusal]:
    """Replace each weight by indices, tables and the operators that restore it."""
    stored, fit = partial(stored_parts, config), partial(fitted, config)
    if not looks(config):
        made = round_lazily(found, fit, stored)
    elif calibrator.sizes_only:
        made = round_unobserved(found, fit, stored, config)
    else:
        found = widths(graph, found, calibrator, config) if config.mixed else found
        made = encode_rounded(round_sequentially(graph, found, calibrator, fit, config), stored)
    return [encode(graph, one, config) for one in made]


def looks(config: Palette) -> bool:
    """Whether calibration samples are needed."""
    return config.is_calibrated or config.weighted


def widths(
    graph: ir.Model, found: Sequence[Site], calibrator: Calibrator, config: Palette
) -> Sequence[Site]:
    """The sites with the width that each does best with."""

    def at(weight: Weight, bits: PaletteWidth) -> Site | Refusal:
        return decide(replace(config, bits=bits), weight)

    options = sites_by_width(found, WIDTHS, at)
    return allocate_bits(graph, options, calibrator, partial(fitted, config, rough=True), config)


def fitted(
    config: Palette, site: Site, weight: Float, importance: Float, *, rough: bool = False
) -> Codebook:
    """The tables of one weight."""
    matters = importance if config.weighted else np.broadcast_to(np.float32(1), weight.shape)
    found = blank_codebook(site.order, site.outputs, site.channels, site.bits)
    found = fit_codebook(
        found,
        weight,
        matters,
        scaled=config.scaled,
        short=config.entry == EIGHT,
        rough=rough,
    )
    if config.scaled:
        return replace(found, scale=decoded_scale(found.scale, config.scales))
    return found


def stored_parts(config: Palette, site: Site, found: Codebook, codes: Float) -> Mapping[str, Array]:
    """Indices, tables and scales as they are stored."""
    rows = codes.transpose(site.order).reshape(site.outputs, -1).astype(np.uint8)
    gap = site.tables * site.channels - site.outputs
    whole = np.pad(rows, [(0, gap), (0, 0)]).reshape(site.rows)
    tables: Mapping[str, Array] = {
        "table": found.tables if site.tables > 1 else found.tables[0],
    }
    if config.entry == EIGHT:
        tables = found.short_tables()
    scales = scale_parts(found.scale, config.scales) if config.scaled else {}
    return {"codes": whole, **tables, **scales}


def encode(graph: ir.Model, one: EncodedWeight[Site], config: Palette) -> Change:
    """Write indices and tables of one weight and what restores it."""
    site, parts = one.site, one.parts
    before, bits = site.weight.tensor.nbytes, site.bits
    place = Expansion(graph, site.weight.value)
    inputs = {
        "codes": store_codes(place, parts, bits, site.rows),
        **stored_tables(place, site, parts, config),
    }
    if config.scaled:
        inputs |= store_scale(place, parts, config.scales, (site.outputs, 1))
    form = Form(packed=bits not in UNSIGNED_TYPES, grouped=site.tables > 1)
    place.replace(place.call(form.name(inputs), inputs, form.restore, **shapes(site, form)))
    granularity = config.granularity
    if isinstance(granularity, PerGroup):
        granularity = PerGroup(site.channels)
    storage = StoredPalette(bits, granularity, one.rounding, notes=one.notes)
    return Change(site.operator, "palette", storage, before, stored_bytes(site, config))


def stored_tables(
    place: Expansion, site: Site, parts: Parts, config: Palette
) -> dict[str, ir.Value]:
    """What is stored of the tables."""
    entries = (site.tables, 2**site.bits) if site.tables > 1 else (2**site.bits,)
    if config.entry != EIGHT:
        return {"table": place.store_part(parts, "table", ir.DataType.FLOAT, entries)}
    shape = (site.tables, 1) if site.tables > 1 else ()
    return {
        "table": place.store_part(parts, "table", ir.DataType.INT8, entries),
        "step": place.store_part(parts, "step", ir.DataType.FLOAT, shape),
    }


def shapes(site: Site, form: Form) -> dict[str, Sequence[int]]:
    """On its way from (tables, indices in each) to its own shape, a weight has these."""
    width = site.weight.tensor.size // site.outputs
    packed = {"rows": site.rows} if form.packed else {}
    grouped = {"outputs": [site.outputs]} if form.grouped else {}
    return (
        packed
        | grouped
        | {
            "folded": (-1, width),
            "turned": site.turned,
            "back": [int(axis) for axis in np.argsort(site.order)],
        }
    )


@dataclass(frozen=True, slots=True)
class Form:
    """What tells apart the functions that restore weights.

    Attributes:
        packed: whether indices are packed into bytes.
        grouped: whether there are several tables.
    """

    packed: bool
    grouped: bool

    def name(self, inputs: Collection[str]) -> str:
        """Name of the function."""
        kinds = {
            "packed": self.packed,
            "grouped": self.grouped,
            "short": "step" in inputs,
            "scaled": "scale" in inputs,
            "half": "half" in inputs,
        }
        return "_".join(["palette", *(kind for kind, holds in kinds.items() if holds)])

    def restore(self, body: Body) -> ir.Value:
        """Write it."""
        codes, table, operator = body.inputs["codes"], body.inputs["table"], body.operator
        if "step" in body.inputs:
            table = operator("Mul", body.floats(table), body.inputs["step"])
        whole = reshape_flat(body, call_unpack(body, codes), "rows") if self.packed else codes
        op, axis = ("GatherElements", 1) if self.grouped else ("Gather", 0)
        value = operator(op, table, body.cast(whole, ir.DataType.INT32), axis=axis)
        value = operator("Reshape", value, body.integers("folded"))
        if self.grouped:
            first = body.constant(np.array([0]))
            value = operator("Slice", value, first, body.integers("outputs"))
        if not body.inputs.keys().isdisjoint({"scale", "half"}):
            value = operator("Mul", value, read_scale(body))
        value = operator("Reshape", value, body.integers("turned"))
        return operator("Transpose", value, perm=body.attribute("back", "perm"))


METHOD = Method(
    summary="store weights as indices into small tables, compute in float",
    config=Palette,
    opset=least_opset,
    sites=sites,
    apply=apply,
    inspect=lambda site: weight_defect(site.weight),
    uses_data=looks,
    replaces=True,
    makes_up=lambda config: config.targets_float,
)
