"""packlight's command line in copies of a process that has loaded its modules.

A fresh process spends most of a second of processor time on loading numpy, onnx, ONNX Runtime,
numba and typer. A copy starts with them at hand; all else, from the working folder and the
environment to the exit code, is that of a process of its own.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from forked_command import isolation_by_forks
from modules_of_extras import MODULES_OF_EXTRAS

NOT_LOADED = (
    *MODULES_OF_EXTRAS,
    "packlight.cli.__main__",
    "packlight.__main__",
    "packlight.zoo.data",
)
"""Modules that few commands use, and those that are programs."""


CRASHED = 99


class CommandServer:
    """A process with packlight's modules, which runs commands in copies of itself.

    Args:
        environment: of the process that loads the modules.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(environment),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def run(
        self, arguments: list[str], cwd: Path, environment: Mapping[str, str], timeout: int
    ) -> subprocess.CompletedProcess[str]:
        """Run one command, with all that it prints captured."""
        with TemporaryDirectory() as folder:
            output = Path(folder, "stdout")
            errors = Path(folder, "stderr")
            request = {
                "arguments": arguments, "cwd": str(cwd), "environment": dict(environment),
                "output": str(output), "errors": str(errors), "timeout": timeout,
            }  # fmt: skip
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(
                arguments, code, output.read_text(), errors.read_text()
            )


def load_modules() -> None:
    """Load what commands load on first use, without starting a thread."""
    from packlight.postponed import postpone

    postpone()
    import packlight

    for module in pkgutil.walk_packages(packlight.__path__, "packlight."):
        if not module.name.startswith(NOT_LOADED):
            importlib.import_module(module.name)
    import onnxruntime  # noqa: F401
    import rich.table  # noqa: F401
    import scipy.special  # noqa: F401
    from numba.core.registry import cpu_target

    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


def serve() -> None:
    """Run each command that is asked for in a copy of this process."""
    answers = os.fdopen(os.dup(1), "w")
    questions = os.fdopen(os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    load_modules()
    gc.freeze()
    for line in questions:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            questions.close()
            answers.close()
            become(request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def become(request: dict[str, object]) -> None:
    """Make this process the one that was asked for, and run the command to its exit code."""
    import signal

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for target, name in ((1, "output"), (2, "errors")):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT)
        os.dup2(file, target)
        os.close(file)
    signal.alarm(request["timeout"])
    sys.argv = ["packlight", *request["arguments"]]
    from packlight.cli import main

    code = CRASHED
    try:
        with isolation_by_forks():
            code = main()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # to free what was loaded before takes longer than many a command


if __name__ == "__main__":
    serve()
