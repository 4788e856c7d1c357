"""Sparse weights: most become zero, and the file holds a bit for each and the others' values.

Zeros are the smallest weights, or those that cost least given what the others can make up for. The
values that stay are floats, points of a uniform grid or entries of a palette.
Source: Han et al., "Learning both Weights and Connections" (NIPS 2015), for magnitude; Frantar and
Alistarh, "SparseGPT" (ICML 2023), for the second order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from packlight.compression.encoding.sparse_storage import (
    MASK_BYTES,
    VALUE_BYTES,
    SparseForm,
    restore_sparse,
    stored_parts,
)
from packlight.compression.encoding.storage import FLOAT_BYTES, MIN_OPSET, Expansion, Parts
from packlight.compression.grids import codebook, grouping, uniform
from packlight.compression.grids.codebook import Codebook
from packlight.compression.grids.uniform import Uniform
from packlight.compression.methods.stored_weights import Float, WeightStorage
from packlight.compression.reconstruction.gptq import Lattice
from packlight.compression.reconstruction.sequential import EncodedWeight
from packlight.compression.reconstruction.sparse_rows import unconstrained_lattice
from packlight.compression.reconstruction.zero_masks import Mask, Sparsity
from packlight.compression.sites.weight_matrix import Layout, weight_layout
from packlight.compression.sites.weight_sites import Weight, WeightSite
from packlight.records.configs import Sparse, SparseStorage
from packlight.records.storage import StoredSparse
from packlight.records.variant import Refusal

PACKED_OPSET = 18
"""The first opset that unpacks bits."""

DENSE_NAMES: Mapping[SparseStorage, str] = {
    "float": "the float weight",
    "grid": "codes without zeros left out",
    "palette": "indices without zeros left out",
}


DENSE_REMEDY = "store it without a mask by a later step: weights, palette"


class AnyValue:
    """Every float; codes are the values themselves."""

    def nearest(self, weight: Float) -> Float:
        """The weight."""
        return weight

    def values(self, codes: Float) -> Float:
        """The codes."""
        return codes

    def lattice(self, form: Layout) -> Lattice:
        """No restriction."""
        return unconstrained_lattice(form.sizes())


@dataclass(frozen=True, slots=True)
class SparseValues:
    """Zeros of one weight, and the values that its nonzeros can take.

    Attributes:
        nonzeros: values that are not zero.
        zeros: numbers of the fitted weight that become zero.
    """

    nonzeros: AnyValue | Uniform | Codebook
    zeros: Mask

    def nearest(self, weight: Float) -> Float:
        """The code of the nearest value for every number; NaN at the zeros."""
        codes = self.nonzeros.nearest(np.where(self.zeros, np.float32(0), weight))
        return np.where(self.zeros, np.float32(np.nan), codes)

    def values(self, codes: Float) -> Float:
        """Values of codes, 0 for NaN."""
        zeros = np.isnan(codes)
        values = self.nonzeros.values(np.where(zeros, np.float32(0), codes))
        return np.where(zeros, np.float32(0), values)

    @property
    def stored(self) -> Mapping[str, Float]:
        """Scales and table as they are stored, by the name of the part."""
        if isinstance(self.nonzeros, Codebook):
            return {"table": self.nonzeros.tables[0], "scale": self.nonzeros.scale}
        if isinstance(self.nonzeros, Uniform):
            return {"scale": self.nonzeros.scale}
        return {}

    def lattice(self, form: Layout) -> Lattice:
        """The lattice of the nonzeros, for the rows of the weight's matrices."""
        return self.nonzeros.lattice(form)


@dataclass(frozen=True, slots=True)
class Site(WeightSite):
    """A weight with the decisions about it.

    Attributes:
        form: how much of it stays and how that is stored.
    """

    form: SparseForm


def _sparsity(config: Sparse) -> Sparsity:
    return Sparsity(config.share, config.run)


