"""A small project with source lines and flips, opened as the server opens it."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

import packlight
from packlight import zoo
from packlight.studio.server import Studio
from packlight.studio.settings import Settings
from packlight.studio.workspace import Workspace

SAMPLES = 200
CALIBRATION = 32
RECIPES = ("simplify+weights:8", "simplify+weights:3,per=tensor")
DONE = "done"
WAIT_SECONDS = 180
PORT = 8765
TOKEN = "token-of-the-tests"
NET = """\
class Net(torch.nn.Module):
    def forward(self, x):
        x = self.stem(x)
        return self.stages(x)
"""
SOURCE_LINE = 4


@dataclass(frozen=True)
class Made:
    """A project with what made it."""

    project: Path
    model: Path
    task: Path
    code: Path

    @property
    def settings(self) -> Settings:
        return Settings(project=self.project, task=str(self.task), code=(self.code,), seconds=0.05)


@pytest.fixture(scope="session")
def with_source_lines():
    """A function that writes a model with source lines, and the code that they name."""
    return write_with_source_lines


def write_with_source_lines(path: Path, folder: Path) -> None:
    """Write the zoo's model with the notes that PyTorch's exporter leaves."""
    code = folder / "net.py"
    code.write_text(NET)
    model = onnx.load(zoo.model_path("fashion"))
    for node in model.graph.node:
        if node.op_type == "Conv":
            note = node.metadata_props.add()
            note.key = "pkg.torch.onnx.stack_trace"
            note.value = f'File "{code}", line {SOURCE_LINE}, in forward'
    onnx.save(model, path)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    """A copy of the project, which one process of the tests makes for all of them."""
    base = tmp_path_factory.getbasetemp()
    is_shared = "PYTEST_XDIST_WORKER" in os.environ
    shared = (base.parent if is_shared else base) / "studio-project"
    try:
        shared.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + WAIT_SECONDS
        while not (shared / DONE).exists():
            assert time.monotonic() < deadline, "the other process made no project"
            time.sleep(0.2)
    else:
        make_project(shared)
        (shared / DONE).touch()
    folder = tmp_path_factory.mktemp("studio") / "own"
    shutil.copytree(shared, folder, symlinks=True)
    return Made(folder / "project", folder / "fashion.onnx", folder / "small.npz", shared / "code")


def make_project(folder: Path) -> None:
    """Search for seconds, in a folder with a model, its data and its code."""
    code = folder / "code"
    code.mkdir()
    model = folder / "fashion.onnx"
    write_with_source_lines(model, code)
    task = folder / "small.npz"
    with np.load(zoo.data_path("fashion", ".npz"), allow_pickle=False) as file:
        arrays = {
            name: file[name][: CALIBRATION if name.startswith("calibration_") else SAMPLES]
            for name in file.files
            if file[name].ndim
        }
        np.savez(task, **arrays, **{name: file[name] for name in file.files if not file[name].ndim})
    packlight.fit(
        str(model),
        str(task),
        ["size<=0.3x", "drop<=5%"],
        folder / "project",
        recipes=RECIPES,
        seconds=0.05,
        allow_slower=True,
    )


@pytest.fixture(scope="module")
def space(made):
    opened = Workspace(made.settings)
    yield opened
    opened.close()


@pytest.fixture
def studio(made):
    running = Studio(Workspace(made.settings), PORT, token=TOKEN)
    yield running
    running.close()
