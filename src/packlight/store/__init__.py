"""Project folder: records in a database, files named by the digest of their content."""

from packlight.store.store import Store

__all__ = ["Store"]
