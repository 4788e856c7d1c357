"""Damage of every form in which each weight may be stored, predicted on held-out samples.

Each form is fitted to some calibration samples, as rounding will do it, and judged on others: what
looks best on the samples that it was fitted to is not. The error of a weight's outputs is that of
some of its rows under the Hessian of the other samples; the gain from there to the model's outputs
is measured once for each weight, by rounding it alone. Where errors come back through a state the
product says little, so that every form is measured.
Source: the product is the first-order model of Frantar and Alistarh, "SPDY" (ICML 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.bit_allocation.sensitivity import (
    ERROR_DAMPING,
    OutputError,
    evenly_spread,
    has_error_loop,
)
from packlight.compression.methods.stored_weights import SiteChoice, stored_weights
from packlight.compression.methods.table import METHODS
from packlight.compression.reconstruction.gptq import HessianFactor, Lattice, gptq_blocks
from packlight.compression.reconstruction.hessian import (
    BlockHessian,
    Observers,
    hessian_bytes,
    input_blocks,
    observe_hessians,
)
from packlight.compression.reconstruction.sequential import (
    MAX_HESSIAN_BYTES,
    RoundingGrid,
    batched,
    correctable_bias,
)
from packlight.compression.reconstruction.shrinkage import importance, shrunk_blocks
from packlight.compression.reconstruction.zero_masks import DENSE
from packlight.compression.sites.weight_matrix import Layout, weight_layout
from packlight.compression.sites.weight_sites import Weight, WeightSite, weight_defect
from packlight.records.configs import Config, Float16, RoundingConfig, WeightOnly
from packlight.records.variant import Refusal
from packlight.runtime.calibration import Calibrator
from packlight.runtime.progress import Progress, silent
from packlight.task.held_out import source_parts

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Choice = SiteChoice[Any, Any, Any]

PROBE = WeightOnly(bits=6)
"""Form in which a weight is rounded alone to measure how much of its error arrives."""

FITTING_SAMPLES = 96
"""Samples whose Hessians forms are fitted to."""

JUDGING_SAMPLES = 48
"""Samples whose Hessians they are judged by."""

HELD_OUT_PARTS = 3
"""Parts of the samples, of which the last judges."""

ROWS = 24
"""Rows of a weight whose errors stand for all, and groups likewise."""


@dataclass(frozen=True, slots=True)
class CandidateDamage:
    """Damage and bytes of the forms of one operator's weights.

    Attributes:
        operator: its name.
        numbers: in its weights.
        before: bytes of its weights as they are.
        damage: of each form, by its index: the relative squared error of the outputs.
        after: of each form, by its index: bytes of codes, scales and tables.
    """

    operator: str
    numbers: int
    before: int
    damage: Mapping[int, float]
    after: Mapping[int, int]

    def joined(self, other: CandidateDamage) -> CandidateDamage:
        """With another weight of the same operator, which gets the same form.

        A form that cannot store one of the two leaves it as it is.
        """
        forms = sorted({*self.damage, *other.damage})
        damage = {form: self.damage.get(form, 0.0) + other.damage.get(form, 0.0) for form in forms}
        after = {
            form: self.after.get(form, self.before) + other.after.get(form, other.before)
            for form in forms
        }
        numbers = self.numbers + other.numbers
        return CandidateDamage(self.operator, numbers, self.before + other.before, damage, after)


def predict_damage(
    graph: ir.Model,
    forms: Sequence[Config],
    fitting: Calibrator,
    held_out: Calibrator,
    progress: Progress = silent,
) -> list[CandidateDamage]:
    """Predict the damage of every form at every operator with a weight, in the order they run.

    Args:
        graph: left as it is.
        forms: configs of methods that store weights, and of ``float16``.
        fitting: runs the samples that forms are fitted to.
        held_out: runs the samples that they are judged on.
        progress: told of every weight.
    """
    weights = [weight for weight in stored_weights(graph) if weight_defect(weight) is None]
    outputs = OutputError.before_rounding(graph, held_out)
    sites = [WeightSite(weight) for weight in weights]
    by_operator: dict[str, CandidateDamage] = {}
    done = 0
    for batch in batched(sites, _two_hessians, MAX_HESSIAN_BYTES, max(1, len(sites))):
        fitted = observe_hessians(graph, batch, fitting, FITTING_SAMPLES)
        judged = observe_hessians(graph, batch, held_out, JUDGING_SAMPLES)
        for site in batch:
            progress("predicting damage", done, len(sites))
            done += 1
            key = id(site)
            trial = _Trial(site, outputs, fitted.pop(key, None), judged.pop(key, None))
            found = trial.predict(forms, has_loop=has_error_loop(site, held_out))
            known = by_operator.get(found.operator)
            by_operator[found.operator] = known.joined(found) if known else found
    return [found for found in by_operator.values() if found.damage]


def _two_hessians(site: WeightSite) -> int:
    return 4 * hessian_bytes(site)


class _Trial:
    """One weight that is tried in every form.

    Args:
        site: the weight.
        outputs: error of the model's outputs on held-out samples.
        fitted: observers of its inputs on the samples that forms are fitted to.
        judged: observers of its inputs on held-out samples.
    """

    def __init__(
        self,
        site: WeightSite,
        outputs: OutputError,
        fitted: Observers | None,
        judged: Observers | None,
    ) -> None:
        self.weight: Weight = site.weight
        self.outputs = outputs
        self.fitted = _usable(fitted)
        self.judged = _usable(judged)
        self.array = site.weight.read()
        self.layout = weight_layout(site.weight)
        self.centered = correctable_bias(site.weight) is not None

    def predict(self, forms: Sequence[Config], *, has_loop: bool) -> CandidateDamage:
        """Damage and bytes of every form that makes the weight smaller."""
        choices = {index: choice for index, form in enumerate(forms)
                   if (choice := _choice_of(self.weight, form)) is not None}  # fmt: skip
        after = {
            index: choice.storage.stored_bytes(choice.config, choice.site)
            for index, choice in choices.items()
        }
        measured = {index: form for index, form in enumerate(forms) if isinstance(form, Float16)}
        damage: dict[int, float] = {}
        gain = self.gain()
        for index in measured:
            half = self.array.astype(np.float16).astype(np.float32)
            damage[index] = gain * self.error_of(half, centered=False)
            after[index] = 2 * self.array.size
        if has_loop:
            damage |= {index: self.measure(choice) for index, choice in choices.items()}
        else:
            errors = self.row_errors(choices)
            damage |= {index: gain * error for index, error in errors.items()}
        return CandidateDamage(
            self.weight.operator, self.array.size, self.weight.tensor.nbytes, damage, after
        )

    def hessian(
        self, observers: Observers | None, damping: float, *, centered: bool
    ) -> BlockHessian:
        """The Hessian of the weight's inputs; that of independent inputs where they are unknown."""
        if observers is not None:
            return shrunk_blocks(observers, damping, centered=centered)
        blocks = input_blocks(self.layout.sizes()[2])
        return BlockHessian(tuple(np.eye(part.stop - part.start)[None] for part in blocks))

    def error_of(self, rounded: Floats, *, centered: bool) -> float:
        """Squared error of the weight's outputs on held-out samples."""
        hessian = self.hessian(self.judged, ERROR_DAMPING, centered=centered)
        gap = self.layout.matrices(rounded - self.array).astype(np.float64)
        return hessian.error(gap)

    def gain(self) -> float:
        """Error of the outputs over that of the weight's own, measured with the weight rounded."""
        probe = _choice_of(self.weight, PROBE) or _choice_of(self.weight, WeightOnly(bits=4))
        if probe is None:
            return 0.0
        grid = probe.storage.fit(probe.config, probe.site, self.array, np.ones_like(self.array))
        rounded = grid.values(grid.nearest(self.array))
        error = self.error_of(rounded, centered=False)
        self.weight.put(rounded)
        reached = self.outputs.measure()
        self.weight.restore()
        return reached / error if error > 0 else 0.0

    def grids(
        self, choices: Mapping[int, Choice], hessian: BlockHessian
    ) -> dict[int, RoundingGrid]:
        """The values that the weight can take in every form."""
        number_importance = importance(hessian, self.layout)
        grids: dict[int, RoundingGrid] = {}
        for index, choice in choices.items():
            fit = choice.storage.rough_fit or choice.storage.fit
            grids[index] = fit(choice.config, choice.site, self.array, number_importance)
        return grids

    def measure(self, choice: Choice) -> float:
        """Error of the outputs with the weight in one form."""
        config: RoundingConfig = choice.config
        hessian = self.hessian(self.fitted, config.damping, centered=self.centered)
        grid = self.grids({0: choice}, hessian)[0]
        codes = grid.nearest(self.array)
        if config.rounding == "gptq":
            matrices = self.layout.matrices(self.array).astype(np.float64)
            lattice = grid.lattice(self.layout)
            rows = gptq_blocks(matrices, hessian, lattice, ordered=config.ordered)
            codes = np.asarray(self.layout.weight(rows), np.float32)
        self.weight.put(grid.values(codes))
        reached = self.outputs.measure()
        self.weight.restore()
        return reached

    def row_errors(self, choices: Mapping[int, Choice]) -> dict[int, float]:
        """Squared error of the weight's outputs in every form, from some rows scaled up to all."""
        if not choices:
            return {}
        config = next(iter(choices.values())).config
        fitted = self.hessian(self.fitted, config.damping, centered=self.centered)
        judged = self.hessian(self.judged, ERROR_DAMPING, centered=self.centered)
        grids = self.grids(choices, fitted)
        rows = _SomeRows.of(self.layout, self.array, fitted, judged)
        calibrated = {
            index: grid for index, grid in grids.items() if choices[index].config.rounding == "gptq"
        }
        errors = rows.gptq_errors(calibrated, ordered=config.ordered)
        for index, grid in grids.items():
            if index not in errors:
                nearest = grid.values(grid.nearest(self.array))
                errors[index] = self.error_of(nearest, centered=False)
        return errors


