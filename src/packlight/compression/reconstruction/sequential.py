"""Sequential rounding: weights in the order they run, each for the inputs that it really gets.

A weight at a time: samples run through the model as it stands, with the weights before this one
rounded already, and beside it through the reference. The weight moves to where its outputs come
nearest to those of the reference, and is rounded by GPTQ; the model goes on with the rounded
values. So each weight compensates for the errors of those before it, as far as its inputs allow.
Memory is that of a few Hessians and of the part of the model that runs, whatever the number of
samples and the depth of the model.
Source: Frantar et al., "GPTQ" (ICLR 2023), section 3; Li et al., "GPTAQ: Efficient Finetuning-Free
Quantization for Asymmetric Calibration" (ICML 2025) for the reference, here by least squares before
rounding; Nagel et al., "Data-Free Quantization" (ICCV 2019) for the biases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Generic, Protocol, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.storage import Parts
from packlight.compression.reconstruction.bias_correction import Bias, bias_of
from packlight.compression.reconstruction.gptq import Lattice, gptq_blocks
from packlight.compression.reconstruction.hessian import (
    BlockHessian,
    Observers,
    hessian_bytes,
    observe_hessians,
)
from packlight.compression.reconstruction.reference import RoundingReferences
from packlight.compression.reconstruction.shrinkage import (
    compensated_rows,
    importance,
    shrunk_blocks,
)
from packlight.compression.reconstruction.sparse_rows import prune_blocks, refine_blocks
from packlight.compression.reconstruction.zero_masks import DENSE, Sparsity
from packlight.compression.sites.weight_matrix import (
    Layout,
    input_values,
    observed_inputs,
    weight_layout,
)
from packlight.compression.sites.weight_sites import Weight, WeightSite, shared_weight_note
from packlight.records.configs import RoundingConfig
from packlight.records.storage import Note, RoundingMethod
from packlight.runtime.calibration import Calibrator
from packlight.runtime.disk_cache import DiskCache

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Codes = NDArray[np.float32]

PASSES = 8
"""Passes over the calibration samples, at least where memory is short."""

MAX_HESSIAN_BYTES = 128 * 2**20
"""Bytes of Hessians that are observed at a time; that of one weight may be more."""

MAX_BATCH_BYTES = 32 * 2**20
"""Bytes of weights observed together where each pass resumes the last one, with their Hessians and
with the part of the model that runs then. One weight may take more."""

WEIGHT_COPIES = 6
"""Of a weight while its part of the model runs: in the file's form, in the session's, and as the
session lays it out."""


class RoundingGrid(Protocol):
    """Grid of the values that one weight can take."""

    def nearest(self, weight: Floats) -> Codes:
        """The code of the nearest value for every number, of the same shape."""

    def values(self, codes: Codes) -> Floats:
        """Real values of codes, as the file gives them."""

    def lattice(self, form: Layout) -> Lattice:
        """The lattice of the rows of the weight's matrices."""


S = TypeVar("S", bound=WeightSite)
F = TypeVar("F", bound=RoundingGrid)
T = TypeVar("T")
FitGrid = Callable[[S, Floats, Floats], F]
"""Fits a grid to the weight and to the importance of each number of it, of one shape."""


@dataclass(frozen=True, slots=True)
class EncodedWeight(Generic[S]):
    """A weight with its stored parts.

    Attributes:
        site: the weight.
        parts: that are stored.
        rounding: how it was rounded.
        notes: remarks on the decision and on the rounding.
    """

    site: S
    parts: Parts
    rounding: RoundingMethod
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class RoundedWeight(Generic[S, F]):
    """A weight with its codes.

    Attributes:
        site: the weight.
        fitted: the values it can take.
        codes: of the weight's shape; NaN where it became zero by sparsity.
        rounding: how it was rounded.
        notes: remarks on the decision and on the rounding.
    """

    site: S
    fitted: F
    codes: Codes
    rounding: RoundingMethod
    notes: tuple[Note, ...] = ()


StoredParts = Callable[[S, F, Codes], Mapping[str, NDArray[np.generic]]]
"""Stored parts of a weight with this grid and these codes."""


def round_lazily(
    sites: Sequence[S], fit: FitGrid[S, F], stored: StoredParts[S, F]
) -> list[EncodedWeight[S]]:
    """Round every weight to the nearest, without samples, when it is written."""

    def parts(site: S) -> Mapping[str, NDArray[np.generic]]:
        weight = site.weight.read()
        grid = fit(site, weight, np.broadcast_to(np.float32(1), weight.shape))
        return stored(site, grid, grid.nearest(weight))

    return [
        EncodedWeight(site, Parts(partial(parts, site)), "nearest", site.notes) for site in sites
    ]


