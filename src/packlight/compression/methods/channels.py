"""Structured pruning: whole channels removed, so that every tensor is smaller and dense.

Channels that operators couple are found position by position, those that matter least are removed,
and the weights behind them are fitted to what they gave before. The graph stays an ordinary one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.method import Method
from packlight.compression.reconstruction.bias_correction import bias_of
from packlight.compression.sites.weight_roles import stored
from packlight.compression.sites.weight_sites import STANDS_IN, every_weight_site
from packlight.compression.structure.channel_groups import ChannelGroup, ChannelGroups, WeightAxes
from packlight.compression.structure.channel_scores import ChannelScores, observe_channels
from packlight.compression.structure.refit import is_fittable, refit_weights
from packlight.compression.structure.removal import Removal, remove_channels
from packlight.records.storage import FewerChannels
from packlight.records.structure_configs import Channels
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

SHARES = 200
"""Shares of channels that are tried to meet a budget."""


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A weight of which channels can be removed.

    Attributes:
        weight: with its channels.
        groups: of the model.
    """

    weight: WeightAxes
    groups: ChannelGroups

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return self.weight.operator


def sites(graph: ir.Model, config: Channels) -> Iterator[Site | Refusal]:
    """Every stored weight with channels that can go, and refusals of all others."""
    del config
    groups = ChannelGroups(graph)
    for weight in groups.roles:
        fixed = groups.obstacle(weight)
        if fixed is not None:
            reason = f"its outputs stay: {fixed.reason}"
            yield Refusal(weight.operator, fixed.code, reason, fixed.remedy)
        else:
            yield Site(weight, groups)
    named = {weight.operator for weight in groups.roles}
    for entry in every_weight_site(graph):
        if entry.operator in named:
            continue
        if isinstance(entry, Refusal):
            yield entry
        else:
            reason = f"{entry.operator} has no rule for channels"
            yield Refusal(entry.operator, "unsupported-operator", reason)


def _defect(site: Site) -> Refusal | None:
    tensor = stored(site.weight.value)
    assert tensor is not None
    if STANDS_IN in tensor.meta:
        return None
    if np.isfinite(np.asarray(tensor.numpy(), np.float32)).all():
        return None
    return Refusal(site.operator, "not-finite", "its weight holds numbers that are not finite")


def apply(
    graph: ir.Model, sites: Sequence[Site], calibrator: Calibrator, config: Channels
) -> list[Change | Refusal]:
    """Choose channels, remove them, and fit what reads them."""
    if not sites:
        return []
    groups = sites[0].groups
    chosen = {id(site.weight) for site in sites}
    whole = [g for g in groups.groups if all(id(weight) in chosen for weight in g.producers)]
    moments = {}
    if config.importance in ("activation", "reconstruction") and not calibrator.sizes_only:
        moments = observe_channels(graph, whole, calibrator)
    scores = ChannelScores(groups, config.importance, moments)
    if config.importance == "norm":
        whole = [group for group in whole if scores.has_norms(group)]
    counts = _removed_counts(groups, whole, config)
    removed = np.zeros(len(groups.classes.reasons), np.bool_)
    for group, count in zip(whole, counts, strict=True):
        labels = [label for label in group.classes.tolist() if label not in group.kept][:count]
        if not calibrator.sizes_only:
            labels = scores.least_important(group, count)
        removed[labels] = True
    removal = Removal(groups, removed)
    refusals = _refusals(sites, chosen, whole, removal)
    if not removed.any():
        return list[Change | Refusal](refusals)
    sizes = {id(weight): _bytes(weight) for weight in groups.roles}
    before = graph.clone() if config.refit and not calibrator.sizes_only else graph
    remove_channels(graph, removal)
    if config.refit:
        _refit(graph, before, removal, calibrator)
    return [*_changes(removal, sizes, config), *refusals]


def _removed_counts(
    groups: ChannelGroups, chosen: Sequence[ChannelGroup], config: Channels
) -> list[int]:
    """Channels of each group to remove."""
    if not config.macs and not config.bytes:
        return [_removed_of(group, config.share, config.multiple) for group in chosen]
    costs = _costs(groups, in_macs=config.macs > 0)
    target = (config.macs or config.bytes) * sum(costs.values())
    counts = [0] * len(chosen)
    for step in range(1, SHARES):
        if _cost_after(groups, chosen, counts, costs) <= target:
            break
        counts = [_removed_of(group, step / SHARES, config.multiple) for group in chosen]
    return counts


