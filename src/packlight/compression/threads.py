"""Cores of linear algebra and of compiled kernels while a recipe is applied."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from threadpoolctl import threadpool_limits

from packlight.runtime.isolation.limits import cores


class KernelThreads:
    """Limit on the threads of compiled kernels; one for the process.

    Attributes:
        most: threads; None for all cores.
    """

    most: int | None = None


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Limit linear algebra and compiled kernels to a number of threads.

    Without a number, linear algebra gets half of the cores where there is any: its threads wait by
    spinning, which would slow down the model that runs beside it, and the compiled kernels.
    """
    before = KernelThreads.most
    KernelThreads.most = threads
    try:
        with threadpool_limits(threads or max(1, cores() // 2), "blas"):
            yield
    finally:
        KernelThreads.most = before


def load_kernels(name: str) -> ModuleType:
    """A module of compiled kernels, limited to the threads of ``limited_threads`` in this thread.

    Numba loads here, when its kernels are first used.
    """
    module = import_module(f"packlight.compression.{name}")
    numba = sys.modules["numba"]
    numba.set_num_threads(min(KernelThreads.most or sys.maxsize, numba.config.NUMBA_NUM_THREADS))
    return module
