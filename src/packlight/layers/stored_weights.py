"""Weights as their operators read them, however they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.layers.data_flow import FLOATS, Flow
from packlight.layers.matching import Weights
from packlight.layers.probe import add_taps
from packlight.model import Model, stored_tensor
from packlight.records import SessionOptions
from packlight.runtime import open_session

Array = NDArray[np.generic]

PRINT_SIZE = 4096
"""Numbers sampled from a weight to recognize it, evenly spread."""

SMALLEST = 16
"""Numbers that a weight holds at least: smaller tensors are scales, limits or sizes."""

ROOM = 1 << 28
"""Numbers of weights that are unpacked together."""


def _weights_of(flow: Flow) -> list[ir.Value]:
    weights = (value for node in flow.operators for _, value in flow.weights(node))
    return list(dict.fromkeys(value for value in weights if value.dtype in FLOATS))


def unpack_weights(
    graph: ir.Model, weights: Iterable[ir.Value], options: SessionOptions
) -> Iterator[tuple[ir.Value, Array]]:
    """Weights as their readers get them, a few at a time; computed ones after stored ones.

    Args:
        graph: graph of the values.
        weights: values that are equal at every run.
        options: of the session that computes them.
    """
    computed = []
    for value in weights:
        tensor = stored_tensor(value)
        if tensor is None:
            computed.append(value)
        else:
            yield value, np.asarray(tensor.numpy())
    for chunk in _chunks(computed):
        copy = Model(graph, "weights").clone()
        taps = add_taps(copy, [str(value.name) for value in chunk])
        _keep_only(copy.graph, set(taps.values()))
        outputs = open_session(Model(copy, "weights"), options).run({})
        for value in chunk:
            yield value, outputs[taps[str(value.name)]]


def _keep_only(graph: ir.Graph, outputs: set[str]) -> None:
    """Prune a graph to some outputs that need no input, in place."""
    pending = [value for value in graph.outputs if value.name in outputs]
    graph.inputs.clear()
    graph.outputs[:] = pending
    needed = set(pending)
    for value in pending:
        node = value.producer()
        if node is None:
            continue
        fresh = [source for source in node.inputs if source is not None and source not in needed]
        needed.update(fresh)
        pending += fresh
    graph.remove([node for node in graph if needed.isdisjoint(node.outputs)])
    for name in [name for name, value in graph.initializers.items() if value not in needed]:
        del graph.initializers[name]


def _chunks(values: Sequence[ir.Value]) -> Iterator[list[ir.Value]]:
    """Groups of values whose total size stays under ``ROOM``."""
    group: list[ir.Value] = []
    total = 0
    for value in values:
        sizes = [size for size in value.shape or () if isinstance(size, int)]
        size = int(np.prod(sizes)) if sizes else PRINT_SIZE
        if group and total + size > ROOM:
            yield group
            group = []
            total = 0
        group.append(value)
        total += size
    if group:
        yield group


def prints_of(graph: ir.Model, flow: Flow, options: SessionOptions) -> Weights:
    """Sampled numbers of every weight that an operator reads."""
    return {
        value: _sampled(array)
        for value, array in unpack_weights(graph, _weights_of(flow), options)
        if array.size >= SMALLEST
    }


def _sampled(array: Array) -> NDArray[np.float64]:
    flat = np.asarray(array).reshape(-1)
    indices = np.linspace(0, flat.size - 1, min(flat.size, PRINT_SIZE)).round().astype(np.int64)
    return flat[indices].astype(np.float64)
