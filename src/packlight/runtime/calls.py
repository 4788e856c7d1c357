"""A model that is ready to run, one call or many.

Imports no more than numpy and ONNX Runtime, for it also runs in the child that measures memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from packlight.errors import ModelError, TaskError
from packlight.records.session import SessionOptions
from packlight.runtime.failures import RAISED, sentence
from packlight.runtime.options import PROVIDERS, SILENT, native_options

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
"""Type of array that each type of input takes; inputs of other types are not checked here."""


@dataclass(frozen=True, slots=True)
class Input:
    """What an input of the model takes.

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
        return described(DTYPES.get(self.type, self.type), self.shape)

    def fits(self, array: Array) -> bool:
        """Whether an array has the right type and shape, as far as they are known."""
        wanted = DTYPES.get(self.type)
        if wanted is not None and array.dtype != wanted:
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
        inexact: integer operators that even ``exact`` arithmetic leaves to the runtime's kernels.
        name: of the model, for messages.
        native: the session of ONNX Runtime.
        inputs: what must be fed, by name.
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
            TaskError: an array is missing, not known, or of another type or shape; nothing is cast.
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
            Outputs as they are for one step; for more, each stacked along a new first axis (steps).

        Raises:
            TaskError: as for ``run``; no steps; a state that the model does not have; outputs
                whose shape differs between steps.
            ModelError: the model fails.
        """
        self.check_state(steps, state)
        made: list[dict[str, Array]] = []
        for feeds in steps:
            carried = {into: made[-1][out] for out, into in state.items()} if made else {}
            made.append(self.run({**feeds, **carried}))
        return made[0] if len(made) == 1 else {name: self.stacked(made, name) for name in made[0]}

    def stacked(self, made: Sequence[Mapping[str, Array]], name: str) -> Array:
        """One output of all steps, (steps, ...)."""
        shapes = {outputs[name].shape for outputs in made}
        if len(shapes) > 1:
            raise TaskError(
                f"the steps of a sample must give output '{name}' one shape; it has "
                f"{' and '.join(map(str, sorted(shapes)))}"
            )
        return np.stack([outputs[name] for outputs in made])

    def call(self, feeds: Feeds) -> list[Array]:
        """Outputs in order, for feeds that were checked."""
        quiet = onnxruntime.RunOptions()
        quiet.log_severity_level = SILENT
        try:
            outputs: list[Array] = self.native.run(None, dict(feeds), quiet)
        except RAISED as error:
            raise ModelError(f"'{self.name}' fails when it runs: {sentence(error)}") from error
        return outputs

    def check(self, feeds: Feeds) -> None:
        """Refuse feeds that do not fit the inputs."""
        for name in feeds:
            if name not in self.inputs:
                known = ", ".join(f"'{known}'" for known in self.inputs)
                raise TaskError(f"'{self.name}' has no input '{name}'; its inputs are {known}")
        for name, wanted in self.inputs.items():
            if name not in feeds:
                raise TaskError(f"input '{name}' takes {wanted.text()}; no array of that name came")
            if not wanted.fits(feeds[name]):
                came = described(feeds[name].dtype, feeds[name].shape)
                raise TaskError(f"input '{name}' takes {wanted.text()}; an array of {came} came")

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


def described(dtype: object, shape: Sequence[int | None]) -> str:
    """Type and shape for people."""
    return f"{dtype} [{', '.join('?' if dim is None else str(dim) for dim in shape)}]"


def start(
    source: Path | bytes,
    name: str,
    options: SessionOptions,
    inexact: tuple[str, ...] = (),
    *,
    without: Sequence[str] = (),
) -> Session:
    """Start a session on a file, or on the bytes of one, without some of the optimisations.

    Raises:
        ModelError: ONNX Runtime does not take the model.
    """
    return started(source, name, options, native_options(options), inexact, without=without)


def started(
    source: Path | bytes,
    name: str,
    options: SessionOptions,
    told: onnxruntime.SessionOptions,
    inexact: tuple[str, ...] = (),
    *,
    without: Sequence[str] = (),
) -> Session:
    """Start a session as ``start`` does, with what ONNX Runtime is told already written out."""
    onnxruntime.set_default_logger_severity(SILENT)
    model = str(source) if isinstance(source, Path) else source
    try:
        native = onnxruntime.InferenceSession(
            model, told, providers=PROVIDERS, disabled_optimizers=list(without)
        )
    except RAISED as error:
        raise ModelError(f"ONNX Runtime cannot open '{name}': {sentence(error)}") from error
    inputs = {
        node.name: Input(
            node.name, node.type, tuple(dim if isinstance(dim, int) else None for dim in node.shape)
        )
        for node in native.get_inputs()
    }
    outputs = tuple(node.name for node in native.get_outputs())
    return Session(options, inexact, name, native, inputs, outputs)
