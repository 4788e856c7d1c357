"""Modules that packlight's processes load only on first use.

onnx-ir loads sympy, a quarter of a second, for arithmetic with named dimensions, which packlight
never does; numba loads coverage, where that is installed, for a debugging option. Commands and
their child processes postpone them; in other programs only the verbs of packlight do so, while
they load.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

POSTPONED = ("coverage", "sympy", "onnx_ir._symbolic_shapes")


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


@contextlib.contextmanager
def postponing() -> Iterator[None]:
    """Postpone ``POSTPONED`` for as long as the context lasts, as far as it is not loaded."""
    finder = Postponing()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
