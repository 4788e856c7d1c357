"""The kernels that a session calls, and how long each takes, beside the same session unprofiled."""

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
from packlight.runtime.calls import Session, Steps, start, started
from packlight.runtime.clock import WARM_UP, Clock, Seconds, interleaved
from packlight.runtime.kernel_events import Run, read_runs
from packlight.runtime.options import native_options

ROUNDS = 3
"""Openings of both sessions, for no two run alike."""

GRAPH, WEIGHTS = "optimised.onnx", "optimised.bin"
APART = "session.optimized_model_external_initializers"
"""Setting by which the optimised graph is written without its weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """What one model's kernels took.

    Attributes:
        graph: as ONNX Runtime optimised it, its large weights left out.
        runs: profiled calls of the model, in order, those that warm up left out.
        steps: how many of them in a row are one sample.
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
        options: of both sessions, whose arithmetic is the runtime's.
        seconds: to spend, openings apart.
        rounds: openings of both sessions, at least one.
        clock: seconds, from any start.

    Raises:
        TaskError: the sample does not fit.
        ModelError: the model cannot be opened, fails, or calls too many kernels to note down.
    """
    runs: list[Run] = []
    taken: list[Seconds] = []
    with TemporaryDirectory(prefix="packlight-") as name:
        folder = Path(name)
        source = readable(model, folder)
        for _ in range(rounds):
            plain = start(source, model.name, options)
            profiled = recorded(source, model, options, folder)
            taken.append(interleaved([plain, profiled], [sample], state, seconds / rounds, clock))
            told = Path(profiled.native.end_profiling())
            runs += whole(read_runs(told.read_text("utf-8")), len(sample))
            told.unlink()
        graph = ir.from_proto(onnx.load(folder / GRAPH, load_external_data=False))
    if not runs:
        raise ModelError(
            f"'{model.name}' calls more kernels in {WARM_UP + 1} samples than ONNX Runtime's "
            "profiler notes down; measure it on a shorter sample"
        )
    both = np.concatenate(taken)
    return Kernels(graph, runs, len(sample), both[:, 0], both[:, 1])


def readable(model: Model, folder: Path) -> bytes | Path:
    """What a session can be started on: bytes, or a file where protobuf cannot hold them."""
    if file_size(model.graph) <= INLINE_LIMIT:
        return to_bytes(model)
    save(model, folder / "model.onnx")
    return folder / "model.onnx"


def recorded(source: bytes | Path, model: Model, options: SessionOptions, folder: Path) -> Session:
    """A session that writes down its events, and its graph where that is not there yet."""
    told = native_options(options)
    told.enable_profiling = True
    told.profile_file_prefix = str(folder / "events")
    if not (folder / GRAPH).exists():  # it is the same at every opening
        told.optimized_model_filepath = str(folder / GRAPH)
        told.add_session_config_entry(f"{APART}_file_name", WEIGHTS)
        told.add_session_config_entry(f"{APART}_min_size_in_bytes", "1024")
    return started(source, model.name, options, told)


def whole(runs: Sequence[Run], steps: int) -> Sequence[Run]:
    """Runs without those that warm up, as far as they make whole samples."""
    counted = runs[WARM_UP * steps :]
    return counted[: len(counted) // steps * steps]
