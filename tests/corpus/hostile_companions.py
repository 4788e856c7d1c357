"""Files beside the model that are damaged or hostile: tasks, recipes and projects."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from small_models import WIDTH

Random = np.random.Generator
Build = Callable[[Path, Random], Path]
Rebuild = Callable[[Path, Random, Path], Path]
"""Damages a copy of a good project, the third argument."""

ROWS = 12


def rows(count: int = ROWS) -> np.ndarray:
    """Samples that fit the small models (count, 4)."""
    return np.linspace(-1, 1, count * WIDTH, dtype=np.float32).reshape(count, WIDTH)


def arrays(**more: object) -> Build:
    """A task with arrays of one's choice; None leaves one out."""

    def build(folder: Path, random: Random) -> Path:
        chosen = {"x": rows(), "target": np.arange(ROWS) % WIDTH, **more}
        held = {name: np.asarray(value) for name, value in chosen.items() if value is not None}
        np.savez(folder / "task.npz", allow_pickle=True, **held)
        return folder / "task.npz"

    return build


def holding(content: bytes, name: str = "task.npz") -> Build:
    """A file of these bytes."""

    def build(folder: Path, random: Random) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return build


def header(shape: str, kind: str = "<f4") -> bytes:
    """The head of an npy file that may claim anything."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (118 - len(text)) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def zipped(method: int = zipfile.ZIP_STORED, **members: bytes) -> Build:
    """An npz of members that numpy did not write."""

    def build(folder: Path, random: Random) -> Path:
        with zipfile.ZipFile(folder / "task.npz", "w", method) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content, method)
        return folder / "task.npz"

    return build


def bomb(folder: Path, random: Random) -> Path:
    """100 GB of zeros, as the archive states; the first of them are there."""
    size = 100 * 10**9
    with zipfile.ZipFile(folder / "task.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header(f"({size // 16}, 4)") + bytes(10**7))
        (member,) = archive.infolist()
        member.date_time = (1980, 1, 1, 0, 0, 0)
        member.file_size = size
    return folder / "task.npz"


def encrypted(folder: Path, random: Random) -> Path:
    """A member that says it is encrypted."""
    path = arrays()(folder, random)
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(mark) + place] |= 1
    path.write_bytes(bytes(content))
    return path


def cut(folder: Path, random: Random) -> Path:
    """A task cut short."""
    path = arrays()(folder, random)
    os.truncate(path, int(path.stat().st_size * random.uniform(0.1, 0.95)))
    return path


def flipped(folder: Path, random: Random) -> Path:
    """A task with flipped bits."""
    path = arrays()(folder, random)
    content = bytearray(path.read_bytes())
    for place in random.integers(len(content), size=6):
        content[place] ^= 1 << int(random.integers(8))
    path.write_bytes(bytes(content))
    return path


def pipe(folder: Path, random: Random) -> Path:
    """A pipe that nobody writes to."""
    os.mkfifo(folder / "task.npz")
    return folder / "task.npz"


class Trap:
    """Unpickled, it would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo unpickled",)


TASKS: dict[str, Build] = {
    "objects": arrays(x=np.array([Trap()] * ROWS, object)),
    "objects for a target": arrays(target=np.array([{}] * ROWS, object)),
    "a wrong name": arrays(pixels=rows()),
    "no input": arrays(x=None),
    "too few targets": arrays(target=np.arange(5)),
    "too few in a group": arrays(group_side=np.array(["a", "b"])),
    "no samples": arrays(x=rows(0), target=np.arange(0)),
    "samples of another width": arrays(x=np.zeros((ROWS, 7), np.float32)),
    "a single number": arrays(x=np.float32(1)),
    "no numbers": arrays(x=np.full((ROWS, WIDTH), np.nan, np.float32)),
    "numbers too large": arrays(x=np.full((ROWS, WIDTH), 1e300)),
    "text": arrays(x=np.full((ROWS, WIDTH), "a")),
    "complex numbers": arrays(x=np.full((ROWS, WIDTH), 1j)),
    "dates": arrays(x=np.zeros((ROWS, WIDTH), "datetime64[s]")),
    "records": arrays(x=np.zeros(ROWS, "f4,i8")),
    "targets without end": arrays(target=np.full(ROWS, np.inf)),
    "targets of text": arrays(target=np.full(ROWS, "left")),
    "classes that are not there": arrays(target=np.full(ROWS, 2**40)),
    "classes below zero": arrays(target=np.full(ROWS, -3)),
    "an unknown metric": arrays(metric="beauty"),
    "a metric of many": arrays(metric=np.zeros((3, 3))),
    "nothing": holding(b""),
    "a text": holding(b"these are no arrays\n"),
    "a bare array": holding(header("(3, 4)") + bytes(48)),
    "a pickle": holding(b"cos\nsystem\n(S'echo unpickled'\ntR."),
    "an empty archive": zipped(),
    "members that are no arrays": zipped(x=b"hello", target=b"\x93NUMPY\x09\x09"),
    "a head that is code": zipped(x=header("__import__('os').system('echo unpickled')")),
    "a head without end": zipped(x=b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"(" * 5000),
    "a head of parentheses": zipped(x=header("(" * 50)),
    "a shape below zero": zipped(x=header("(-3, 4)")),
    "a shape of 10**30": zipped(x=header(f"({10**30}, 4)")),
    "a shape of 100 GB": zipped(x=header(f"({25 * 10**9 // 4}, 4)") + bytes(64)),
    "a bomb": bomb,
    "encrypted": encrypted,
    "cut": cut,
    "flipped": flipped,
    "a pipe": pipe,
    "a folder": lambda folder, random: (folder / "task.npz").mkdir() or folder / "task.npz",
}


