"""Open a model to run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime

from packlight.model import Model, file_size, load, save, to_bytes
from packlight.model.save import INLINE_LIMIT
from packlight.records.session import SessionOptions
from packlight.runtime.calls import Session, start, started
from packlight.runtime.exact_integers import exact
from packlight.runtime.options import native_options
from packlight.runtime.shared_weights import apart

__all__ = ["Session", "open_session"]


def open_session(
    model: Model | Path, options: SessionOptions, *, without: Sequence[str] = ()
) -> Session:
    """Open a model to run it.

    Args:
        model: a value, or a file, whose external data then stays on disk. A file that is not
            trusted is vetted first.
        options: how it runs. With ``arithmetic="exact"`` graph optimisations are off and integer
            operators are replaced by exact references; ``Session.inexact`` names those that
            have none.
        without: optimisations of ONNX Runtime that are left out, by its names for them.

    Raises:
        ModelError: the file cannot be read, or ONNX Runtime does not take the model.
    """
    if options.arithmetic == "exact":
        rewritten, inexact = exact(load(model) if isinstance(model, Path) else model)
        return from_value(rewritten, options, inexact, without)
    if isinstance(model, Path):
        return start(model, model.name, options, without=without)
    return from_value(model, options, (), without)


def from_value(
    model: Model, options: SessionOptions, inexact: tuple[str, ...], without: Sequence[str]
) -> Session:
    """Open a value: weights stay where they are, the rest goes through memory.

    What protobuf cannot hold goes through a file; the session maps the weights of that file, so
    they outlive its name.
    """
    rest, shared = apart(model)
    if file_size(rest.graph) <= INLINE_LIMIT:
        told = native_options(options)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in shared.values()]
        told.add_external_initializers(list(shared), values)
        return started(to_bytes(rest), model.name, options, told, inexact, without=without)
    with TemporaryDirectory(prefix="packlight-") as folder:
        path = Path(folder) / "model.onnx"
        save(model, path)
        return start(path, model.name, options, inexact, without=without)
