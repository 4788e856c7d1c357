"""The grid of every activation, from one pass over the calibration samples."""

from __future__ import annotations

import re
from collections.abc import Collection

import onnx_ir as ir

from packlight.compression.grids.ranges import (
    Affine,
    HistogramObserver,
    affine_grid,
    grid_of_range,
    grid_snr,
    wide_grid,
)
from packlight.compression.qdq import placement
from packlight.errors import RecipeError
from packlight.model import nodes
from packlight.records.configs import StaticInt8
from packlight.runtime.calibration import Calibrator

AUTO = "auto"
WIDE_BELOW_SNR_DB = 25.0
"""Signal-to-noise ratio of 8 bits below which ``wide=auto`` gives a value 16 bits."""


def is_wide(config: StaticInt8, node: ir.Node) -> bool:
    """Check that ``wide`` names an operator."""
    named = bool(config.wide) and config.wide != AUTO
    return named and re.fullmatch(config.wide, str(node.name)) is not None


def activation_grids(
    graph: ir.Model, plan: placement.Plan, calibrator: Calibrator, config: StaticInt8
) -> dict[str, Affine]:
    """The grid of every value that has one and is ever reached."""
    wide = wide_values(graph, plan, config)
    if calibrator.sizes_only:
        grids = placeholder_grids(plan, wide)
    else:
        grids = observed_grids(graph, plan, calibrator, config, wide)
    grids |= {name: grid for name, grid in fixed_grids(plan).items() if name in grids}
    shared = {name: plan.root(name) for name in plan.shared}
    return grids | {name: grids[root] for name, root in shared.items() if root in grids}


def observed_grids(
    graph: ir.Model,
    plan: placement.Plan,
    calibrator: Calibrator,
    config: StaticInt8,
    wide: Collection[str],
) -> dict[str, Affine]:
    """Grids from one pass over the samples, of 16 bits for ``wide`` or what 8 bits spoil."""
    observed = {name: HistogramObserver() for name in plan.ranges()}
    calibrator.observe(graph, {name: [histogram] for name, histogram in observed.items()})
    grids = {
        name: affine_grid(
            histogram, config.range, config.percentile, symmetric=plan.runtime.symmetric
        )
        for name, histogram in observed.items()
        if histogram.counts.any()
    }
    if config.wide == AUTO:
        wide = [
            name
            for name, grid in grids.items()
            if grid_snr(observed[name], grid) < WIDE_BELOW_SNR_DB
        ]
    more = [name for name in wide if name in grids]
    return grids | {
        name: wide_grid(observed[name], symmetric=plan.runtime.symmetric) for name in more
    }


def placeholder_grids(plan: placement.Plan, wide: Collection[str]) -> dict[str, Affine]:
    """Grids that take as many bytes as real ones."""
    narrow = grid_of_range(-1.0, 1.0)
    broad = grid_of_range(-1.0, 1.0, 16)
    return {name: broad if name in wide else narrow for name in plan.ranges()}


def wide_values(graph: ir.Model, plan: placement.Plan, config: StaticInt8) -> set[str]:
    """Names of the values that get 16 bits because an operator is named that reads them.

    Raises:
        RecipeError: no operator is named.
    """
    readers = [node for node in nodes(graph) if is_wide(config, node)]
    if config.wide not in ("", AUTO) and not readers:
        raise RecipeError(
            f"static,wide='{config.wide}' names no operator; packlight profile MODEL names them"
        )
    read = {str(value.name) for node in readers for value in node.inputs if value is not None}
    sources = {plan.root(name) for name in read & {*plan.read, *plan.written}}
    if readers and not sources:
        raise RecipeError(
            f"static,wide='{config.wide}' names no operator that computes in integers; packlight "
            "compress --json names those that do"
        )
    return sources


def fixed_grids(plan: placement.Plan) -> dict[str, Affine]:
    """Grids that the runtime fixes, by the name of the value."""
    values = {**plan.read, **plan.written}
    makers = {name: value.producer() for name, value in values.items()}
    fixed = {
        name: plan.runtime.fixed_grids.get(node.op_type) for name, node in makers.items() if node
    }
    return {name: Affine(grid[0], int(grid[1])) for name, grid in fixed.items() if grid}
