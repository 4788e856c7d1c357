"""Run a function of packlight in a fresh process, for a limited time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

START = (
    "import importlib, json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from packlight.runtime.isolation.limits import end_with_parent; end_with_parent(); "
    "from packlight.postponed import postpone; postpone(); "
    "importlib.import_module(sys.argv[2]).main(sys.argv[3:])"
)
"""Program of the child: it uses the parent's current module path, without the current folder."""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment that keeps numpy from reserving address space for a thread on every core."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended.

    Attributes:
        code: exit code; negative for the signal that ended it.
        output: its stdout.
        errors: last line of its stderr.
        late: True if it was killed at its time limit.
    """

    code: int
    output: str
    errors: str
    late: bool = False


def run_child(module: str, arguments: Sequence[str], seconds: float, stdin: str = "") -> Finished:
    """Call ``main(arguments)`` of a module in a fresh process; it never outlives this process.

    Args:
        module: its full name.
        arguments: texts.
        seconds: after which it is killed.
        stdin: its input.
    """
    command = [sys.executable, "-P", "-c", START, json.dumps(sys.path), module, *arguments]
    with subprocess.Popen(  # noqa: S603  (the command is fixed and no shell runs)
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **ONE_THREAD},
        text=True,
        errors="replace",
    ) as child:
        try:
            output, errors = child.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return Finished(child.returncode, "", "", late=True)
        except BaseException:
            child.kill()
            child.wait()
            raise
    return Finished(child.returncode, output, (errors.strip().splitlines() or [""])[-1])
