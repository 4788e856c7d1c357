"""Commands killed at random moments: no row is lost, and what they leave is swept."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql

from packlight.model import save
from packlight.records import Cost, Evaluation, Variant
from packlight.store import Store
from packlight.store.files import matches
from packlight.testing.networks import NETWORKS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes of Linux")

KILLS = 100
FIT = ["fit", "zoo:fashion", "--task", "few.npz", "--recipe", "simplify+weights:8", "--recipe",
       "weights:4", "--budget", "size<=1x", "--seconds", "0.05", "--project", "P"]  # fmt: skip
COMMANDS = {
    "fit": FIT,
    "compress": ["compress", "zoo:fashion", "--recipe", "simplify+weights:8", "-o", "o.onnx"],
    "compare": ["compare", "zoo:fashion", "smaller.onnx", "--task", "few.npz", "--seconds", "0.05",
                "--samples", "s.csv"],
    "report": ["compare", "zoo:fashion", "smaller.onnx", "--task", "few.npz", "--seconds", "0.05",
               "--report", "r.html"],
}  # fmt: skip
KINDS = {"size": Cost, "latency": Cost, "memory": Cost, "quality": Evaluation}


def start(folder: Path, arguments: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home")}
    return subprocess.Popen(
        [sys.executable, "-m", "packlight", *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(folder: Path, arguments: list[str]) -> float:
    """Run a command to its end; seconds that it took."""
    begin = time.monotonic()
    running = start(folder, arguments)
    output, _ = running.communicate()
    assert running.returncode in (0, 1), output
    return time.monotonic() - begin


def rows(project: Path) -> dict[str, str]:
    """Every committed row of a project, whose files are whole."""
    if not (project / "packlight.db").exists():
        return {}
    with Store.open(project) as store:
        variants = store.all("variant", Variant)
        for variant in variants:
            assert matches(store.path(variant.file), variant.file)
        found = {f"variant {variant.id}": variant.model for variant in variants}
        for kind, cls in KINDS.items():
            for record in store.all(kind, cls):
                found[f"{kind} {record.variant}"] = "kept"
                if kind == "quality":
                    assert matches(store.path(record.samples), record.samples)
    return found


def children_of(pid: int) -> list[int]:
    """Processes that still name a process as their parent or group leader's session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def gone(pids: list[int]) -> bool:
    """Whether processes end soon."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        states = [Path(f"/proc/{pid}/stat") for pid in pids]
        alive = [path for path in states if path.exists() and ") Z " not in path.read_text()]
        if not alive:
            return True
        time.sleep(0.05)
    return False


def kill_at_random(folder: Path, name: str, count: int, seed: int) -> None:
    """Kill a command so many times; after each, rows from before are there, and no child lives."""
    chance = random.Random(seed)
    arguments = COMMANDS[name]
    seconds = finish(folder, arguments)
    shutil.rmtree(folder / "P", ignore_errors=True)
    committed: dict[str, str] = {}
    for turn in range(count):
        if turn % 10 == 9:
            shutil.rmtree(folder / "P", ignore_errors=True)
            committed = {}
        running = start(folder, arguments)
        time.sleep(chance.random() * seconds)
        children = children_of(running.pid)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        assert gone(children)
        after = rows(folder / "P")
        assert committed.items() <= after.items()
        committed = after
    finish(folder, arguments)
    assert committed.items() <= rows(folder / "P").items()


@pytest.fixture
def folder(tmp_path, few, smaller):
    shutil.copyfile(few, tmp_path / "few.npz")
    shutil.copyfile(smaller, tmp_path / "smaller.onnx")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path


def check_nothing_is_left(folder: Path) -> None:
    """No temporary file or folder, here, in the project, at home or in the temporary folder."""
    left = [path for path in folder.rglob("*") if path.name.lstrip(".").startswith("packlight-")]
    assert left == []
    assert list((folder / "tmp").iterdir()) == []
    assert list((folder / "home").rglob("*")) == []


@pytest.mark.parametrize("name", ["compress", pytest.param("report", marks=pytest.mark.slow)])
def test_a_few_kills_lose_and_leave_nothing(name, folder):
    kill_at_random(folder, name, 3, seed=2)

    check_nothing_is_left(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_hundred_kills_lose_and_leave_nothing(name, folder):
    kill_at_random(folder, name, KILLS // len(COMMANDS), seed=1)

    check_nothing_is_left(folder)


SEARCH = ["fit", "perceptron.onnx", "--task", "rows.npz", "--budget", "size<=0.6x",
          "--budget", "drop<=20%", "--for", "size", "--seconds", "0.05", "--json"]  # fmt: skip
"""A search by operator whose choice does not depend on the clock."""

MEASURED = ("variant", "size", "latency", "memory", "quality", "steering", "damage", "seconds")
"""Kinds of rows that are work, which is done once."""


@pytest.mark.slow
def test_a_search_killed_a_hundred_times_ends_as_if_it_never_was(folder):
    save(NETWORKS["perceptron-21"](), folder / "perceptron.onnx")
    rng = np.random.default_rng(0)
    shapes = {"x": (90, 32), "calibration_x": (24, 32)}
    np.savez(
        folder / "rows.npz",
        **{name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()},
    )
    begin = time.monotonic()
    alone = searched(folder, "alone")
    seconds = time.monotonic() - begin
    chance = random.Random(3)
    committed: dict[tuple[str, str], float] = {}
    for turn in range(KILLS):
        if turn % 5 == 0:
            shutil.rmtree(folder / "P", ignore_errors=True)
            committed = {}
        running = start(folder, [*SEARCH, "--project", "P"])
        time.sleep(chance.random() * seconds)
        children = children_of(running.pid)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        assert gone(children)
        after = times(folder / "P")
        assert committed.items() <= after.items(), "finished work is not repeated"
        committed = after
    assert searched(folder, "P") == alone
    assert committed.items() <= times(folder / "P").items()
    check_nothing_is_left(folder)


def searched(folder: Path, project: str) -> tuple[str, str, list[str]]:
    """The choice, the verdict and all variants of a search that runs to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "packlight", *SEARCH, "--project", project],
        cwd=folder, check=False, capture_output=True, text=True,
        env={**os.environ, "TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home")},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    outcome = json.loads(done.stdout)
    return outcome["best"], outcome["verdict"], [v["id"] for v in outcome["variants"]]


def times(project: Path) -> dict[tuple[str, str], float]:
    """When each row that is work was committed, by its kind and id."""
    path = project / "packlight.db"
    if not path.exists():
        return {}
    with Store.open(project) as store, store.engine.connect() as connection:
        variants = connection.execute(sql.text("SELECT 'variant', id, created FROM variants"))
        rows = connection.execute(sql.text("SELECT kind, id, created FROM measurements"))
        return {(kind, key): at for kind, key, at in (*variants, *rows) if kind in MEASURED}


CHILD = """
import sys
from packlight.runtime.isolation.child import run_child
sys.path.insert(0, sys.argv[1])
run_child("sleeping", [], 600)
"""


def test_a_child_ends_with_its_killed_parent(tmp_path):
    (tmp_path / "sleeping.py").write_text("import time\ndef main(_):\n    time.sleep(600)\n")
    parent = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)])
    while not (children := children_of(parent.pid)):
        time.sleep(0.05)
    time.sleep(2)
    parent.kill()
    parent.wait()

    assert gone(children)
