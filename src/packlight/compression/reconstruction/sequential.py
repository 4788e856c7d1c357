"""Round weights in the order they run, each for the inputs that those before it really give.

A weight at a time: what it multiplies is streamed through the model as it stands, with the weights
before it rounded already, and beside it through the model as it was. The weight moves to where its
outputs come nearest to those of the model as it was, and is rounded by error feedback; the model
goes on with what its codes stand for. So each weight makes up for what those before it lost, as far
as its inputs still tell. Memory is that of the moments of a few weights and of the part of the
model they are in, whatever the number of samples and the depth of the model.
Source: Frantar et al., "GPTQ" (ICLR 2023), section 3; Li et al., "GPTAQ: Efficient Finetuning-Free
Quantization for Asymmetric Calibration" (ICML 2025) for aiming at the model as it was, here by
least squares before rounding; Nagel et al., "Data-Free Quantization" (ICCV 2019) for the biases.
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
from packlight.compression.method import Look
from packlight.compression.reconstruction.bias_correction import Bias, bias
from packlight.compression.reconstruction.gptq import Lattice, round_rows
from packlight.compression.reconstruction.hessian import Moments
from packlight.compression.reconstruction.pending_arrays import Aside
from packlight.compression.reconstruction.reference import Aims, value_names
from packlight.compression.reconstruction.shrinkage import damped, importance, made_up
from packlight.compression.reconstruction.sparse_rows import prune_rows, round_kept
from packlight.compression.reconstruction.zero_masks import DENSE, Sparsity
from packlight.compression.sites.weight_matrix import Layout, layout, sources, view
from packlight.compression.sites.weight_sites import Weight, WeightSite
from packlight.records.configs import RoundingConfig

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Codes = NDArray[np.float32]

STAGES = 8
"""Times, at least where memory is short, that calibration samples are looked at."""

HELD = 128 * 2**20
"""Bytes of moments that are gathered at a time; one weight's may be more."""

TOGETHER = 32 * 2**20
"""Bytes that weights looked at together take where each look goes on from the last one, with their
moments and with the part of the model that runs then. One weight may take more."""

COPIES = 6
"""Of a weight while its part of the model runs: in the file's form, in the session's, and as the
session lays it out."""


class Fitted(Protocol):
    """The values that one weight can take."""

    def nearest(self, weight: Floats) -> Codes:
        """The code of the nearest value for every number, of the same shape."""

    def values(self, codes: Codes) -> Floats:
        """What codes stand for, as the file gives it."""

    def lattice(self, form: Layout) -> Lattice:
        """The same values, for the rows of the weight's matrices."""


S = TypeVar("S", bound=WeightSite)
F = TypeVar("F", bound=Fitted)
T = TypeVar("T")
Fit = Callable[[S, Floats, Floats], F]
"""Chooses the values from the weight and how much each number of it matters, of one shape."""


@dataclass(frozen=True, slots=True)
class Coded(Generic[S]):
    """A weight with what is stored of it.

    Attributes:
        site: the weight.
        parts: what is stored.
        how: it was rounded, in words.
    """

    site: S
    parts: Parts
    how: str


@dataclass(frozen=True, slots=True)
class Rounded(Generic[S, F]):
    """A weight with its codes.

    Attributes:
        site: the weight.
        fitted: the values it can take.
        codes: of the weight's shape; NaN where it became zero by sparsity.
        how: in words.
    """

    site: S
    fitted: F
    codes: Codes
    how: str


Stored = Callable[[S, F, Codes], Mapping[str, NDArray[np.generic]]]
"""What is stored of a weight that takes these values at these codes."""


def rounded_later(sites: Sequence[S], fit: Fit[S, F], stored: Stored[S, F]) -> list[Coded[S]]:
    """Every weight to the nearest, without samples, when it is written."""

    def content(site: S) -> Mapping[str, NDArray[np.generic]]:
        weight = site.weight.read()
        found = fit(site, weight, np.broadcast_to(np.float32(1), weight.shape))
        return stored(site, found, found.nearest(weight))

    return [Coded(site, Parts(partial(content, site)), "to nearest") for site in sites]


