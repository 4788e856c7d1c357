"""Exported files that ONNX Runtime opens."""

from __future__ import annotations

from pathlib import Path

from packlight.exporting.binding import bound_array
from packlight.exporting.formats import Array, Feeds, Written
from packlight.exporting.neutral import Neutral
from packlight.records import SessionOptions
from packlight.runtime import machine, open_session
from packlight.runtime.calls import DTYPES, Session


class SessionRunner:
    """An open session of ONNX Runtime.

    Args:
        session: of the file.
        bound: values of inputs that the file still has.
    """

    def __init__(self, session: Session, bound: Feeds) -> None:
        self.session = session
        self.bound = bound

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs of one call."""
        return self.session.run({**self.bound, **feeds})

    def close(self) -> None:
        """Release it."""


def open_file(folder: Path, neutral: Neutral, written: Written) -> SessionRunner:
    """Open a written file in ONNX Runtime."""
    session = open_session(folder / written.entry, SessionOptions())
    bound = {
        name: _bound_array(neutral.bound[name], session, name)
        for name in session.inputs
        if name not in neutral.inputs
    }
    return SessionRunner(session, bound)


def _bound_array(text: str, session: Session, name: str) -> Array:
    stated = session.inputs[name]
    return bound_array(text, [size or 1 for size in stated.shape], DTYPES[stated.type])


def runtime_name() -> str:
    """ONNX Runtime with its version."""
    return f"ONNX Runtime {machine().onnxruntime}"