def recipe(content: object, suffix: str = "json") -> Build:
    """A recipe's file."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return holding(raw, f"recipe.{suffix}")


def steps(**config: object) -> dict[str, object]:
    """A recipe of one step."""
    return {"steps": [{"method": "weights", "config": config, "where": ""}]}


RECIPES: dict[str, Build] = {
    "nothing": recipe(b""),
    "no JSON": recipe(b"{"),
    "no TOML": recipe(b"[[steps]\nmethod=", "toml"),
    "bytes": recipe(bytes(range(256))),
    "bytes for TOML": recipe(bytes(range(256)), "toml"),
    "a list": recipe([1, 2]),
    "a number": recipe(7),
    "null": recipe(None),
    "no steps": recipe({}),
    "steps that are none": recipe({"steps": "weights"}),
    "a step that is none": recipe({"steps": [3]}),
    "an unknown method": recipe({"steps": [{"method": "magic", "config": {}, "where": ""}]}),
    "an unknown option": recipe(steps(colour=3)),
    "an option of another type": recipe(steps(bits="many")),
    "bits below zero": recipe(steps(bits=-8)),
    "a billion bits": recipe(steps(bits=10**9)),
    "no number": recipe(b'{"steps": [{"method": "weights", "config": {"bits": NaN}}]}'),
    "a number of 5000 digits": recipe(b'{"steps": [], "seed": ' + b"9" * 5000 + b"}"),
    "a seed below zero": recipe({**steps(bits=8), "seed": -1}),
    "an expression that is none": recipe(
        {"steps": [{"method": "weights", "config": {"bits": 8}, "where": "(["}]}
    ),
    "a hundred thousand lists": recipe(b"[" * 100_000),
    "a hundred thousand lists of TOML": recipe(b"a = " + b"[" * 100_000, "toml"),
    "an unknown field": recipe({**steps(bits=8), "colour": 3}),
    "a folder": lambda folder, random: (folder / "r.json").mkdir() or folder / "r.json",
}


def database(project: Path) -> Path:
    """The file of a project's database."""
    (found,) = project.glob("*.db")
    return found


def spoiled(change: Callable[[bytes, Random], bytes]) -> Rebuild:
    """A project whose database has other bytes."""

    def build(folder: Path, random: Random, good: Path) -> Path:
        project = copied(folder, good)
        path = database(project)
        path.write_bytes(change(path.read_bytes(), random))
        return project

    return build


def copied(folder: Path, good: Path) -> Path:
    """A copy of the good project, its database in one file."""
    project = folder / "project"
    shutil.copytree(good, project)
    connection = sqlite3.connect(database(project))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return project


def flips(content: bytes, random: Random) -> bytes:
    """Bits flipped everywhere."""
    damaged = bytearray(content)
    for place in random.integers(len(damaged), size=200):
        damaged[place] ^= 1 << int(random.integers(8))
    return bytes(damaged)


def altered(*statements: str) -> Rebuild:
    """A project whose database says something else."""

    def build(folder: Path, random: Random, good: Path) -> Path:
        project = copied(folder, good)
        connection = sqlite3.connect(database(project))
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        return project

    return build


def without_files(folder: Path, random: Random, good: Path) -> Path:
    """A project whose files are gone."""
    project = copied(folder, good)
    shutil.rmtree(project / "files")
    return project


def linked(folder: Path, random: Random, good: Path) -> Path:
    """A database that is a link to nothing."""
    project = folder / "project"
    project.mkdir()
    (project / "packlight.db").symlink_to("/proc/self/nothing")
    return project


VARIANT_TO = "UPDATE variants SET json = "
PROJECTS: Mapping[str, Rebuild] = {
    "cut": spoiled(lambda content, random: content[: len(content) // 2]),
    "cut in its head": spoiled(lambda content, random: content[:50]),
    "flipped": spoiled(flips),
    "a text": spoiled(lambda content, random: b"no database\n" * 50),
    "zeros": spoiled(lambda content, random: bytes(len(content))),
    "empty": spoiled(lambda content, random: b""),
    "another database": altered("DROP TABLE packlight_project"),
    "a newer one": altered("UPDATE packlight_project SET version = 99"),
    "no variants": altered("DROP TABLE variants"),
    "records that are no JSON": altered(f"{VARIANT_TO}'{{'"),
    "records of another form": altered(f"{VARIANT_TO}'[1, 2]'"),
    "records of numbers": altered(f"{VARIANT_TO}12345"),
    "records of bytes": altered(f"{VARIANT_TO}x'ff00fe'"),
    "records that lead outside": altered(
        "UPDATE variants SET json = replace(json, '\"files/', '\"../../../etc/')"
    ),
    "measurements of another form": altered("UPDATE measurements SET json = '{\"value\": null}'"),
    "files gone": without_files,
    "a link to nothing": linked,
}
