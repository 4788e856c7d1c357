import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.disk import temporary_name
from packlight.errors import InputError
from packlight.records import (
    Change,
    Cost,
    Evaluation,
    Group,
    Measurement,
    PerBlock,
    PerChannel,
    Recipe,
    Refusal,
    SessionOptions,
    Step,
    StoredGrid,
    Variant,
    WeightOnly,
    counted,
)
from packlight.store import Store, files

GRID = StoredGrid(4, PerChannel(), "nearest", "load")


def variant(name, parent=""):
    return Variant(
        id=name,
        parent=parent,
        name=f"the {name}",
        recipe=Recipe((Step(WeightOnly(bits=4, granularity=PerBlock(32)), where="head"),), seed=3),
        model="ab12",
        file="files/x/model.onnx",
        changes=(Change("Conv_0", "weights", GRID, 400, 60),),
        refusals=(
            Refusal(
                "If_1/LSTM_0", "computed-weight", "its weight is computed", "fold it", "weights"
            ),
        ),
        environment={"onnxruntime": "1.31"},
        took=0.25,
    )


def evaluation(name):
    drop = Measurement(0.003, "1", 0.001, 0.009, "measured", 5000)
    return Evaluation(
        variant=name,
        reference="original",
        data="d1",
        split="test",
        session=SessionOptions(threads=2),
        metrics={"drop": drop, "top1": counted(0.92)},
        groups=(Group("class", "T-shirt/top <b>", 500, counted(0.8), drop),),
        labels=("runtime differs",),
    )


def test_what_is_put_is_what_is_got(tmp_path):
    cost = Cost("a", {"size": counted(12, "B")}, machine="m1")
    with Store.open(tmp_path / "p") as store:
        store.put("variant", "a", variant("a"))
        store.put("evaluation", "a/exact", evaluation("a"))
        store.put("cost", "a/m1", cost)
    with Store.open(tmp_path / "p") as store:
        assert store.get("variant", "a", Variant) == variant("a")
        assert store.get("evaluation", "a/exact", Evaluation) == evaluation("a")
        assert store.all("cost", Cost) == (cost,)
        assert store.get("evaluation", "a/m1", Evaluation) is None
        assert store.all("elsewhere", Cost) == ()


def test_the_last_record_under_a_key_is_kept_and_keys_of_other_kinds_stand_apart(tmp_path):
    with Store.open(tmp_path) as store:
        for size in (1, 2):
            store.put("cost", "k", Cost("a", {"size": counted(size, "B")}))
            store.put("slow cost", "k", Cost("b", {"size": counted(size + 7, "B")}))
        assert store.all("cost", Cost) == (Cost("a", {"size": counted(2, "B")}),)
        assert store.all("slow cost", Cost) == (Cost("b", {"size": counted(9, "B")}),)


def test_records_come_back_in_the_order_of_the_clock(tmp_path):
    ticks = iter([0.0, 3.0, 1.0, 2.0])
    with Store.open(tmp_path, clock=lambda: next(ticks)) as store:
        for name in ("last", "first", "middle"):
            store.put("variant", name, variant(name))
        assert [found.id for found in store.all("variant", Variant)] == ["first", "middle", "last"]


def test_lineage_leads_from_the_original_to_the_variant(tmp_path):
    with Store.open(tmp_path) as store:
        for name, parent in (("c", "b"), ("a", ""), ("b", "a"), ("other", "a")):
            store.put("variant", name, variant(name, parent))
        assert [found.id for found in store.lineage("c")] == ["a", "b", "c"]
        with pytest.raises(InputError, match="no variant 'z'"):
            store.lineage("z")


def test_a_lineage_that_bites_its_tail_ends(tmp_path):
    with Store.open(tmp_path) as store:
        store.put("variant", "a", variant("a", "b"))
        store.put("variant", "b", variant("b", "a"))
        assert [found.id for found in store.lineage("a")] == ["b", "a"]


def test_the_same_content_is_stored_once_whatever_it_comes_from(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"numbers")
    with Store.open(tmp_path / "p") as store:
        names = {
            store.put_file(b"numbers", ".bin"),
            store.put_file(source, ".bin"),
            store.put_file(lambda path: path.write_bytes(b"numbers"), ".bin"),
        }
        (name,) = names
        assert Path(name).stem == hashlib.sha256(b"numbers").hexdigest()[: files.PREFIX]
        assert store.path(name).read_bytes() == b"numbers"
        assert listing(tmp_path / "p" / "files") == [Path(name).name]


def test_writers_that_append_their_own_suffix_find_it_there(tmp_path):
    with Store.open(tmp_path) as store:
        name = store.put_file(lambda path: np.savez(path, a=np.arange(3)), ".npz")
        with np.load(store.path(name)) as arrays:
            assert arrays["a"].tolist() == [0, 1, 2]


