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

from packlight.compression.equalization.channel_edits import Blocked, Edit
from packlight.compression.equalization.channel_map import Labels, Shapes, ranked
from packlight.compression.equalization.scale_endpoints import (
    CONSUMERS,
    PRODUCERS,
    Consumer,
    Producer,
    consumer,
)
from packlight.compression.equalization.scale_propagation import (
    INDIFFERENT,
    RULES,
    SUMS,
    Passed,
    Reading,
    not_proportional,
)
from packlight.compression.sites.weight_roles import STANDARD, Role, stored


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Where scales of channels can go.

    Attributes:
        producers: where it starts.
        passed: what is stored on the way that takes in the reciprocals of scales.
        consumers: what takes in the scales.
        free: which channels may have another scale than 1 (channels,).
    """

    producers: tuple[Producer, ...]
    passed: tuple[Edit, ...]
    consumers: tuple[Consumer, ...]
    free: NDArray[np.bool_]

    @property
    def divided(self) -> tuple[Edit, ...]:
        """All that takes in the reciprocals of scales."""
        return (*(edit for start in self.producers for edit in start.edits), *self.passed)

    def reaches(self, node: ir.Node) -> bool:
        """Whether an operator is among the consumers."""
        return any(end.edit.node is node for end in self.consumers)


class Chains:
    """Chains of a model, each found once.

    Args:
        graph: the model; it must not change while chains are looked for.
    """

    def __init__(self, graph: ir.Model) -> None:
        self.origins = Origins(Shapes(graph))
        self.kept: dict[int, Chain | Blocked] = {}

    def behind(self, role: Role) -> Chain | Blocked:
        """The chain that ends at a weight, or why there is none."""
        starts = self.origins.of(role.node.inputs[1 - role.index])
        if isinstance(starts, Blocked):
            return starts
        key = id(starts[0].node)
        if key not in self.kept:
            found = walked(starts[0], self.origins)
            members = found.producers if isinstance(found, Chain) else starts
            self.kept.update((id(start.node), found) for start in (*members, *starts))
        found = self.kept[key]
        if isinstance(found, Chain) and not found.reaches(role.node):
            return Blocked(
                "fixed-scale",
                "another reader of its channels keeps them at the scale that they have",
            )
        return found


class Origins:
    """Producers before values, each value looked at once.

    Args:
        shapes: of the model.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.kept: dict[int, tuple[Producer, ...] | Blocked] = {}
        self.made: dict[int, Producer | Blocked | None] = {}

    def of(self, value: ir.Value | None) -> tuple[Producer, ...] | Blocked:
        """The producers of all that a value is the sum of, or what is in the way."""
        found: dict[int, Producer] = {}
        ahead, seen = [value], {id(value)}
        while ahead:
            now = ahead.pop()
            step = self.kept.get(id(now)) or self.before(now)
            if isinstance(step, Blocked):
                found.clear()
                self.kept[id(value)] = step
                return step
            for one in step:
                if isinstance(one, Producer):
                    found.setdefault(id(one.node), one)
                elif id(one) not in seen:
                    seen.add(id(one))
                    ahead.append(one)
        self.kept[id(value)] = tuple(found.values())
        return tuple(found.values())

    def before(self, value: ir.Value | None) -> Sequence[Producer | ir.Value] | Blocked:
        """The producer of a value, or the values to look behind."""
        node = None if value is None else value.producer()
        if node is None:
            return Blocked(
                "model-input", "it reads an input of the model or of a body, which stays as it is"
            )
        start = self.producer(node)
        if isinstance(start, Producer):
            return [start]
        weighted = node.op_type in CONSUMERS and any(map(stored, node.inputs))
        if weighted or node.domain not in STANDARD or node.op_type not in RULES:
            return start or unproductive(node)
        computed = [given for given in node.inputs if given is not None and stored(given) is None]
        if node.op_type in SUMS or len(computed) < 2:  # noqa: PLR2004
            return computed or Blocked(
                "no-weight", f"{node.name} before it reads nothing that is computed"
            )
        return self.either(computed if node.op_type in ("Mul", "MatMul") else computed[:1])

    def either(self, values: Sequence[ir.Value]) -> tuple[Producer, ...] | Blocked:
        """Producers on the first way that has them."""
        ways = [self.of(value) for value in values]
        return next((way for way in ways if not isinstance(way, Blocked)), ways[0])

    def producer(self, node: ir.Node) -> Producer | Blocked | None:
        """An operator as a producer, each one made once; None where its kind is none."""
        make = PRODUCERS.get(node.op_type) if node.domain in STANDARD else None
        if make is not None and id(node) not in self.made:
            self.made[id(node)] = make(node, self.shapes)
        return self.made.get(id(node))


def unproductive(node: ir.Node) -> Blocked:
    """Why channels cannot be scaled at an operator before."""
    kind = node.op_type
    return Blocked(
        "not-proportional",
        f"{node.name} before it is a {kind}, which does not pass scales of channels",
    )


