"""A small file takes less than 2 GB, in the command and in its children, or is refused."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")

LIMIT = 2e9
HUGE = 400_000_000
node = helper.make_node
FROM_INPUT = [
    node("Mul", ["x", "nothing"], ["x0"]),
    node("ReduceSum", ["x0"], ["x1"], keepdims=0),
    node("Cast", ["x1"], ["x2"], to=TensorProto.INT64),
    node("Add", ["x2", "count"], ["counted"]),
]
"""The size is computed from the input, so that no optimizer knows it."""

BOMBS = {
    "Tile": [node("Tile", ["one", "count"], ["big"])],
    "Range": [node("Range", ["start", "end", "step"], ["big"])],
    "Expand": [node("Expand", ["one", "count"], ["big"])],
    "ConstantOfShape": [node("ConstantOfShape", ["count"], ["big"])],
    "Add of a row and a column": [node("Add", ["row", "column"], ["big"])],
    "MatMul of a row and a column": [node("MatMul", ["column", "row"], ["big"])],
    "Pad": [node("Pad", ["one", "pads"], ["big"])],
    "Resize": [node("Resize", ["plane", "", "", "sizes"], ["big"])],
    "Tile of what an input says": [*FROM_INPUT, node("Tile", ["one", "counted"], ["big"])],
}
STORED = {
    "one": np.ones(1, np.float32), "count": np.array([HUGE]), "nothing": np.float32(0),
    "start": np.float32(0), "end": np.float32(HUGE), "step": np.float32(1),
    "row": np.ones((1, 20_000), np.float32), "column": np.ones((20_000, 1), np.float32),
    "pads": np.array([0, HUGE]), "plane": np.ones((1, 1, 2, 2), np.float32),
    "sizes": np.array([1, 1, 20_000, 20_000]),
    "w": np.eye(4, dtype=np.float32),
}  # fmt: skip


def bomb(name: str, folder: Path) -> Path:
    """A file of a kilobyte or so that computes 1.6 GB."""
    nodes = [
        *BOMBS[name],
        node("ReduceSum", ["big"], ["sum"], keepdims=0),
        node("MatMul", ["x", "w"], ["xw"]),
        node("Add", ["xw", "sum"], ["y"]),
    ]
    read = {value for entry in nodes for value in entry.input}
    graph = helper.make_graph(
        nodes, "bomb",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in STORED.items() if k in read],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "bomb.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def peaks(root: int) -> dict[int, float]:
    """Peak of the resident set of a process and of all below it, in bytes."""
    parents: dict[int, int] = {}
    sizes: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "status").read_text()
            except OSError:
                continue
            peak = re.search(r"VmHWM:\s+(\d+)", status)
            parents[int(entry.name)] = int(re.search(r"PPid:\s+(\d+)", status)[1])
            sizes[int(entry.name)] = float(peak[1]) * 1024 if peak else 0.0
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return {pid: sizes.get(pid, 0.0) for pid in below}


def largest(folder: Path, *arguments: object) -> tuple[int, str, float]:
    """Run a command; its exit code, its stderr, and the largest resident set of a process of it."""
    with (folder / "stderr").open("w+") as errors:
        running = subprocess.Popen(
            [sys.executable, "-m", "packlight", *map(str, arguments)],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
        most = 0.0
        while running.poll() is None:
            most = max(most, *peaks(running.pid).values())
            time.sleep(0.02)
        errors.seek(0)
        return running.returncode, errors.read(), most


VERBS = {
    "profile": ("profile", "bomb.onnx"),
    "plan": ("plan", "bomb.onnx", "--device", "pixel-8"),
    "compress": ("compress", "bomb.onnx", "--recipe", "simplify+weights:8", "-o", "o.onnx"),
    "evaluate": ("evaluate", "bomb.onnx", "--task", "t.npz"),
}


def check_verb(name: str, verb: str, folder: Path) -> None:
    bomb(name, folder)
    np.savez(folder / "t.npz", x=np.ones((8, 4), np.float32), target=np.zeros(8, np.int64))

    code, errors, most = largest(folder, *VERBS[verb])

    assert code in (0, 1, 2), errors
    assert most < LIMIT


@pytest.mark.parametrize("name", ["Tile", "Range"])
@pytest.mark.parametrize("verb", ["compress", "evaluate"])
def test_a_kilobyte_that_computes_gigabytes_takes_less_than_two(name, verb, tmp_path):
    check_verb(name, verb, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("verb", VERBS)
def test_no_operator_makes_a_small_file_large_in_any_verb(name, verb, tmp_path):
    check_verb(name, verb, tmp_path)


def zipped(folder: Path, **arrays: object) -> Path:
    np.savez_compressed(folder / "t.npz", **arrays)
    return folder / "t.npz"


@pytest.mark.parametrize(
    "name",
    [
        "x",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("target", "group_a", "calibration_x")),
    ],
)
def test_a_small_archive_that_unpacks_to_a_thousand_times_as_much_is_refused(name, tmp_path):
    arrays = {"x": np.ones((8, 4), np.float32), "target": np.zeros(8, np.int64)}
    arrays[name] = np.zeros((45_000_000, 4), np.float32)
    path = zipped(tmp_path, **arrays)
    assert path.stat().st_size < 1e6

    code, errors, most = largest(tmp_path, "evaluate", "zoo:fashion", "--task", path)

    assert code == 2
    assert "times the bytes of the file" in errors
    assert most < LIMIT / 4


def test_samples_that_compress_well_are_taken(tmp_path, run):
    """Masks and padded texts do: 20 times is no bomb, and small arrays are none at all."""
    images = np.zeros((64, 1, 28, 28), np.float32)
    images[:, :, 14, 14] = np.arange(64)[:, None]
    zipped(tmp_path, image=images, target=np.arange(64) % 10)

    done = run("evaluate", "zoo:fashion", "--task", "t.npz", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