def _removed_of(group: ChannelGroup, share: float, multiple: int) -> int:
    """Channels to remove of one group, so that a multiple stays where there are so many."""
    total = len(group.classes)
    kept = max(1, len(group.kept), round(total * (1 - share)))
    if multiple > 1:
        kept = min(total, -(-kept // multiple) * multiple)
    return total - kept


def _costs(groups: ChannelGroups, *, in_macs: bool) -> Mapping[int, float]:
    """Multiply-accumulates of every weight, or its bytes, by identity."""
    costs = {}
    for weight in groups.roles:
        size = math.prod(groups.couplings.shape(weight.value) or (0,))  # type: ignore[arg-type]
        costs[id(weight)] = float(size * (_places(weight, groups) if in_macs else 1))
    return costs


def _places(weight: WeightAxes, groups: ChannelGroups) -> int:
    """Times that each number of a weight is multiplied at a call; open sizes count as 1."""
    node = weight.role.node
    if node.op_type == "Gather":
        return 0
    shape = groups.couplings.shape(node.outputs[0]) or ()
    sizes = [size or 1 for size in shape]
    if node.op_type == "Conv":
        return math.prod(sizes[2:])
    if node.op_type == "ConvTranspose":
        read = groups.couplings.shape(node.inputs[0]) or ()
        return math.prod(size or 1 for size in read[2:])
    return math.prod(sizes[:-1])


def _cost_after(
    groups: ChannelGroups,
    chosen: Sequence[ChannelGroup],
    counts: Sequence[int],
    costs: Mapping[int, float],
) -> float:
    """Costs without so many channels, whichever they are."""
    removed = np.zeros(len(groups.classes.reasons), np.bool_)
    for group, count in zip(chosen, counts, strict=True):
        labels = [label for label in group.classes.tolist() if label not in group.kept]
        removed[labels[:count]] = True
    removal = Removal(groups, removed)
    return sum(costs[id(w)] * removal.kept_share(w.value) for w in groups.roles)


def _bytes(weight: WeightAxes) -> int:
    tensor = stored(weight.value)
    assert tensor is not None
    return int(tensor.nbytes)


def _refit(graph: ir.Model, before: ir.Model, removal: Removal, calibrator: Calibrator) -> None:
    """Fit every weight that lost inputs; without samples only make the biases that this makes."""
    weights: list[tuple[WeightAxes, NDArray[np.bool_]]] = []
    for weight in removal.groups.roles:
        lost = removal.removed[weight.inputs].any() if weight.inputs.size else False
        if lost and is_fittable(weight):
            weights.append((weight, ~removal.removed[weight.outputs]))
    if not calibrator.sizes_only:
        refit_weights(graph, before, weights, calibrator)
        return
    for weight, outputs in weights:
        count = int(outputs.sum())
        bias = bias_of(weight.role, count)
        if bias is not None:
            bias.shift(np.zeros((1, count)))


def _refusals(
    sites: Sequence[Site], chosen: set[int], whole: Sequence[ChannelGroup], removal: Removal
) -> list[Refusal]:
    """Refusals of weights that lose no output."""
    grouped = {id(weight) for group in whole for weight in group.producers}
    refusals = []
    for site in sites:
        if removal.removed[site.weight.outputs].any():
            continue
        others = _others(site, chosen)
        if id(site.weight) in grouped:
            reason = f"of its {len(set(site.weight.outputs.tolist()))} channels all must stay"
            refusal = Refusal(site.operator, "nothing-left", reason, "use a larger share")
        elif others:
            reason = f"its channels are also those of {', '.join(others)}, which stays as it is"
            refusal = Refusal(site.operator, "shared", reason, "include it in where=")
        else:
            reason = "no batch norm scales its channels"
            refusal = Refusal(site.operator, "unsupported-operator", reason, "use importance=l2")
        refusals.append(refusal)
    return refusals


def _others(site: Site, chosen: set[int]) -> list[str]:
    """Operators that give the same channels and are not to be changed."""
    own = next(g for g in site.groups.groups if site.weight in g.producers)
    return [weight.operator for weight in own.producers if id(weight) not in chosen]


def _changes(removal: Removal, sizes: Mapping[int, int], config: Channels) -> Iterator[Change]:
    """A change for every weight that lost outputs or inputs; shared weights count once."""
    counted: set[int] = set()
    for weight in removal.groups.roles:
        outputs = ~removal.removed[weight.outputs]
        inputs = ~removal.removed[weight.inputs]
        if outputs.all() and inputs.all():
            continue
        storage = FewerChannels(
            outputs=int(outputs.sum()),
            of_outputs=outputs.size,
            inputs=int(inputs.sum()),
            of_inputs=inputs.size,
            importance=config.importance,
            refit=config.refit,
        )
        first = id(weight.value) not in counted
        counted.add(id(weight.value))
        before = sizes[id(weight)] if first else 0
        after = _bytes(weight) if first else 0
        yield Change(weight.operator, "channels", storage, before, after)


METHOD = Method(
    summary="remove whole channels, and fit the weights that read them",
    config=Channels,
    opset=lambda _: 1,
    sites=sites,
    apply=apply,
    uses_data=lambda config: config.refit or config.importance in ("activation", "reconstruction"),
    inspect=_defect,
)
