"""Sessions of ONNX Runtime: options, calls, and error messages as sentences.

Imports only numpy and ONNX Runtime, for it also runs in the child that measures memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native_module

from packlight.errors import ModelError, TaskError
from packlight.records.session import SessionOptions
from packlight.runtime.custom_operators import libraries
from packlight.runtime.output_values import as_arrays

onnxruntime.disable_telemetry_events()  # where a program imported it before packlight

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]
"""One call of a model: an array for each input, by name."""

Steps = Sequence[Feeds]
"""One sample: nearly always one call; more for models that carry a state from call to call."""

DTYPES: dict[str, np.dtype[np.generic]] = {
    f"tensor({name})": np.dtype(kind)
    for name, kind in {
        "float": "float32",
        "double": "float64",
        **{kind: kind for kind in ("float16", "int8", "int16", "int32", "int64", "bool")},
        **{kind: kind for kind in ("uint8", "uint16", "uint32", "uint64")},
    }.items()
}
"""NumPy type by type of input; inputs of types not listed are not checked."""

SILENT = 4
"""Log severity ``fatal``: errors are raised, so they need not be printed as well."""

PROVIDERS = ["CPUExecutionProvider"]
LEVEL = {
    "runtime": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "exact": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    *(
        kind
        for kind in vars(native_module).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
    RuntimeError,
    ValueError,
    TypeError,
    MemoryError,
    IndexError,
)
"""All errors of creating or running a session: ONNX Runtime's types have no common
base, and its C++ exceptions arrive as Python's."""

UNREGISTERED = "is not a registered function/op"
"""Words of ONNX Runtime about an operator that it does not have."""

LONGEST_MESSAGE = 240
CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
SOURCE = re.compile(r"(/\S+\.(?:cc|h|cpp|hpp|inl):\d+ )|(\bonnxruntime::[^ ]*(?:\([^)]*\))? ?)")
LOADED_FROM = re.compile(r"Load model from .*? failed: ?")
SPACE = re.compile(r"\s+")
EXHAUSTED = re.compile(r"bad[_ ]alloc|failed to allocate|out of memory|cannot allocate", re.I)


@dataclass(frozen=True, slots=True)
class Input:
    """Name, type and shape of an input of the model.

    Attributes:
        name: of the input.
        type: as ONNX Runtime writes it, ``tensor(float)``.
        shape: None for a dimension that is open; empty also where the rank is not known.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]

    def text(self) -> str:
        """Type and shape for people, as ``float32 [?, 3, 48, ?]``."""
        return _type_and_shape(DTYPES.get(self.type, self.type), self.shape)

    def fits(self, array: Array) -> bool:
        """Test whether an array has the right type and shape, as far as they are known."""
        dtype = DTYPES.get(self.type)
        if dtype is not None and array.dtype != dtype:
            return False
        if not self.shape:
            return True
        return len(self.shape) == array.ndim and all(
            open_dim is None or open_dim == dim
            for open_dim, dim in zip(self.shape, array.shape, strict=True)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """A model ready to run.

    Attributes:
        options: how it runs.
        inexact: integer operators without an exact reference, left to the runtime's kernels.
        name: of the model, for messages.
        native: the session of ONNX Runtime.
        inputs: that each call needs, by name.
        outputs: names, in the order of the model.
    """

    options: SessionOptions
    inexact: tuple[str, ...]
    name: str
    native: onnxruntime.InferenceSession
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Call the model once.

        Raises:
            TaskError: an array is missing, unknown, or of another type or shape; nothing is cast.
            ModelError: the model fails on it.
        """
        self.check(feeds)
        return dict(zip(self.outputs, self.call(feeds), strict=True))

    def run_steps(self, steps: Steps, state: Mapping[str, str]) -> dict[str, Array]:
        """Call the model once per step of a sample, carrying its state along.

        Args:
            steps: feeds of each call; the first also feeds the initial state.
            state: by output, the input that it feeds at the next step.

        Returns:
            Outputs as arrays, see ``as_arrays``; those of several steps are stacked along a new
            first axis (steps).

        Raises:
            TaskError: as for ``run``; no steps; a state that the model does not have; outputs
                whose shape differs between steps.
            ModelError: the model fails.
        """
        self.check_state(steps, state)
        outputs = [self.run(steps[0])]
        for feeds in steps[1:]:
            carried = {name: outputs[-1][output] for output, name in state.items()}
            outputs.append(self.run({**feeds, **carried}))
        arrays = [as_arrays(output) for output in outputs]
        if len(arrays) == 1:
            return arrays[0]
        return {name: self.stack(arrays, name) for name in arrays[0]}

    def stack(self, outputs: Sequence[Mapping[str, Array]], name: str) -> Array:
        """Stack one output of all steps, (steps, ...)."""
        shapes = {arrays[name].shape for arrays in outputs if name in arrays}
        if len(shapes) > 1 or not all(name in arrays for arrays in outputs):
            raise TaskError(
                f"the steps of a sample must give output '{name}' one shape; it has "
                f"{' and '.join(map(str, sorted(shapes)))}, or is missing"
            )
        return np.stack([arrays[name] for arrays in outputs])

    def call(self, feeds: Feeds) -> list[Array]:
        """Outputs in order, for feeds that were checked."""
        run_options = onnxruntime.RunOptions()
        run_options.log_severity_level = SILENT
        try:
            outputs: list[Array] = self.native.run(None, dict(feeds), run_options)
        except RUNTIME_ERRORS as error:
            message = f"'{self.name}' fails when it runs: {_error_sentence(error)}"
            raise ModelError(message) from error
        return outputs

    def check(self, feeds: Feeds) -> None:
        """Refuse feeds that do not fit the inputs."""
        for name in feeds:
            if name not in self.inputs:
                names = ", ".join(f"'{input_name}'" for input_name in self.inputs)
                raise TaskError(f"'{self.name}' has no input '{name}'; its inputs are {names}")
        for name, expected in self.inputs.items():
            if name not in feeds:
                text = expected.text()
                raise TaskError(f"input '{name}' takes {text}; no array of that name came")
            if not expected.fits(feeds[name]):
                came = _type_and_shape(feeds[name].dtype, feeds[name].shape)
                text = expected.text()
                raise TaskError(f"input '{name}' takes {text}; an array of {came} came")

    def check_state(self, steps: Steps, state: Mapping[str, str]) -> None:
        """Refuse a sample without steps and a state that the model does not have."""
        if not steps:
            raise TaskError("a sample needs at least one call of the model; it has none")
        for output, into in state.items():
            if output not in self.outputs or into not in self.inputs:
                raise TaskError(
                    f"the state carries output '{output}' to input '{into}'; '{self.name}' has "
                    f"outputs {list(self.outputs)} and inputs {list(self.inputs)}"
                )


