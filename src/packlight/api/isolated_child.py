"""Child process that reads an untrusted file under limits and prints a record."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packlight.errors import InputError
from packlight.records import SessionOptions, from_json, to_json
from packlight.runtime.calls import is_out_of_memory, start_session
from packlight.runtime.isolation.confine import SWALLOWED
from packlight.runtime.isolation.vetting_child import (
    ISOLATED_BYTES,
    load_limited,
    rehearse,
    zeros,
)
from packlight.sources.opening import ZOO, Opened, open_model

Verb = Callable[[Opened, Any], object]


def _load_plan() -> tuple[Verb, type[object]]:
    from packlight.api.plan import PlanRequest  # noqa: PLC0415  loads with its verb
    from packlight.api.plan_in_process import plan_file  # noqa: PLC0415

    return plan_file, PlanRequest


def _load_profile() -> tuple[Verb, type[object]]:
    from packlight.api.profile import ProfileRequest  # noqa: PLC0415  loads with its verb
    from packlight.api.profile_in_process import profile_file  # noqa: PLC0415

    return profile_file, ProfileRequest


VERBS: Mapping[str, Callable[[], tuple[Verb, type[object]]]] = {
    "plan": _load_plan,
    "profile": _load_profile,
}
"""Verbs that need no session: each loads with the record of its arguments."""


def main(arguments: Sequence[str]) -> None:
    """Print a JSON object: the record, or the error and its text.

    The process exits at once, because freeing large graphs takes a second.

    Args:
        arguments: path of the model; seconds of processor time. The verb and its request are read
            from the input, as JSON.
    """
    gc.disable()  # graphs are cycles all through, and this process ends soon
    answer = run_or_explain(arguments[0], int(arguments[1]), json.load(sys.stdin))
    print(json.dumps(answer), flush=True)
    os._exit(0)


def run_or_explain(name: str, seconds: int, message: Mapping[str, Any]) -> dict[str, object]:
    """Record of a verb as JSON, or its error."""
    try:
        return {"found": to_json(_run_verb(name, seconds, message))}
    except InputError as error:
        return {"error": type(error).__name__, "text": str(error)}
    except MemoryError:
        text = SWALLOWED.format(name=Path(name).name, doing=f"get a {message['verb']}")
        return {"error": "ModelError", "text": text}


def _blame_model(opened: Opened, name: str) -> None:
    """Raise if a model cannot be copied, opened or run; a verb that failed on it is right then.

    Raises:
        ModelError: it cannot.
    """
    rehearse(opened.model, name)
    session = start_session(opened.path, name, SessionOptions())
    feeds = zeros(session)
    if feeds is not None:
        session.run(feeds)


def _run_verb(name: str, seconds: int, message: Mapping[str, Any]) -> object:
    """Run a verb on a model.

    Raises:
        InputError: the model or the request cannot be used.
    """
    verb, kind = VERBS[message["verb"]]()
    if name.startswith(ZOO):
        opened = open_model(name)
    else:
        opened = Opened(load_limited(Path(name), seconds, ISOLATED_BYTES), Path(name))
    request = from_json(kind, message["request"])
    try:
        return verb(opened, request)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        _blame_model(opened, name)
        raise
