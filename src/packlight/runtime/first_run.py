"""Open a new file once and run it, before anybody relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from packlight.disk import scratch_folder
from packlight.errors import InputError, ModelError
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.isolation.confine import OPENS, processor_seconds, run_confined

Feeds = Mapping[str, NDArray[np.generic]]
Stage = Literal["closed", "opened", "ran"]

STAGES: tuple[Stage, ...] = ("closed", "opened", "ran")
"""How far ONNX Runtime gets with a file, the least first."""

CHILD = "packlight.runtime.isolation.first_run_child"


@dataclass(frozen=True, slots=True)
class FirstRun:
    """How far ONNX Runtime gets with a file.

    Attributes:
        stage: the last one that it reached.
        error: why it got no further; empty where it ran, or where no inputs were known.
    """

    stage: Stage
    error: str = ""

    def reaches(self, other: FirstRun) -> bool:
        """Tell whether it gets as far as with another file."""
        return STAGES.index(self.stage) >= STAGES.index(other.stage)


def first_run(path: Path, feeds: Feeds | None) -> FirstRun:
    """Open a file in a default session and run it once.

    Args:
        path: of the file.
        feeds: inputs of one call; None for zeros, with size 1 for open dimensions.
    """
    # A command that opens files in a child alone loads no ONNX Runtime itself.
    from packlight.runtime.calls import start_session  # noqa: PLC0415
    from packlight.runtime.isolation.vetting_child import zeros  # noqa: PLC0415

    try:
        session = start_session(path, path.name, DEFAULT_SESSION)
    except ModelError as error:
        return FirstRun("closed", str(error))
    inputs = zeros(session) if feeds is None else feeds
    if inputs is None:
        return FirstRun("opened")
    try:
        session.run(inputs)
    except InputError as error:
        return FirstRun("opened", str(error))
    return FirstRun("ran")


def confined_first_run(path: Path, feeds: Feeds | None) -> FirstRun:
    """As ``first_run``, in a child process with limits, for what came from an untrusted file."""
    with scratch_folder() as folder:
        request = None
        if feeds is not None:
            file = folder / "feeds.npz"
            np.savez(file, *feeds.values())
            request = {"file": str(file), "names": list(feeds)}
        try:
            answer = run_confined(CHILD, path, processor_seconds(path), request, OPENS)
        except ModelError as error:
            return FirstRun("closed", str(error))
    return FirstRun(answer["stage"], answer["error"])


def read_feeds(request: Mapping[str, Any]) -> Feeds:
    """Inputs of a call from the request that ``confined_first_run`` makes."""
    with np.load(request["file"], allow_pickle=False) as arrays:
        return {name: arrays[f"arr_{index}"] for index, name in enumerate(request["names"])}
