"""Export without what the exporter tells itself."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from io import StringIO

EXPORTERS = ("torch", "onnxscript", "onnx_ir")
"""Packages that export, as the names of their loggers begin."""


def not_exporters(record: logging.LogRecord) -> bool:
    """Whether a line of a log is none of the exporter's own."""
    return record.name.partition(".")[0] not in EXPORTERS


def handlers() -> set[logging.Handler]:
    """All that write what the exporter logs."""
    found = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    all_of = {handler for logger in found for handler in logger.handlers}
    return all_of if logging.lastResort is None else all_of | {logging.lastResort}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without lines and warnings of the exporter; why it fails is in the error that it raises."""
    hushed = handlers()
    for handler in hushed:
        handler.addFilter(not_exporters)
    try:
        with (
            contextlib.redirect_stdout(StringIO()),
            contextlib.redirect_stderr(StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        for handler in hushed:
            handler.removeFilter(not_exporters)
