"""Export without the messages of the exporter."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from io import StringIO

EXPORTERS = ("torch", "onnxscript", "onnx_ir")
"""First part of the names of the exporters' loggers."""


def is_from_user(record: logging.LogRecord) -> bool:
    """Test whether a log record is not the exporter's."""
    return record.name.partition(".")[0] not in EXPORTERS


def log_handlers() -> set[logging.Handler]:
    """All handlers that write records of the exporter."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    handlers = {handler for logger in loggers for handler in logger.handlers}
    if logging.lastResort is not None:
        handlers.add(logging.lastResort)
    return handlers


@contextlib.contextmanager
def silenced_exporters() -> Iterator[None]:
    """Silence output and warnings of the exporter; its error has the reason of a failure."""
    handlers = log_handlers()
    for handler in handlers:
        handler.addFilter(is_from_user)
    try:
        with (
            contextlib.redirect_stdout(StringIO()),
            contextlib.redirect_stderr(StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_from_user)
