"""State of a training on disk, from which a killed one goes on to the same result.

The folder is ``packlight/training`` in the user's folder for states; a file is named by a digest of
all that the result follows from. Arrays lie in it without pickles.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from packlight.disk.writing import replacing
from packlight.errors import InputError

Array = NDArray[Any]
SECONDS = 10.0
"""Time between two states on disk, at least."""

WRITING_SHARE = 0.03
"""Share of the time that writing may take."""

FACTS = "facts"


@dataclass(frozen=True, slots=True)
class State:
    """State of a training.

    Attributes:
        facts: numbers by name.
        arrays: by name.
    """

    facts: Mapping[str, float]
    arrays: Mapping[str, Array]


def state_folder() -> Path:
    """Folder of states of trainings, which need not exist."""
    data = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(data) / "packlight" / "training"


class Checkpoint:
    """File with the state of one training.

    Args:
        name: digest of all that its result follows from.
        folder: of the file; made when it is written.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.path = (folder or state_folder()) / f"{name}.npz"
        self.next = time.monotonic() + SECONDS

    def read(self) -> State | None:
        """The last state; None where there is none, or the file is not whole."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = dict(file)
            facts = json.loads(str(arrays.pop(FACTS)))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return State(facts, arrays)

    @property
    def is_due(self) -> bool:
        """True when a state should be written."""
        return time.monotonic() >= self.next

    def write(self, state: State) -> None:
        """Replace the state; where the folder cannot be written, training goes on without."""
        start = time.monotonic()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as file:
                facts = np.array(json.dumps(dict(state.facts)))
                np.savez(file, allow_pickle=False, **{**state.arrays, FACTS: facts})
        except (InputError, OSError):
            self.next = float("inf")
            return
        took = time.monotonic() - start
        self.next = time.monotonic() + max(SECONDS, took / WRITING_SHARE)

    def remove(self) -> None:
        """Remove the state."""
        with suppress(OSError):
            self.path.unlink()
