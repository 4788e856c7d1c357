"""Palettes: weights stored as indices into a small table of values.

The table is the exact solution of one-dimensional k-means, so no table of its size has a smaller
squared error. Gather restores the weights when the session starts; where groups of channels have
tables of their own, GatherElements does, after which the channels go back to their axis.
Source: Han et al., "Deep Compression" (ICLR 2016), with ``kmeans`` in place of Lloyd's iterations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compress.allocation import allocate
from packlight.compress.codebook import Codebook, blank, fit
from packlight.compress.sequence import Rounding, round_in_order
from packlight.compress.sites import Weight, unusable, weight_sites
from packlight.compress.storage import (
    OPSET,
    UNSIGNED,
    Expansion,
    Parts,
    code_bytes,
    store_packed,
)
from packlight.errors import RecipeError
from packlight.method import Look, Method
from packlight.records.recipe import Option
from packlight.records.variant import Change, Refusal

Array = NDArray[np.generic]
Float = NDArray[np.float32]
FLOAT_BYTES = 4
OPERATOR_BYTES = 300
"""About what the operators and names that restore one weight take in the file."""


Width = Literal[1, 2, 3, 4, 5, 6, 7, 8]
WIDTHS: tuple[Width, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
"""Bits that an index can have."""


@dataclass(frozen=True, slots=True)
class Palette(Rounding):
    """Store weights as indices of ``bits`` bits into tables of values.

    Attributes:
        bits: of one index.
        per: one table for the whole ``tensor`` or for each ``group`` of output channels.
        group: output channels that share a table.
        weighted: whether tables have the least squared error weighted by the inputs that
            calibration samples give, else that of the weights alone.
        scaled: whether every output channel has a scale of its own beside the table.
        entry: bits of a table's entry.
    """

    bits: Width = 4
    per: Literal["tensor", "group"] = "tensor"
    group: int = 16
    weighted: bool = False
    scaled: bool = False
    entry: Literal[8, 32] = 32

    def __post_init__(self) -> None:
        self.check_rounding()
        if self.group < 1:
            raise RecipeError(f"palette,group= counts channels: at least 1; got {self.group}")


def implied(options: Mapping[str, Option]) -> Mapping[str, Option]:
    """Naming a group means one table per group."""
    return {"per": "group", **options} if "group" in options else options


@dataclass(frozen=True, slots=True)
class Site:
    """A weight with the decisions about it.

    Attributes:
        weight: what is stored now.
        order: its axes, those that tell outputs apart first.
        tables: how many.
        channels: output channels that share one; the last table may have fewer.
        bits: of one index.
    """

    weight: Weight
    order: tuple[int, ...]
    tables: int
    channels: int
    bits: int

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return self.weight.operator

    @property
    def turned(self) -> tuple[int, ...]:
        """Shape of the weight with its axes in ``order``."""
        return tuple(self.weight.shape[axis] for axis in self.order)

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
    for found in weight_sites(graph):
        yield found if isinstance(found, Refusal) else decide(found, config)


def decide(weight: Weight, config: Palette) -> Site | Refusal:
    """The tables of one weight, or why it is left alone."""
    kept = tuple(axis for axis in range(len(weight.shape)) if axis not in weight.summed)
    whole = Site(weight, (*kept, *weight.summed), 1, 0, config.bits)
    channels = config.group if config.per == "group" else whole.outputs
    channels = min(channels, whole.outputs)
    site = Site(weight, whole.order, -(-whole.outputs // channels), channels, config.bits)
    after = stored_bytes(site, config) + OPERATOR_BYTES
    if after >= weight.tensor.nbytes:
        reason = f"indices and tables would take {after} bytes, the weight {weight.tensor.nbytes}"
        return Refusal(weight.operator, reason, "use larger groups")
    return site


def stored_bytes(site: Site, config: Palette) -> int:
    """Bytes of indices, tables and scales."""
    entries = site.tables * 2**site.bits * config.entry // 8
    steps = site.tables * FLOAT_BYTES if config.entry == EIGHT else 0
    scales = site.outputs * FLOAT_BYTES if config.scaled else 0
    total: int = code_bytes(math.prod(site.rows), site.bits) + entries + steps + scales
    return total


EIGHT = 8
"""Bits of a short entry."""


def least_opset(config: Palette) -> int:
    """The least opset that has the type of the indices."""
    return max(OPSET.values()) if config.mixed else OPSET[config.bits]


def apply(
    graph: ir.Model, found: Sequence[Site], look: Look, config: Palette
) -> list[Change | Refusal]:
    """Replace each weight by indices, tables and the operators that restore it."""
    if not looks(config):
        later = [(site, Parts(partial(nearest, config, site))) for site in found]
        return [encode(graph, site, parts, config, "to nearest") for site, parts in later]
    found = widths(graph, found, look, config) if config.mixed else found
    rounded = round_in_order(graph, found, look, partial(fitted, config), config)
    made = [
        (one.site, Parts(partial(stored_parts, config, one.site, one.fitted, one.codes)), one.how)
        for one in rounded
    ]
    return [encode(graph, site, parts, config, how) for site, parts, how in made]


def looks(config: Palette) -> bool:
    """Whether calibration samples are needed."""
    return config.calibrated or config.weighted


def widths(graph: ir.Model, found: Sequence[Site], look: Look, config: Palette) -> Sequence[Site]:
    """The sites with the width that each does best with."""
    options: list[dict[int, Site]] = []
    for site in found:
        decided = {bits: decide(site.weight, replace(config, bits=bits)) for bits in WIDTHS}
        options.append({bits: one for bits, one in decided.items() if isinstance(one, Site)})
    return allocate(graph, options, look, partial(fitted, config), config)


def fitted(config: Palette, site: Site, weight: Float, importance: Float) -> Codebook:
    """The tables of one weight."""
    matters = importance if config.weighted else np.broadcast_to(np.float32(1), weight.shape)
    found = blank(site.order, site.outputs, site.channels, site.bits)
    return fit(found, weight, matters, scaled=config.scaled, short=config.entry == EIGHT)


def nearest(config: Palette, site: Site) -> Mapping[str, Array]:
    """What is stored of a weight whose numbers go to the nearest entries."""
    weight = site.weight.read()
    found = fitted(config, site, weight, weight)
    return stored_parts(config, site, found, found.nearest(weight))


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
    return {"codes": whole, **tables} | ({"scale": found.scale} if config.scaled else {})


def encode(graph: ir.Model, site: Site, parts: Parts, config: Palette, how: str) -> Change:
    """Write indices and tables of one weight and what restores it."""
    before, bits = site.weight.tensor.nbytes, site.bits
    place = Expansion(site.weight.value)

    def unsigned() -> NDArray[np.uint8]:
        return parts.take("codes").astype(np.uint8, copy=False)

    tables = restored_tables(place, site, parts, config)
    if bits in UNSIGNED:
        codes = place.store("codes", UNSIGNED[bits], site.rows, unsigned)
    else:
        codes = store_packed(graph, place, bits, site.rows, unsigned)
    indices = place.operator("Cast", [codes], to=int(ir.DataType.INT64))
    op = "GatherElements" if site.tables > 1 else "Gather"
    value = place.operator(op, [tables, indices], axis=1 if site.tables > 1 else 0)
    place.replace(back_in_place(place, value, site, parts, config))
    share = "tensor" if config.per == "tensor" else f"{site.channels} channels"
    what = f"palette of {2**bits} per {share}, {how}, float at load"
    return Change(site.operator, "palette", what, before, stored_bytes(site, config))


def restored_tables(place: Expansion, site: Site, parts: Parts, config: Palette) -> ir.Value:
    """The tables as float32."""
    entries = (site.tables, 2**site.bits) if site.tables > 1 else (2**site.bits,)
    if config.entry != EIGHT:
        return place.store("table", ir.DataType.FLOAT, entries, lambda: parts.take("table"))

    def short() -> Array:
        return parts.take("short").reshape(entries)

    def step() -> Array:
        return parts.take("step").reshape((site.tables, 1) if site.tables > 1 else ())

    stored = place.store("table", ir.DataType.INT8, entries, short)
    floats = place.operator("Cast", [stored], to=int(ir.DataType.FLOAT))
    shape = (site.tables, 1) if site.tables > 1 else ()
    return place.operator("Mul", [floats, place.store("step", ir.DataType.FLOAT, shape, step)])


def back_in_place(
    place: Expansion, value: ir.Value, site: Site, parts: Parts, config: Palette
) -> ir.Value:
    """The weight in its own shape from (tables, indices in each)."""
    width, padded = site.weight.tensor.size // site.outputs, site.tables * site.channels
    if padded > site.outputs or config.scaled:
        value = place.reshape(value, (padded, width), "rows")
    if padded > site.outputs:
        value = place.cut(value, site.outputs, "rows")
    if config.scaled:
        shape = (site.outputs, 1)
        scale = place.store(
            "scale", ir.DataType.FLOAT, shape, lambda: parts.take("scale").reshape(shape)
        )
        value = place.operator("Mul", [value, scale])
    value = place.reshape(value, site.turned, "turned")
    back = [int(axis) for axis in np.argsort(site.order)]
    if back != sorted(back):
        value = place.operator("Transpose", [value], perm=back)
    return value


METHOD = Method(
    name="palette",
    summary="store weights as indices into small tables, compute in float",
    config=Palette,
    opset=least_opset,
    sites=sites,
    apply=apply,
    inspect=lambda site: unusable(site.weight),
    implied=implied,
    uses_data=looks,
)