@dataclass(slots=True)
class Walk:
    """A chain in the making.

    Attributes:
        free: as of a chain.
        starts: producers so far, by identity.
        passed: as of a chain.
        consumers: all that were met.
        labels: of values, by identity.
        met: operators that were passed, by identity.
        blocks: what was in the way.
    """

    free: NDArray[np.bool_]
    starts: dict[int, Producer] = field(default_factory=dict)
    passed: list[Edit] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)
    labels: dict[int, Labels] = field(default_factory=dict)
    met: dict[int, ir.Node] = field(default_factory=dict)
    blocks: list[Blocked] = field(default_factory=list)

    def block(self, labels: Labels, reason: Blocked) -> None:
        """Leave channels as they are."""
        self.free[labels[labels < self.free.size]] = False
        self.blocks.append(reason)

    def start(self, producer: Producer) -> list[ir.Value]:
        """Take a producer in; gives what it gives."""
        if id(producer.node) in self.starts:
            return []
        if producer.channels != self.free.size:
            self.block(np.arange(self.free.size), unequal(producer.node))
            return []
        value = producer.node.outputs[0]
        self.starts[id(producer.node)] = producer
        self.labels[id(value)] = producer.labels
        return [value]

    def check_sums(self) -> None:
        """Leave channels as they are where not all that is added has the same ones."""
        for node in self.met.values():
            if node.op_type not in SUMS:
                continue
            given = [value for value in node.inputs if value is not None and stored(value) is None]
            rows = [self.labels[id(value)] for value in given if id(value) in self.labels]
            rank = max(labels.ndim for labels in rows)
            same = all(np.array_equal(ranked(rows[0], rank), ranked(r, rank)) for r in rows)
            if len(rows) < len(given) or not same:
                for labels in rows:
                    self.block(labels, unequal(node))

    def finish(self) -> Chain | Blocked:
        """The chain, where a channel is left that may be scaled."""
        self.check_sums()
        for key in self.starts.keys() & self.met.keys():  # it would be divided at both ends
            self.block(self.starts[key].labels, within(self.starts[key].node))
        ends = tuple(end for end in self.consumers if self.free[end.edit.labels].any())
        if not ends:
            return (
                self.blocks[0]
                if self.blocks
                else Blocked("no-weight", "nothing with a weight reads it")
            )
        return Chain(tuple(self.starts.values()), tuple(self.passed), ends, self.free)


def unequal(node: ir.Node) -> Blocked:
    """Why scales of values that are added cannot be the same."""
    return Blocked("unequal-channels", f"{node.name} adds values whose channels do not correspond")


def within(node: ir.Node) -> Blocked:
    """Why an operator that passes scales on cannot be where they begin as well."""
    return Blocked(
        "unequal-channels", f"{node.name} multiplies channels that are added to what it gives"
    )


def walked(start: Producer, origins: Origins) -> Chain | Blocked:
    """Follow the channels of a producer to everything that reads them."""
    walk = Walk(np.ones(start.channels, np.bool_))
    ahead = walk.start(start)
    while ahead and walk.free.any():
        value = ahead.pop(0)
        labels = walk.labels[id(value)]
        if value.is_graph_output():
            walk.block(
                labels,
                Blocked("model-output", f"'{value.name}' is an output, which must stay as it is"),
            )
        for node, index in value.uses():
            ahead += step(walk, Reading(node, index, labels, origins.shapes), origins)
    return walk.finish()


def step(walk: Walk, reading: Reading, origins: Origins) -> list[ir.Value]:
    """Follow channels past one operator that reads them; gives the values to follow next."""
    node, labels = reading.node, reading.labels
    if node.domain in STANDARD and node.op_type in INDIFFERENT:
        return []
    found = met(reading)
    if isinstance(found, Consumer):
        walk.consumers.append(found)
        return []
    again = id(node) in walk.met
    if again and node.op_type in SUMS:
        return []
    if again or isinstance(found, Blocked):
        walk.block(labels, found if isinstance(found, Blocked) else not_proportional(reading))
        return []
    walk.met[id(node)] = node
    walk.passed += found.edits
    pairs = list(zip(node.outputs, found.labels, strict=False))
    walk.labels.update((id(value), behind) for value, behind in pairs)
    return [value for value, _ in pairs] + recruited(walk, reading, origins)


def recruited(walk: Walk, reading: Reading, origins: Origins) -> list[ir.Value]:
    """Take in the producers of what is added to channels; gives what they give."""
    node = reading.node
    other = node.inputs[1 - reading.index] if node.op_type in SUMS else None
    if other is None or stored(other) is not None:
        return []
    starts = origins.of(other)
    if isinstance(starts, Blocked):
        walk.block(
            reading.labels,
            Blocked("fixed-scale", f"{node.name} adds to it what keeps its scale: {starts.reason}"),
        )
        return []
    return [value for start in starts for value in walk.start(start)]


def met(reading: Reading) -> Consumer | Passed | Blocked:
    """What an operator does with channels."""
    node = reading.node
    if node.domain not in STANDARD:
        return not_proportional(reading)
    end: Consumer | Blocked | None = None
    if node.op_type in CONSUMERS:
        end = consumer(node, reading.index, reading.labels)
    if isinstance(end, Consumer):
        return end
    rule = RULES.get(node.op_type)
    if rule is not None and (end is None or not any(map(stored, node.inputs))):
        return rule(reading)
    return end or not_proportional(reading)
