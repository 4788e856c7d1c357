"""Open a model to run it; a session reads large weights in place instead of copies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from packlight.disk import scratch_folder
from packlight.model import Model, file_size, load, save, to_bytes
from packlight.model.save import INLINE_LIMIT
from packlight.records.session import SessionOptions
from packlight.runtime.calls import Session, native_options, start_session, start_with_options
from packlight.runtime.exact_integers import with_exact_integers

__all__ = ["Session", "open_session"]

Floats = NDArray[np.float32]

SHARED_FROM = 1024
"""Bytes from which a weight is shared; smaller ones may be read while the graph is built."""

SHARED_LOCATION = "shared"
"""File name stated for a shared weight; it is never opened."""


def open_session(
    model: Model | Path, options: SessionOptions, *, without: Sequence[str] = ()
) -> Session:
    """Open a model to run it.

    Args:
        model: a model, or a file, whose external data then stays on disk. Vet a file that is not
            trusted first.
        options: how it runs. With ``arithmetic="exact"`` graph optimizations are off and integer
            operators are replaced by exact references; ``Session.inexact`` names those without.
        without: optimizations of ONNX Runtime to leave out, by its names.

    Raises:
        ModelError: the file cannot be read, or ONNX Runtime does not take the model.
    """
    if options.arithmetic == "exact":
        rewritten, inexact = with_exact_integers(load(model) if isinstance(model, Path) else model)
        return _open_in_memory(rewritten, options, inexact, without)
    if isinstance(model, Path):
        return start_session(model, model.name, options, without=without)
    return _open_in_memory(model, options, (), without)


def _open_in_memory(
    model: Model, options: SessionOptions, inexact: tuple[str, ...], without: Sequence[str]
) -> Session:
    """Open a model that is not a file, sharing its weights.

    A model too large for protobuf goes through a file; the session maps the weights of that file,
    so they outlive its name.
    """
    stripped, shared = share_weights(model)
    if file_size(stripped.graph) <= INLINE_LIMIT:
        native = native_options(options)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in shared.values()]
        native.add_external_initializers(list(shared), values)
        data = to_bytes(stripped)
        return start_with_options(data, model.name, options, native, inexact, without=without)
    with scratch_folder() as folder:
        path = folder / "model.onnx"
        save(model, path)
        return start_session(path, model.name, options, inexact, without=without)


def share_weights(model: Model) -> tuple[Model, dict[str, Floats]]:
    """A clone that only names its larger float32 weights, and those weights by name.

    Weights of subgraphs stay inside.
    """
    clone = model.graph.clone()
    shared = {}
    for name, value in clone.graph.initializers.items():
        tensor = value.const_value
        assert tensor is not None
        if _is_only_read(value) and _is_shareable(tensor):
            shared[name] = _float_array(tensor)
            value.const_value = ir.TensorProtoTensor(_external_proto(name, tensor))
    return Model(clone, model.name), shared


def _is_only_read(value: ir.Value) -> bool:
    return bool(value.uses()) and not (value.is_graph_input() or value.is_graph_output())


def _is_shareable(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype == ir.DataType.FLOAT and tensor.nbytes >= SHARED_FROM


def _float_array(tensor: ir.TensorProtocol) -> Floats:
    if isinstance(tensor, ir.ExternalTensor):
        tensor = ir.ExternalTensor(
            tensor.location, tensor.offset, tensor.length, tensor.dtype, shape=tensor.shape,
            name=str(tensor.name), base_dir=tensor.base_dir,
        )  # fmt: skip
    return np.ascontiguousarray(tensor.numpy(), np.float32)


def _external_proto(name: str, tensor: ir.TensorProtocol) -> onnx.TensorProto:
    """A TensorProto that states external data."""
    proto = onnx.TensorProto(
        name=name, data_type=int(tensor.dtype), dims=tensor.shape.numpy(),
        data_location=onnx.TensorProto.EXTERNAL,
    )  # fmt: skip
    for key, text in (
        ("location", SHARED_LOCATION),
        ("offset", "0"),
        ("length", str(tensor.nbytes)),
    ):
        proto.external_data.add(key=key, value=text)
    return proto
