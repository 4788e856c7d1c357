"""Sparse weights: most become zero, and the file holds a bit for each and the others' values.

Zeros are the smallest weights, or those that cost least given what the others can make up for. The
values that stay are floats, points of a uniform grid or entries of a palette.
Source: Han et al., "Learning both Weights and Connections" (NIPS 2015), for magnitude; Frantar and
Alistarh, "SparseGPT" (ICML 2023), for the second order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.sparse_storage import (
    MASK_BYTES,
    VALUE_BYTES,
    SparseForm,
    restore_sparse,
    stored_parts,
)
from packlight.compression.encoding.storage import FLOAT_BYTES, MIN_OPSET, Expansion
from packlight.compression.method import Method
from packlight.compression.methods.sparse_values import SparseValues, fit
from packlight.compression.reconstruction.sequential import (
    EncodedWeight,
    encode_rounded,
    round_lazily,
    round_sequentially,
    round_unobserved,
)
from packlight.compression.reconstruction.zero_masks import Sparsity
from packlight.compression.sites.weight_matrix import weight_layout
from packlight.compression.sites.weight_sites import Weight, WeightSite, decide_sites, weight_defect
from packlight.records.configs import Sparse, SparseStorage
from packlight.records.storage import StoredSparse
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

Array = NDArray[np.generic]
Float = NDArray[np.float32]
PACKED_OPSET = 18
"""The first opset that unpacks bits."""


def sparsity_of(config: Sparse) -> Sparsity:
    """How many weights become zero."""
    return Sparsity(config.share, config.run)


@dataclass(frozen=True, slots=True)
class Site(WeightSite):
    """A weight with the decisions about it.

    Attributes:
        form: how much of it stays and how that is stored.
    """

    form: SparseForm


def sites(graph: ir.Model, config: Sparse) -> Iterator[Site | Refusal]:
    """Every stored weight that gains, and why others do not."""
    return decide_sites(graph, partial(decide, config))


def decide(config: Sparse, weight: Weight) -> Site | Refusal:
    """How much of one weight stays, or why it is left alone."""
    sizes = weight_layout(weight).sizes()
    if sizes[2] < config.inputs:
        reason = f"its outputs sum over {sizes[2]} inputs each, too few to make up for zeros"
        return Refusal(weight.operator, "too-few-inputs", reason, f"use inputs={sizes[2]}")
    kept = weight.tensor.size - sparsity_of(config).count(sizes)
    scaled = config.values == "grid" or (config.values == "palette" and config.scaled)
    form = SparseForm(weight.shape, weight.summed, kept, config.values, config.bits, scaled)
    if not kept:
        reason = f"none of its {weight.tensor.size} numbers would stay"
        return Refusal(weight.operator, "nothing-left", reason, "use a smaller share")
    after = form.stored_bytes() + MASK_BYTES
    if after >= form.dense_bytes():
        dense = WITHOUT_MASK[config.values]
        reason = f"mask and values would take {after} bytes, {dense} {form.dense_bytes()}"
        remedy = "use a larger share, or store it without a mask by a later step: weights, palette"
        return Refusal(weight.operator, "not-smaller", reason, remedy)
    after += 0 if config.values == "float" else VALUE_BYTES
    if after >= weight.tensor.nbytes:
        reason = f"mask and values would take {after} bytes, the weight {weight.tensor.nbytes}"
        return Refusal(weight.operator, "not-smaller", reason, "leave it as it is")
    return Site(weight, form)


WITHOUT_MASK: Mapping[SparseStorage, str] = {
    "float": "the float weight",
    "grid": "codes without zeros left out",
    "palette": "indices without zeros left out",
}


def least_opset(config: Sparse) -> int:
    """The least opset that unpacks the mask and has the type of the codes."""
    if config.values == "float":
        return PACKED_OPSET
    return max(PACKED_OPSET, MIN_OPSET[config.bits])


def looks(config: Sparse) -> bool:
    """Whether calibration samples are needed."""
    return config.is_calibrated or config.weighted


def apply(
    graph: ir.Model, found: Sequence[Site], calibrator: Calibrator, config: Sparse
) -> list[Change | Refusal]:
    """Replace each weight by mask, values and the operators that restore it."""
    fit = partial(fitted, config)
    if not looks(config):
        made = round_lazily(found, fit, stored)
    elif calibrator.sizes_only:
        made = round_unobserved(found, fit, stored, config)
    else:
        sparsity = sparsity_of(config)
        rounded = round_sequentially(graph, found, calibrator, fit, config, sparsity=sparsity)
        made = encode_rounded(rounded, stored)
    return [encode(graph, one, config) for one in made]


def stored(site: Site, found: SparseValues, codes: Float) -> Mapping[str, Array]:
    """Mask and values as they are stored."""
    return stored_parts(site.form, found, codes)


def fitted(config: Sparse, site: Site, weight: Float, importance: Float) -> SparseValues:
    """The values that one weight can take; where it is NaN already, it stays zero."""
    matters = importance if config.weighted else np.broadcast_to(np.float32(1), weight.shape)
    return fit(weight, matters, weight_layout(site.weight), site.form, sparsity_of(config))


def encode(graph: ir.Model, one: EncodedWeight[Site], config: Sparse) -> Change:
    """Write mask and values of one weight and what restores it."""
    site = one.site
    before = site.weight.tensor.nbytes
    place = Expansion(graph, site.weight.value)
    place.replace(restore_sparse(place, site.form, one.parts))
    sparsity = sparsity_of(config)
    storage = StoredSparse(
        zeros=sparsity.share,
        run=sparsity.run,
        values=config.values,
        bits=8 * FLOAT_BYTES if config.values == "float" else config.bits,
        rounding=one.rounding,
        notes=one.notes,
    )
    return Change(site.operator, "sparse", storage, before, site.form.stored_bytes())


METHOD = Method(
    summary="let most weights become zero, store a mask and the others, compute in float",
    config=Sparse,
    opset=least_opset,
    sites=sites,
    apply=apply,
    inspect=lambda site: weight_defect(site.weight),
    uses_data=looks,
    replaces=True,
    makes_up=lambda config: config.targets_float,
)