def test_a_model_keeps_the_files_beside_it(tmp_path):
    def writes(path):
        path.write_bytes(b"graph")
        path.with_name("model.onnx.data").write_bytes(b"weights")
        return 12

    with Store.open(tmp_path) as store:
        name = store.put_model(writes)
        assert store.put_model(writes) == name
        other = store.put_model(lambda path: path.write_bytes(b"graph"))
        assert other != name
        assert store.path(name).read_bytes() == b"graph"
        assert store.path(name).with_name("model.onnx.data").read_bytes() == b"weights"
        assert len(listing(tmp_path / "files")) == 2


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def fails(path):
        path.write_bytes(b"half")
        raise ZeroDivisionError

    with Store.open(tmp_path) as store:
        for put in (lambda: store.put_file(fails, ".bin"), lambda: store.put_model(fails)):
            with pytest.raises(ZeroDivisionError):
                put()
        with pytest.raises(InputError, match=r"model\.onnx"):
            store.put_model(lambda path: None)
        assert listing(tmp_path / "files") == []


@pytest.mark.parametrize("suffix", ["/../x", "..", "npz", ".n/z", ".\0"])
def test_a_suffix_cannot_lead_elsewhere(tmp_path, suffix):
    with Store.open(tmp_path) as store, pytest.raises(InputError, match="suffix"):
        store.put_file(b"", suffix)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "files/../../x", "", ".", "files/link/x", "a\0b"]
)
def test_a_name_that_leaves_the_project_is_refused(tmp_path, name):
    with Store.open(tmp_path / "p") as store:
        (tmp_path / "p" / "files" / "link").symlink_to(tmp_path)
        with pytest.raises(InputError, match="stored name"):
            store.path(name)


@given(name=st.text(st.sampled_from("./ax\\ "), max_size=12))
def test_a_name_is_inside_the_project_or_refused(tmp_path_factory, name):
    store = Store(tmp_path_factory.getbasetemp() / "inside", engine=None)
    try:
        found = store.path(name)
    except InputError:
        return
    assert found.is_relative_to(store.folder.resolve())


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not a packlight project"):
        Store.open(tmp_path)
    assert listing(tmp_path) == ["thesis.tex"]


def test_a_file_is_no_project(tmp_path):
    (tmp_path / "model.onnx").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        Store.open(tmp_path / "model.onnx")
    with pytest.raises(InputError, match="can be written"):
        Store.open(tmp_path / "model.onnx" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="rights do not bind the superuser")
def test_a_folder_without_rights_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="can be written"):
            Store.open(tmp_path / "p")
    finally:
        tmp_path.chmod(0o700)


def test_a_database_of_something_else_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "packlight.db") as database:
        database.execute("CREATE TABLE songs (title TEXT)")
    database.close()
    with pytest.raises(InputError, match="something else"):
        Store.open(tmp_path)


def test_a_project_of_a_newer_packlight_is_refused(tmp_path):
    Store.open(tmp_path).close()
    alter(tmp_path, "UPDATE packlight_project SET version = 99")
    with pytest.raises(InputError, match=r"newer packlight .*99"):
        Store.open(tmp_path)


def test_a_project_of_an_older_packlight_is_refused_and_left_as_it_is(tmp_path):
    with Store.open(tmp_path) as store:
        store.put("variant", "a", variant("a"))
    alter(tmp_path, "UPDATE packlight_project SET version = 1")
    alter(tmp_path, "UPDATE variants SET json = replace(json, 'Recipe/2', 'Recipe/1')")
    before = rows_of(tmp_path)

    for _ in range(2):
        with pytest.raises(InputError, match=r"older packlight \(project version 1.*--project"):
            Store.open(tmp_path)
    assert rows_of(tmp_path) == before


def rows_of(folder):
    with sqlite3.connect(folder / "packlight.db") as database:
        tables = ("packlight_project", "variants", "measurements")
        rows = [database.execute(f"SELECT * FROM {name}").fetchall() for name in tables]
    database.close()
    return rows


def test_a_record_that_was_tampered_with_is_refused_in_a_sentence(tmp_path):
    with Store.open(tmp_path) as store:
        store.put("variant", "a", variant("a"))
    alter(tmp_path, "UPDATE variants SET json = substr(json, 1, 30)")
    with Store.open(tmp_path) as store:
        with pytest.raises(InputError, match="damaged JSON"):
            store.get("variant", "a", Variant)
        with pytest.raises(InputError, match="one variant as damaged JSON"):
            store.check_records()


