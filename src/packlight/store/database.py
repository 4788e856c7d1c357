"""Tables of a project, and a database connection for concurrent processes.

Each write is one transaction that takes SQLite's write lock at once, so that two processes queue
instead of failing. A killed process leaves the last committed state.

A project may come from a stranger: its SQLite file holds our tables and nothing else, so that no
view or trigger runs, and each statement has a limit on its steps and on the size of a value.
Source: "Defense Against The Dark Arts", https://sqlite.org/security.html
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import event, exc
from sqlalchemy.schema import CreateIndex, CreateTable

from packlight.errors import InputError

VERSION = 2
"""Form of a project's records. Raise it when records of the version before no longer read."""

BUSY_SECONDS = 60.0
RETRY_SECONDS = 0.02
LONGEST_JSON = 2**24
PRIMARY_CODE = 0xFF
"""Bits of SQLite's result codes that name the kind of error."""

LONGEST_NAMES = 80
STEPS = 10_000
"""Steps of SQLite's virtual machine between two looks at the clock."""

STATEMENT_SECONDS = 10.0
"""Processor time after which a statement is stopped; an honest project needs milliseconds."""

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
        _refuse_links(url)
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
        _limit_statements(connection)
        cursor = connection.cursor()
        cursor.execute("PRAGMA trusted_schema = OFF")
        cursor.execute("PRAGMA cell_size_check = ON")
        cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sql.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _limit_statements(connection: Any) -> None:
    """Stop statements of SQLite that take too long, and refuse values that are too long."""
    started = time.process_time()

    def is_late() -> bool:
        return time.process_time() - started > STATEMENT_SECONDS

    def begin(_statement: str) -> None:
        nonlocal started
        started = time.process_time()

    connection.set_progress_handler(is_late, STEPS)
    connection.set_trace_callback(begin)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * LONGEST_JSON)


def _refuse_links(url: sql.URL) -> None:
    """Refuse a database whose file, or a file beside it, is a link to somewhere else."""
    for ending in ("", "-wal", "-shm", "-journal"):
        path = Path(f"{url.database}{ending}")
        if path.is_symlink():
            raise InputError(
                f"the project's database must be a file; '{path}' is a link, which is not followed"
            )


def _enable_wal(engine: sql.Engine) -> None:
    """Turn on write-ahead logging, which a database keeps, so that readers never wait.

    SQLite does not apply its busy timeout to this pragma, so a second process that opens the
    same new project retries.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    with closing(engine.raw_connection()) as connection:
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                code = error.sqlite_errorcode & PRIMARY_CODE
                if code != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                return


def prepare(engine: sql.Engine, location: str) -> None:
    """Check that the database is intact and ours, and create missing tables."""
    if engine.dialect.name == "sqlite":
        _check_schema(engine, location)
        _check_intact(engine, location)
        _enable_wal(engine)
    with writing(engine) as connection:
        tables = sql.inspect(connection).get_table_names()
        if tables and PROJECT.name not in tables:
            raise _of_something_else(location)
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


def _check_schema(engine: sql.Engine, location: str) -> None:
    """Refuse a database that holds anything but our tables, as this packlight makes them."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").fetchall()
    stored = {name: _words(text) for name, text in rows if text is not None}
    own = _own_schema(engine)
    if not stored or stored.items() <= own.items():
        return
    foreign = sorted(name for name, text in stored.items() if own.get(name) != text)
    if PROJECT.name in stored:
        raise InputError(
            f"'{location}' holds what is not ours: {', '.join(foreign)[:LONGEST_NAMES]}. "
            "Such a project is not opened: name another folder with --project"
        )
    raise _of_something_else(location)


def _of_something_else(location: str) -> InputError:
    return InputError(
        f"'{location}' is a database of something else; give packlight a project of its own"
    )


def _own_schema(engine: sql.Engine) -> dict[str, str]:
    """The statements that make our tables and indexes, by name."""
    indexes = [index for table in TABLES.sorted_tables for index in table.indexes]
    forms: dict[str, CreateTable | CreateIndex] = {
        **{str(table.name): CreateTable(table) for table in TABLES.sorted_tables},
        **{str(index.name): CreateIndex(index) for index in indexes},
    }
    return {name: _words(str(form.compile(engine))) for name, form in forms.items()}


def _words(statement: str) -> str:
    """A statement with single spaces."""
    return " ".join(statement.split())


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
        raise InputError(_failure_message(location, error.orig)) from error
    except sqlite3.Error as error:  # of a connection that SQLAlchemy handed out
        raise InputError(_failure_message(location, error)) from error
    except exc.SQLAlchemyError as error:
        raise InputError(_damage_message(location, str(error))) from error


FAILURES = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and run the command again",
    sqlite3.SQLITE_READONLY: "it can only be read; change the rights of the file and its folder",
    sqlite3.SQLITE_PERM: "permission is denied; change the rights of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the rights of the file and its folder",
    sqlite3.SQLITE_BUSY: "another process keeps it locked; wait until that is done",
    sqlite3.SQLITE_IOERR: "the disk is full, or reports an error; free some space, or choose "
    "another disk, and run the command again",
    sqlite3.SQLITE_INTERRUPT: "a statement takes far too long; its file is damaged or hostile. "
    "Choose another project folder",
    sqlite3.SQLITE_TOOBIG: "it holds a value that is too long; its file is damaged or hostile. "
    "Choose another project folder",
}
"""Reason and remedy by SQLite's result code, where nothing is damaged."""


def _failure_message(location: str, error: BaseException | None) -> str:
    """Sentence about an error of the database's driver."""
    code = getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE
    if code in FAILURES:
        return f"the project's database '{location}' cannot be used: {FAILURES[code]}"
    return _damage_message(location, str(error))


def _damage_message(location: str, reason: str) -> str:
    return (
        f"the project's database '{location}' cannot be used: {reason}. "
        "Restore it from a copy, or choose another project folder"
    )
