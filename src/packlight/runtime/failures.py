"""What ONNX Runtime raises, as one sentence."""

from __future__ import annotations

import re

from onnxruntime.capi import onnxruntime_pybind11_state as native

RAISED: tuple[type[Exception], ...] = (
    *(
        kind
        for kind in vars(native).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
    RuntimeError,
    ValueError,
    TypeError,
    MemoryError,
    IndexError,
)
"""All that creating or running a session raises: its own types have no common base, and its C++
exceptions arrive as Python's."""

LONGEST = 240
CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
SOURCE = re.compile(r"(/\S+\.(?:cc|h|cpp|hpp|inl):\d+ )|(\bonnxruntime::[^ ]*(?:\([^)]*\))? ?)")
PLACE = re.compile(r"Load model from .*? failed: ?")
SPACE = re.compile(r"\s+")
EXHAUSTED = re.compile(r"bad[_ ]alloc|failed to allocate|out of memory|cannot allocate", re.I)


def sentence(error: Exception) -> str:
    """The message in one line: without error codes, source files of the runtime, and tails."""
    text = PLACE.sub("", SOURCE.sub("", CODE.sub("", str(error).strip())))
    text = SPACE.sub(" ", text).strip()
    text = text or type(error).__name__
    return text if len(text) <= LONGEST else text[: LONGEST - 3].rstrip() + "..."


def exhausted(error: Exception) -> bool:
    """Whether memory ran out."""
    return isinstance(error, MemoryError) or bool(EXHAUSTED.search(str(error)))
