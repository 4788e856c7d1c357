"""Kernels that numba compiles at first use and caches where it can.

It caches beside the source, or in the user's cache folder. Where neither can be written, as in a
container under another user, where the disk is full, or where a cached file is damaged, they are
compiled again in every process.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

DAMAGED = (OSError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError,
           ImportError, pickle.UnpicklingError)  # fmt: skip
"""Errors of reading a cached file that another program cut or wrote."""


WAIT_POLICY = "OMP_WAIT_POLICY"


def load_threads() -> None:
    """Load numba's threads of OpenMP, where it has them, so that they sleep while they wait.

    By default they spin for some milliseconds after every kernel, longer than most kernels run,
    and take the core from whatever else runs. GNU OpenMP reads the variable when it is loaded.
    """
    is_set = WAIT_POLICY in os.environ
    os.environ.setdefault(WAIT_POLICY, "passive")
    try:
        with suppress(ImportError):
            import_module("numba.np.ufunc.omppool")
    finally:
        if not is_set:
            del os.environ[WAIT_POLICY]


load_threads()


class OptionalCache(FunctionCache):
    """A cache whose files may fail to be read or written."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """A compiled kernel; None where it is not stored, or not whole."""
        try:
            return super().load_overload(sig, target_context)
        except DAMAGED:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store a compiled kernel, if there is room and what is stored is whole."""
        try:
            super().save_overload(sig, data)
        except DAMAGED:
            self.disable()


def compiled(**options: Any) -> Callable[[Any], Any]:
    """Compile a kernel by ``numba.njit`` with these options, cached where it can be."""

    def decorate(function: Callable[..., Any]) -> Any:
        kernel = njit(**options)(function)
        with suppress(RuntimeError):  # no folder for a cache can be written
            kernel._cache = OptionalCache(kernel.py_func)
        return kernel

    return decorate