def rounded_now(rounded: Iterable[Rounded[S, F]], stored: Stored[S, F]) -> list[Coded[S]]:
    """Every weight as it was rounded in order; all are, before the first is written.

    Until then each waits in a temporary file as it is stored.
    """
    aside = Aside()
    return [Coded(one.site, kept(stored(one.site, one.fitted, one.codes), aside), one.how)
            for one in rounded]  # fmt: skip


def kept(parts: Mapping[str, NDArray[np.generic]], aside: Aside) -> Parts:
    """Parts that are computed already."""
    waiting = {name: aside.put(part) for name, part in parts.items()}
    return Parts(lambda: {name: back() for name, back in waiting.items()})


def round_in_order(
    graph: ir.Model,
    sites: Sequence[S],
    look: Look,
    fit: Fit[S, F],
    config: RoundingConfig,
    *,
    sparsity: Sparsity = DENSE,
) -> Iterator[Rounded[S, F]]:
    """Round every weight, and leave in the graph what its codes stand for.

    Args:
        graph: changed in place.
        sites: in the order they run.
        look: streams calibration samples.
        fit: chooses the values that a weight can take.
        config: how to round.
        sparsity: how many weights become zero.
    """
    aside, aims = Aside(), Aims.of(graph, look) if config.targets_float else None
    for few in stages(sites, look) if aims is None else in_turn(sites, look):
        fed = gathered(graph, few, look, original=aims.meant(few) if aims else None)
        for site in few:
            found = round_site(site, fed.pop(id(site), None), fit, config, sparsity)
            values = partial(decoded, found.fitted, aside.put(compact(found.codes)))
            site.weight.put_later(values)
            yield found


def in_turn(sites: Sequence[S], look: Look) -> Iterator[list[S]]:
    """Weights that see all those before them rounded: those that multiply one value at a time.

    A state makes every look begin at the inputs, so there it is a share of all, as memory allows.
    Weights of one share do not see each other rounded, and make up for the same losses.
    """
    turns = [list(few) for _, few in groupby(sites, multiplied)]
    most = math.ceil(len(turns) / STAGES) if look.carried else 1
    for few in batched(turns, compared_bytes, HELD, most):
        yield [site for turn in few for site in turn]


def multiplied(site: WeightSite) -> int:
    """Identity of the value that a weight multiplies; of the weight where that is unknown."""
    return id(next(iter(sources(site.weight.roles[0])), site))


def compared_bytes(sites: Sequence[WeightSite]) -> int:
    """Bytes of moments of what weights multiply, and as many of what it is apart from."""
    return 2 * sum(map(moment_bytes, sites))


def stages(sites: Sequence[S], look: Look) -> Iterator[list[S]]:
    """Weights whose moments are gathered at a time, a share of all at most, as memory allows.

    Where each look goes on from the last one, more looks cost little, and memory is that of a part
    of the model. A state makes every look begin at the inputs.
    """
    if look.carried:
        return batched(sites, moment_bytes, HELD, math.ceil(len(sites) / STAGES))
    return batched(sites, part_bytes, TOGETHER, math.ceil(len(sites) / STAGES))


def batched(
    sites: Sequence[T], size: Callable[[T], int], most_bytes: int, most: int
) -> Iterator[list[T]]:
    """Weights in order, so many and of so many bytes at a time; a single one may be larger."""
    few, held = list[T](), 0
    for site in sites:
        own = size(site)
        if few and (len(few) >= most or held + own > most_bytes):
            yield few
            few, held = [], 0
        few.append(site)
        held += own
    if few:
        yield few


def part_bytes(site: WeightSite) -> int:
    """Bytes of a weight's moments and of the weight in a part of the model that runs."""
    return moment_bytes(site) + COPIES * site.weight.tensor.nbytes


def moment_bytes(site: WeightSite) -> int:
    """Bytes of the second moments of what a weight multiplies."""
    groups, _, inputs = form_of(site.weight).sizes()
    return groups * inputs**2 * np.dtype(np.float64).itemsize


def form_of(weight: Weight) -> Layout:
    """How a weight becomes matrices."""
    return layout(weight.roles[0], weight.shape)


