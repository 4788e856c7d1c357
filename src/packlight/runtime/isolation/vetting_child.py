"""The process that opens what is not yet trusted, under limits, and says what it found."""

from __future__ import annotations

import gc
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from packlight.errors import InputError, ModelError
from packlight.model import Model, file_size, infer_shapes, initializers, load
from packlight.model.check import root_cause
from packlight.records.session import SessionOptions
from packlight.runtime.calls import DTYPES, Array, Session, start
from packlight.runtime.failures import exhausted
from packlight.runtime.isolation.confine import own_bytes
from packlight.runtime.isolation.limits import address_space, physical_memory, restrict

LEAST = 4 * 2**30
"""Bytes of address space for any model."""

TIMES = 8
"""Bytes of address space for each byte of a large model: read, parsed, packed, and copied."""

LARGE = 2**27
"""Bytes of weights up to which a model runs once even where nobody runs it afterwards."""

LARGEST_INPUT = 2**28
"""Bytes of zeros to feed; a model that states larger inputs is opened and not run."""


def main(arguments: Sequence[str]) -> None:
    """Print one JSON object: what is wrong (or nothing), whether memory ran out, whether it ran.

    Args:
        arguments: path of the model; seconds of processor time. Whether a large model runs too is
            read from the input, as JSON.
    """
    runs = bool(json.load(sys.stdin))
    gc.disable()  # graphs are cycles all through, and this process ends soon
    print(json.dumps(opened(Path(arguments[0]), int(arguments[1]), runs=runs)), flush=True)


def opened(path: Path, seconds: int, *, runs: bool) -> dict[str, str | bool]:
    """Load a model, start a session on it, and run it once."""
    try:
        model = loaded(path, seconds)
        rehearse(model, path.name)
        if weight_bytes(model) > LARGE and not runs:
            return {"error": "", "memory": False, "ran": False}
        session = start(path, path.name, SessionOptions())
        return {"error": "", "memory": runs_out(session), "ran": True}
    except ModelError as error:
        return {"error": str(error), "memory": exhausted(error)}
    except MemoryError:
        return {"error": "", "memory": True}


def loaded(path: Path, seconds: int) -> Model:
    """Load a model within limits on this process that suit its size.

    Args:
        path: of its file.
        seconds: of processor time that this process gets in all.
    """
    limit(own_bytes(path), seconds)
    model = load(path)
    limit(weight_bytes(model), seconds)
    return model


def limit(size: int, seconds: int) -> None:
    """Bound this process for a model of so many bytes."""
    room = max(LEAST, TIMES * size)
    whole = physical_memory()
    restrict(address_space() + (min(room, whole) if whole else room), seconds)


def rehearse(model: Model, name: str) -> None:
    """Do once what is done with every model before it runs: copy it, infer its shapes, write it.

    Raises:
        ModelError: that fails.
    """
    try:
        infer_shapes(model, {})
        file_size(model.graph)
    except MemoryError:
        raise
    except Exception as error:  # onnx and onnx-ir raise many types; all mean the same
        raise ModelError(
            f"'{name}' cannot be copied and written again: {root_cause(error)}"
        ) from error


def weight_bytes(model: Model) -> int:
    """Bytes of a model's weights, wherever they are stored."""
    tensors = (value.const_value for value in initializers(model.graph))
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def runs_out(session: Session) -> bool:
    """Run a model on zeros; whether that takes more memory than there is.

    Zeros, and one for every open dimension, may well not suit a model, so that it fails on them is
    no verdict. That it crashes or does not end is, and the parent sees it.
    """
    feeds = zeros(session)
    if feeds is None:
        return False
    try:
        session.run(feeds)
    except InputError as error:
        return exhausted(error)
    return False


def zeros(session: Session) -> dict[str, Array] | None:
    """An array of zeros for each input; None where a type is not an array's or sizes are absurd."""
    feeds: dict[str, Array] = {}
    total = 0
    for name, wanted in session.inputs.items():
        shape = [1 if dim is None else dim for dim in wanted.shape]
        dtype = DTYPES.get(wanted.type)
        total += 0 if dtype is None else math.prod(shape) * dtype.itemsize
        if dtype is None or min(shape, default=0) < 0 or total > LARGEST_INPUT:
            return None
        feeds[name] = np.zeros(shape, dtype)
    return feeds
