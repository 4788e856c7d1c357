"""The kernels that a session calls and their times, compared with the same session unprofiled."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnx_ir as ir

from packlight.errors import ModelError
from packlight.model import Model, file_size, save, to_bytes
from packlight.model.save import INLINE_LIMIT
from packlight.records.session import SessionOptions
from packlight.runtime.calls import (
    Session,
    Steps,
    native_options,
    start_session,
    start_with_options,
)
from packlight.runtime.clock import WARM_UP, Clock, Seconds, interleaved_seconds
from packlight.runtime.kernel_events import Run, read_runs

ROUNDS = 3
"""Openings of both sessions, since openings differ in speed."""

GRAPH_FILE = "optimized.onnx"
WEIGHTS_FILE = "optimized.bin"
EXTERNAL_WEIGHTS = "session.optimized_model_external_initializers"
"""Setting to write the optimized graph without its weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """Times of one model's kernels.

    Attributes:
        graph: as ONNX Runtime optimized it, without large weights.
        runs: profiled calls of the model, in order, without those that warm up.
        steps: calls in a row that are one sample.
        plain: seconds of one call in the session without profiler, (rounds,).
        profiled: seconds of one call in the session with it, (rounds,).
    """

    graph: ir.Model
    runs: Sequence[Run]
    steps: int
    plain: Seconds
    profiled: Seconds


def time_kernels(
    model: Model,
    sample: Steps,
    state: Mapping[str, str],
    options: SessionOptions,
    *,
    seconds: float = 2.0,
    rounds: int = ROUNDS,
    clock: Clock = time.perf_counter,
) -> Kernels:
    """Run a model with ONNX Runtime's profiler, taking turns with a session without it.

    Args:
        model: the model.
        sample: its calls, at least one.
        state: by output, the input that it feeds at the next step.
        options: of both sessions, with the runtime's arithmetic.
        seconds: to spend, without the openings.
        rounds: openings of both sessions, at least one.
        clock: seconds, from any start.

    Raises:
        TaskError: the sample does not fit.
        ModelError: the model cannot be opened, fails, or calls too many kernels to record.
    """
    runs: list[Run] = []
    seconds_of_rounds: list[Seconds] = []
    with TemporaryDirectory(prefix="packlight-") as name:
        folder = Path(name)
        source = session_source(model, folder)
        for _ in range(rounds):
            plain = start_session(source, model.name, options)
            profiled = profiled_session(source, model, options, folder)
            seconds_of_rounds.append(
                interleaved_seconds([plain, profiled], [sample], state, seconds / rounds, clock)
            )
            profile = Path(profiled.native.end_profiling())
            runs += complete_samples(read_runs(profile.read_text("utf-8")), len(sample))
            profile.unlink()
        graph = ir.from_proto(onnx.load(folder / GRAPH_FILE, load_external_data=False))
    if not runs:
        raise ModelError(
            f"'{model.name}' calls more kernels in {WARM_UP + 1} samples than ONNX Runtime's "
            "profiler records; measure it on a shorter sample"
        )
    calls = np.concatenate(seconds_of_rounds)
    return Kernels(graph, runs, len(sample), calls[:, 0], calls[:, 1])


def session_source(model: Model, folder: Path) -> bytes | Path:
    """Bytes to start a session on, or a file where protobuf cannot hold them."""
    if file_size(model.graph) <= INLINE_LIMIT:
        return to_bytes(model)
    save(model, folder / "model.onnx")
    return folder / "model.onnx"


def profiled_session(
    source: bytes | Path, model: Model, options: SessionOptions, folder: Path
) -> Session:
    """A session that records its events, and its graph at the first opening."""
    native = native_options(options)
    native.enable_profiling = True
    native.profile_file_prefix = str(folder / "events")
    if not (folder / GRAPH_FILE).exists():  # it is the same at every opening
        native.optimized_model_filepath = str(folder / GRAPH_FILE)
        native.add_session_config_entry(f"{EXTERNAL_WEIGHTS}_file_name", WEIGHTS_FILE)
        native.add_session_config_entry(f"{EXTERNAL_WEIGHTS}_min_size_in_bytes", "1024")
    return start_with_options(source, model.name, options, native)


def complete_samples(runs: Sequence[Run], steps: int) -> Sequence[Run]:
    """Runs of complete samples, without those that warm up."""
    counted = runs[WARM_UP * steps :]
    return counted[: len(counted) // steps * steps]
