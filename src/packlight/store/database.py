"""Tables of a project, and a database connection for concurrent processes.

Each write is one transaction that takes SQLite's write lock at once, so that two processes queue
instead of failing. A killed process leaves the last committed state.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy import event, exc

from packlight.errors import InputError

VERSION = 2
"""Form of a project's records. Raise it when records of the version before no longer read."""

BUSY_SECONDS = 60.0
RETRY_SECONDS = 0.02
LONGEST_JSON = 2**24
DEFAULT_URL = "sqlite:///packlight.db"

TABLES = sql.MetaData()

PROJECT = sql.Table(
    "packlight_project",
    TABLES,
    sql.Column("version", sql.Integer, primary_key=True, autoincrement=False),
)
VARIANTS = sql.Table(
    "variants",
    TABLES,
    sql.Column("id", sql.String(255), primary_key=True),
    sql.Column("parent", sql.String(255), nullable=False, index=True),
    sql.Column("json", sql.Text(LONGEST_JSON), nullable=False),
    sql.Column("created", sql.Double, nullable=False),
)
MEASUREMENTS = sql.Table(
    "measurements",
    TABLES,
    sql.Column("kind", sql.String(64), primary_key=True),
    sql.Column("id", sql.String(255), primary_key=True),
    sql.Column("variant", sql.String(255), nullable=False, index=True),
    sql.Column("json", sql.Text(LONGEST_JSON), nullable=False),
    sql.Column("created", sql.Double, nullable=False),
)


def locate(url: str, folder: Path) -> sql.URL:
    """Parse a database URL; a relative SQLite file lies in the project's folder.

    Raises:
        InputError: the text is not a database URL.
    """
    try:
        parsed = sql.make_url(url)
    except exc.ArgumentError as error:
        raise InputError(
            f"a database is a URL, as in 'sqlite:///packlight.db'; got '{url}'"
        ) from error
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return parsed
    return parsed.set(database=str(folder / str(parsed.database)))


def connect(url: sql.URL) -> sql.Engine:
    """Open the project's database, create missing tables, and check its version.

    Raises:
        InputError: the database cannot be used, is damaged, belongs to another program, or was
            written by another version of packlight that keeps records in another form.
    """
    location = url.render_as_string(hide_password=True)
    try:
        engine = sql.create_engine(url)
    except (exc.ArgumentError, ModuleNotFoundError) as error:
        raise InputError(
            f"no driver opens the database '{location}': {error}. Install one, or use SQLite"
        ) from error
    if engine.dialect.name == "sqlite":
        listen(engine)
    try:
        with explain_errors(location):
            prepare(engine, location)
    except BaseException:
        engine.dispose()
        raise
    return engine


def listen(engine: sql.Engine) -> None:
    """Set SQLite's pragmas on every connection and take the write lock when a write begins."""

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: sql.engine.interfaces.DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # else the driver decides when a transaction begins
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        cursor.execute("PRAGMA synchronous = FULL")
        _enable_wal(cursor)
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sql.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _enable_wal(cursor: sql.engine.interfaces.DBAPICursor) -> None:
    """Turn on write-ahead logging, so that readers never wait.

    SQLite does not apply its busy timeout to this pragma, so a second process that opens the
    same new project retries.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


def prepare(engine: sql.Engine, location: str) -> None:
    """Check that the database is intact and ours, and create missing tables."""
    if engine.dialect.name == "sqlite":
        _check_intact(engine, location)
    with writing(engine) as connection:
        tables = sql.inspect(connection).get_table_names()
        if tables and PROJECT.name not in tables:
            raise InputError(
                f"'{location}' is a database of something else; give packlight a project of its own"
            )
        TABLES.create_all(connection)
        version = connection.scalar(sql.select(sql.func.max(PROJECT.c.version)))
        if version is None:
            connection.execute(sql.insert(PROJECT).values(version=VERSION))
        elif version < VERSION:
            raise InputError(
                f"'{location}' was written by an older packlight (project version {version}; this "
                f"one reads {VERSION}). Start a new project: name another folder with --project"
            )
        elif version > VERSION:
            raise InputError(
                f"'{location}' was written by a newer packlight (project version {version}; this "
                f"one reads {VERSION}). Upgrade packlight, or choose another project folder"
            )


def _check_intact(engine: sql.Engine, location: str) -> None:
    with engine.connect() as connection:
        status = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if status != "ok":
        raise InputError(_damage_message(location, str(status)))


@contextmanager
def writing(engine: sql.Engine) -> Iterator[sql.Connection]:
    """Open a write transaction: committed at the end, rolled back on an error."""
    with engine.execution_options(writes=True).begin() as connection:
        yield connection


@contextmanager
def explain_errors(location: str) -> Iterator[None]:
    """Turn database errors into ``InputError``."""
    try:
        yield
    except exc.DBAPIError as error:
        raise InputError(_damage_message(location, str(error.orig))) from error
    except exc.SQLAlchemyError as error:
        raise InputError(_damage_message(location, str(error))) from error


def _damage_message(location: str, reason: str) -> str:
    return (
        f"the project's database '{location}' cannot be used: {reason}. "
        "Restore it from a copy, or choose another project folder"
    )