def _usable(observers: Observers | None) -> Observers | None:
    if observers is None or not all(observer.calls for observer in observers):
        return None
    return observers


def _choice_of(weight: Weight, form: Config) -> Choice | None:
    """The weight in a form; None where it would not be smaller, or the form stores no codes."""
    storage = METHODS[form.kind].storage
    if storage is None:
        return None
    site = storage.decide(form, weight)
    if isinstance(site, Refusal):
        return None
    return SiteChoice(storage, form, site)


@dataclass(frozen=True, slots=True)
class _SomeRows:
    """Rows of a weight that are rounded in every form.

    Attributes:
        layout: of the weight.
        matrices: (groups, rows, in).
        groups: indices of the groups.
        rows: indices of the rows of each.
        fitted: Hessian that forms are fitted to.
        judged: Hessian that they are judged by.
        scale: of the errors of these rows to those of all.
    """

    layout: Layout
    matrices: Doubles
    groups: NDArray[np.intp]
    rows: NDArray[np.intp]
    fitted: BlockHessian
    judged: BlockHessian
    scale: float

    @classmethod
    def of(
        cls, layout: Layout, array: Floats, fitted: BlockHessian, judged: BlockHessian
    ) -> _SomeRows:
        """Some rows of a weight."""
        groups, outputs, width = layout.sizes()
        chosen = evenly_spread(groups, ROWS)
        rows = evenly_spread(outputs, max(1, 2 * ROWS // min(groups, ROWS)))
        several = len(fitted.blocks[0]) > 1
        if several:
            fitted = fitted.subset(chosen)
        if len(judged.blocks[0]) > 1:
            judged = judged.subset(chosen)
        shape = (len(chosen) if several else 1, -1, width)
        matrices = layout.matrices(array)[np.ix_(chosen, rows)].reshape(shape)
        scale = groups * outputs / (len(chosen) * len(rows))
        return cls(layout, matrices.astype(np.float64), chosen, rows, fitted, judged, scale)

    def gptq_errors(self, grids: Mapping[int, RoundingGrid], *, ordered: bool) -> dict[int, float]:
        """Squared errors of all rows, from these, rounded by GPTQ."""
        lattices = {index: self.lattice(grid) for index, grid in grids.items()}
        gaps: dict[int, list[Doubles]] = {index: [] for index in grids}
        for columns, block in self.fitted.parts():
            factor = HessianFactor.of(block, ordered)
            target = self.matrices[:, :, columns]
            plan = factor.zero_plan(target, DENSE)
            for index, lattice in lattices.items():
                part = lattice.columns(columns)
                codes = factor.rounded(target, part, DENSE, plan)
                gaps[index].append(part.values(codes) - target)
        return {
            index: self.judged.error(np.concatenate(parts, axis=2)) * self.scale
            for index, parts in gaps.items()
        }

    def lattice(self, grid: RoundingGrid) -> Lattice:
        """The values that these rows can take."""
        lattice = grid.lattice(self.layout).subset(self.groups, self.rows)
        if len(self.matrices) < len(self.groups):
            return lattice.merged()
        return lattice


def held_out_split(
    count: int, groups: Mapping[str, Sequence[str]]
) -> tuple[Sequence[int], Sequence[int]]:
    """Indices of the calibration samples that forms are fitted to, and of those that judge them.

    Neighbors often come of one source, as crops of a photo, so both parts have no source in common,
    and are in one piece where none is named.

    Args:
        count: number of samples.
        groups: by column, the group of each sample.
    """
    if count <= 1:
        return range(count), range(count)
    parts = source_parts(count, groups, HELD_OUT_PARTS)
    fitted = sorted(index for part in parts[:-1] for index in part)
    return fitted, parts[-1]


def unjudged_entries(graph: ir.Model, forms: Sequence[Config]) -> list[CandidateDamage]:
    """Bytes of every form at every operator; all damages are 0, as none is asked for."""
    by_operator: dict[str, CandidateDamage] = {}
    for weight in stored_weights(graph):
        if weight_defect(weight) is not None:
            continue
        after = {
            index: choice.storage.stored_bytes(choice.config, choice.site)
            for index, form in enumerate(forms)
            if (choice := _choice_of(weight, form)) is not None
        }
        before = weight.tensor.nbytes
        damage = dict.fromkeys(after, 0.0)
        entry = CandidateDamage(weight.operator, weight.tensor.size, before, damage, after)
        known = by_operator.get(entry.operator)
        by_operator[entry.operator] = known.joined(entry) if known else entry
    return [entry for entry in by_operator.values() if entry.damage]