def gathered(
    graph: ir.Model,
    sites: Sequence[WeightSite],
    look: Look,
    most: int = 0,
    *,
    original: ir.Model | None = None,
) -> dict[int, Moments]:
    """Moments of what each weight multiplies, by identity of its site; none where it is unknown.

    Weights that multiply the same value share them. They are large: whoever takes them out lets go
    of them after the last such weight.

    Args:
        graph: as it stands.
        sites: the weights.
        look: streams calibration samples.
        most: of them; 0 takes all.
        original: the graph before any weight was rounded, to compare what they multiply with; it
            needs all samples. What it has no value for counts as it was meant.
    """
    found: dict[tuple[object, ...], Moments] = {}
    watched: dict[str, list[Moments]] = {}
    by_site: dict[int, Moments] = {}
    for site in sites:
        role = site.weight.roles[0]
        values = [str(value.name) for value in sources(role)]
        if not values or len(site.weight.roles) > 1:
            continue
        key = (values[0], *view(role))
        if key not in found:
            found[key] = Moments(role)
            for value in values:
                watched.setdefault(value, []).append(found[key])
        by_site[id(site)] = found[key]
    known = value_names(original)
    compared = {name: watched.pop(name) for name in list(watched) if name in known}
    if compared and original is not None:
        look.beside(graph, original, compared)
    if watched:
        look(graph, watched, most)
    return by_site


def round_site(
    site: S,
    fed: Moments | None,
    fit: Fit[S, F],
    config: RoundingConfig,
    sparsity: Sparsity,
) -> Rounded[S, F]:
    """Round one weight; its bias takes up what that does to means."""
    weight, form = site.weight.read(), form_of(site.weight)
    if fed is None or not fed.calls:
        fitted = fit(site, weight, np.ones_like(weight))
        codes = fitted.nearest(weight)
        return Rounded(site, fitted, codes, f"to nearest: {unfed(site, fed)}")
    place = absorber(site.weight) if config.bias else None
    exact = form.matrices(weight).astype(np.float64)
    matrices = made_up(exact, fed, centred=place is not None)
    moments = damped(fed, config.damping, centred=place is not None)
    mean, missed = fed.mean(), fed.missed()
    del fed  # three times the size of what is needed from here on
    aimed = form.weight(matrices).astype(np.float32)
    goal = pruned(aimed, form, moments, config, sparsity)
    fitted = fit(site, goal, importance(moments, form))
    codes = fitted.nearest(goal)
    if config.rounding == "gptq":
        lattice = fitted.lattice(form)
        if sparsity == DENSE:
            rows = round_rows(matrices, moments, lattice, config.ordered)
        else:
            start = form.matrices(codes).astype(np.float64)
            rows = round_kept(matrices, start, moments, lattice, sparsity)
        codes = form.weight(rows).astype(np.float32)
    if place is not None:
        lost = exact - form.matrices(fitted.values(codes)).astype(np.float64)
        means = lost @ mean[:, :, None] + exact @ missed[:, :, None]
        place.shift(means[:, :, 0])
    how = "by gptq" if config.rounding == "gptq" else "to nearest"
    return Rounded(site, fitted, codes, how)


def compact(codes: Codes) -> NDArray[np.floating]:
    """Codes in 16 bits where these hold them, as integers up to 2,048 and NaN; else as they are."""
    with np.errstate(over="ignore"):
        half = codes.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), codes, equal_nan=True) else codes


def decoded(fitted: Fitted, codes: Callable[[], NDArray[np.floating]]) -> Floats:
    """What compact codes stand for."""
    return fitted.values(codes().astype(np.float32))


def unfed(site: WeightSite, fed: Moments | None) -> str:
    """Why nothing is known of what a weight multiplies."""
    if fed is not None and fed.skipped:
        return "no sample gives it inputs that are finite and can be squared"
    if fed is not None:
        return "no sample reaches it"
    return "several operators share it" if len(site.weight.roles) > 1 else "it multiplies no inputs"


def pruned(
    weight: Floats, form: Layout, moments: Doubles, config: RoundingConfig, sparsity: Sparsity
) -> Floats:
    """The weight that is approached: as it is, or by gptq the best sparse one, NaN for a zero."""
    if config.rounding != "gptq" or sparsity == DENSE:
        return weight
    rows = form.matrices(weight).astype(np.float64)
    return form.weight(prune_rows(rows, moments, config.ordered, sparsity)).astype(np.float32)


def absorber(weight: Weight) -> Bias | None:
    """The bias that can take up what rounding does to the means of a weight's outputs."""
    groups, outputs, _ = form_of(weight).sizes()
    return bias(weight.roles[0], groups * outputs)