def _type_and_shape(dtype: object, shape: Sequence[int | None]) -> str:
    return f"{dtype} [{', '.join('?' if dim is None else str(dim) for dim in shape)}]"


def start_session(
    source: Path | bytes,
    name: str,
    options: SessionOptions,
    inexact: tuple[str, ...] = (),
    *,
    without: Sequence[str] = (),
) -> Session:
    """Start a session on a file or its bytes, without the optimizations named in ``without``.

    Raises:
        ModelError: ONNX Runtime does not take the model.
    """
    native = native_options(options)
    return start_with_options(source, name, options, native, inexact, without=without)


def start_with_options(
    source: Path | bytes,
    name: str,
    options: SessionOptions,
    session_options: onnxruntime.SessionOptions,
    inexact: tuple[str, ...] = (),
    *,
    without: Sequence[str] = (),
) -> Session:
    """Start a session as ``start_session`` does, with the native options of the caller."""
    onnxruntime.set_default_logger_severity(SILENT)
    model = str(source) if isinstance(source, Path) else source
    try:
        native = onnxruntime.InferenceSession(
            model, session_options, providers=PROVIDERS, disabled_optimizers=list(without)
        )
    except RUNTIME_ERRORS as error:
        remedy = ""
        if UNREGISTERED in str(error):
            remedy = ". Register a library that has it: --library ops.so"
        raise ModelError(
            f"ONNX Runtime cannot open '{name}': {_error_sentence(error)}{remedy}"
        ) from error
    inputs = {
        node.name: Input(
            node.name, node.type, tuple(dim if isinstance(dim, int) else None for dim in node.shape)
        )
        for node in native.get_inputs()
    }
    outputs = tuple(node.name for node in native.get_outputs())
    return Session(options, inexact, name, native, inputs, outputs)


def native_options(options: SessionOptions) -> onnxruntime.SessionOptions:
    """Options of ONNX Runtime for recorded options, all stated, none left to its defaults.

    Waiting threads do not spin: a session that has finished would use the cores for some more
    milliseconds, which slows the session measured next. One thread never spins.
    """
    native = onnxruntime.SessionOptions()
    native.graph_optimization_level = LEVEL[options.arithmetic]
    native.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    native.intra_op_num_threads = options.threads
    native.inter_op_num_threads = 1
    native.log_severity_level = SILENT
    native.add_session_config_entry("session.intra_op.allow_spinning", "0")
    native.add_session_config_entry("session.inter_op.allow_spinning", "0")
    level = str(options.matmul_accuracy)
    native.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", level)
    for path in libraries():
        try:
            native.register_custom_ops_library(path)
        except RUNTIME_ERRORS as error:
            raise ModelError(
                f"'{path}' is no library of custom operators for ONNX Runtime "
                f"{onnxruntime.__version__}: {_error_sentence(error)}"
            ) from error
    return native


def _error_sentence(error: Exception) -> str:
    text = LOADED_FROM.sub("", SOURCE.sub("", CODE.sub("", str(error).strip())))
    text = SPACE.sub(" ", text).strip()
    text = text or type(error).__name__
    if len(text) <= LONGEST_MESSAGE:
        return text
    return text[: LONGEST_MESSAGE - 3].rstrip() + "..."


def is_out_of_memory(error: Exception) -> bool:
    """Test whether memory ran out."""
    return isinstance(error, MemoryError) or bool(EXHAUSTED.search(str(error)))
