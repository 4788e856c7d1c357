"""Run verbs that need no session in a child process with limits, which a hostile file may crash.

Files that did not come from packlight are read only there; a record comes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from packlight import errors
from packlight.records import from_json, to_json
from packlight.runtime.isolation.confine import file_bytes, processor_seconds, run_confined

T = TypeVar("T")

BYTES_PER_SECOND = 100_000
"""The child gets a second more than for opening the model, for each so many bytes."""


def run_isolated(verb: str, model: str | Path, request: object, kind: type[T]) -> T:
    """Run a verb on a file in a child process.

    Args:
        verb: a key of ``isolated_child.VERBS``.
        model: path of an ONNX file, or ``zoo:NAME``.
        request: the record that the verb takes.
        kind: of the record that it returns.

    Raises:
        InputError: what the verb raises; or the file is damaged or hostile.
    """
    path = Path(model)
    message = {"verb": verb, "request": to_json(request)}
    seconds = processor_seconds(path) + file_bytes(path) // BYTES_PER_SECOND
    answer = run_confined("packlight.api.isolated_child", path, seconds, message, f"get a {verb}")
    if "error" in answer:
        raise getattr(errors, answer["error"])(answer["text"])
    return from_json(kind, answer["found"])
