"""A project that a stranger prepared: nothing of theirs runs, hangs, or leads a write elsewhere."""

import sqlite3
import time

import pytest

from packlight.errors import InputError
from packlight.records import Cost, Outcome, Variant, counted
from packlight.records.codec import loads
from packlight.store import Store, database

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"
PREPARED = {
    "an endless view": f"CREATE VIEW v AS {ENDLESS} i FROM n",
    "a view in place of a table": (
        "ALTER TABLE variants RENAME TO old; CREATE VIEW variants AS "
        f"{ENDLESS} 'a' AS id, '' AS parent, '{{}}' AS json, i AS created FROM n"
    ),
    "a trigger": (
        "CREATE TRIGGER t BEFORE INSERT ON measurements BEGIN DELETE FROM variants; END"
    ),
    "an endless trigger": (
        "CREATE TABLE bait (x); CREATE TRIGGER t AFTER UPDATE ON measurements BEGIN "
        "INSERT INTO bait SELECT a.rowid FROM bait a, bait b, bait c; END"
    ),
    "another table": "CREATE TABLE songs (title TEXT)",
    "a virtual table": "CREATE VIRTUAL TABLE f USING fts5(x)",
    "an index on an expression": "CREATE INDEX i ON variants (hex(zeroblob(1000000)))",
    "a column that is computed": (
        "ALTER TABLE variants ADD COLUMN x GENERATED ALWAYS AS (hex(zeroblob(1000))) VIRTUAL"
    ),
    "a table of ours made otherwise": (
        "DROP TABLE measurements; CREATE TABLE measurements (kind, id, variant, json, created)"
    ),
}  # fmt: skip


def prepare(folder, statements):
    Store.open(folder).close()
    connection = sqlite3.connect(folder / "packlight.db")
    connection.executescript(statements)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("statements", PREPARED.values(), ids=PREPARED)
def test_a_database_with_anything_of_a_stranger_is_not_opened(statements, tmp_path):
    prepare(tmp_path, statements)

    start = time.monotonic()
    with pytest.raises(InputError, match="holds what is not ours"):
        Store.open(tmp_path)
    assert time.monotonic() - start < 30


def test_a_statement_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "STATEMENT_SECONDS", 0.2)
    with (
        Store.open(tmp_path) as store,
        pytest.raises(InputError, match="takes far too long"),
        database.explain_errors("x"),
        store.engine.connect() as connection,
    ):
        connection.exec_driver_sql(f"{ENDLESS} count(i) FROM n")


def test_statements_that_follow_each_other_have_a_limit_each(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "STATEMENT_SECONDS", 0.3)
    with Store.open(tmp_path) as store:
        until = time.process_time() + 1
        while time.process_time() < until:
            store.put("cost", "a", Cost("a", {"size": counted(1, "B")}))


def test_a_value_that_is_too_long_is_a_sentence(tmp_path):
    size = 3 * database.LONGEST_JSON
    prepare(tmp_path, f"INSERT INTO variants VALUES ('a', '', hex(zeroblob({size // 2})), 0)")

    with Store.open(tmp_path) as store, pytest.raises(InputError, match="too long"):
        store.get("variant", "a", Variant)


DEEP = {
    "lists": "[" * 100_000 + "]" * 100_000,
    "objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "lists in a field": '{"id": ' + "[" * 100_000 + "]" * 100_000 + "}",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_deep_json_is_a_sentence(text, tmp_path):
    for kind in (Variant, Outcome, Cost):
        with pytest.raises(InputError, match="nested too deeply"):
            loads(kind, text)
    prepare(tmp_path, f"INSERT INTO variants VALUES ('a', '', '{text}', 0)")
    with Store.open(tmp_path) as store, pytest.raises(InputError, match="nested too deeply"):
        store.get("variant", "a", Variant)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_not_finite_are_no_json(number):
    with pytest.raises(ValueError, match="no finite number"):
        loads(Cost, f'{{"variant": "a", "metrics": {number}}}')


LINKS = ("files", "packlight.db", "packlight.db-wal", "packlight.db-shm", "packlight.db-journal")


@pytest.mark.parametrize("name", LINKS)
def test_a_project_with_links_is_not_opened_and_what_they_lead_to_stays(name, tmp_path):
    project, victim = tmp_path / "P", tmp_path / "victim"
    Store.open(project).close()
    if name == "files":
        (project / name).rmdir()
        victim.mkdir()
    else:
        (project / name).unlink(missing_ok=True)
        victim.write_text("precious")
    (project / name).symlink_to(victim)

    with pytest.raises(InputError, match="is a link, which is not followed"):
        Store.open(project)

    assert victim.is_dir() or victim.read_text() == "precious"


def test_a_database_of_another_program_keeps_its_bytes(tmp_path):
    """It may be a hard link to a file that matters."""
    with sqlite3.connect(tmp_path / "packlight.db") as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    before = (tmp_path / "packlight.db").read_bytes()

    with pytest.raises(InputError, match="something else"):
        Store.open(tmp_path)

    assert (tmp_path / "packlight.db").read_bytes() == before


def test_a_stored_file_that_was_changed_is_refused(tmp_path):
    with Store.open(tmp_path) as store:
        table = store.put_file(b"numbers", ".npz")
        model = store.put_model(lambda path: path.write_bytes(b"graph"))
        assert store.checked_path(table).read_bytes() == b"numbers"
        assert store.checked_path(model).read_bytes() == b"graph"
        store.path(table).write_bytes(b"other")
        store.path(model).with_name("model.onnx.data").write_bytes(b"added")
        for name in (table, model):
            with pytest.raises(InputError, match="changed since it was stored"):
                store.checked_path(name)
        with pytest.raises(InputError, match="cannot be read"):
            store.checked_path("files/0.npz")


FULL = {
    "SQLITE_FULL": (sqlite3.SQLITE_FULL, "the disk is full"),
    "SQLITE_READONLY": (sqlite3.SQLITE_READONLY, "can only be read"),
    "SQLITE_IOERR_WRITE": (sqlite3.SQLITE_IOERR_WRITE, "the disk is full, or reports an error"),
    "SQLITE_CANTOPEN": (sqlite3.SQLITE_CANTOPEN, "cannot be opened"),
}


@pytest.mark.parametrize(("code", "sentence"), FULL.values(), ids=FULL)
def test_what_is_not_damaged_is_not_to_be_restored_from_a_copy(code, sentence):
    error = sqlite3.OperationalError("some words of SQLite")
    error.sqlite_errorcode = code
    message = database._failure_message("P/packlight.db", error)

    assert "P/packlight.db" in message
    assert sentence in message
    assert "copy" not in message