def round_unobserved(
    sites: Sequence[S], fit: FitGrid[S, F], stored: StoredParts[S, F], config: RoundingConfig
) -> list[EncodedWeight[S]]:
    """Round every weight to the nearest, with the biases that samples would make.

    For the size of a file: it is that with samples, as long as one reaches every weight.
    """
    for site in sites if config.bias else ():
        bias = correctable_bias(site.weight) if observed_inputs(site.weight) else None
        if bias is not None:
            groups, outputs, _ = weight_layout(site.weight).sizes()
            bias.shift(np.zeros((groups, outputs)))
    return round_lazily(sites, fit, stored)


def encode_rounded(
    rounded: Iterable[RoundedWeight[S, F]], stored: StoredParts[S, F]
) -> list[EncodedWeight[S]]:
    """Encode weights that are rounded in order; all are, before the first is written.

    Until then the parts of each wait on disk.
    """
    cache = DiskCache()
    encoded = []
    for weight in rounded:
        parts = stored(weight.site, weight.fitted, weight.codes)
        waiting = _cached_parts(parts, cache)
        encoded.append(EncodedWeight(weight.site, waiting, weight.rounding, weight.notes))
    return encoded


def _cached_parts(parts: Mapping[str, NDArray[np.generic]], cache: DiskCache) -> Parts:
    readers = {name: cache.put(part) for name, part in parts.items()}
    return Parts(lambda: {name: read() for name, read in readers.items()})


@dataclass(frozen=True, slots=True)
class RoundingJob(Generic[S, F]):
    """One weight that is to be rounded.

    Attributes:
        site: the weight.
        fit: chooses the values that it can take.
        config: how to round.
        sparsity: how many of its numbers become zero.
        learns: whether samples say how to round it; without, it goes to the nearest.
    """

    site: S
    fit: FitGrid[S, F]
    config: RoundingConfig
    sparsity: Sparsity = DENSE
    learns: bool = True


def round_sequentially(
    graph: ir.Model,
    sites: Sequence[S],
    calibrator: Calibrator,
    fit: FitGrid[S, F],
    config: RoundingConfig,
    *,
    sparsity: Sparsity = DENSE,
) -> Iterator[RoundedWeight[S, F]]:
    """Round every weight alike, and leave the rounded values in the graph.

    Args:
        graph: changed in place.
        sites: in the order they run.
        calibrator: runs calibration samples.
        fit: chooses the values that a weight can take.
        config: how to round.
        sparsity: how many weights become zero.
    """
    jobs = [RoundingJob(site, fit, config, sparsity) for site in sites]
    return round_jobs(graph, jobs, calibrator)


def round_jobs(
    graph: ir.Model, jobs: Sequence[RoundingJob[S, F]], calibrator: Calibrator
) -> Iterator[RoundedWeight[S, F]]:
    """Round every weight as its job says, and leave the rounded values in the graph.

    Args:
        graph: changed in place.
        jobs: in the order in which the weights run.
        calibrator: runs calibration samples.
    """
    cache = DiskCache()
    references = None
    sites = [job.site for job in jobs]
    by_site = {id(job.site): job for job in jobs}
    batches = hessian_batches(sites, calibrator)
    if any(job.config.targets_float for job in jobs):
        references = RoundingReferences.of(graph, calibrator)
        batches = _sequential_batches(sites, calibrator)
    for batch in batches:
        learning = [site for site in batch if by_site[id(site)].learns]
        target = references.target_of(learning) if references and learning else None
        run = math.lcm(*(max(1, by_site[id(site)].sparsity.run) for site in batch))
        hessians = {}
        if learning:
            hessians = observe_hessians(graph, learning, calibrator, reference=target, run=run)
        for site in batch:
            job = by_site[id(site)]
            observers = hessians.pop(id(site), None)
            rounded = _round_weight(job, observers) if job.learns else _nearest(job)
            codes = cache.put(_compact_codes(rounded.codes))
            site.weight.put_later(partial(_decoded_values, rounded.fitted, codes))
            yield rounded


def _nearest(job: RoundingJob[S, F]) -> RoundedWeight[S, F]:
    """A weight that goes to the nearest values without samples."""
    weight = job.site.weight.read()
    grid = job.fit(job.site, weight, np.broadcast_to(np.float32(1), weight.shape))
    return RoundedWeight(job.site, grid, grid.nearest(weight), "nearest", job.site.notes)


def _sequential_batches(sites: Sequence[S], calibrator: Calibrator) -> Iterator[list[S]]:
    """Weights that run after all those before them are rounded: those that multiply one value.

    A state makes every pass begin at the inputs, so there it is a share of all, as memory allows.
    Weights of one share run before each other is rounded, and compensate for the same errors.
    """
    groups = [list(group) for _, group in groupby(sites, _input_identity)]
    most = math.ceil(len(groups) / PASSES) if calibrator.state_outputs else 1
    for batch in batched(groups, _hessian_pair_bytes, MAX_HESSIAN_BYTES, most):
        yield [site for group in batch for site in group]


def _input_identity(site: WeightSite) -> int:
    return id(next(iter(input_values(site.weight.roles[0])), site))