def _decide(config: Sparse, weight: Weight) -> Site | Refusal:
    """Number of nonzeros of one weight, or why it stays as it is."""
    if weight.is_table:
        reason = "no sum runs over its numbers, so that none makes up for zeros"
        return Refusal(weight.operator, "unsupported-operator", reason, DENSE_REMEDY)
    sizes = weight_layout(weight).sizes()
    if sizes[2] < config.inputs:
        reason = f"its outputs sum over {sizes[2]} inputs each, too few to make up for zeros"
        return Refusal(weight.operator, "too-few-inputs", reason, f"use inputs={sizes[2]}")
    nonzeros = weight.tensor.size - _sparsity(config).count(sizes)
    scaled = config.values == "grid" or (config.values == "palette" and config.scaled)
    form = SparseForm(
        weight.split_shape,
        weight.summed,
        nonzeros,
        config.values,
        config.bits,
        scaled,
        half=weight.dtype == ir.DataType.FLOAT16,
    )
    if not nonzeros:
        reason = f"none of its {weight.tensor.size} numbers would stay"
        return Refusal(weight.operator, "nothing-left", reason, "use a smaller share")
    after = form.stored_bytes() + MASK_BYTES + weight.cast_bytes
    if after >= form.dense_bytes():
        dense = DENSE_NAMES[config.values]
        reason = f"mask and values would take {after} bytes, {dense} {form.dense_bytes()}"
        remedy = f"use a larger share, or {DENSE_REMEDY}"
        return Refusal(weight.operator, "not-smaller", reason, remedy)
    if config.values != "float":
        after += VALUE_BYTES
    if after >= weight.tensor.nbytes:
        reason = f"mask and values would take {after} bytes, the weight {weight.tensor.nbytes}"
        return Refusal(weight.operator, "not-smaller", reason, "leave it as it is")
    return Site(weight, form)


def _least_opset(config: Sparse) -> int:
    if config.values == "float":
        return PACKED_OPSET
    return max(PACKED_OPSET, MIN_OPSET[config.bits])


def _fit(config: Sparse, site: Site, weight: Float, importance: Float) -> SparseValues:
    """The zeros of one weight, where it has none (NaN) yet, and values for its nonzeros."""
    if not config.weighted:
        importance = np.broadcast_to(np.float32(1), weight.shape)
    form = site.form
    zeros = np.isnan(weight)
    if not zeros.any():
        layout = weight_layout(site.weight)
        cost = layout.matrices(np.abs(weight) * np.sqrt(importance))
        zeros = layout.weight(_sparsity(config).cheapest(cost)).astype(np.bool_)
    if form.values == "float":
        return SparseValues(AnyValue(), zeros)
    nonzeros = np.where(zeros, np.float32(0), weight)
    mass = np.where(zeros, np.float32(0), importance)
    if form.values == "grid":
        groups = grouping.per_channel(form.shape, form.summed)
        return SparseValues(
            uniform.fit_grid(nonzeros, mass, groups, form.bits, symmetric=True, search="moments"),
            zeros,
        )
    order = (*form.outer, *form.summed)
    blank = codebook.blank_codebook(
        form.shape, order, form.channels, form.bits, outputs=form.channels
    )
    tables = codebook.fit_codebook(blank, nonzeros, mass, scaled=form.scaled, short=False)
    return SparseValues(tables, zeros)


def _restore(config: Sparse, site: Site, parts: Parts, expansion: Expansion) -> ir.Value:
    del config
    value = restore_sparse(expansion, site.form, parts)
    if site.form.shape != site.weight.shape:
        value = expansion.reshape(value, site.weight.shape)
    return value


def _describe(config: Sparse, encoded: EncodedWeight[Site]) -> StoredSparse:
    return StoredSparse(
        zeros=config.share,
        run=config.run,
        values=config.values,
        bits=8 * FLOAT_BYTES if config.values == "float" else config.bits,
        rounding=encoded.rounding,
        notes=encoded.notes,
    )


METHOD = WeightStorage(
    kind="sparse",
    decide=_decide,
    fit=_fit,
    parts=lambda _, site, fitted, codes: stored_parts(site.form, fitted, codes),
    restore=_restore,
    describe=_describe,
    stored_bytes=lambda _, site: site.form.stored_bytes(),
    needs_inputs=lambda config: config.weighted,
    sparsity=_sparsity,
).method(
    "let most weights become zero, store a mask and the others, compute in float",
    Sparse,
    _least_opset,
)
