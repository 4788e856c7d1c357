"""Modules that packlight's processes load only on first use.

onnx-ir loads sympy, a quarter of a second, for arithmetic with named dimensions, which packlight
never does. Only commands and their child processes postpone it; programs that import packlight load
everything as usual.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

POSTPONED = ("sympy", "onnx_ir._symbolic_shapes")


class Postponing:
    """A finder of modules that load at the first access to an attribute."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a postponed module; None for all further modules."""
        if fullname not in POSTPONED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def postpone() -> None:
    """Postpone ``POSTPONED`` in this process from now on."""
    if not any(isinstance(finder, Postponing) for finder in sys.meta_path):
        sys.meta_path.insert(0, Postponing())
