"""The process that reads a file which is not trusted, under limits, and says what it found."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packlight.api.plan import PlanRequest
from packlight.api.plan_detail import planned
from packlight.api.profile import ProfileRequest
from packlight.api.profile_detail import profiled
from packlight.errors import InputError
from packlight.records import SessionOptions, from_json, to_json
from packlight.runtime.calls import is_out_of_memory, start_session
from packlight.runtime.isolation.confine import SWALLOWED
from packlight.runtime.isolation.vetting_child import load_limited, rehearse
from packlight.sources.opening import ZOO, Opened, open_model

Verb = Callable[[Opened, Any], object]

VERBS: Mapping[str, tuple[Verb, type[object]]] = {
    "plan": (planned, PlanRequest),
    "profile": (profiled, ProfileRequest),
}
"""What can be found without a session, and the record that says what is asked."""


def main(arguments: Sequence[str]) -> None:
    """Print one JSON object: the record that was found, or the error and what it says.

    The process ends at once: to let go of large graphs piece by piece takes a second.

    Args:
        arguments: path of the model; seconds of processor time. The verb and its request are read
            from the input, as JSON.
    """
    gc.disable()  # graphs are cycles all through, and this process ends soon
    answer = answered(arguments[0], int(arguments[1]), json.load(sys.stdin))
    print(json.dumps(answer), flush=True)
    os._exit(0)


def answered(name: str, seconds: int, asked: Mapping[str, Any]) -> dict[str, object]:
    """What is found, or what is wrong with what the user gave."""
    try:
        return {"found": to_json(found(name, seconds, asked))}
    except InputError as error:
        return {"error": type(error).__name__, "text": str(error)}
    except MemoryError:
        text = SWALLOWED.format(name=Path(name).name, doing=f"get a {asked['verb']}")
        return {"error": "ModelError", "text": text}


def found(name: str, seconds: int, asked: Mapping[str, Any]) -> object:
    """What a verb finds of a model.

    Raises:
        InputError: the model or the request cannot be used.
    """
    verb, kind = VERBS[asked["verb"]]
    opened = open_model(name) if name.startswith(ZOO) else within(Path(name), seconds)
    request = from_json(kind, asked["request"])
    try:
        return verb(opened, request)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        rehearse(opened.model, name)  # says so where the model is to blame,
        start_session(opened.path, name, SessionOptions())  # and ONNX Runtime so
        raise


def within(path: Path, seconds: int) -> Opened:
    """A model loaded within limits on this process."""
    return Opened(load_limited(path, seconds), path)
