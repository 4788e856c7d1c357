"""Labels: which channel every number of a value belongs to.

Labels are an array of whole numbers that NumPy's broadcasting spreads over the value, with size 1
along every axis on which nothing depends. So a shape, a transposition or a group of a convolution
moves labels as it moves numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.model import Model, graphs, infer_shapes
from packlight.model.shapes import Shape

ChannelMap = NDArray[np.int64]


def channel_row(count: int) -> ChannelMap:
    """Labels of so many channels."""
    return np.arange(count, dtype=np.int64)


def along_axis(labels: ChannelMap, rank: int, axis: int) -> ChannelMap:
    """A row of labels along one axis of an array."""
    shape = [1] * rank
    shape[axis] = -1
    return labels.reshape(shape)


def channel_axes(labels: ChannelMap) -> list[int]:
    """Axes along which channels differ."""
    return [axis for axis, size in enumerate(labels.shape) if size > 1]


def with_rank(labels: ChannelMap, rank: int) -> ChannelMap:
    """Labels of a value with leading axes more."""
    return labels.reshape((1,) * (rank - labels.ndim) + labels.shape)


def narrow_map(labels: ChannelMap) -> ChannelMap:
    """Labels with size 1 along every axis on which nothing depends."""
    for axis in range(labels.ndim):
        first = labels.take([0], axis)
        if np.array_equal(np.broadcast_to(first, labels.shape), labels):
            labels = first
    return labels


def drop_leading_axes(labels: ChannelMap, rank: int) -> ChannelMap:
    """Labels without leading axes on which nothing depends, as far as a rank allows."""
    while labels.ndim > rank and labels.shape[0] == 1:
        labels = labels[0]
    return labels


class Shapes:
    """Shapes of values, where they are known; names that two bodies use are left out.

    Args:
        graph: the model.
    """

    def __init__(self, graph: ir.Model) -> None:
        made = (v for inner in graphs(graph) for node in inner for v in node.outputs if v.name)
        uses = Counter(str(value.name) for value in made)
        known = infer_shapes(Model(graph, "shapes"), {})
        self.known: Mapping[str, Shape] = {n: s for n, s in known.items() if uses[n] == 1}

    def shape(self, value: ir.Value | None) -> Shape:
        """Sizes, None for one that is not known; empty where nothing is known."""
        return () if value is None else self.known.get(str(value.name), ())

    def rank(self, value: ir.Value | None) -> int:
        """How many axes; 0 for a single number and where it is not known."""
        return len(self.shape(value))
