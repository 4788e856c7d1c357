"""Skeleton of the methods that store weights in another form.

A method decides about every weight, fits the values that each can take, and rounds it to these:
when the file is written, or by calibration samples, in the order in which the weights run. The
graph gets the stored parts and the operators that restore the weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.bit_allocation.allocate import allocate_bits, sites_by_width
from packlight.compression.encoding.storage import Expansion, Parts
from packlight.compression.method import Method
from packlight.compression.methods import float16
from packlight.compression.methods.small_gains import sites_of_small_gain
from packlight.compression.reconstruction.sequential import (
    EncodedWeight,
    F,
    RoundingJob,
    encode_rounded,
    round_jobs,
    round_lazily,
    round_sequentially,
    round_unobserved,
)
from packlight.compression.reconstruction.zero_masks import DENSE, Sparsity
from packlight.compression.sites.table_sites import (
    KEEP_IN_HALF,
    SMALL_GAIN,
    is_regular,
    table_sites,
)
from packlight.compression.sites.weight_roles import stored, weight_roles
from packlight.compression.sites.weight_sites import (
    MIN_WEIGHT_SIZE,
    STANDS_IN,
    S,
    Weight,
    WeightSite,
    weight_defect,
    weight_sites,
)
from packlight.records.configs import RoundingConfig
from packlight.records.storage import Note, Storage, StoredFloat16
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

Array = NDArray[np.generic]
Float = NDArray[np.float32]
C = TypeVar("C", bound=RoundingConfig)


@dataclass(frozen=True, slots=True)
class WeightStorage(Generic[C, S, F]):
    """One way to store weights.

    Attributes:
        kind: name of the method.
        decide: the site of a weight, or why it stays as it is.
        fit: the values that a weight can take, from it and the importance of each number of it.
        parts: stored arrays of a weight with these values and codes, by the name of the part.
        restore: adds the stored values, and the operators that restore the weight from them.
        describe: the storage of a weight, as records state it.
        stored_bytes: bytes of all parts of a weight.
        needs_inputs: whether ``fit`` needs calibration samples, for the importance.
        rough_fit: as ``fit``, less exact and quicker, to predict errors.
        widths: bits of a code that ``mixed`` chooses among.
        sparsity: how many weights become zero.
    """

    kind: str
    decide: Callable[[C, Weight], S | Refusal]
    fit: Callable[[C, S, Float, Float], F]
    parts: Callable[[C, S, F, Float], Mapping[str, Array]]
    restore: Callable[[C, S, Parts, Expansion], ir.Value]
    describe: Callable[[C, EncodedWeight[S]], Storage]
    stored_bytes: Callable[[C, S], int]
    needs_inputs: Callable[[C], bool]
    rough_fit: Callable[[C, S, Float, Float], F] | None = None
    widths: Sequence[int] = ()
    sparsity: Callable[[C], Sparsity] = lambda _: DENSE

    def method(self, summary: str, config: type[C], opset: Callable[[C], int]) -> Method[C, S]:
        """The method that stores weights in this way; arguments as of ``Method``."""
        return Method(
            summary=summary,
            config=config,
            opset=opset,
            sites=self.sites,
            apply=self.apply,
            inspect=_defect,
            least_size=MIN_WEIGHT_SIZE,
            uses_data=self.uses_data,
            replaces=True,
            makes_up=lambda config: config.targets_float,
            storage=self,
        )

    def sites(self, graph: ir.Model, config: C) -> Iterator[S | Refusal]:
        """Every stored weight and table that gains, and refusals of all others."""
        for weight in list(_weights(graph)):
            yield weight if isinstance(weight, Refusal) else self.decide(config, weight)

    def uses_data(self, config: C) -> bool:
        """Tell whether calibration samples are needed."""
        return config.is_calibrated or self.needs_inputs(config)

    def apply(
        self, graph: ir.Model, sites: Sequence[S], calibrator: Calibrator, config: C
    ) -> list[Change | Refusal]:
        """Replace each weight by its parts and the operators that restore it."""
        small = sites_of_small_gain(sites, partial(self.stored_bytes, config))
        coded = [site for site in sites if id(site) not in small]
        results: list[Change | Refusal] = []
        results += [
            self.replace_weight(graph, w, config)
            for w in self._round(graph, coded, calibrator, config)
        ]
        results += [self._leave_short(graph, site) for site in sites if id(site) in small]
        return results

    def _round(
        self, graph: ir.Model, sites: Sequence[S], calibrator: Calibrator, config: C
    ) -> list[EncodedWeight[S]]:
        """Every weight with its stored parts."""
        fit = partial(self.fit, config)
        parts = partial(self.parts, config)
        if not self.uses_data(config):
            return round_lazily(sites, fit, parts)
        if calibrator.sizes_only:
            return round_unobserved(sites, fit, parts, config)
        if config.mixed:
            sites = self._allocate(graph, sites, calibrator, config)
        sparsity = self.sparsity(config)
        rounded = round_sequentially(graph, sites, calibrator, fit, config, sparsity=sparsity)
        return encode_rounded(rounded, parts)

    def _allocate(
        self, graph: ir.Model, sites: Sequence[S], calibrator: Calibrator, config: C
    ) -> Sequence[S]:
        """The sites with the width that each does best with."""

        def decide(weight: Weight, bits: int) -> S | Refusal:
            return self.decide(replace(config, bits=bits), weight)  # type: ignore[call-arg]

        options = sites_by_width(sites, self.widths, decide)
        fit = partial(self.rough_fit or self.fit, config)
        return allocate_bits(graph, options, calibrator, fit, config)

    def replace_weight(self, graph: ir.Model, encoded: EncodedWeight[S], config: C) -> Change:
        """Replace a weight by its parts and the operators that restore it."""
        site = encoded.site
        before = site.weight.tensor.nbytes
        expansion = Expansion(graph, site.weight.value)
        restored = self.restore(config, site, encoded.parts, expansion)
        if site.weight.dtype != ir.DataType.FLOAT:
            restored = expansion.operator("Cast", [restored], to=int(site.weight.dtype))
        expansion.replace(restored)
        storage = self.describe(config, encoded)
        return Change(site.operator, self.kind, storage, before, self.stored_bytes(config, site))

    def _leave_short(self, graph: ir.Model, site: S) -> Change | Refusal:
        """Leave a weight in 16 bits, whose codes would save too little."""
        if site.weight.dtype != ir.DataType.FLOAT:
            return Refusal(site.operator, "no-gain", SMALL_GAIN)
        half = float16.Site(site.weight.value, site.weight.tensor, site.operator)
        refusal = float16.range_refusal(half)
        if refusal is not None:
            return refusal
        storage = StoredFloat16(notes=(Note("small-gain"),))
        return replace(float16.halve(graph, half, settled=True), method=self.kind, storage=storage)


@dataclass(frozen=True, slots=True)
class SiteChoice(Generic[C, S, F]):
    """One weight, and the form in which it is stored.

    Attributes:
        storage: the way to store it.
        config: options of that way.
        site: the weight.
    """

    storage: WeightStorage[C, S, F]
    config: C
    site: S

    @property
    def makes_up(self) -> bool:
        """True if it compensates for the errors of weights before it."""
        return self.config.targets_float

    @property
    def uses_data(self) -> bool:
        """True if calibration samples are needed."""
        return self.storage.uses_data(self.config)

    def job(self) -> RoundingJob[S, F]:
        """The rounding of the weight."""
        fit = partial(self.storage.fit, self.config)
        sparsity = self.storage.sparsity(self.config)
        return RoundingJob(self.site, fit, self.config, sparsity, learns=self.uses_data)

    def encode_alone(self, *, sizes_only: bool) -> EncodedWeight[S]:
        """The weight with its stored parts, rounded without samples."""
        fit = partial(self.storage.fit, self.config)
        parts = partial(self.storage.parts, self.config)
        if sizes_only and self.uses_data:
            return round_unobserved([self.site], fit, parts, self.config)[0]
        return round_lazily([self.site], fit, parts)[0]

    def stored_parts(self, site: S, fitted: F, codes: Float) -> Mapping[str, Array]:
        """Parts of the rounded weight."""
        return self.storage.parts(self.config, site, fitted, codes)

    def replace_weight(self, graph: ir.Model, encoded: EncodedWeight[S]) -> Change:
        """Replace the weight by its parts and the operators that restore it."""
        return self.storage.replace_weight(graph, encoded, self.config)


def store_choices(
    graph: ir.Model, choices: Sequence[SiteChoice[Any, Any, Any]], calibrator: Calibrator
) -> list[Change | Refusal]:
    """Store every weight in the form that is chosen for it, and round all in one pass.

    Each is rounded in the order in which it runs, so that it compensates for all before it.

    Args:
        graph: changed in place.
        choices: one for each weight, in any order.
        calibrator: runs calibration samples.
    """
    places = {id(weight.value): place for place, weight in enumerate(stored_weights(graph))}
    ordered = sorted(choices, key=lambda choice: places[id(choice.site.weight.value)])
    sizes_only = calibrator.sizes_only
    if sizes_only or not any(choice.uses_data for choice in ordered):
        encoded = [choice.encode_alone(sizes_only=sizes_only) for choice in ordered]
    else:
        rounded = round_jobs(graph, [choice.job() for choice in ordered], calibrator)
        by_site = {id(choice.site): choice for choice in ordered}
        encoded = encode_rounded(
            rounded, lambda site, fitted, codes: by_site[id(site)].stored_parts(site, fitted, codes)
        )
    return [
        choice.replace_weight(graph, weight)
        for choice, weight in zip(ordered, encoded, strict=True)
    ]


def stored_weights(graph: ir.Model) -> list[Weight]:
    """Every stored weight and table that some form may make smaller, in the order they run."""
    return [weight for weight in _weights(graph) if isinstance(weight, Weight)]


def _weights(graph: ir.Model) -> Iterator[Weight | Refusal]:
    roles = weight_roles(graph, fused=True)
    read = {id(value) for _, value in roles if value is not None and stored(value) is not None}
    yield from weight_sites(graph, fused=True)
    yield from table_sites(graph, read)


def _defect(site: WeightSite) -> Refusal | None:
    """Refusal of a weight whose numbers would be spoilt; None where they would not."""
    weight = site.weight
    refusal = weight_defect(weight)
    if refusal is not None or not weight.is_table or STANDS_IN in weight.tensor.meta:
        return refusal
    if is_regular(weight.read()):
        reason = f"few numbers of its '{weight.value.name}' differ, as in a mask or a grid"
        return Refusal(weight.operator, "regular", reason, KEEP_IN_HALF)
    return None


def function_name(stem: str, traits: Mapping[str, bool]) -> str:
    """Name of the function that restores a weight; its traits tell it apart."""
    return "_".join([stem, *(trait for trait, holds in traits.items() if holds)])
