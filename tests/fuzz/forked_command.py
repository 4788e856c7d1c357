"""Commands in copies of this process: as quick as a call, and a crash, a hang or a glut is seen."""

from __future__ import annotations

import importlib
import io
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packlight.runtime.isolation import confine
from packlight.runtime.isolation.child import Finished

CPU_SECONDS = 60
MEMORY = 2 * 2**30
WALL_SECONDS = 300


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code; negative for the signal that ended it.
        output: what it printed.
        errors: what it printed on stderr.
        seconds: of processor time, its children's included.
        memory: bytes at its peak.
    """

    code: int
    output: str
    errors: str
    seconds: float
    memory: int


def call_forked(module: str, arguments: Sequence[str], seconds: float, stdin: str = "") -> Finished:
    """Call ``main(arguments)`` of a module in a copy of this process: a stand-in of ``run_child``."""
    given, asks = os.pipe()
    os.write(asks, stdin.encode())  # requests are shorter than what a pipe holds
    os.close(asks)
    reads, writes = os.pipe()
    failed, fails = os.pipe()
    child = os.fork()
    if child == 0:
        for source, target in ((given, 0), (writes, 1), (fails, 2)):
            os.dup2(source, target)
        sys.stdin = open(0, closefd=False, encoding="utf-8")
        sys.stdout = open(1, "w", closefd=False, encoding="utf-8")
        sys.stderr = open(2, "w", closefd=False, encoding="utf-8")
        code = 1
        try:
            signal.alarm(int(seconds) + 1)
            importlib.import_module(module).main(arguments)
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)
    for descriptor in (given, writes, fails):
        os.close(descriptor)
    output = read_all(reads)
    errors = read_all(failed)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return Finished(code, "", "", late=True)
    return Finished(code, output, (errors.strip().splitlines() or [""])[-1])


def read_all(descriptor: int) -> str:
    """Everything that comes through a pipe."""
    with open(descriptor, "rb") as stream:
        return stream.read().decode("utf-8", "replace")


@contextmanager
def isolation_by_forks() -> Iterator[None]:
    """Vet files in copies of this process instead of fresh ones, which take a second to start."""
    before = confine.run_child
    confine.run_child = call_forked
    try:
        yield
    finally:
        confine.run_child = before


def run_command(arguments: Sequence[str], folder: Path) -> Ended:
    """Run packlight's command line in a copy of this process, in a folder, under limits."""
    files = [folder / "stdout", folder / "stderr"]
    child = os.fork()
    if child == 0:
        _run_in_child(arguments, folder, files)
    _, status, usage = os.wait4(child, 0)
    output, errors = (file.read_text("utf-8", "replace") for file in files)
    seconds = usage.ru_utime + usage.ru_stime
    return Ended(os.waitstatus_to_exitcode(status), output, errors, seconds, usage.ru_maxrss * 1024)


def _run_in_child(arguments: Sequence[str], folder: Path, files: Sequence[Path]) -> None:
    code = 99
    try:
        os.chdir(folder)
        for target, file in zip((1, 2), files, strict=True):
            opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, target)
        sys.stdin = io.StringIO("")
        sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding="utf-8")
        sys.stderr = io.TextIOWrapper(open(2, "wb", closefd=False), encoding="utf-8")
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        signal.alarm(WALL_SECONDS)
        from packlight.cli.run import run

        code = run(list(arguments))
    except BaseException as error:
        print(f"escaped: {error!r}", file=sys.stderr)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def complaint(ended: Ended) -> str:
    """Reason why a command did not end as it must; empty where it did."""
    if ended.code not in (0, 1, 2):
        return f"exit {ended.code}"
    if "This is a bug" in ended.errors or "Traceback" in ended.errors + ended.output:
        return f"a bug, with exit {ended.code}"
    if ended.code == 2 and not ended.errors.startswith("packlight: "):
        return "exit 2 without a sentence"
    if ended.code == 2 and ended.errors.count("\n") != 1:
        return f"{ended.errors.count(chr(10))} lines on stderr"
    if "Warning:" in ended.errors:
        return "a warning of a library"
    raw = next((mark for mark in ended.output + ended.errors if not shown(mark)), "")
    if raw:
        return f"a raw {raw!r}"
    if ended.seconds > CPU_SECONDS:
        return f"{ended.seconds:.0f} s of processor time"
    if ended.memory > MEMORY:
        return f"{ended.memory / 2**30:.1f} GiB of memory"
    return ""


def shown(mark: str) -> bool:
    """Test whether a terminal shows a character and does nothing else."""
    return mark.isprintable() or mark == "\n"
