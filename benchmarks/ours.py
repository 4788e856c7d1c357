"""packlight's side: a recipe applied to the flat graph that the peers get too."""

from __future__ import annotations

import hashlib
import time
from functools import cache
from pathlib import Path

import packlight
from judging import judge, reference
from packlight.errors import InputError
from packlight.model import file_size
from packlight.records import SessionOptions
from plain import plain_model
from results import Result, place
from suite import Case

SOURCE = Path(packlight.__file__).parent
INTEGERS = ("static", "dynamic", "placement", "qdq", "ranges", "clipping", "integer_", "pairs")
"""Modules that begin so have no part in weights alone."""

OPTIONS = SessionOptions(threads=2)
"""That calibration samples run under."""


def key(chosen: Case, recipe: str) -> Path:
    """Where the result is kept; it is made anew when the code of the methods changes."""
    content = hashlib.sha256(plain_model(chosen).read_bytes()).hexdigest()
    return place("packlight", chosen.name, content, recipe, code())


@cache
def code() -> str:
    """Digest of the methods as they were when this process first asked."""
    total = hashlib.sha256()
    for path in sorted((SOURCE / "compression").rglob("*.py")):
        if not path.name.startswith(INTEGERS):
            total.update(path.read_bytes())
    return total.hexdigest()


def judged(chosen: Case, width: int, recipe: str) -> Result:
    """Compress by a recipe, and judge the file."""
    task, _ = reference(chosen.name)
    start, busy = time.perf_counter(), time.process_time()
    try:
        made = packlight.compress(plain_model(chosen), recipe, task=task, options=OPTIONS)
    except InputError as error:
        return Result(chosen.name, width, "packlight", recipe, failure=str(error))
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    left = tuple(f"{entry.operator}: {entry.reason}" for entry in made.variant.refusals)
    return Result(
        chosen.name, width, "packlight", recipe, size=file_size(made.model.graph),
        seconds=seconds, cpu_seconds=busy, remarks=left, **judge(chosen, made.model),  # type: ignore[arg-type]
    )  # fmt: skip
