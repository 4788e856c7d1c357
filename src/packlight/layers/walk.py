"""Values of both models on sample after sample, and the operators' results for equal inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.layers.data_flow import Flow, is_real
from packlight.layers.integer_to_qdq import to_qdq_form
from packlight.layers.matching import Matched, Matcher
from packlight.layers.probe import Probe, Values, open_probe
from packlight.layers.stored_weights import prints_of
from packlight.model import Model, with_seeds
from packlight.records import SessionOptions
from packlight.runtime import Feeds, Steps

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class MatchedPair:
    """Two models with matched values.

    Attributes:
        reference: QDQ form of the original.
        variant: QDQ form of the compressed model.
        matched: the correspondence.
        names: name of the variant's root by key, which is the name of the reference's root.
        delivered: by key, names of the values that readers get in the reference and the variant.
        options: of every session; the arithmetic is exact.
    """

    reference: Model
    variant: Model
    matched: Matched
    names: Mapping[str, str]
    delivered: Mapping[str, tuple[str, str]]
    options: SessionOptions

    def replaceable(self) -> list[str]:
        """Keys of values that operators of both models give, so that a probe can replace them."""
        return [key for key in self.names if self.maker(key) is not None]

    def maker(self, key: str) -> ir.Node | None:
        """The operator of the reference that gives a value; None for an input."""
        return self.matched.reference.values[key].producer()

    def counterpart(self, key: str) -> ir.Node | None:
        """The operator of the variant that gives the matched value."""
        return self.matched.variant.values[self.names[key]].producer()


def match_models(reference: Model, variant: Model, options: SessionOptions) -> MatchedPair:
    """Match the values of two models.

    Args:
        reference: the original.
        variant: derived from it, by any tool.
        options: of the sessions that compute values; the arithmetic is always exact.
    """
    exactly = replace(options, arithmetic="exact", matmul_accuracy=1)
    our_graph = to_qdq_form(with_seeds(reference, 1))
    their_graph = to_qdq_form(with_seeds(variant, 1))
    ours = Flow(our_graph)
    theirs = Flow(their_graph)
    prints = {**prints_of(our_graph, ours, exactly), **prints_of(their_graph, theirs, exactly)}
    matched = Matcher(ours, theirs, prints).run()
    names = {
        str(our_value.name): str(their_value.name)
        for our_value, their_value in matched.values.items()
        if _is_real(ours, our_value)
        and _is_real(theirs, their_value)
        and _is_computed(ours, our_value, theirs, their_value)
    }
    delivered = {
        key: (_delivered_name(ours, key), _delivered_name(theirs, names[key])) for key in names
    }
    our_model = Model(our_graph, reference.name)
    their_model = Model(their_graph, variant.name)
    return MatchedPair(our_model, their_model, matched, names, delivered, exactly)


def _delivered_name(flow: Flow, root: str) -> str:
    return str(flow.delivered(flow.values[root]).name)


def _is_computed(ours: Flow, our_root: ir.Value, theirs: Flow, their_root: ir.Value) -> bool:
    if our_root.producer() is not None:
        return True
    return (
        ours.delivered(our_root) is not our_root or theirs.delivered(their_root) is not their_root
    )


def _is_real(flow: Flow, root: ir.Value) -> bool:
    return is_real(flow.delivered(root)) and is_real(root)


@dataclass(frozen=True, slots=True, eq=False)
class CallValues:
    """Values of both models at one call, by key.

    Attributes:
        sample: index of the sample.
        reference: values of the reference.
        variant: values of the variant.
        isolated: results of the variant's operators for the reference's values.
        isolated_reference: results of the reference's operators for the variant's values; empty
            where not requested.
        feeds: of the call; of the variant, with its state.
    """

    sample: int
    reference: Values
    variant: Values
    isolated: Values
    isolated_reference: Values
    feeds: Feeds


class Walk:
    """Sessions of a matched pair, to run sample after sample.

    Args:
        pair: two matched models.
        state: of the task.
        back: whether to run the reference's operators on the variant's values as well.
    """

    def __init__(self, pair: MatchedPair, state: Mapping[str, str], *, back: bool = False) -> None:
        ours = {key: names[0] for key, names in pair.delivered.items()}
        theirs = {key: names[1] for key, names in pair.delivered.items()}
        self.state = state
        options = pair.options
        self.reference = open_probe(pair.reference, ours, {}, options, outputs=state)
        self.variant = open_probe(pair.variant, theirs, {}, options, outputs=state)
        cut = {key: pair.names[key] for key in pair.replaceable()}
        self.isolated = open_probe(pair.variant, theirs, cut, options)
        self.isolated_reference: Probe | None = None
        if back:
            cut = {key: key for key in cut}
            self.isolated_reference = open_probe(pair.reference, ours, cut, options)

    def over(self, samples: Sequence[Steps], indices: Sequence[int]) -> Iterator[CallValues]:
        """Values at every call of the samples at these indices; none stay in memory."""
        for index in indices:
            our_state: dict[str, Array] = {}
            their_state: dict[str, Array] = {}
            for feeds in samples[index]:
                ours = {**feeds, **our_state}
                theirs = {**feeds, **their_state}
                reference, our_outputs = self.reference.run(ours, {})
                variant, their_outputs = self.variant.run(theirs, {})
                our_state = {into: our_outputs[out] for out, into in self.state.items()}
                their_state = {into: their_outputs[out] for out, into in self.state.items()}
                isolated, _ = self.isolated.run(ours, reference)
                back: dict[str, Array] = {}
                if self.isolated_reference is not None:
                    back, _ = self.isolated_reference.run(theirs, variant)
                yield CallValues(index, reference, variant, isolated, back, theirs)
