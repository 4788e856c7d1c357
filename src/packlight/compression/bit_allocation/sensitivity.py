"""Sensitivity of the outputs to the width of each weight.

The sensitivity is measured: a weight is rounded alone, and a few samples show how much of its error
reaches the outputs. The error of every width at the weight itself is computed for some of its rows
by GPTQ; the product predicts that of the outputs. Where errors come back through a state the
product says little, so that every width is measured.
Source: the product is the first-order model of Nahshan et al., "Loss Aware Post-Training
Quantization" (2021), and of Frantar and Alistarh, "SPDY" (ICML 2022).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.bit_allocation.sensitivity_outputs import sensitivity_outputs
from packlight.compression.reconstruction.bias_correction import RECURRENT
from packlight.compression.reconstruction.gptq import HessianFactor, gptq_blocks
from packlight.compression.reconstruction.hessian import (
    BlockHessian,
    Observers,
    hessian_bytes,
    input_blocks,
    observe_hessians,
)
from packlight.compression.reconstruction.sequential import (
    MAX_HESSIAN_BYTES,
    F,
    FitGrid,
    Floats,
    RoundingGrid,
    S,
    batched,
)
from packlight.compression.reconstruction.shrinkage import importance, shrunk_blocks
from packlight.compression.reconstruction.zero_masks import DENSE
from packlight.compression.sites.weight_matrix import weight_layout
from packlight.compression.sites.weight_sites import WeightSite
from packlight.records.configs import RoundingConfig
from packlight.runtime.calibration import Calibrator

Doubles = NDArray[np.float64]

PROBE_BITS = 6
"""Width at which a weight is rounded alone to measure how much of its error arrives."""

PROBE_SAMPLES = 8
"""Calibration samples that measure it."""

HESSIAN_SAMPLES = 64
"""Calibration samples whose Hessians tell the errors of widths apart."""

PROBE_ROWS = 16
"""Rows of a weight whose errors stand for all, and groups likewise."""

ERROR_DAMPING = 0.01
"""Damping of Hessians that errors are measured by; that of rounding would hide much of them."""

MAX_BITS_BELOW_MEAN = 1.5
"""Bits below the mean that are not tried where errors come back: what samples show of those holds
least for others. With 2 bits for its LSTM a voice detector kept 29 dB on its calibration samples,
and 13 dB on other speech; with 4 bits for its first convolution it kept 29 and 19 dB."""


def measure_sensitivity(
    graph: ir.Model,
    options: Sequence[Mapping[int, S]],
    calibrator: Calibrator,
    fit: FitGrid[S, F],
    config: RoundingConfig,
) -> Iterator[dict[int, float]]:
    """Relative error of the outputs for each width of every weight, predicted or measured.

    It is empty for a weight whose errors do not reach them.
    """
    outputs = OutputError.before_rounding(graph, calibrator)
    probes = [sites[_probe_width(sites)] for sites in options]
    by_probe = {id(probe): sites for probe, sites in zip(probes, options, strict=True)}
    for batch in batched(probes, hessian_bytes, MAX_HESSIAN_BYTES, len(options)):
        hessians = observe_hessians(graph, batch, calibrator, HESSIAN_SAMPLES)
        for site in batch:
            hessian = _error_hessian(site, hessians.pop(id(site), None))
            weight = site.weight.read()
            sites = by_probe[id(site)]
            number_importance = importance(hessian, weight_layout(site.weight))
            widths = candidate_widths(sites, calibrator, config.mixed)
            grids = {width: fit(sites[width], weight, number_importance) for width in widths}
            trial = WidthTrial(site, weight, grids, hessian)
            if has_error_loop(site, calibrator):
                yield trial.measured(outputs, config)
            else:
                yield trial.predicted(outputs, config)


def _probe_width(sites: Mapping[int, object]) -> int:
    return min(sites, key=lambda width: abs(width - PROBE_BITS))


def candidate_widths(
    sites: Mapping[int, WeightSite], calibrator: Calibrator, mean: float
) -> list[int]:
    """Widths that a weight may get."""
    if has_error_loop(sites[_probe_width(sites)], calibrator):
        return _widths_near(sites, mean)
    return [*sites]


def has_error_loop(site: WeightSite, calibrator: Calibrator) -> bool:
    """Tell whether the error of a weight comes back to it through a state.

    Such errors grow from call to call and are not in proportion to the squared error of a weight.
    """
    return bool(calibrator.state_outputs) or site.weight.roles[0].node.op_type in RECURRENT


def _widths_near(widths: Collection[int], mean: float) -> list[int]:
    return [width for width in widths if width > mean - MAX_BITS_BELOW_MEAN] or [*widths]


@dataclass(slots=True)
class OutputValues:
    """Observer that keeps the values of an output, call by call."""

    values: list[NDArray[np.generic]] = field(default_factory=list)

    def update(self, value: NDArray[np.generic]) -> None:
        """Keep the value of one call."""
        self.values.append(value)


class OutputGap:
    """Observer of the squared gap of an output to its values before, and of their power.

    Args:
        before: the values before, call by call.
    """

    def __init__(self, before: OutputValues) -> None:
        self.before = iter(before.values)
        self.gap = 0.0
        self.power = 0.0

    def update(self, value: NDArray[np.generic]) -> None:
        """Compare the values of one call where they were finite.

        Values of another shape, or no longer finite, count as all error.
        """
        old = np.asarray(next(self.before), np.float64)
        if not np.isfinite(old).all():
            return
        power = float(np.sum(old**2))
        self.power += power
        if old.shape == value.shape and np.isfinite(value).all():
            self.gap += float(np.sum((value.astype(np.float64) - old) ** 2))
        else:
            self.gap += power


@dataclass(frozen=True, slots=True)
class OutputError:
    """Error of the outputs against those before anything is rounded.

    Attributes:
        graph: whose outputs they are.
        calibrator: runs calibration samples.
        before: values of the outputs by name, call by call.
    """

    graph: ir.Model
    calibrator: Calibrator
    before: Mapping[str, OutputValues]

    @classmethod
    def before_rounding(cls, graph: ir.Model, calibrator: Calibrator) -> OutputError:
        """Of a graph as it is now."""
        names = sensitivity_outputs(graph, calibrator.state_outputs)
        before = {name: OutputValues() for name in names}
        observers = {name: [values] for name, values in before.items()}
        calibrator.observe(graph, observers, PROBE_SAMPLES)
        return cls(graph, calibrator, before)

    def measure(self) -> float:
        """Relative squared error of the outputs that the graph gives now."""
        gaps = {name: OutputGap(values) for name, values in self.before.items()}
        observers = {name: [gap] for name, gap in gaps.items()}
        self.calibrator.observe(self.graph, observers, PROBE_SAMPLES)
        return sum(gap.gap / gap.power for gap in gaps.values() if gap.power)


@dataclass(frozen=True, slots=True)
class WidthTrial:
    """One weight with its grid at every width.

    Attributes:
        site: the weight at one of the widths.
        weight: its numbers.
        grids: by width.
        hessian: of its inputs.
    """

    site: WeightSite
    weight: Floats
    grids: Mapping[int, RoundingGrid]
    hessian: BlockHessian

    def predicted(self, outputs: OutputError, config: RoundingConfig) -> dict[int, float]:
        """Errors of the outputs by width, from one that is measured; empty if it reaches none."""
        errors = self.layer_errors(ordered=config.ordered)
        probe_error = _perturb(
            self.site, self.weight, self.grids[_probe_width(self.grids)], self.hessian
        )
        output_error = outputs.measure()
        self.site.weight.restore()
        if not probe_error > 0 < output_error:
            return {}
        return {width: error * output_error / probe_error for width, error in errors.items()}

    def measured(self, outputs: OutputError, config: RoundingConfig) -> dict[int, float]:
        """Errors of the outputs with every width measured; empty if no width reaches them."""
        errors = {}
        for width, grid in self.grids.items():
            self.site.weight.put(grid.values(self.codes(grid, config)))
            errors[width] = outputs.measure()
        self.site.weight.restore()
        return errors if any(errors.values()) else {}

    def codes(self, grid: RoundingGrid, config: RoundingConfig) -> Floats:
        """Codes as the weight will be rounded."""
        if config.rounding != "gptq":
            return grid.nearest(self.weight)
        form = weight_layout(self.site.weight)
        matrices = form.matrices(self.weight).astype(np.float64)
        rows = gptq_blocks(matrices, self.hessian, grid.lattice(form), ordered=config.ordered)
        return np.asarray(form.weight(rows), np.float32)

    def layer_errors(self, *, ordered: bool) -> dict[int, float]:
        """Squared error of the weight's outputs by width, from some rows scaled up to all."""
        form = weight_layout(self.site.weight)
        groups, outputs, width = form.sizes()
        chosen = evenly_spread(groups, PROBE_ROWS)
        rows = evenly_spread(outputs, max(1, 2 * PROBE_ROWS // min(groups, PROBE_ROWS)))
        groups_of_hessian = len(self.hessian.blocks[0])
        hessian = self.hessian.subset(chosen) if groups_of_hessian > 1 else self.hessian
        shape = (min(groups_of_hessian, len(chosen)), -1, width)
        subset = form.matrices(self.weight)[np.ix_(chosen, rows)]
        matrices = subset.reshape(shape).astype(np.float64)
        lattices = {
            bits: grid.lattice(form).subset(chosen, rows) for bits, grid in self.grids.items()
        }
        if len(matrices) < len(chosen):
            lattices = {bits: lattice.merged() for bits, lattice in lattices.items()}
        scale = groups * outputs / (len(chosen) * len(rows))
        errors = dict.fromkeys(lattices, 0.0)
        for columns, block in hessian.parts():
            factor = HessianFactor.of(block, ordered)
            target = matrices[:, :, columns]
            plan = factor.zero_plan(target, DENSE)
            for bits, lattice in lattices.items():
                part = lattice.columns(columns)
                gap = part.values(factor.rounded(target, part, DENSE, plan)) - target
                errors[bits] += BlockHessian((block,)).error(gap) * scale
        return errors


def _perturb(site: WeightSite, weight: Floats, grid: RoundingGrid, hessian: BlockHessian) -> float:
    form = weight_layout(site.weight)
    rounded = grid.values(grid.nearest(weight))
    site.weight.put(rounded)
    return hessian.error(form.matrices(rounded - weight).astype(np.float64))


def _error_hessian(site: WeightSite, observers: Observers | None) -> BlockHessian:
    if observers is None or not all(observer.calls for observer in observers):
        blocks = input_blocks(weight_layout(site.weight).sizes()[2])
        return BlockHessian(tuple(np.eye(part.stop - part.start)[None] for part in blocks))
    return shrunk_blocks(observers, ERROR_DAMPING, centered=False)


def evenly_spread(count: int, most: int) -> NDArray[np.intp]:
    """Indices spread evenly over so many."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp))
