"""A small part of the zoo's data, and commands run as a person runs them: in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from command_server import CommandServer

from packlight import zoo

Run = Callable[..., "subprocess.CompletedProcess[str]"]

TIMEOUT = 300
READ_LATE = {"COLUMNS", "NO_COLOR"}
"""Variables that a command reads when it prints."""

SAMPLES, CALIBRATION = 200, 32
RECIPES = ("simplify+weights:8", "simplify+static+weights:8", "simplify+weights:4")


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    """Run ``packlight`` with arguments in a folder; colours and width are those of a plain pipe.

    Where processes fork, commands run in copies of one process, unless they get an environment that
    a copy would read too late.
    """
    kept = {
        key: os.environ[key] for key in ("PATH", "HOME", "LANG", "PYTHONPATH") if key in os.environ
    }
    with ExitStack() as stack:
        server = stack.enter_context(CommandServer(kept)) if hasattr(os, "fork") else None

        def call(
            *arguments: object, cwd: Path, **environment: str
        ) -> subprocess.CompletedProcess[str]:
            words = [str(argument) for argument in arguments]
            variables = {**kept, **environment}
            if server is not None and READ_LATE.issuperset(environment):
                return server.run(words, cwd, variables, TIMEOUT)
            return subprocess.run(
                [sys.executable, "-m", "packlight", *words],
                check=False,
                cwd=cwd,
                env=variables,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )

        yield call


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first samples of the zoo's data as an ``.npz``."""
    with np.load(zoo.data_path("fashion", ".npz"), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    path = tmp_path_factory.mktemp("data") / "few.npz"
    kept = {
        name: array if not array.ndim
        else array[: CALIBRATION if name.startswith("calibration_") else SAMPLES]
        for name, array in arrays.items()
    }  # fmt: skip
    np.savez(path, **kept)
    return path


@pytest.fixture(scope="session")
def fit_command(few: Path) -> list[object]:
    """A search that takes seconds."""
    tried = [part for recipe in RECIPES for part in ("--recipe", recipe)]
    return ["fit", "zoo:fashion", "--task", few, *tried, "--seconds", "0.05"]


@pytest.fixture(scope="session")
def project(
    tmp_path_factory: pytest.TempPathFactory, run: Run, fit_command: list[object]
) -> tuple[Path, dict[str, object]]:
    """The folder of a finished search, and what it printed with ``--json``."""
    folder = tmp_path_factory.mktemp("fit")
    done = run(
        *fit_command, "--budget", "size<=0.3x", "--budget", "drop<=5%", "--allow-slower",
        "--project", folder / "P", "--json", cwd=folder,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return folder / "P", json.loads(done.stdout)


@pytest.fixture(scope="session")
def smaller(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """The zoo's model with 8-bit weights, as a file."""
    path = tmp_path_factory.mktemp("models") / "smaller.onnx"
    done = run("compress", "zoo:fashion", "--recipe", "weights:8", "-o", path, cwd=path.parent)
    assert done.returncode == 0, done.stderr
    return path