@pytest.mark.parametrize("keep", [0, 16, 5000])
def test_a_database_with_damaged_pages_is_refused(tmp_path, keep):
    with Store.open(tmp_path) as store:
        for number in range(40):
            store.put("variant", f"v{number}", variant(f"v{number}"))
    path = tmp_path / "packlight.db"
    whole = path.read_bytes()
    noise = random.Random(keep).randbytes(len(whole) - keep)
    path.write_bytes(whole[:keep] + noise)
    with pytest.raises(InputError, match="cannot be used"):
        Store.open(tmp_path)


@pytest.mark.parametrize("url", ["packlight.db", "nosuchdatabase://x/y", "sqlite:////nowhere/x.db"])
def test_a_url_that_opens_nothing_is_refused(tmp_path, url):
    with pytest.raises(InputError):
        Store.open(tmp_path / "p", url)


def test_any_sqlite_url_is_taken(tmp_path):
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    with Store.open(tmp_path / "p", url) as store:
        store.put("variant", "a", variant("a"))
    with Store.open(tmp_path / "p", url) as store:
        assert store.get("variant", "a", Variant) == variant("a")
    assert not (tmp_path / "p" / "packlight.db").exists()


def test_what_dead_processes_left_is_cleaned_up_when_a_project_is_opened(tmp_path):
    Store.open(tmp_path).close()
    code = "from packlight.disk import temporary_name; print(temporary_name('.npz'))"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (tmp_path / "files" / f".{dead.stdout.strip()}").write_text("half")
    (tmp_path / "files" / f".{temporary_name('.npz')}").write_text("being written")
    (tmp_path / "files" / "notes.txt").write_text("of nobody")

    Store.open(tmp_path).close()

    alive, notes = listing(tmp_path / "files")
    assert alive.endswith(".npz")
    assert notes == "notes.txt"


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from packlight.records import Cost, Recipe, Variant, counted
    from packlight.store import Store

    folder, who, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with Store.open(folder) as store:
        for n in range(rounds):
            blob = (f"{n} " * (n % 50 + 1) * 500).encode()
            name = store.put_file(blob, ".bin")
            file = store.put_model(lambda path: path.write_bytes(blob))
            store.put("variant", f"{who}{n}", Variant(f"{who}{n}", "", name, Recipe(), "", file))
            store.put("cost", "shared", Cost("v", {"size": counted(len(blob), "B")}))
            store.put("cost", f"{who}{n}", Cost(f"{who}{n}", {"size": counted(len(blob), "B")}))
            print(n, flush=True)
""")


def start(folder, who, rounds):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), who, str(rounds)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_write_the_same_project_at_once(tmp_path):
    writers = [start(tmp_path / "p", who, 40) for who in "ab"]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    with Store.open(tmp_path / "p") as store:
        expected = {f"{who}{n}" for who in "ab" for n in range(40)}
        assert {found.id for found in store.all("variant", Variant)} == expected
        assert {found.variant for found in store.all("cost", Cost)} == expected | {"v"}
        check_files(store)


def test_a_kill_at_any_moment_leaves_every_committed_record_and_file_whole(tmp_path):
    chance = random.Random(7)
    for turn in range(10):
        writer = start(tmp_path, f"turn{turn}-", 100_000)
        told = [writer.stdout.readline() for _ in range(chance.randrange(3))]
        time.sleep(chance.random() * 0.05)
        writer.send_signal(signal.SIGKILL)
        told += writer.communicate()[0].splitlines()
        done = [int(line) for line in told if line.strip()]

        with Store.open(tmp_path) as store:
            check_files(store)
            for n in done:
                assert store.get("variant", f"turn{turn}-{n}", Variant) is not None
                assert store.get("cost", f"turn{turn}-{n}", Cost) is not None
    with Store.open(tmp_path) as store:
        assert len(store.all("variant", Variant)) > 5


def check_files(store):
    """Every file that a committed variant names is there with the content its name says."""
    for found in store.all("variant", Variant):
        blob = store.path(found.name).read_bytes()
        assert hashlib.sha256(blob).hexdigest().startswith(Path(found.name).stem)
        assert store.path(found.file).read_bytes() == blob
        cost = store.get("cost", found.id, Cost)
        assert cost is None or cost.metrics["size"].value == len(blob)


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def alter(folder, statement):
    database = sqlite3.connect(folder / "packlight.db")
    with database:
        database.execute(statement)
    database.close()


def test_the_database_holds_plain_canonical_json(tmp_path):
    with Store.open(tmp_path) as store:
        store.put("variant", "a", variant("a"))
    database = sqlite3.connect(tmp_path / "packlight.db")
    (text,) = database.execute("SELECT json FROM variants WHERE id = 'a'").fetchone()
    database.close()
    assert json.loads(text)["schema"] == "Variant/2"
