"""Project folder that keeps every variant and measurement, so that none is made twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import sqlalchemy as sql

from packlight.disk import disk_reason, is_refusal, sweep
from packlight.errors import InputError
from packlight.records import Variant, canonical
from packlight.records.codec import Json, from_json, parsed
from packlight.store import files
from packlight.store.database import (
    DEFAULT_URL,
    MEASUREMENTS,
    VARIANTS,
    connect,
    explain_errors,
    locate,
    writing,
)

T = TypeVar("T")
FILES = "files"
VARIANT = "variant"


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
            InputError: the folder belongs to another program or cannot be written, or its database
                is damaged or was written by another version of packlight.
        """
        location = locate(url, folder)
        _make_folder(folder, location)
        engine = connect(location)
        try:
            with _writable(folder):
                _make_files_folder(folder / FILES)
                sweep(folder / FILES, clock())
        except BaseException:
            engine.dispose()
            raise
        return cls(folder, engine, clock)

    def close(self) -> None:
        """Close the database."""
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
        """Store a file and return its name in the project, as ``files.put_file`` does."""
        with _writable(self.folder):
            return f"{FILES}/{files.put_file(self.folder / FILES, source, suffix)}"

    def put_model(self, writes: Callable[[Path], object]) -> str:
        """Store a model and return the name of its main file, as ``files.put_model`` does."""
        with _writable(self.folder):
            return f"{FILES}/{files.put_model(self.folder / FILES, writes)}"

    def path(self, name: str) -> Path:
        """Path of a stored name.

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

    def checked_path(self, name: str) -> Path:
        """Path of a stored file whose content was compared with its name.

        Raises:
            InputError: the name leads out of the project, or the content is another.
        """
        path = self.path(name)
        try:
            is_whole = files.matches(path, name)
        except OSError as error:
            raise InputError(
                f"the project's file '{path}' cannot be read: {error.strerror}"
            ) from error
        if not is_whole:
            raise InputError(
                f"the project's file '{path}' is not what its name says: it was changed since it "
                "was stored. Choose another project folder"
            )
        return path

    def put(self, kind: str, key: str, record: object) -> None:
        """Commit a record; it replaces one of equal kind and key.

        Args:
            kind: ``variant``, or a name for this kind of measurement.
            key: a variant's id, or variant and conditions.
            record: a frozen record.
        """
        table, names = _address(kind, key)
        if isinstance(record, Variant):
            owner = {"parent": record.parent}
        else:
            owner = {"variant": str(getattr(record, "variant", ""))}
        content = {**owner, "json": canonical(record), "created": self.clock()}
        with explain_errors(str(self.folder)):
            try:
                replace(self.engine, table, names, content)
            except sql.exc.IntegrityError:  # another process inserted it between our two steps
                replace(self.engine, table, names, content)

    def get(self, kind: str, key: str, cls: type[T]) -> T | None:
        """The record of this kind and key, or None."""
        table, names = _address(kind, key)
        matches = [table.c[name] == value for name, value in names.items()]
        texts = self.texts(sql.select(table.c.json).where(*matches))
        if not texts:
            return None
        return read(cls, texts[0], f"{kind} {key}")

    def all(self, kind: str, cls: type[T]) -> tuple[T, ...]:
        """All records of a kind, in the order they were committed."""
        table = VARIANTS if kind == VARIANT else MEASUREMENTS
        query = sql.select(table.c.json).order_by(table.c.created, table.c.id)
        if kind != VARIANT:
            query = query.where(MEASUREMENTS.c.kind == kind)
        return tuple(read(cls, text, f"one {kind}") for text in self.texts(query))

    def lineage(self, variant: str) -> tuple[Variant, ...]:
        """Ancestors of a variant and itself, the original first.

        Raises:
            InputError: one of them is not in the project.
        """
        line: list[Variant] = []
        key = variant
        while key and key not in {ancestor.id for ancestor in line}:
            ancestor = self.get(VARIANT, key, Variant)
            if ancestor is None:
                raise InputError(f"'{self.folder}' has no variant '{key}' in its database")
            line.append(ancestor)
            key = ancestor.parent
        return tuple(reversed(line))

    def check_records(self) -> None:
        """Check that every record is JSON, before work begins that would end at a damaged one.

        Raises:
            InputError: one is not.
        """
        query = sql.select(MEASUREMENTS.c.kind, MEASUREMENTS.c.json).union_all(
            sql.select(sql.literal(VARIANT), VARIANTS.c.json)
        )
        with explain_errors(str(self.folder)), self.engine.connect() as connection:
            for kind, text in connection.execute(query):
                _parse(text, f"one {kind}")

    def last_change(self) -> float:
        """Seconds since the epoch when a record was last committed; 0 in an empty project."""
        newest = [sql.select(sql.func.max(table.c.created)) for table in (VARIANTS, MEASUREMENTS)]
        with explain_errors(str(self.folder)), self.engine.connect() as connection:
            return max(float(connection.scalar(query) or 0.0) for query in newest)

    def texts(self, query: sql.Select[tuple[str]]) -> list[str]:
        """JSON texts that match a query."""
        with explain_errors(str(self.folder)), self.engine.connect() as connection:
            return list(connection.scalars(query))


def _address(kind: str, key: str) -> tuple[sql.Table, Mapping[str, str]]:
    if kind == VARIANT:
        return VARIANTS, {"id": key}
    return MEASUREMENTS, {"kind": kind, "id": key}


def replace(
    engine: sql.Engine, table: sql.Table, names: Mapping[str, str], content: Mapping[str, object]
) -> None:
    """Update the row of these names, or insert it, in one transaction."""
    matches = [table.c[name] == value for name, value in names.items()]
    with writing(engine) as connection:
        changed = connection.execute(sql.update(table).where(*matches).values(content))
        if changed.rowcount == 0:
            connection.execute(sql.insert(table).values({**names, **content}))


def read(cls: type[T], text: str, what: str) -> T:
    """A stored record."""
    value = _parse(text, what)
    try:
        return from_json(cls, value)
    except InputError as error:
        raise InputError(f"the project holds {what} in another form: {error}") from error


def _parse(text: str, what: str) -> Json:
    """What a stored JSON text holds."""
    try:
        return parsed(text)
    except ValueError as error:
        raise InputError(f"the project holds {what} as damaged JSON: {error}") from error
    except InputError as error:
        raise InputError(f"the project holds {what} in another form: {error}") from error


def _make_files_folder(folder: Path) -> None:
    """Make the folder of a project's files; refuse a link, which would lead writes elsewhere."""
    if folder.is_symlink():
        raise InputError(
            f"a project holds its files itself; '{folder}' is a link, which is not followed"
        )
    folder.mkdir(exist_ok=True)


def _make_folder(folder: Path, location: sql.URL) -> None:
    """Make the project's folder; refuse one that holds other files."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"a project is a folder; '{folder}' is a file. Name another")
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        is_used = any(folder.iterdir())
    signs = [folder / FILES]
    if location.get_backend_name() == "sqlite":
        signs.append(Path(str(location.database)))
    if is_used and not any(path.exists() for path in signs):
        raise InputError(
            f"'{folder}' holds files but is not a packlight project. Name a new or empty folder"
        )


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Turn errors of an unwritable folder into ``InputError``; others pass."""
    try:
        yield
    except OSError as error:
        if not is_refusal(error) and not isinstance(error, FileExistsError):
            raise
        path = Path(str(error.filename or folder))
        if not path.is_relative_to(folder):  # that of a file which was to be copied here
            path = folder
        raise InputError(
            f"a project needs a folder that can be written; '{path}' cannot: {disk_reason(error)}"
        ) from error
