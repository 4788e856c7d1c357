"""Stretches of a graph along which the scale of every channel can be moved exactly.

A chain starts at producers, passes operators that are proportional to each channel, and ends at
consumers. Where computed values are added, as around a shortcut, all producers before the sum take
part with the same scales. Channels that anything else reads keep the scale that they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.equalization.channel_map import (
    Blocked,
    ChannelMap,
    Edit,
    Shapes,
    with_rank,
)
from packlight.compression.equalization.scale_endpoints import (
    CONSUMERS,
    PRODUCERS,
    Consumer,
    Producer,
)
from packlight.compression.equalization.scale_propagation import (
    IGNORES_VALUES,
    RULES,
    SUMS,
    Passed,
    Reading,
    not_proportional,
)
from packlight.compression.sites.weight_roles import STANDARD, Role, is_standard, stored
from packlight.model import producer_of


@dataclass(frozen=True, slots=True, eq=False)
class ScaleChain:
    """A path along which scales of channels can move.

    Attributes:
        producers: at its start.
        passed: stored inputs on the way to divide by the scales.
        consumers: of the weights to multiply by the scales.
        free: channels that may have another scale than 1 (channels,).
    """

    producers: tuple[Producer, ...]
    passed: tuple[Edit, ...]
    consumers: tuple[Consumer, ...]
    free: NDArray[np.bool_]

    @property
    def divided(self) -> tuple[Edit, ...]:
        """All stored inputs to divide by the scales."""
        return (*(edit for start in self.producers for edit in start.edits), *self.passed)

    def reaches(self, node: ir.Node) -> bool:
        """Check for an operator among the consumers."""
        return any(end.edit.node is node for end in self.consumers)


class ScaleChains:
    """Chains of a model, each traced once.

    Args:
        graph: the model; it must not change during the search.
    """

    def __init__(self, graph: ir.Model) -> None:
        self.origins = _Origins(Shapes(graph))
        self.chains: dict[int, ScaleChain | Blocked] = {}

    def ending_at(self, role: Role) -> ScaleChain | Blocked:
        """The chain that ends at a weight, or why there is none."""
        starts = self.origins.of(role.node.inputs[1 - role.index])
        if isinstance(starts, Blocked):
            return starts
        key = id(starts[0].node)
        if key not in self.chains:
            chain = _follow_channels(starts[0], self.origins)
            members = list(starts)
            if isinstance(chain, ScaleChain):
                members += chain.producers
            self.chains.update((id(start.node), chain) for start in members)
        chain = self.chains[key]
        if isinstance(chain, ScaleChain) and not chain.reaches(role.node):
            return Blocked(
                "fixed-scale",
                "another reader of its channels keeps them at the scale that they have",
            )
        return chain


class _Origins:
    """Producers before values, each value traced once.

    Args:
        shapes: of the model.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.origins: dict[int, tuple[Producer, ...] | Blocked] = {}
        self.producers: dict[int, Producer | Blocked | None] = {}

    def of(self, value: ir.Value | None) -> tuple[Producer, ...] | Blocked:
        """The producers of all terms of a value, or the obstacle."""
        producers: dict[int, Producer] = {}
        pending = [value]
        visited = {id(value)}
        while pending:
            term = pending.pop()
            sources = self.origins.get(id(term)) or self.before(term)
            if isinstance(sources, Blocked):
                self.origins[id(value)] = sources
                return sources
            for source in sources:
                if isinstance(source, Producer):
                    producers.setdefault(id(source.node), source)
                elif id(source) not in visited:
                    visited.add(id(source))
                    pending.append(source)
        result = tuple(producers.values())
        self.origins[id(value)] = result
        return result

    def before(self, value: ir.Value | None) -> Sequence[Producer | ir.Value] | Blocked:
        """The producer of a value, or the values to trace instead."""
        node = producer_of(value)
        if node is None:
            return Blocked(
                "model-input", "it reads an input of the model or of a body, which stays as it is"
            )
        start = self.producer(node)
        if isinstance(start, Producer):
            return [start]
        weighted = node.op_type in CONSUMERS and any(map(stored, node.inputs))
        if weighted or node.domain not in STANDARD or node.op_type not in RULES:
            return start or _not_a_producer(node)
        computed = _computed_inputs(node)
        if node.op_type in SUMS or len(computed) < 2:  # noqa: PLR2004
            return computed or Blocked(
                "no-weight", f"{node.name} before it reads nothing that is computed"
            )
        if node.op_type not in ("Mul", "MatMul"):
            return self.of(computed[0])
        origins = [self.of(operand) for operand in computed]
        return next((origin for origin in origins if not isinstance(origin, Blocked)), origins[0])

    def producer(self, node: ir.Node) -> Producer | Blocked | None:
        """An operator as a producer, created once; None for kinds that are none."""
        if is_standard(node, *PRODUCERS) and id(node) not in self.producers:
            self.producers[id(node)] = PRODUCERS[node.op_type](node, self.shapes)
        return self.producers.get(id(node))


def _computed_inputs(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None and stored(value) is None]


def _not_a_producer(node: ir.Node) -> Blocked:
    kind = node.op_type
    return Blocked(
        "not-proportional",
        f"{node.name} before it is a {kind}, which does not pass scales of channels",
    )