def _hessian_pair_bytes(sites: Sequence[WeightSite]) -> int:
    return 2 * sum(map(hessian_bytes, sites))


def hessian_batches(sites: Sequence[S], calibrator: Calibrator) -> Iterator[list[S]]:
    """Weights whose Hessians are observed at a time, a share of all at most, as memory allows.

    Where each pass resumes the last one, more passes cost little, and memory is that of a part of
    the model. A state makes every pass begin at the inputs.
    """
    most = math.ceil(len(sites) / PASSES)
    if calibrator.state_outputs:
        return batched(sites, hessian_bytes, MAX_HESSIAN_BYTES, most)
    return batched(sites, _running_bytes, MAX_BATCH_BYTES, most)


def batched(
    sites: Sequence[T], size: Callable[[T], int], max_bytes: int, most: int
) -> Iterator[list[T]]:
    """Weights in order, so many and of so many bytes at a time; a single one may be larger."""
    batch = list[T]()
    total = 0
    for site in sites:
        site_bytes = size(site)
        if batch and (len(batch) >= most or total + site_bytes > max_bytes):
            yield batch
            batch = []
            total = 0
        batch.append(site)
        total += site_bytes
    if batch:
        yield batch


def _running_bytes(site: WeightSite) -> int:
    return hessian_bytes(site) + WEIGHT_COPIES * site.weight.tensor.nbytes


def _round_weight(job: RoundingJob[S, F], observers: Observers | None) -> RoundedWeight[S, F]:
    """Round one weight; its bias takes up what that does to means."""
    site = job.site
    fit = job.fit
    config = job.config
    sparsity = job.sparsity
    weight = site.weight.read()
    form = weight_layout(site.weight)
    if observers is None or not all(observer.calls for observer in observers):
        grid = fit(site, weight, np.ones_like(weight))
        notes = (*site.notes, _missing_inputs(site, observers))
        return RoundedWeight(site, grid, grid.nearest(weight), "nearest", notes)
    bias = correctable_bias(site.weight) if config.bias else None
    centered = bias is not None
    exact = form.matrices(weight).astype(np.float64)
    matrices = compensated_rows(exact, observers, centered=centered)
    hessian = shrunk_blocks(observers, config.damping, centered=centered)
    mean = np.concatenate([observer.mean() for observer in observers], axis=1)
    mean_gap = np.concatenate([observer.mean_gap() for observer in observers], axis=1)
    notes = site.notes + (Note("input-blocks"),) * (len(observers) > 1)
    del observers  # three times the size of what is needed from here on
    target = form.weight(matrices).astype(np.float32)
    target = _pruned_target(target, form, hessian, config, sparsity)
    grid = fit(site, target, importance(hessian, form))
    codes = grid.nearest(target)
    if config.rounding == "gptq":
        lattice = grid.lattice(form)
        if sparsity == DENSE:
            rows = gptq_blocks(matrices, hessian, lattice, ordered=config.ordered)
        else:
            start = form.matrices(codes).astype(np.float64)
            rows = refine_blocks(matrices, start, hessian, lattice, sparsity)
        codes = form.weight(rows).astype(np.float32)
    if bias is not None:
        error = exact - form.matrices(grid.values(codes)).astype(np.float64)
        shift = error @ mean[:, :, None] + exact @ mean_gap[:, :, None]
        bias.shift(shift[:, :, 0])
    return RoundedWeight(site, grid, codes, config.rounding, notes)


def _compact_codes(codes: Codes) -> NDArray[np.floating]:
    with np.errstate(over="ignore"):
        half = codes.astype(np.float16)
    if np.array_equal(half.astype(np.float32), codes, equal_nan=True):
        return half
    return codes


def _decoded_values(fitted: RoundingGrid, codes: Callable[[], NDArray[np.floating]]) -> Floats:
    return fitted.values(codes().astype(np.float32))


def _missing_inputs(site: WeightSite, observers: Observers | None) -> Note:
    """Reason why the inputs of a weight are unknown."""
    if observers is not None and any(observer.skipped for observer in observers):
        return Note("not-finite-inputs")
    if observers is not None:
        return Note("no-samples")
    if len(site.weight.roles) > 1:
        return shared_weight_note(site.weight)
    return Note("no-inputs")


def _pruned_target(
    weight: Floats, form: Layout, hessian: BlockHessian, config: RoundingConfig, sparsity: Sparsity
) -> Floats:
    if config.rounding != "gptq" or sparsity == DENSE:
        return weight
    rows = form.matrices(weight).astype(np.float64)
    pruned = prune_blocks(rows, hessian, ordered=config.ordered, sparsity=sparsity)
    return form.weight(pruned).astype(np.float32)


def correctable_bias(weight: Weight) -> Bias | None:
    """The bias that takes up shifts of a weight's outputs; None where several operators read it."""
    if len(weight.roles) > 1:
        return None
    groups, outputs, _ = weight_layout(weight).sizes()
    return bias_of(weight.roles[0], groups * outputs)
