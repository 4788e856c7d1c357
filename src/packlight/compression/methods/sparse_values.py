"""What a sparse weight can be: 0 at its zeros, elsewhere of a grid, of a palette, or any float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packlight.compression.encoding.sparse_storage import SparseForm
from packlight.compression.grids import codebook, granularity, uniform
from packlight.compression.grids.codebook import Codebook
from packlight.compression.grids.uniform import Uniform
from packlight.compression.reconstruction.gptq import Lattice
from packlight.compression.reconstruction.sparse_rows import unconstrained_lattice
from packlight.compression.reconstruction.zero_masks import Mask, Sparsity
from packlight.compression.sites.weight_matrix import Layout

Float = NDArray[np.float32]


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
    """Zeros at chosen places of one weight, and the values that the others can take.

    Attributes:
        kept: what is not zero.
        zeros: where the weight that this was fitted to becomes zero.
    """

    kept: AnyValue | Uniform | Codebook
    zeros: Mask

    def nearest(self, weight: Float) -> Float:
        """The code of the nearest value for every number; NaN at the zeros."""
        codes = self.kept.nearest(np.where(self.zeros, np.float32(0), weight))
        return np.where(self.zeros, np.float32(np.nan), codes)

    def values(self, codes: Float) -> Float:
        """What codes stand for, 0 for NaN."""
        zeros = np.isnan(codes)
        values = self.kept.values(np.where(zeros, np.float32(0), codes))
        return np.where(zeros, np.float32(0), values)

    @property
    def stored(self) -> Mapping[str, Float]:
        """Scales and table as they are stored, by the name of the part."""
        if isinstance(self.kept, Codebook):
            return {"table": self.kept.tables[0], "scale": self.kept.scale}
        if isinstance(self.kept, Uniform):
            return {"scale": self.kept.scale}
        return {}

    def lattice(self, form: Layout) -> Lattice:
        """The values of what is not zero, for the rows of the weight's matrices."""
        return self.kept.lattice(form)


def fit(
    weight: Float, matters: Float, layout: Layout, form: SparseForm, sparsity: Sparsity
) -> SparseValues:
    """The zeros of one weight, where it has none yet, and values for what stays.

    Args:
        weight: NaN where it became zero already; without any NaN, the smallest become zero.
        matters: of the same shape, how much a squared error matters, at least 0.
        layout: of the weight.
        form: how what stays is stored.
        sparsity: how many become zero.
    """
    zeros = np.isnan(weight)
    if not zeros.any():
        cost = layout.matrices(np.abs(weight) * np.sqrt(matters))
        zeros = layout.weight(sparsity.cheapest(cost)).astype(np.bool_)
    kept, mass = np.where(zeros, np.float32(0), weight), np.where(zeros, np.float32(0), matters)
    if form.values == "float":
        return SparseValues(AnyValue(), zeros)
    if form.values == "grid":
        grouping = granularity.per_channel(form.shape, form.summed)
        found = uniform.fit_grid(kept, mass, grouping, form.bits, symmetric=True, search="moments")
        return SparseValues(found, zeros)
    order = (*form.outer, *form.summed)
    blank = codebook.blank_codebook(order, form.channels, form.channels, form.bits)
    return SparseValues(
        codebook.fit_codebook(blank, kept, mass, scaled=form.scaled, short=False), zeros
    )
