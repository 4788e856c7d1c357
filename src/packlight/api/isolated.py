"""Do what needs no session in a child process with limits, which the file may crash.

A file that did not come from packlight is read there alone; a record of what is found comes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from packlight import errors
from packlight.records import from_json, to_json
from packlight.runtime.isolation.confine import file_bytes, processor_seconds, run_confined

T = TypeVar("T")

BYTES_PER_SECOND = 100_000
"""What is found of a model may take a second more than opening it for each so many bytes."""


def apart(verb: str, model: str | Path, request: object, kind: type[T]) -> T:
    """What a verb finds of a file.

    Args:
        verb: a key of ``apart_child.VERBS``.
        model: path of an ONNX file, or ``zoo:NAME``.
        request: the record that the verb takes.
        kind: of the record that it gives.

    Raises:
        InputError: what the verb raises; or the file is damaged or hostile.
    """
    path = Path(model)
    asked = {"verb": verb, "request": to_json(request)}
    seconds = processor_seconds(path) + file_bytes(path) // BYTES_PER_SECOND
    said = run_confined("packlight.api.isolated_child", path, seconds, asked, f"get a {verb}")
    if "error" in said:
        raise getattr(errors, said["error"])(said["text"])
    return from_json(kind, said["found"])
