"""Palettes: weights stored as indices into a small table of values.

The table is the exact solution of one-dimensional k-means, so no table of its size has a smaller
squared error. Gather restores the weights when the session starts; where groups of channels have
tables of their own, GatherElements does, after which the channels go back to their axis.
Source: Han et al., "Deep Compression" (ICLR 2016), with ``kmeans`` in place of Lloyd's iterations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compress.kmeans import cluster
from packlight.compress.sites import Weight, unusable, weight_sites
from packlight.compress.storage import OPSET, UNSIGNED, Expansion, code_bytes, store_packed
from packlight.errors import RecipeError
from packlight.method import Method, Observed
from packlight.records.recipe import Option
from packlight.records.variant import Change, Refusal

Float = NDArray[np.float32]
Codes = NDArray[np.uint8]
FLOAT_BYTES = 4
OPERATOR_BYTES = 300
"""About what the operators and names that restore one weight take in the file."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Store weights as indices of ``bits`` bits into tables of values.

    Attributes:
        bits: of one index.
        per: one table for the whole ``tensor`` or for each ``group`` of output channels.
        group: output channels that share a table.
    """

    bits: Literal[1, 2, 3, 4, 5, 6, 7, 8] = 4
    per: Literal["tensor", "group"] = "tensor"
    group: int = 16

    def __post_init__(self) -> None:
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
    """

    weight: Weight
    order: tuple[int, ...]
    tables: int
    channels: int

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
    whole = Site(weight, (*kept, *weight.summed), 1, 0)
    channels = config.group if config.per == "group" else whole.outputs
    channels = min(channels, whole.outputs)
    site = Site(weight, whole.order, -(-whole.outputs // channels), channels)
    after = stored_bytes(site, config.bits) + OPERATOR_BYTES
    if after >= weight.tensor.nbytes:
        reason = f"indices and tables would take {after} bytes, the weight {weight.tensor.nbytes}"
        return Refusal(weight.operator, reason, "use larger groups")
    return site


def stored_bytes(site: Site, bits: int) -> int:
    """Bytes of indices and tables."""
    count = math.prod(site.rows)
    entries: int = site.tables * 2**bits
    return code_bytes(count, bits) + entries * FLOAT_BYTES


class Clustered:
    """Tables and indices of one weight, computed when first asked for."""

    def __init__(self, site: Site, bits: int) -> None:
        self.site, self.bits = site, bits

    @cached_property
    def both(self) -> tuple[Float, Codes]:
        """Tables (tables, 2^bits), increasing, and indices (tables, indices in each)."""
        site = self.site
        weight = site.weight.read().transpose(site.order).reshape(site.outputs, -1)
        tables = np.zeros((site.tables, 2**self.bits), np.float32)
        codes = np.zeros((site.tables, site.channels, weight.shape[1]), np.uint8)
        for index in range(site.tables):
            rows = weight[index * site.channels : (index + 1) * site.channels]
            tables[index] = table(rows, 2**self.bits)
            codes[index, : len(rows)] = nearest_entry(rows, tables[index])
        return tables, codes.reshape(site.rows)

    def tables(self) -> Float:
        """(tables, 2^bits), or (2^bits,) for one table."""
        tables = self.both[0]
        return tables if self.site.tables > 1 else tables[0]

    def codes(self) -> Codes:
        """(tables, indices in each)."""
        return self.both[1]


def table(weight: Float, entries: int) -> Float:
    """The best values for a weight, increasing; the last is repeated where fewer suffice."""
    centres = cluster(weight, None, entries).astype(np.float32)
    return np.pad(centres, (0, entries - len(centres)), mode="edge")


def nearest_entry(weight: Float, table: Float) -> Codes:
    """Index of the nearest entry of an increasing table, for weights of any shape."""
    middles = (table[1:].astype(np.float64) + table[:-1]) / 2
    return np.searchsorted(middles, weight).astype(np.uint8)


def least_opset(config: Palette) -> int:
    """The least opset that has the type of the indices."""
    return OPSET[config.bits]


def apply(
    graph: ir.Model, found: Sequence[Site], observed: Observed, config: Palette
) -> list[Change | Refusal]:
    """Replace each weight by indices, tables and the operators that restore it."""
    del observed
    return [encode(graph, site, config) for site in found]


def encode(graph: ir.Model, site: Site, config: Palette) -> Change:
    """Write indices and tables of one weight and what restores it."""
    before, bits = site.weight.tensor.nbytes, config.bits
    place, found = Expansion(site.weight.value), Clustered(site, config.bits)
    entries = (site.tables, 2**bits) if site.tables > 1 else (2**bits,)
    tables = place.store("table", ir.DataType.FLOAT, entries, found.tables)
    if bits in UNSIGNED:
        codes = place.store("codes", UNSIGNED[bits], site.rows, found.codes)
    else:
        codes = store_packed(graph, place, bits, site.rows, found.codes)
    indices = place.operator("Cast", [codes], to=int(ir.DataType.INT64))
    op = "GatherElements" if site.tables > 1 else "Gather"
    value = place.operator(op, [tables, indices], axis=len(entries) - 1)
    place.replace(back_in_place(place, value, site))
    share = "tensor" if config.per == "tensor" else f"{site.channels} channels"
    what = f"palette of {2**bits} per {share}, float at load"
    return Change(site.operator, "palette", what, before, stored_bytes(site, bits))


def back_in_place(place: Expansion, value: ir.Value, site: Site) -> ir.Value:
    """The weight in its own shape from (tables, indices in each)."""
    width = site.weight.tensor.size // site.outputs
    if site.tables * site.channels > site.outputs:
        value = place.reshape(value, (site.tables * site.channels, width), "rows")
        value = place.cut(value, site.outputs, "rows")
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
)
