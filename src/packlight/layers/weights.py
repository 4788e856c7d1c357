"""Weights of matched operators, compared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.layers.stored_weights import SMALLEST, unpack_weights
from packlight.layers.walk import MatchedPair
from packlight.metrics.fidelity import decibels
from packlight.records import WeightContrast, counted
from packlight.runtime.output_values import is_text

Array = NDArray[np.generic]
Rows = NDArray[np.float64]

BINS = 32
FOLDABLE = frozenset({"BatchNormalization", "Mul"})
"""Operators whose factors a tool can fold into the weight before them."""


def weight_pairs(pair: MatchedPair) -> Iterator[tuple[ir.Node, int, Rows, Rows]]:
    """Operators of the reference with an input index and both weights; one pair at a time."""
    matched = pair.matched
    for ours, theirs in matched.operators.items():
        our_weights = dict(matched.reference.weights(ours))
        their_weights = dict(matched.variant.weights(theirs))
        for index in sorted(set(our_weights) & set(their_weights)):
            weight = _load_weight(pair.reference.graph, our_weights[index], pair)
            variant_weight = _load_weight(pair.variant.graph, their_weights[index], pair)
            if weight is None or variant_weight is None:
                continue
            same_shape = weight.shape == variant_weight.shape
            if same_shape and weight.size >= SMALLEST and weight.dtype.kind == "f":
                yield ours, index, weight, variant_weight


def _load_weight(graph: ir.Model, value: ir.Value, pair: MatchedPair) -> Rows | None:
    """A weight as numbers; None for texts, and for what is no array."""
    _, array = next(unpack_weights(graph, [value], pair.options))
    if not isinstance(array, np.ndarray) or is_text(array):
        return None
    return np.asarray(array, np.float64)


def weight_contrasts(pair: MatchedPair) -> Iterator[WeightContrast]:
    """Compare every weight of both models."""
    for node, index, weight, variant_weight in weight_pairs(pair):
        folded = is_folded(pair, node)
        expected = refolded(weight, variant_weight) if folded else weight
        noise = variant_weight - expected
        value = node.inputs[index]
        assert value is not None
        edges = np.histogram_bin_edges(expected, BINS)
        clipped = np.clip(variant_weight, edges[0], edges[-1])
        snr = float(decibels(np.array([(expected**2).sum(), (noise**2).sum()])))
        yield WeightContrast(
            name=str(value.name),
            operator=str(node.name),
            shape=tuple(weight.shape),
            snr=counted(snr, "dB"),
            zeros=float(np.mean(weight == 0)),
            variant_zeros=float(np.mean(variant_weight == 0)),
            levels=len(np.unique(variant_weight.astype(np.float32))),
            edges=tuple(map(float, edges)),
            counts=tuple(map(int, np.histogram(expected, edges)[0])),
            variant_counts=tuple(map(int, np.histogram(clipped, edges)[0])),
            folded=folded,
        )


def is_folded(pair: MatchedPair, node: ir.Node) -> bool:
    """Return whether the variant's operator gives a value that the reference scales afterwards."""
    matched = pair.matched
    theirs = matched.variant.root(matched.operators[node].outputs[0])
    value = next((key for key, root in matched.values.items() if root is theirs), None)
    while value is not None:
        producer = value.producer()
        if producer is None or producer is node:
            return False
        if producer.op_type in FOLDABLE:
            return True
        inputs = [source for source in matched.reference.data(producer) if source is not None]
        if len(inputs) != 1:
            return False
        value = inputs[0]
    return False


def refolded(weight: Rows, variant_weight: Rows) -> Rows:
    """Scale each output channel of a weight (out, ...) to fit the variant's, by least squares."""
    flat = weight.reshape(len(weight), -1)
    target = variant_weight.reshape(len(weight), -1)
    energy = (flat**2).sum(axis=1)
    factor = (flat * target).sum(axis=1) / np.where(energy == 0, 1, energy)
    return np.asarray((flat * factor[:, None]).reshape(weight.shape))
