"""From an ONNX model to the neutral form: inputs bound, shapes fixed, constants and Ifs folded.

A file from elsewhere is prepared in a child process with limits, for ONNX Runtime may crash on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes import common

from packlight import errors
from packlight.compression.folding.constants import Folding
from packlight.disk import scratch_folder
from packlight.exporting.binding import Bindings, Shapes, bind_inputs
from packlight.exporting.neutral import Neutral, load_neutral, neutral_of
from packlight.exporting.reading import detach_encodings
from packlight.model import Model, graphs, name_operators, name_values
from packlight.records import to_json
from packlight.runtime.isolation.confine import file_bytes, processor_seconds, run_confined

CHILD = "packlight.exporting.front_end_child"
BYTES_PER_SECOND = 100_000
"""The child gets a second more than for opening the model, for each so many bytes."""

LEAST_SECONDS = 60.0

MOST_ROUNDS = 8
"""Rounds of folding: each may open bodies of Ifs that hold more of them."""


@dataclass(frozen=True, slots=True)
class PrepareRequest:
    """Arguments of ``prepare``, as the child process takes them.

    Attributes:
        folder: that the child writes the neutral form to.
        bindings: by name of a dimension or an input.
        shapes: of inputs that are open otherwise.
    """

    folder: str
    bindings: Bindings = field(default_factory=dict)
    shapes: Shapes = field(default_factory=dict)


def prepare(model: Model, bindings: Bindings, shapes: Shapes) -> Neutral:
    """Prepare a model in this process.

    Args:
        model: that packlight made, or that was vetted.
        bindings: by name of a dimension or an input.
        shapes: of inputs that are open otherwise.

    Raises:
        InputError: an input cannot be bound so, or a shape stays open.
    """
    graph = model.clone()
    bound = bind_inputs(graph, bindings, shapes, model.name)
    name_operators(graph)
    _clear_shapes(graph)
    encoded = detach_encodings(graph)
    _inline(graph)
    _name_values(graph)
    for _ in range(MOST_ROUNDS):
        before = _count(graph)
        with _inferred_shapes(graph):
            Folding(graph).run()
        encoded |= detach_encodings(graph)
        if _count(graph) == before:
            break
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(graph)
    common.RemoveUnusedNodesPass()(graph)
    _infer_shapes(graph)
    return neutral_of(graph, model.name, encoded, bound)


@contextmanager
def prepared(
    path: Path, bindings: Bindings, shapes: Shapes, folder: Path | None = None
) -> Iterator[Neutral]:
    """Prepare a model's file in a child process with limits.

    Args:
        path: of the file.
        bindings: by name of a dimension or an input.
        shapes: of inputs that are open otherwise.
        folder: for the neutral form's files; a temporary one by default.

    Raises:
        InputError: what ``prepare`` raises; or the file is damaged or hostile.
    """
    with scratch_folder() as scratch:
        place = folder or scratch
        request = PrepareRequest(str(place), bindings, shapes)
        seconds = processor_seconds(path) + file_bytes(path) // BYTES_PER_SECOND + LEAST_SECONDS
        answer = run_confined(CHILD, path, seconds, to_json(request), "be prepared for export")
        if "error" in answer:
            raise getattr(errors, answer["error"])(answer["text"])
        yield load_neutral(place)


def _count(graph: ir.Model) -> int:
    return sum(len(part) for part in graphs(graph))


def _clear_shapes(graph: ir.Model) -> None:
    """Forget all shapes that do not follow from the inputs."""
    for part in graphs(graph):
        for node in part:
            for value in node.outputs:
                value.shape = None


def _inline(graph: ir.Model) -> None:
    """Write out functions of the model's own; those that restored weights are not read any more."""
    common.RemoveUnusedFunctionsPass()(graph)  # type: ignore[no-untyped-call]
    if graph.functions:
        common.InlinePass()(graph)
    common.RemoveUnusedOpsetsPass()(graph)


def _name_values(graph: ir.Model) -> None:
    """Give every value a name of its own."""
    used_names = {
        str(value.name) for part in graphs(graph) for node in part for value in node.outputs
    }
    number = 0
    for part in graphs(graph):
        for node in part:
            for value in node.outputs:
                if value.name is None:
                    while f"value_{number}" in used_names:
                        number += 1
                    value.name = f"value_{number}"
                    number += 1
    name_values(graph)
    name_operators(graph)


@contextmanager
def _inferred_shapes(graph: ir.Model) -> Iterator[None]:
    """Let the optimizer see the shapes that follow from the fixed inputs."""
    _infer_shapes(graph)
    yield


def _infer_shapes(graph: ir.Model) -> None:
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(graph)
