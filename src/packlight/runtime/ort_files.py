"""Files in ORT's own format: writing them, and reading what they store."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from packlight.model import Model, to_bytes
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.calls import native_options, start_with_options

FUSED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
"""Fusions that hold on every processor; those of layouts are for one alone."""

AS_STORED = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
"""No optimization: folding would store restored weights as floats."""

ELEMENT_BYTES: Mapping[int, int] = {
    1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2,
}  # fmt: skip
"""Bytes of an element, by ONNX's number of its type."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A stored tensor of a file.

    Attributes:
        name: of the value.
        kind: ONNX's number of its type.
        elements: numbers in it.
    """

    name: str
    kind: int
    elements: int

    @property
    def bytes(self) -> int:
        """Bytes that it takes."""
        return self.elements * ELEMENT_BYTES.get(self.kind, 0)


def write_ort(model: Model, path: Path, *, fuse: bool) -> None:
    """Write a model in ORT's format.

    Args:
        model: to write.
        path: of the file, which ends in ``.ort``.
        fuse: whether operators are fused beforehand; stored codes become floats by that, except
            those of integer operators.

    Raises:
        ModelError: ONNX Runtime does not take the model.
    """
    native = native_options(DEFAULT_SESSION)
    native.graph_optimization_level = FUSED if fuse else AS_STORED
    native.optimized_model_filepath = str(path)
    native.add_session_config_entry("session.save_model_format", "ORT")
    start_with_options(to_bytes(model), model.name, DEFAULT_SESSION, native)


def stored_tensors(path: Path) -> list[StoredTensor]:
    """Read the stored tensors of a file in ORT's format, without running it."""
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import (  # noqa: PLC0415 - reads flatbuffers
        InferenceSession,
    )

    root = InferenceSession.GetRootAs(path.read_bytes(), 0)
    return list(_tensors(root.Model().Graph()))


def _tensors(graph: Any) -> Iterator[StoredTensor]:
    for index in range(graph.InitializersLength()):
        tensor = graph.Initializers(index)
        sizes = [tensor.Dims(axis) for axis in range(tensor.DimsLength())]
        yield StoredTensor(tensor.Name().decode(), tensor.DataType(), math.prod(sizes))
    for index in range(graph.NodesLength()):
        node = graph.Nodes(index)
        for position in range(node.AttributesLength()):
            inner = node.Attributes(position).G()
            if inner is not None:
                yield from _tensors(inner)
