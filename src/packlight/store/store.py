"""A project: what was made and measured, kept so that nothing is lost or done twice."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import sqlalchemy as sql

from packlight.errors import InputError
from packlight.records import Variant, canonical, loads
from packlight.store import files
from packlight.store.database import (
    DEFAULT_URL,
    MEASUREMENTS,
    VARIANTS,
    connect,
    locate,
    spoken,
    writing,
)

T = TypeVar("T")
FILES = "files"
VARIANT = "variant"
UNWRITABLE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO,
    errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Store:
    """A project folder with its database. Use as a context manager, or ``close`` it.

    Attributes:
        folder: of the project.
        engine: the database.
        clock: seconds since the epoch.
    """

    folder: Path
    engine: sql.Engine
    clock: Callable[[], float] = time.time

    @classmethod
    def open(
        cls, folder: Path, url: str = DEFAULT_URL, clock: Callable[[], float] = time.time
    ) -> Self:
        """Open a project, or make one in a new or empty folder.

        Args:
            folder: of the project.
            url: of the database; a relative SQLite file lies in the folder.
            clock: seconds since the epoch.

        Raises:
            InputError: the folder is of something else or cannot be written, or its database is
                damaged or was written by another version of packlight.
        """
        place = locate(url, folder)
        make_folder(folder, place)
        engine = connect(place)
        try:
            with writable(folder):
                (folder / FILES).mkdir(exist_ok=True)
                files.clean(folder / FILES, clock())
        except BaseException:
            engine.dispose()
            raise
        return cls(folder, engine, clock)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def put_file(self, source: files.Source, suffix: str) -> str:
        """Store a file; its name is relative to the project. Same content, same name.

        Args:
            source: the content, a file to copy, or a function that writes to a given path.
            suffix: of the name, as ``.npz``.
        """
        with writable(self.folder):
            return f"{FILES}/{files.put_file(self.folder / FILES, source, suffix)}"

    def put_model(self, writes: Callable[[Path], object]) -> str:
        """Store a model with its external data; the name of its main file in the project.

        Args:
            writes: given the path of ``model.onnx`` in an empty folder of its own.
        """
        with writable(self.folder):
            return f"{FILES}/{files.put_model(self.folder / FILES, writes)}"

    def path(self, name: str) -> Path:
        """Where a stored name lies.

        Raises:
            InputError: the name leads out of the project.
        """
        root = self.folder.resolve()
        try:
            path = (root / name).resolve()
        except (ValueError, OSError) as error:
            raise InputError(f"a stored name is a path in the project; got {name!r}") from error
        if not path.is_relative_to(root) or path == root:
            raise InputError(f"a stored name stays inside '{self.folder}'; got {name!r}")
        return path

    def put(self, kind: str, key: str, record: object) -> None:
        """Commit a record; one of the same kind and key is replaced.

        Args:
            kind: ``variant`` for variants, else what the caller calls this measurement.
            key: a variant's id, or variant and conditions.
            record: a frozen record.
        """
        table, names = address(kind, key)
        owner = {"parent": record.parent} if isinstance(record, Variant) else owner_of(record)
        content = {**owner, "json": canonical(record), "created": self.clock()}
        with spoken(str(self.folder)):
            try:
                replace(self.engine, table, names, content)
            except sql.exc.IntegrityError:  # another process inserted it between our two steps
                replace(self.engine, table, names, content)

    def get(self, kind: str, key: str, cls: type[T]) -> T | None:
        """The record of this kind and key, or None."""
        table, names = address(kind, key)
        same = [table.c[name] == value for name, value in names.items()]
        found = self.texts(sql.select(table.c.json).where(*same))
        return read(cls, found[0], f"{kind} {key}") if found else None

    def all(self, kind: str, cls: type[T]) -> tuple[T, ...]:
        """All records of a kind, in the order they were committed."""
        table = VARIANTS if kind == VARIANT else MEASUREMENTS
        query = sql.select(table.c.json).order_by(table.c.created, table.c.id)
        chosen = query if kind == VARIANT else query.where(MEASUREMENTS.c.kind == kind)
        return tuple(read(cls, text, f"one {kind}") for text in self.texts(chosen))

    def lineage(self, variant: str) -> tuple[Variant, ...]:
        """A variant after all it was made from, the original first.

        Raises:
            InputError: one of them is not in the project.
        """
        line: list[Variant] = []
        wanted = variant
        while wanted and wanted not in {seen.id for seen in line}:
            found = self.get(VARIANT, wanted, Variant)
            if found is None:
                raise InputError(f"'{self.folder}' has no variant '{wanted}' in its database")
            line.append(found)
            wanted = found.parent
        return tuple(reversed(line))

    def texts(self, query: sql.Select[tuple[str]]) -> list[str]:
        """The JSON texts that a query finds."""
        with spoken(str(self.folder)), self.engine.connect() as connection:
            return list(connection.scalars(query))


def address(kind: str, key: str) -> tuple[sql.Table, Mapping[str, str]]:
    """The table of a kind and the columns that single out one row."""
    if kind == VARIANT:
        return VARIANTS, {"id": key}
    return MEASUREMENTS, {"kind": kind, "id": key}


def replace(
    engine: sql.Engine, table: sql.Table, names: Mapping[str, str], content: Mapping[str, object]
) -> None:
    """Update the row of these names, or insert it, in one transaction."""
    same = [table.c[name] == value for name, value in names.items()]
    with writing(engine) as connection:
        changed = connection.execute(sql.update(table).where(*same).values(content))
        if changed.rowcount == 0:
            connection.execute(sql.insert(table).values({**names, **content}))


def owner_of(record: object) -> dict[str, str]:
    """The variant that a measurement is of; empty for what is of the whole project."""
    return {"variant": str(getattr(record, "variant", ""))}


def read(cls: type[T], text: str, what: str) -> T:
    """A stored record."""
    try:
        return loads(cls, text)
    except ValueError as error:
        raise InputError(f"the project holds {what} as damaged JSON: {error}") from error
    except InputError as error:
        raise InputError(f"the project holds {what} in another form: {error}") from error


def make_folder(folder: Path, place: sql.URL) -> None:
    """Make the project's folder, and refuse one that holds something else."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"a project is a folder; '{folder}' is a file. Name another")
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    database = [Path(str(place.database))] if place.get_backend_name() == "sqlite" else []
    if taken and not any(path.exists() for path in (folder / FILES, *database)):
        raise InputError(
            f"'{folder}' holds files but is not a packlight project. Name a new or empty folder"
        )


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Say in a sentence that a folder cannot be written; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise InputError(
            f"a project needs a folder that can be written; '{folder}' cannot: {error.strerror}. "
            "Free space, change its rights, or name another"
        ) from error
