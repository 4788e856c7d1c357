"""Weights of matched operators beside each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.layers.stored_weights import SMALLEST, unpacked
from packlight.layers.walk import Pair
from packlight.metrics.fidelity import decibels
from packlight.records import WeightContrast, counted

Array = NDArray[np.generic]
Rows = NDArray[np.float64]

BINS = 32
FOLDED = frozenset({"BatchNormalization", "Mul"})
"""Operators whose factors a tool takes into the weight before them."""


def weight_pairs(pair: Pair) -> Iterator[tuple[ir.Node, int, Rows, Rows]]:
    """Operators of the reference with the place of a weight, and both weights; one at a time."""
    matched = pair.matched
    for ours, theirs in matched.operators.items():
        mine, others = (
            dict(flow.weights(node))
            for flow, node in ((matched.reference, ours), (matched.variant, theirs))
        )
        for place in sorted(set(mine) & set(others)):
            one = loaded(pair.reference.graph, mine[place], pair)
            other = loaded(pair.variant.graph, others[place], pair)
            if one.shape == other.shape and one.size >= SMALLEST and one.dtype.kind == "f":
                yield ours, place, one, other


def loaded(graph: ir.Model, value: ir.Value, pair: Pair) -> Rows:
    """One weight as its reader gets it."""
    return np.asarray(next(iter(unpacked(graph, [value], pair.options)))[1], np.float64)


def weight_contrasts(pair: Pair) -> Iterator[WeightContrast]:
    """Every weight of both models."""
    for node, place, one, other in weight_pairs(pair):
        folded = is_folded(pair, node)
        wanted = refolded(one, other) if folded else one
        noise = other - wanted
        value = node.inputs[place]
        assert value is not None
        edges = np.histogram_bin_edges(wanted, BINS)
        inside = np.clip(other, edges[0], edges[-1])
        yield WeightContrast(
            name=str(value.name),
            operator=str(node.name),
            shape=tuple(one.shape),
            snr=counted(float(decibels(np.array([(wanted**2).sum(), (noise**2).sum()]))), "dB"),
            zeros=float(np.mean(one == 0)),
            variant_zeros=float(np.mean(other == 0)),
            levels=len(np.unique(other.astype(np.float32))),
            edges=tuple(map(float, edges)),
            counts=tuple(map(int, np.histogram(wanted, edges)[0])),
            variant_counts=tuple(map(int, np.histogram(inside, edges)[0])),
            folded=folded,
        )


def is_folded(pair: Pair, node: ir.Node) -> bool:
    """Whether the variant's operator gives what the reference has only behind a factor."""
    matched = pair.matched
    theirs = matched.variant.root(matched.operators[node].outputs[0])
    ours = next((one for one, other in matched.values.items() if other is theirs), None)
    maker = None if ours is None else ours.producer()
    while maker is not None and maker is not node:
        if maker.op_type in FOLDED:
            return True
        before = [v for v in matched.reference.data(maker) if v is not None]
        maker = before[0].producer() if len(before) == 1 else None
    return False


def refolded(one: Rows, other: Rows) -> Rows:
    """A weight (out, ...) with the factor for each output channel that brings it nearest."""
    flat, wanted = one.reshape(len(one), -1), other.reshape(len(one), -1)
    energy = (flat**2).sum(axis=1)
    factor = (flat * wanted).sum(axis=1) / np.where(energy == 0, 1, energy)
    return np.asarray((flat * factor[:, None]).reshape(one.shape))