@dataclass(slots=True)
class _Walk:
    """Search for a chain.

    Attributes:
        free: as of a chain.
        starts: producers so far, by identity.
        passed: as of a chain.
        consumers: so far.
        labels: of values, by identity.
        visited: operators that were passed, by identity.
        blocks: obstacles.
    """

    free: NDArray[np.bool_]
    starts: dict[int, Producer] = field(default_factory=dict)
    passed: list[Edit] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)
    labels: dict[int, ChannelMap] = field(default_factory=dict)
    visited: dict[int, ir.Node] = field(default_factory=dict)
    blocks: list[Blocked] = field(default_factory=list)

    def block(self, labels: ChannelMap, reason: Blocked) -> None:
        """Fix the scale of channels to 1."""
        self.free[labels[labels < self.free.size]] = False
        self.blocks.append(reason)

    def start(self, producer: Producer) -> list[ir.Value]:
        """Add a producer; returns the values to follow."""
        if id(producer.node) in self.starts:
            return []
        if producer.channels != self.free.size:
            self.block(np.arange(self.free.size), _unequal_sum(producer.node))
            return []
        value = producer.node.outputs[0]
        self.starts[id(producer.node)] = producer
        self.labels[id(value)] = producer.labels
        return [value]

    def check_sums(self) -> None:
        """Fix the scale of channels in sums whose terms do not all have them."""
        for node in self.visited.values():
            if node.op_type not in SUMS:
                continue
            terms = _computed_inputs(node)
            maps = [self.labels[id(value)] for value in terms if id(value) in self.labels]
            rank = max(labels.ndim for labels in maps)
            equal = all(np.array_equal(with_rank(maps[0], rank), with_rank(m, rank)) for m in maps)
            if len(maps) < len(terms) or not equal:
                for labels in maps:
                    self.block(labels, _unequal_sum(node))

    def finish(self) -> ScaleChain | Blocked:
        """The chain, if a channel remains that may be scaled."""
        self.check_sums()
        for key in self.starts.keys() & self.visited.keys():  # it would be divided at both ends
            self.block(self.starts[key].labels, _on_both_ends(self.starts[key].node))
        ends = tuple(end for end in self.consumers if self.free[end.edit.labels].any())
        if not ends:
            return next(iter(self.blocks), Blocked("no-weight", "nothing with a weight reads it"))
        return ScaleChain(tuple(self.starts.values()), tuple(self.passed), ends, self.free)


def _unequal_sum(node: ir.Node) -> Blocked:
    return Blocked("unequal-channels", f"{node.name} adds values whose channels do not correspond")


def _on_both_ends(node: ir.Node) -> Blocked:
    return Blocked(
        "unequal-channels", f"{node.name} multiplies channels that are added to what it gives"
    )


def _follow_channels(start: Producer, origins: _Origins) -> ScaleChain | Blocked:
    """Follow the channels of a producer to all their readers."""
    walk = _Walk(np.ones(start.channels, np.bool_))
    pending = walk.start(start)
    while pending and walk.free.any():
        value = pending.pop(0)
        labels = walk.labels[id(value)]
        if value.is_graph_output():
            walk.block(
                labels,
                Blocked("model-output", f"'{value.name}' is an output, which must stay as it is"),
            )
        for node, index in value.uses():
            pending += _follow_reader(walk, Reading(node, index, labels, origins.shapes), origins)
    return walk.finish()


def _follow_reader(walk: _Walk, reading: Reading, origins: _Origins) -> list[ir.Value]:
    """Follow channels past one of their readers; returns the values to follow next."""
    node = reading.node
    if is_standard(node, *IGNORES_VALUES):
        return []
    effect = _reader_effect(reading)
    if isinstance(effect, Consumer):
        walk.consumers.append(effect)
        return []
    again = id(node) in walk.visited
    if again and node.op_type in SUMS:
        return []
    if again and not isinstance(effect, Blocked):
        effect = not_proportional(reading)
    if isinstance(effect, Blocked):
        walk.block(reading.labels, effect)
        return []
    walk.visited[id(node)] = node
    walk.passed += effect.edits
    pairs = list(zip(node.outputs, effect.labels, strict=False))
    walk.labels.update((id(value), labels) for value, labels in pairs)
    return [value for value, _ in pairs] + _join_added(walk, reading, origins)


def _join_added(walk: _Walk, reading: Reading, origins: _Origins) -> list[ir.Value]:
    """Add the producers of a term that is added to channels; returns the values to follow."""
    node = reading.node
    if node.op_type not in SUMS or reading.operand is None or stored(reading.operand) is not None:
        return []
    starts = origins.of(reading.operand)
    if isinstance(starts, Blocked):
        walk.block(
            reading.labels,
            Blocked("fixed-scale", f"{node.name} adds to it what keeps its scale: {starts.reason}"),
        )
        return []
    return [value for start in starts for value in walk.start(start)]


def _reader_effect(reading: Reading) -> Consumer | Passed | Blocked:
    """Effect of an operator on channels."""
    node = reading.node
    if node.domain not in STANDARD:
        return not_proportional(reading)
    end: Consumer | Blocked | None = None
    if node.op_type in CONSUMERS:
        end = CONSUMERS[node.op_type](node, reading.index, reading.labels)
    if isinstance(end, Consumer):
        return end
    rule = RULES.get(node.op_type)
    if rule is not None and (end is None or not any(map(stored, node.inputs))):
        return rule(reading)
    return end or not_proportional(reading)
