"""Hessians of layer errors: second moments of what weights multiply, observed on samples.

A weight that several operators read has the sum of their Hessians. Rows of many inputs have one for
each block of inputs, so that time and memory grow with the inputs, not with their square or cube.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.reconstruction.reference import value_names
from packlight.compression.sites.weight_matrix import (
    input_key,
    input_matrices,
    observed_inputs,
    weight_layout,
)
from packlight.compression.sites.weight_roles import Role
from packlight.compression.sites.weight_sites import WeightSite
from packlight.runtime.calibration import Calibrator

Array = NDArray[np.generic]
Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

MIN_ROWS = 16
MAX_ROWS = 128
"""Inputs taken of one call: neighbors in a feature map add little that is new."""

LARGEST_INPUT = np.float32(2.0**50)
"""Inputs above are left out as those that are not finite: sums of their squares leave float32."""


MAX_INPUTS = 2048
"""Inputs of a row whose products are all observed."""

BLOCK_INPUTS = 1024
"""Inputs at most of each block that a longer row is cut into. Each block has a Hessian of its own:
errors of weights are then compensated by those of their own block alone."""

ALL_COLUMNS = slice(None)


class HessianObserver:
    """Sums of the inputs of one weight and of their products.

    Memory is that of a few (groups, in, in) arrays, whatever the number of samples. The sums are
    of differences from the first input, so that what inputs have in common costs no digits and
    inputs that never change have a variance of exactly 0.

    As a pair observer it also takes the inputs that the weight would have if nothing before it had
    been rounded, and sums the gaps to those and their products with the inputs.

    Args:
        role: whose inputs these are.
        columns: of the inputs that are taken, where a row has too many.

    Attributes:
        skipped: calls whose inputs are not finite or too large.
    """

    def __init__(self, role: Role, columns: slice = ALL_COLUMNS) -> None:
        self.role = role
        self.columns = columns
        self.first: Floats = np.zeros((0, 0), np.float32)
        self.outer: Doubles = np.zeros((0, 0, 0))
        self.total: Doubles = np.zeros((0, 0))
        self.gap_outer: Doubles = np.zeros((0, 0, 0))
        self.gap_total: Doubles = np.zeros((0, 0))
        self.pending: list[Floats] = []
        self.pending_gaps: list[tuple[Floats, Floats]] = []
        self.count = 0
        self.skipped = 0
        self._calls_of = Counter[Role]()

    @property
    def calls(self) -> int:
        """Calls of the model, which unlike the inputs of one call are independent."""
        return max(self._calls_of.values(), default=0)

    def reader(self, role: Role) -> ReaderInputs:
        """Inputs of one of the operators that read the weight."""
        return ReaderInputs(self, role)

    def update(self, value: Array) -> None:
        """Take in the inputs of one call; those that are not finite, or too large, are skipped."""
        self.update_pair(value, value)

    def update_pair(self, value: Array, reference: Array) -> None:
        """Take in the inputs of one call, and those of the reference."""
        self.add_inputs(self.role, value, reference)

    def add_inputs(self, role: Role, value: Array, reference: Array) -> None:
        """Take in what one operator reads at one call, and what it reads in the reference."""
        inputs = self.read(role, value)
        if inputs.size == 0:
            return
        if not _is_in_range(inputs):
            self.skipped += 1
            return
        if not self.calls:
            groups, _, width = inputs.shape
            self.first = inputs[:, 0].copy()
            self.total = np.zeros((groups, width))
            self.outer = np.zeros((groups, width, width))
            self.gap_total = np.zeros((groups, width))
        inputs = self.in_groups(inputs)
        rows, width = inputs.shape[1:]
        gaps = None
        if reference is not value and np.shape(reference) == np.shape(value):
            gaps = self.reference_inputs(role, reference, inputs) - inputs
        inputs = inputs - self.first[:, None]
        if gaps is not None and gaps.any():
            self.gap_total += gaps.sum(axis=1, dtype=np.float64)
            self.pending_gaps.append((gaps, inputs))
        self.total += inputs.sum(axis=1, dtype=np.float64)
        self.count += rows
        self._calls_of[role] += 1
        self.pending.append(inputs)
        if sum(part.shape[1] for part in self.pending) >= width:
            self.add_pending()
        if sum(part.shape[1] for part, _ in self.pending_gaps) >= width:
            self.add_pending_gaps()

    def in_groups(self, inputs: Floats) -> Floats:
        """Inputs for each group; sums get as many groups as the inputs where those have more."""
        groups = max(len(inputs), len(self.first))
        if len(self.first) < groups:
            self.add_pending()
            self.add_pending_gaps()
            self.first = np.repeat(self.first, groups, axis=0)
            self.total = np.repeat(self.total, groups, axis=0)
            self.outer = np.repeat(self.outer, groups, axis=0)
            self.gap_outer = np.repeat(self.gap_outer, groups, axis=0)
            self.gap_total = np.repeat(self.gap_total, groups, axis=0)
        return np.broadcast_to(inputs, (groups, *inputs.shape[1:]))

    def reference_inputs(self, role: Role, reference: Array, inputs: Floats) -> Floats:
        """The inputs of the reference; those of the graph where they make no sense."""
        targets = self.read(role, reference)
        usable = targets.shape[1:] == inputs.shape[1:] and _is_in_range(targets)
        return targets if usable else inputs

    def read(self, role: Role, value: Array) -> Floats:
        """Rows of a value that the weight multiplies, (groups, n, in); none of an empty one."""
        if not value.size:
            return np.zeros((0, 0, 0), np.float32)
        inputs = input_matrices(role, np.asarray(value, np.float32), self.row_limit)
        return inputs[:, :, self.columns]

    def add_pending(self) -> None:
        """Add the products of the pending inputs; many at a time are cheaper."""
        if self.pending:
            inputs = np.concatenate(self.pending, axis=1)
            self.outer += np.swapaxes(inputs, 1, 2) @ inputs
            self.pending.clear()

    def add_pending_gaps(self) -> None:
        """Add the products of the pending gaps with their inputs."""
        if self.pending_gaps:
            gaps, inputs = (
                np.concatenate(part, axis=1) for part in zip(*self.pending_gaps, strict=True)
            )
            if not self.gap_outer.size:
                self.gap_outer = np.zeros_like(self.outer)
            self.gap_outer += np.swapaxes(gaps, 1, 2) @ inputs
            self.pending_gaps.clear()

    def row_limit(self, width: int) -> int:
        """Inputs to take of one call for a weight of so many inputs."""
        return max(MIN_ROWS, min(MAX_ROWS, width))

    def mean(self) -> Doubles:
        """Mean input, (groups, in)."""
        return self.first + self.total / self.count

    def mean_gap(self) -> Doubles:
        """Mean of reference less input, (groups, in)."""
        return self.gap_total / max(1, self.count)

    def gap_products(self, *, centered: bool) -> Doubles:
        """Mean products of reference less input with the input.

        (groups, in, in), about the means or about zero; the first axis of the two is the gap's. It
        is empty where all inputs are those of the reference.
        """
        self.add_pending_gaps()
        if not self.gap_outer.size:
            return self.gap_outer
        products = self.gap_outer / self.count
        mean = self.total / self.count if centered else -self.first
        _add_product(products, -self.mean_gap(), mean)
        return products

    def hessian(self, *, centered: bool) -> Doubles:
        """Second moments of the inputs, (groups, in, in), about the means or about zero."""
        self.add_pending()
        offset = self.total / self.count
        mean = self.mean()
        products = self.outer / self.count
        _add_product(products, -offset, offset)
        if not centered:
            _add_product(products, mean, mean)
        return products


@dataclass(frozen=True, slots=True)
class ReaderInputs:
    """Observer of the inputs of one reader of a weight; those of all make up its Hessian.

    Attributes:
        hessian: of the weight.
        role: of the reader.
    """

    hessian: HessianObserver
    role: Role

    def update(self, value: Array) -> None:
        """Take in the inputs of one call."""
        self.hessian.add_inputs(self.role, value, value)

    def update_pair(self, value: Array, reference: Array) -> None:
        """Take in the inputs of one call, and those of the reference."""
        self.hessian.add_inputs(self.role, value, reference)


Observers = list[HessianObserver]
"""Those of one weight: of all inputs of its rows, or one for each block of them."""


@dataclass(frozen=True, slots=True)
class BlockHessian:
    """A Hessian that is zero between blocks of inputs.

    Attributes:
        blocks: each (groups, in, in), or (1, in, in) where all groups read the same; most often
            one for all inputs.
    """

    blocks: tuple[Doubles, ...]

    @property
    def columns(self) -> tuple[slice, ...]:
        """Inputs of each block."""
        ends = np.cumsum([0, *(block.shape[2] for block in self.blocks)]).tolist()
        return tuple(map(slice, ends[:-1], ends[1:]))

    def parts(self) -> Iterator[tuple[slice, Doubles]]:
        """Inputs of each block, and its Hessian."""
        return zip(self.columns, self.blocks, strict=True)

    def diagonal(self) -> Doubles:
        """(groups, in)."""
        return np.concatenate([np.einsum("gii->gi", block) for block in self.blocks], axis=1)

    def error(self, gap: Doubles) -> float:
        """Sum of squared errors of the outputs, for gaps of a weight (groups, out, in)."""
        parts = ((gap[:, :, columns], block) for columns, block in self.parts())
        return float(sum(np.sum((part @ block) * part) for part, block in parts))

    def subset(self, groups: NDArray[np.intp]) -> BlockHessian:
        """Of some groups of several."""
        return BlockHessian(tuple(block[groups] for block in self.blocks))


def input_blocks(inputs: int, run: int = 1) -> tuple[slice, ...]:
    """Blocks of inputs whose products are observed: about equal, and all in one if they are few.

    Args:
        inputs: of a row.
        run: consecutive inputs that no block may cut.
    """
    count = 1 if inputs <= MAX_INPUTS else math.ceil(inputs / BLOCK_INPUTS)
    starts = [inputs * index // count // run * run for index in range(count)]
    return tuple(map(slice, starts, [*starts[1:], inputs]))


ROWS = 64


def _add_product(products: Doubles, rows: Doubles, columns: Doubles | Floats) -> None:
    for start in range(0, rows.shape[1], ROWS):
        block = slice(start, start + ROWS)
        products[:, block] += rows[:, block, None] * columns[:, None, :]


def _is_in_range(inputs: Floats) -> bool:
    return bool(-LARGEST_INPUT < inputs.min() <= inputs.max() < LARGEST_INPUT)


def observe_hessians(
    graph: ir.Model,
    sites: Sequence[WeightSite],
    calibrator: Calibrator,
    most: int = 0,
    *,
    reference: ir.Model | None = None,
    run: int = 1,
) -> dict[int, Observers]:
    """Observe the inputs of each weight; by identity of its site, none where they are unknown.

    Weights that multiply the same values share observers. Observers are large: whoever takes them
    out lets go of them after the last such weight.

    Args:
        graph: as it stands.
        sites: the weights.
        calibrator: runs calibration samples.
        most: of them; 0 takes all.
        reference: the graph before any weight was rounded, to compare inputs with; it needs all
            samples. An input that it lacks counts as equal.
        run: consecutive inputs that no block of inputs may cut.
    """
    shared: dict[tuple[object, ...], Observers] = {}
    observers: dict[str, list[ReaderInputs]] = {}
    by_site: dict[int, Observers] = {}
    for site in sites:
        inputs = observed_inputs(site.weight)
        if not inputs:
            continue
        key = tuple((str(values[0].name), *input_key(role)) for role, values in inputs)
        if key not in shared:
            shared[key] = _new_observers(site, run)
            for role, values in inputs:
                for value in values:
                    readers = observers.setdefault(str(value.name), [])
                    readers += [observer.reader(role) for observer in shared[key]]
        by_site[id(site)] = shared[key]
    comparable = value_names(reference)
    pairs = {name: observers.pop(name) for name in list(observers) if name in comparable}
    if pairs and reference is not None:
        calibrator.observe_pair(graph, reference, pairs)
    if observers:
        calibrator.observe(graph, observers, most)
    return by_site


def _new_observers(site: WeightSite, run: int) -> Observers:
    role = site.weight.roles[0]
    blocks = input_blocks(weight_layout(site.weight).sizes()[2], run)
    if len(blocks) == 1:
        return [HessianObserver(role)]
    return [HessianObserver(role, columns) for columns in blocks]


def hessian_bytes(site: WeightSite) -> int:
    """Bytes of a weight's Hessian."""
    groups, _, inputs = weight_layout(site.weight).sizes()
    blocks = input_blocks(inputs)
    products: int = sum((block.stop - block.start) ** 2 for block in blocks)
    return groups * products * np.dtype(np.float64).itemsize
