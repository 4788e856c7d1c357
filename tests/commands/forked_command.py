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

BAD_INPUT = 2
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
    """Call ``main(arguments)`` of a module in a copy of this process, as ``run_child`` does."""
    given, asks = os.pipe()
    os.write(asks, stdin.encode())  # requests are shorter than what a pipe holds
    os.close(asks)
    reads, writes = os.pipe()
    failed, fails = os.pipe()
    child = os.fork()
    if child == 0:
        for source, target in ((given, 0), (writes, 1), (fails, 2)):
            os.dup2(source, target)
        sys.stdin = os.fdopen(0, closefd=False, encoding="utf-8")
        sys.stdout = os.fdopen(1, "w", closefd=False, encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", closefd=False, encoding="utf-8")
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
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8")
        sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), encoding="utf-8")
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
    printed = ended.output + ended.errors
    is_sentence = ended.errors.startswith("packlight: ") and ended.errors.count("\n") == 1
    raw = next((mark for mark in printed if not shown(mark)), "")
    checks = (
        (f"exit {ended.code}", ended.code in (0, 1, 2)),
        (f"a bug, with exit {ended.code}", "This is a bug" not in printed),
        ("a traceback", "Traceback" not in printed),
        ("exit 2 without one sentence", ended.code != BAD_INPUT or is_sentence),
        ("a warning of a library", "Warning:" not in ended.errors),
        (f"a raw {raw!r}", not raw),
        (f"{ended.seconds:.0f} s of processor time", ended.seconds <= CPU_SECONDS),
        (f"{ended.memory / 2**30:.1f} GiB of memory", ended.memory <= MEMORY),
    )
    return next((reason for reason, holds in checks if not holds), "")


def shown(mark: str) -> bool:
    """Test whether a terminal shows a character and does nothing else."""
    return mark.isprintable() or mark == "\n"
