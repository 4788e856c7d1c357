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
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.sparse_storage import (
    MASK_BYTES,
    VALUE_BYTES,
    SparseForm,
    Values,
    restore_sparse,
    stored_parts,
)
from packlight.compression.encoding.storage import MIN_OPSET, Expansion
from packlight.compression.method import Method
from packlight.compression.methods.sparse_values import SparseValues, fit
from packlight.compression.reconstruction.sequential import (
    EncodedWeight,
    Rounding,
    encode_rounded,
    round_lazily,
    round_sequentially,
)
from packlight.compression.reconstruction.zero_masks import Sparsity
from packlight.compression.sites.weight_matrix import weight_layout
from packlight.compression.sites.weight_sites import Weight, WeightSite, decide_sites, weight_defect
from packlight.errors import RecipeError
from packlight.records.recipe import Option
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

Array = NDArray[np.generic]
Float = NDArray[np.float32]
WHOLE = 0.02
"""How far from a whole number of zeros a share of a run may be, so that 0.667 is two of three."""

PACKED_OPSET = 18
"""The first opset that unpacks bits."""


@dataclass(frozen=True, slots=True)
class Sparse(Rounding):
    """Let most weights become zero, and store a bit for each and the others' values.

    ``rounding=nearest`` lets the smallest become zero, ``gptq`` those that cost least given what
    the others can make up for, and lets the others do so.

    Attributes:
        share: of the numbers of every weight that become zero.
        run: where above 0, the share holds in every run of so many consecutive inputs of each
            output, as two of four.
        values: what stays is stored as ``float``, as codes of a ``grid`` with a scale for each
            output channel, or as indices into a ``palette``.
        bits: of a code or an index.
        scaled: whether every output channel has a scale beside the palette.
        weighted: whether weights matter as much as the inputs that calibration samples give, in
            the choice of zeros by size and in the fit of grids and palettes.
        inputs: weights whose outputs sum over fewer are left alone: few cannot make up for each
            other, and there is little to gain.
    """

    share: float = 0.5
    run: int = 0
    values: Values = "float"
    bits: Literal[1, 2, 3, 4, 5, 6, 7, 8] = 8
    scaled: bool = False
    weighted: bool = False
    inputs: int = 32

    def __post_init__(self) -> None:
        self.check_rounding()
        if not 0 < self.share < 1:
            raise RecipeError(f"sparse,share= lies between 0 and 1; got {self.share}")
        if self.run < 0 or self.run == 1:
            raise RecipeError(f"sparse,run= counts inputs: 0 or at least 2; got {self.run}")
        zeros = self.share * self.run
        if self.run and not (abs(zeros - round(zeros)) <= WHOLE and 0 < round(zeros) < self.run):
            raise RecipeError(
                f"sparse,share= is a whole number of every run; {self.share} of {self.run} is not: "
                f"try share={max(1, min(self.run - 1, round(zeros))) / self.run:.3g}"
            )
        if self.values == "grid" and self.bits == 1:
            raise RecipeError("sparse,values=grid has 2 to 8 bits; got 1, which values=palette has")
        if self.inputs < 1:
            raise RecipeError(f"sparse,inputs= counts inputs: at least 1; got {self.inputs}")
        if self.mixed:
            raise RecipeError(
                f"sparse has the same bits for every weight; got mixed={self.mixed}: leave it out"
            )

    @property
    def sparsity(self) -> Sparsity:
        """How many weights become zero."""
        return Sparsity(self.share, self.run)


def implied(options: Mapping[str, Option]) -> Mapping[str, Option]:
    """Naming a width means codes of a grid; naming scales beside it, indices into a palette."""
    if "scaled" in options:
        return {"values": "palette", **options}
    return {"values": "grid", **options} if "bits" in options else options


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
        return Refusal(weight.operator, reason, f"use inputs={sizes[2]}")
    kept = weight.tensor.size - config.sparsity.count(sizes)
    scaled = config.values == "grid" or (config.values == "palette" and config.scaled)
    form = SparseForm(weight.shape, weight.summed, kept, config.values, config.bits, scaled)
    if not kept:
        reason = f"none of its {weight.tensor.size} numbers would stay"
        return Refusal(weight.operator, reason, "use a smaller share")
    after = form.stored_bytes() + MASK_BYTES
    if after >= form.dense_bytes():
        dense = WITHOUT_MASK[config.values]
        reason = f"mask and values would take {after} bytes, {dense} {form.dense_bytes()}"
        remedy = "use a larger share, or store it without a mask by a later step: weights, palette"
        return Refusal(weight.operator, reason, remedy)
    after += 0 if config.values == "float" else VALUE_BYTES
    if after >= weight.tensor.nbytes:
        reason = f"mask and values would take {after} bytes, the weight {weight.tensor.nbytes}"
        return Refusal(weight.operator, reason, "leave it as it is")
    return Site(weight, form)


WITHOUT_MASK: Mapping[Values, str] = {
    "float": "the float weight",
    "grid": "codes without zeros left out",
    "palette": "indices without zeros left out",
}


def least_opset(config: Sparse) -> int:
    """The least opset that unpacks the mask and has the type of the codes."""
    return PACKED_OPSET if config.values == "float" else max(PACKED_OPSET, MIN_OPSET[config.bits])


def looks(config: Sparse) -> bool:
    """Whether calibration samples are needed."""
    return config.calibrated or config.weighted


def apply(
    graph: ir.Model, found: Sequence[Site], calibrator: Calibrator, config: Sparse
) -> list[Change | Refusal]:
    """Replace each weight by mask, values and the operators that restore it."""
    fit = partial(fitted, config)
    if not looks(config):
        made = round_lazily(found, fit, stored)
    else:
        sparsity = config.sparsity
        rounded = round_sequentially(graph, found, calibrator, fit, config, sparsity=sparsity)
        made = encode_rounded(rounded, stored)
    return [encode(graph, one, config) for one in made]


def stored(site: Site, found: SparseValues, codes: Float) -> Mapping[str, Array]:
    """Mask and values as they are stored."""
    return stored_parts(site.form, found, codes)


def fitted(config: Sparse, site: Site, weight: Float, importance: Float) -> SparseValues:
    """The values that one weight can take; where it is NaN already, it stays zero."""
    matters = importance if config.weighted else np.broadcast_to(np.float32(1), weight.shape)
    return fit(weight, matters, weight_layout(site.weight), site.form, config.sparsity)


def encode(graph: ir.Model, one: EncodedWeight[Site], config: Sparse) -> Change:
    """Write mask and values of one weight and what restores it."""
    site = one.site
    before = site.weight.tensor.nbytes
    place = Expansion(graph, site.weight.value)
    place.replace(restore_sparse(place, site.form, one.parts))
    sparsity = config.sparsity
    dropped = sparsity.run - sparsity.nonzeros_per_run
    zeros = f"{dropped} of {sparsity.run}" if sparsity.run else f"{sparsity.share:.3g} of all"
    bits = "" if config.values == "float" else f" of {config.bits} bits"
    chosen = one.how.replace("to nearest", "by size")
    what = f"{zeros} zero {chosen}, {config.values}{bits}, float at load"
    return Change(site.operator, "sparse", what, before, site.form.stored_bytes())


METHOD = Method(
    name="sparse",
    summary="let most weights become zero, store a mask and the others, compute in float",
    config=Sparse,
    opset=least_opset,
    sites=sites,
    apply=apply,
    inspect=lambda site: weight_defect(site.weight),
    implied=implied,
    uses_data=looks,
    replaces=True,
    makes_up=lambda config: config.makes_up,
)
