"""A project folder: records in a database and files under the digest of their content."""

from packlight.store.store import Store

__all__ = ["Store"]
