"""Keep what libraries print about themselves off the terminal."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_output() -> Iterator[None]:
    """Send the process's error output nowhere, also what is written by libraries in C."""
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep what libraries in Python print, log and warn of off the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with quiet_output(), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(disabled)
