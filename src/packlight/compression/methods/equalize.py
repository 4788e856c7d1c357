"""Move scales of channels from weights to weights, so that rounding them loses less.

Dividing what one operator gives by a positive number for each channel, and multiplying the weight
that reads it by the same number, changes nothing that the model computes; but it changes which
weights are large, and so what a grid that they share keeps of them. With powers of two all results
are the same bit for bit.
Source: Nagel et al. (ICCV 2019) for scales from weights alone; Lin et al., "AWQ" (MLSys 2024) and
Xiao et al., "SmoothQuant" (ICML 2023) for scales from what the weights multiply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.stored_values import StoredValues
from packlight.compression.equalization.balance import (
    Doubles,
    equalize_ranges,
    min_error_scales,
    smooth_activations,
)
from packlight.compression.equalization.channel_map import Blocked, Edit, multiply_channels
from packlight.compression.equalization.scale_chains import ScaleChain, ScaleChains
from packlight.compression.equalization.scale_endpoints import Consumer
from packlight.compression.method import Method
from packlight.compression.sites.weight_roles import Role
from packlight.compression.sites.weight_sites import Weight, weight_sites
from packlight.records.configs import Equalize
from packlight.records.storage import Scaled
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

FLOAT = np.finfo(np.float32)

RECURRENCE = 2
"""Input of a recurrent operator that multiplies its own state."""


@dataclass(frozen=True, slots=True)
class Site:
    """A chain with the weights that gain.

    Attributes:
        chain: where scales can go.
        weights: at its end.
    """

    chain: ScaleChain
    weights: tuple[Weight, ...]

    @property
    def operator(self) -> str:
        """Name of the first operator at its end."""
        return self.weights[0].operator


def sites(graph: ir.Model, config: Equalize) -> Iterator[Site | Refusal]:
    """Every chain that ends at stored weights, and why other weights have none."""
    del config
    found: dict[int, list[Weight]] = {}
    ends: dict[int, ScaleChain] = {}
    chains = ScaleChains(graph)
    for weight in weight_sites(graph):
        chain = weight if isinstance(weight, Refusal) else before(weight, chains)
        if isinstance(chain, Refusal):
            yield chain
        elif isinstance(weight, Weight):
            ends[id(chain)] = chain
            found.setdefault(id(chain), []).append(weight)
    for key, chain in ends.items():
        yield Site(chain, tuple(found[key]))


def before(weight: Weight, chains: ScaleChains) -> ScaleChain | Refusal:
    """The chain that ends at a weight, or why there is none."""
    own = unsuited(weight.roles)
    chain = own if own is not None else chains.ending_at(weight.roles[0])
    if isinstance(chain, Blocked):
        return Refusal(weight.operator, chain.code, chain.reason, chain.remedy)
    return chain


def unsuited(roles: Sequence[Role]) -> Blocked | None:
    """Why nothing could be scaled before a weight."""
    kind = roles[0].node.op_type
    if len(roles) > 1:
        names = ", ".join(role.operator for role in roles)
        reason = f"its weight is shared by {names}"
        return Blocked("shared", reason, "store it twice, or leave it as it is")
    if kind == "Gather":
        reason = "its weight is a table that is looked up: it sums over no channels"
        return Blocked("unsupported-operator", reason)
    if kind in ("LSTM", "GRU", "RNN") and roles[0].index == RECURRENCE:
        reason = "its recurrence weight multiplies its own state, which nothing can scale"
        return Blocked("fixed-scale", reason)
    return None


class Squares:
    """Mean squares and largest magnitudes of channels along one axis, streamed.

    Args:
        axis: counted from the end.
    """

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self.sums: dict[int, Doubles] = {}
        self.peaks: dict[int, Doubles] = {}
        self.counts: dict[int, int] = {}

    def update(self, value: NDArray[np.generic]) -> None:
        """Take in the value of one call; bodies that share a name may differ in channels."""
        rows = np.moveaxis(np.asarray(value, np.float64), self.axis, 0)
        rows = rows.reshape(rows.shape[0], -1)
        width, count = rows.shape
        none = np.zeros(width)
        self.sums[width] = self.sums.get(width, none) + np.square(rows).sum(axis=1)
        most = np.abs(rows).max(axis=1, initial=0.0)
        self.peaks[width] = np.maximum(self.peaks.get(width, none), most)
        self.counts[width] = self.counts.get(width, 0) + count

    def mean(self, channels: int) -> Doubles:
        """Mean squares (channels,); of no size where no sample reached the value."""
        count = self.counts.get(channels, 0)
        if count:
            return self.sums[channels] / count
        return np.zeros(0)

    def peak(self, channels: int) -> Doubles:
        """Largest magnitudes (channels,); of no size where no sample reached the value."""
        if self.counts.get(channels, 0):
            return self.peaks[channels]
        return np.zeros(0)


def apply(
    graph: ir.Model, found: Sequence[Site], calibrator: Calibrator, config: Equalize
) -> list[Change | Refusal]:
    """Choose scales and multiply them in."""
    done: list[Change | Refusal] = []
    sound: list[Site] = []
    for site in found:
        wrong = unusable(site)
        done += [Refusal(weight.operator, "not-finite", wrong) for weight in site.weights if wrong]
        sound += [] if wrong else [site]
    if config.by == "weights":
        chosen: list[Doubles | Blocked] = [
            *equalize_ranges([site.chain for site in sound], config.scales)
        ]
    else:
        chosen = measured(graph, sound, calibrator, config)
    stock = StoredValues(graph)
    for site, scales in zip(sound, chosen, strict=True):
        done += moved(site, scales, stock)
    return done


def unusable(site: Site) -> str:
    """What is wrong with the numbers of a chain; empty when nothing is."""
    for edit in (*site.chain.divided, *(end.edit for end in site.chain.consumers)):
        if not np.isfinite(edit.read()).all():
            return f"{edit.node.name} stores numbers that are NaN or infinite"
    return ""


def measured(
    graph: ir.Model, found: Sequence[Site], calibrator: Calibrator, config: Equalize
) -> list[Doubles | Blocked]:
    """Scales with the least rounding error, for each site."""
    ends = [end for site in found for end in site.chain.consumers]
    squares = {id(end): Squares(end.axis) for end in ends}
    watched: dict[str, list[Squares]] = {}
    for end in ends:
        watched.setdefault(str(end.value.name), []).append(squares[id(end)])
    if watched:
        calibrator.observe(graph, watched)
    chosen: list[Doubles | Blocked] = []
    for site in found:
        seen = [(squares[id(end)], channels(end)) for end in site.chain.consumers]
        means = [one.mean(count) for one, count in seen]
        if not all(mean.size and np.isfinite(mean).all() for mean in means):
            reason = "no calibration sample gives what it reads a finite value"
            chosen.append(Blocked("no-samples", reason, "add samples that reach it"))
        elif config.by == "activations":
            peaks = [one.peak(count) for one, count in seen]
            chosen.append(smooth_activations(site.chain, peaks, config.strength, config.scales))
        else:
            chosen.append(min_error_scales(site.chain, means, config.bits, config.scales))
    return chosen


def channels(end: Consumer) -> int:
    """How many channels a weight multiplies."""
    return int(end.inputs.max()) + 1


def moved(site: Site, scales: Doubles | Blocked, stock: StoredValues) -> list[Change | Refusal]:
    """Multiply scales into the weights of one chain, and say so."""
    if isinstance(scales, Blocked):
        return [
            Refusal(w.operator, scales.code, scales.reason, scales.remedy) for w in site.weights
        ]
    scales = within_range(site.chain, scales)
    if (scales == 1).all():
        reason = "no other scales of its channels would make its rounding error smaller"
        return [Refusal(weight.operator, "no-gain", reason) for weight in site.weights]
    for edit, factors in scaled(site.chain, scales):
        multiply_channels(edit, factors, stock)
    count, starts = (
        int((scales != 1).sum()),
        sorted({str(start.node.name) for start in site.chain.producers}),
    )
    storage = Scaled(count, scales.size, tuple(starts))
    return [
        Change(weight.operator, "equalize", storage, weight.tensor.nbytes, weight.tensor.nbytes)
        for weight in site.weights
    ]


def scaled(chain: ScaleChain, scales: Doubles) -> Iterator[tuple[Edit, Doubles]]:
    """What is multiplied, with the factor of every channel."""
    yield from ((edit, 1 / scales) for edit in chain.divided)
    yield from ((end.edit, scales) for end in chain.consumers)


def within_range(chain: ScaleChain, scales: Doubles) -> Doubles:
    """The scales; 1 for channels of which a number would leave the normal ones of float32."""
    kept = scales.copy()
    for edit, factors in scaled(chain, scales):
        sizes = np.abs(edit.read() * factors[edit.labels])
        out = (sizes > FLOAT.max) | ((sizes > 0) & (sizes < FLOAT.tiny))
        kept[np.broadcast_to(edit.labels, out.shape)[out]] = 1
    return kept


METHOD = Method(
    summary="move scales of channels between weights, so that rounding loses less",
    config=Equalize,
    opset=lambda _: 1,
    sites=sites,
    apply=apply,
    uses_data=lambda config: config.by != "weights",
)
