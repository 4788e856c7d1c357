"""Values of both models on sample after sample, and what each operator does to equal inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.layers.data_flow import FLOATS, Flow
from packlight.layers.integer_to_qdq import canonical
from packlight.layers.matching import Matched, Matcher
from packlight.layers.probe import Probe, Values, open_probe
from packlight.layers.stored_weights import prints_of
from packlight.model import Model
from packlight.records import SessionOptions
from packlight.runtime import Feeds, Steps

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two models whose values are matched.

    Attributes:
        reference: canonical graph of the one.
        variant: canonical graph of the other.
        matched: what corresponds.
        names: by key, which is the name of the reference's root, that of the variant's root.
        read: by key, the values that readers get in the reference and in the variant.
        options: of every session; the arithmetic is exact.
    """

    reference: Model
    variant: Model
    matched: Matched
    names: Mapping[str, str]
    read: Mapping[str, tuple[str, str]]
    options: SessionOptions

    def feedable(self) -> list[str]:
        """Keys of values that an operator of both models gives, which can be fed instead."""
        return [key for key in self.names if self.maker(key) is not None]

    def maker(self, key: str) -> ir.Node | None:
        """The operator of the reference that gives a value; None for an input."""
        return self.matched.reference.values[key].producer()

    def counterpart(self, key: str) -> ir.Node | None:
        """The operator of the variant that gives it."""
        return self.matched.variant.values[self.names[key]].producer()


def paired(reference: Model, variant: Model, options: SessionOptions) -> Pair:
    """Match two models.

    Args:
        reference: the one.
        variant: the other, made of it in whatever way, by whichever tool.
        options: of the sessions in which values are looked at; the arithmetic is always exact.
    """
    exactly = replace(options, arithmetic="exact", matmul_accuracy=1)
    one, other = canonical(reference), canonical(variant)
    ours, theirs = Flow(one), Flow(other)
    prints = {**prints_of(one, ours, exactly), **prints_of(other, theirs, exactly)}
    matched = Matcher(ours, theirs, prints).run()
    names = {
        str(a.name): str(b.name)
        for a, b in matched.values.items()
        if is_real(ours, a) and is_real(theirs, b) and is_computed(ours, a, theirs, b)
    }
    read = {
        key: (
            str(ours.delivered(ours.values[key]).name),
            str(theirs.delivered(theirs.values[name]).name),
        )
        for key, name in names.items()
    }
    return Pair(
        Model(one, reference.name), Model(other, variant.name), matched, names, read, exactly
    )


def is_computed(ours: Flow, one: ir.Value, theirs: Flow, other: ir.Value) -> bool:
    """Whether a value is more than an input that both models read as it came."""
    as_it_came = ours.delivered(one) is one and theirs.delivered(other) is other
    return one.producer() is not None or not as_it_came


def is_real(flow: Flow, root: ir.Value) -> bool:
    """Whether a value holds real numbers."""
    return flow.delivered(root).dtype in FLOATS and root.dtype in FLOATS


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Values at one call of both models, by key.

    Attributes:
        sample: index of the sample.
        reference: what the reference gives.
        variant: what the variant gives.
        own: what the operators of the variant give for the reference's values.
        ours: what the operators of the reference give for the variant's values; empty where that
            was not asked.
        feeds: of the call; of the variant, with its state.
    """

    sample: int
    reference: Values
    variant: Values
    own: Values
    ours: Values
    feeds: Feeds


class Walk:
    """Sessions of a pair, for sample after sample.

    Args:
        pair: two matched models.
        state: of the task.
        back: whether the reference's operators are also run on the variant's values.
    """

    def __init__(self, pair: Pair, state: Mapping[str, str], *, back: bool = False) -> None:
        ours = {key: names[0] for key, names in pair.read.items()}
        theirs = {key: names[1] for key, names in pair.read.items()}
        fed = pair.feedable()
        keep = tuple(state)
        self.state = state
        options = pair.options
        self.one = open_probe(pair.reference, ours, {}, options, keep=keep)
        self.other = open_probe(pair.variant, theirs, {}, options, keep=keep)
        cut = {key: pair.names[key] for key in fed}
        self.own = open_probe(pair.variant, theirs, cut, options)
        self.back: Probe | None = None
        if back:
            cut = {key: key for key in fed}
            self.back = open_probe(pair.reference, ours, cut, options)

    def over(self, samples: Sequence[Steps], places: Sequence[int]) -> Iterator[Seen]:
        """Values at every call of the samples at these indices, nothing kept."""
        for place in places:
            carried: tuple[dict[str, Array], dict[str, Array]] = ({}, {})
            for feeds in samples[place]:
                ours, theirs = {**feeds, **carried[0]}, {**feeds, **carried[1]}
                one, given = self.one.run(ours, {})
                other, made = self.other.run(theirs, {})
                carried = (
                    {into: given[out] for out, into in self.state.items()},
                    {into: made[out] for out, into in self.state.items()},
                )
                own, _ = self.own.run(ours, one)
                back = {} if self.back is None else self.back.run(theirs, other)[0]
                yield Seen(place, one, other, own, back, theirs)
