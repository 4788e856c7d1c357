"""Versions of the packages that make variants."""

from __future__ import annotations

import platform
from importlib.metadata import version

MADE_WITH = ("packlight", "numpy", "onnx", "onnx-ir", "onnxscript", "onnxruntime")


def environment() -> dict[str, str]:
    """Versions by the name of the package."""
    return {"python": platform.python_version(), **{name: version(name) for name in MADE_WITH}}
