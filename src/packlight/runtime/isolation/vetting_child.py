"""The process that opens a file that is not yet trusted, under limits, and reports on it."""

from __future__ import annotations

import gc
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from packlight.errors import InputError, ModelError
from packlight.model import (
    Model,
    content_bytes,
    file_size,
    infer_shapes,
    initializers,
    load,
    number_bytes,
    stored_size,
)
from packlight.model.check import root_cause
from packlight.records.session import SessionOptions
from packlight.runtime.calls import DTYPES, Array, Session, is_out_of_memory, start_session
from packlight.runtime.custom_operators import unregistered_domains
from packlight.runtime.isolation.confine import file_bytes
from packlight.runtime.isolation.limits import address_space, physical_memory, restrict

BASE_BYTES = 2**30
"""Bytes of address space for any model that is vetted. The parent may hold what is computed in it
twice, as where it runs a model beside its reference, and stays under 2 GB."""

ISOLATED_BYTES = 7 * 2**28
"""Bytes of address space for a verb that runs in the child alone, so that it stays under 2 GB."""

LARGE_INPUT_BYTES = 4 * 2**30
"""Bytes of address space at most for a small model with large inputs, as an image to enlarge."""

BYTES_PER_INPUT_BYTE = 512
"""Bytes of address space for each byte of the inputs: activations of some hundred channels."""

BYTES_PER_WEIGHT_BYTE = 8
"""Bytes of address space for each byte of a large model: read, parsed, packed, and copied."""

ALWAYS_RUN_BYTES = 2**27
"""Bytes of weights up to which a model runs once even if the caller does not run it."""

MAPPINGS = 2
"""Times that a file of external data is mapped at once; pages that nobody reads take no memory."""

LARGEST_INPUT = 2**28
"""Bytes of input; a model that states larger inputs is opened and not run."""


def main(arguments: Sequence[str]) -> None:
    """Print one JSON object: the error (or nothing), whether memory ran out, whether it ran.

    Args:
        arguments: path of the model; seconds of processor time. The input, as JSON, states whether
            a large model runs too.
    """
    runs = bool(json.load(sys.stdin))
    gc.disable()  # graphs are cycles all through, and this process ends soon
    print(json.dumps(_vet_in_process(Path(arguments[0]), int(arguments[1]), runs=runs)), flush=True)


def _vet_in_process(path: Path, seconds: int, *, runs: bool) -> dict[str, str | bool]:
    """Load a model, start a session on it, and run it once."""
    try:
        model = load_limited(path, seconds)
        rehearse(model, path.name)
        cannot_open = bool(unregistered_domains(model.graph))
        if not runs and (cannot_open or weight_bytes(model) > ALWAYS_RUN_BYTES):
            return {"error": "", "memory": False, "ran": False}
        session = start_session(path, path.name, SessionOptions())
        return {"error": "", "memory": _runs_out_of_memory(session), "ran": True}
    except ModelError as error:
        return {"error": str(error), "memory": is_out_of_memory(error)}
    except MemoryError:
        return {"error": "", "memory": True}


def load_limited(path: Path, seconds: int, base: int = BASE_BYTES) -> Model:
    """Load a model within limits on this process that suit its size.

    Args:
        path: of its file.
        seconds: of processor time for this process in all.
        base: bytes of address space for any model.
    """
    _limit_process(file_bytes(path), 0, seconds, base)
    model = load(path)
    mapped = MAPPINGS * (stored_size(path) - file_bytes(path))
    _limit_process(weight_bytes(model), _input_bytes(model), seconds, base + mapped)
    return model


def _input_bytes(model: Model) -> int:
    """Bytes of the inputs, with size 1 for open dimensions."""
    total = 0
    for value in model.inputs().values():
        if value.shape is not None and value.dtype is not None:
            sizes = [size for size in value.shape if isinstance(size, int)]
            total += math.prod(sizes) * math.ceil(number_bytes(value.dtype))
    return total


def _limit_process(weights: int, inputs: int, seconds: int, base: int) -> None:
    for_inputs = min(BYTES_PER_INPUT_BYTE * inputs, LARGE_INPUT_BYTES)
    room = max(base, BYTES_PER_WEIGHT_BYTE * weights, for_inputs)
    memory = physical_memory()
    restrict(address_space() + min(room, memory or room), seconds)


def rehearse(model: Model, name: str) -> None:
    """Rehearse the steps before every run: copy the model, infer its shapes, serialize it.

    Raises:
        ModelError: one of them fails.
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
    """Bytes of a model's weights, external data included."""
    tensors = (value.const_value for value in initializers(model.graph))
    return sum(content_bytes(tensor) for tensor in tensors if tensor is not None)


def _runs_out_of_memory(session: Session) -> bool:
    """Run a model on zeros, with size 1 for open dimensions; return True if memory runs out.

    Zeros may not suit a model, so an error is ignored. A crash or a run without end is not: the
    parent sees it.
    """
    feeds = zeros(session)
    if feeds is None:
        return False
    try:
        session.run(feeds)
    except InputError as error:
        return is_out_of_memory(error)
    return False


def zeros(session: Session) -> dict[str, Array] | None:
    """An array of zeros for each input; None for types without arrays and for absurd sizes."""
    feeds: dict[str, Array] = {}
    total = 0
    for name, model_input in session.inputs.items():
        shape = [1 if dim is None else dim for dim in model_input.shape]
        dtype = DTYPES.get(model_input.type)
        if dtype is None:
            return None
        total += math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or total > LARGEST_INPUT:
            return None
        feeds[name] = np.zeros(shape, dtype)
    return feeds
