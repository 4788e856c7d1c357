"""Weights as an operator reads them, whatever unpacks them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.layers.data_flow import FLOATS, Flow
from packlight.layers.matching import Weights
from packlight.layers.probe import give
from packlight.model import Model, stored_tensor
from packlight.records import SessionOptions
from packlight.runtime import open_session

Array = NDArray[np.generic]

PRINT = 4096
"""Numbers of a weight by which it is told from others, evenly spread."""

SMALLEST = 16
"""Numbers that a weight holds at least: fewer are scales, limits or sizes."""

ROOM = 1 << 28
"""Numbers of weights that are unpacked together."""


def weights_of(flow: Flow) -> list[ir.Value]:
    """Weights that operators read, each once, in their order."""
    found = (value for node in flow.operators for _, value in flow.weights(node))
    return list(dict.fromkeys(value for value in found if value.dtype in FLOATS))


def unpacked(
    graph: ir.Model, wanted: Iterable[ir.Value], options: SessionOptions
) -> Iterator[tuple[ir.Value, Array]]:
    """Weights as their readers get them, a few at a time, those made of others computed.

    Args:
        graph: that the values are of.
        wanted: values that are the same at every run.
        options: of the session that computes them.
    """
    computed = []
    for value in wanted:
        tensor = stored_tensor(value)
        if tensor is None:
            computed.append(value)
        else:
            yield value, np.asarray(tensor.numpy())
    for part in chunks(computed):
        copy = Model(graph, "weights").clone()
        taps = give(copy, [str(value.name) for value in part])
        keep_only(copy.graph, set(taps.values()))
        outputs = open_session(Model(copy, "weights"), options).run({})
        for value in part:
            yield value, outputs[taps[str(value.name)]]


def keep_only(graph: ir.Graph, outputs: set[str]) -> None:
    """Leave nothing of a graph but what gives some outputs and reads no input, in place."""
    rest = [value for value in graph.outputs if value.name in outputs]
    graph.inputs.clear()
    graph.outputs[:] = rest
    needed = set(rest)
    for value in rest:
        maker = value.producer()
        before = () if maker is None else maker.inputs
        fresh = [one for one in before if one is not None and one not in needed]
        needed.update(fresh)
        rest += fresh
    graph.remove([node for node in graph if needed.isdisjoint(node.outputs)])
    for name in [name for name, value in graph.initializers.items() if value not in needed]:
        del graph.initializers[name]


def chunks(values: Sequence[ir.Value]) -> Iterator[list[ir.Value]]:
    """Values in groups that are small enough together."""
    group: list[ir.Value] = []
    size = 0
    for value in values:
        sizes = [] if value.shape is None else [n for n in value.shape if isinstance(n, int)]
        own = int(np.prod(sizes)) if sizes else PRINT
        if group and size + own > ROOM:
            yield group
            group, size = [], 0
        group.append(value)
        size += own
    if group:
        yield group


def prints_of(graph: ir.Model, flow: Flow, options: SessionOptions) -> Weights:
    """Some numbers of every weight that an operator reads."""
    return {
        value: sampled(array)
        for value, array in unpacked(graph, weights_of(flow), options)
        if array.size >= SMALLEST
    }


def sampled(array: Array) -> NDArray[np.float64]:
    """At most ``PRINT`` numbers of an array, evenly spread."""
    flat = np.asarray(array).reshape(-1)
    places = np.linspace(0, flat.size - 1, min(flat.size, PRINT)).round().astype(np.int64)
    return flat[places].astype(np.float64)
