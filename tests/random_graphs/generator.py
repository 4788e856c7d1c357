"""Seeded small random ONNX graphs that the standard's checker and ONNX Runtime take.

``python tests/random_graphs/generator.py SEED FILE`` writes the graph of a seed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import control_flow
import layout_motifs
import numpy as np
import onnx
import onnxruntime
import operator_motifs
from numpy.typing import NDArray
from onnx import helper
from sketchbook import STYLES, Shared, Sketchbook, Value, elem_type

OLDEST_OPSET = 7
NEWEST_OPSET = 26
"""The newest that ONNX Runtime 1.31 takes."""

ATTEMPTS = 20
"""Graphs drawn for one seed until one runs."""

LARGEST_NUMBER = 1e4
"""A graph whose numbers grow beyond is drawn again: it says little about rounding."""

TOKENS = 32
MOTIFS = (*operator_motifs.TABLE, *layout_motifs.TABLE, *control_flow.TABLE)

Feeds = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class RandomGraph:
    """A graph that runs.

    Attributes:
        seed: that it was drawn from.
        proto: the model, weights inside.
        inputs: with the shapes that feeds have.
        rejected: graphs of this seed that did not run, drawn before it, with what was wrong.
        external: whether it is to be written with its weights in a second file.
    """

    seed: int
    proto: onnx.ModelProto
    inputs: tuple[Value, ...]
    rejected: tuple[str, ...]
    external: bool

    def feeds(self, seed: int) -> Feeds:
        """Draw one call."""
        random = np.random.default_rng([self.seed, 1_000_000, seed])
        return {value.name: draw_input(value, random) for value in self.inputs}

    def write(self, folder: Path) -> Path:
        """Write the model; gives the path of its file."""
        path = folder / f"random-{self.seed}.onnx"
        if self.external:
            copy = onnx.ModelProto()
            copy.CopyFrom(self.proto)
            onnx.save_model(
                copy, path, save_as_external_data=True, location=f"{path.name}.data",
                size_threshold=256,
            )  # fmt: skip
        else:
            path.write_bytes(self.proto.SerializeToString())
        return path


def make_graph(seed: int) -> RandomGraph:
    """Draw the graph of a seed; one that does not run is replaced by the next of the same seed.

    Raises:
        RuntimeError: none of ``ATTEMPTS`` runs.
    """
    rejected: list[str] = []
    for attempt in range(ATTEMPTS):
        random = np.random.default_rng([seed, attempt])
        try:
            proto, inputs = draw(random)
            graph = RandomGraph(seed, proto, inputs, tuple(rejected), bool(random.random() < 0.1))
            check_runs(graph)
        except Exception as error:  # the checker and ONNX Runtime raise many types
            rejected.append(f"{type(error).__name__}: {error}"[:500])
        else:
            return graph
    raise RuntimeError(f"no graph of seed {seed} runs: {rejected}")


def draw(random: np.random.Generator) -> tuple[onnx.ModelProto, tuple[Value, ...]]:
    """Draw a model and its inputs."""
    opset = int(random.integers(OLDEST_OPSET, NEWEST_OPSET + 1))
    shared = Shared(random, opset, STYLES[int(random.integers(len(STYLES)))])
    shared.named = bool(random.random() < 0.7)
    book = Sketchbook(shared)
    inputs = draw_inputs(book)
    book.values.extend(inputs)
    motifs = [entry for entry in MOTIFS if entry.opset <= opset]
    shares = np.array([entry.frequency for entry in motifs])
    for _ in range(int(random.integers(4, 22))):
        motifs[int(random.choice(len(motifs), p=shares / shares.sum()))].draw(book)
    outputs = draw_outputs(book, inputs)
    drop_unread_constants(book, {value.name for value in outputs})
    return write_model(book, inputs, outputs), inputs


def draw_inputs(book: Sketchbook) -> tuple[Value, ...]:
    """Draw one or two inputs, and at times a truth value."""
    batch = book.number(1, 2, 3)
    channels = book.number(1, 3, 4, 8)
    shapes = [
        (batch, channels, book.number(5, 6, 8), book.number(5, 6, 8)),
        (batch, channels, book.number(5, 6, 8), book.number(5, 6, 8)),
        (batch, book.number(4, 8), 10),
        (batch, 2, 4, 5, 4),
        (batch, book.number(3, 5), book.number(8, 12, 16)),
        (batch, book.number(3, 5), book.number(8, 12, 16)),
        (batch, book.number(8, 16, 24)),
        (batch, book.number(8, 16, 24)),
    ]
    inputs = []
    for _ in range(book.number(1, 1, 2)):
        shape = shapes[int(book.random.integers(len(shapes)))]
        inputs.append(Value(book.fresh("input"), shape))
    if book.chance(0.25):
        inputs.append(Value(book.fresh("tokens"), (batch, 4), "int64"))
    if book.chance(0.3):
        inputs.append(Value(book.fresh("flag"), (), "bool"))
    return tuple(inputs)


def draw_input(value: Value, random: np.random.Generator) -> NDArray[np.generic]:
    """Draw what an input is fed."""
    if value.dtype == "int64":
        return random.integers(0, TOKENS, value.shape)
    if value.dtype == "bool":
        return np.array(random.random() < 0.5)
    return random.standard_normal(value.shape).astype(np.float32)


def draw_outputs(book: Sketchbook, inputs: tuple[Value, ...]) -> list[Value]:
    """Draw outputs: the newest values without a reader, and at times one that has readers."""
    fed = {value.name for value in inputs}
    computed = [value for value in book.values if value.name not in fed]
    if not computed:
        raise ValueError("no operator fits the inputs")
    leaves = [value for value in computed if value.name not in book.read]
    outputs = leaves[-4:] or computed[-1:]
    if book.chance(0.3):
        middle = computed[int(book.random.integers(len(computed)))]
        if middle not in outputs:
            outputs.append(middle)
    return outputs


def drop_unread_constants(book: Sketchbook, outputs: set[str]) -> None:
    """Keep a share of what nobody reads, so that there is something to drop."""
    if book.chance(0.15):
        return
    readers = set(outputs)
    live = []
    for node in reversed(book.nodes):
        if readers & set(node.output):
            readers |= set(node.input) | names_in_bodies(node)
            live.append(node)
    book.nodes[:] = reversed(live)
    book.initializers[:] = [tensor for tensor in book.initializers if tensor.name in readers]


def names_in_bodies(node: onnx.NodeProto) -> set[str]:
    """List all that the bodies of an operator read."""
    names: set[str] = set()
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= set(inner.input) | names_in_bodies(inner)
    return names


def write_model(
    book: Sketchbook, inputs: tuple[Value, ...], outputs: list[Value]
) -> onnx.ModelProto:
    """Write the model, with some of its axes open."""
    open_batch = book.chance(0.6)
    infos = []
    for value in inputs:
        dims: list[int | str] = list(value.shape)
        if dims and open_batch:
            dims[0] = "batch"
        if len(dims) > 2 and book.chance(0.15):
            dims[-1] = f"{value.name}_size"
        infos.append(helper.make_tensor_value_info(value.name, elem_type(value.dtype), dims))
    fixed = all(
        isinstance(d.dim_value, int) and not d.dim_param
        for i in infos
        for d in i.type.tensor_type.shape.dim
    )
    results = []
    for index, value in enumerate(outputs):
        dims = list(value.shape) if fixed else [f"out{index}_{axis}" for axis in range(value.rank)]
        results.append(helper.make_tensor_value_info(value.name, elem_type(value.dtype), dims))
    book.shared.random.shuffle(book.initializers)
    graph = helper.make_graph(book.nodes, "random graph", infos, results, book.initializers)
    imports = [helper.make_opsetid("", book.opset)]
    if book.shared.functions:
        imports.append(helper.make_opsetid(control_flow.DOMAIN, 1))
    least = helper.find_min_ir_version_for(imports[:1])
    version = max(least, 8 if book.shared.functions else 4)
    if book.opset < 9 and not book.shared.functions and book.chance(0.5):
        version = 3
    if version == 3 or book.chance(0.05):
        list_weights_as_inputs(graph, book, every=version == 3)
    functions = list(book.shared.functions.values())
    return helper.make_model(graph, opset_imports=imports, ir_version=version, functions=functions)


def list_weights_as_inputs(graph: onnx.GraphProto, book: Sketchbook, every: bool) -> None:
    """List weights as inputs with a default, as old files have to and newer ones may."""
    for tensor in graph.initializer:
        if every or book.chance(0.3):
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(info)


def check_runs(graph: RandomGraph) -> None:
    """Check that the standard and ONNX Runtime take a graph, and that its numbers are moderate.

    ONNX Runtime takes it as it is and optimized: a window of SAME that is shorter than its stride
    runs in some kernels only.

    Raises:
        Exception: whatever is wrong.
    """
    onnx.checker.check_model(graph.proto, full_check=True)
    content = graph.proto.SerializeToString()
    levels = onnxruntime.GraphOptimizationLevel
    for level in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_ALL):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.graph_optimization_level = level
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for index in range(2):
            check_numbers(session.run(None, dict(graph.feeds(index))))


def check_numbers(outputs: Sequence[NDArray[np.generic]]) -> None:
    """Check that outputs are finite, moderate and not empty.

    Raises:
        ValueError: they are not.
    """
    for array in outputs:
        if not np.isfinite(array).all() or np.abs(array).max(initial=0) > LARGEST_NUMBER:
            raise ValueError("its numbers are not moderate")
        if not array.size:
            raise ValueError("an output is empty")


if __name__ == "__main__":
    drawn = make_graph(int(sys.argv[1]))
    Path(sys.argv[2]).write_bytes(drawn.proto.SerializeToString())
