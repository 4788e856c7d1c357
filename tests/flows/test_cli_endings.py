"""How commands end: exit codes, one message for bad input, help, and what loads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from packlight.cli.app import VERBS
from packlight.cli.exit_codes import error_message

FIT = ("fit", "zoo:fashion", "--task", "few.npz")
BAD = {
    "no such verb": ("frobnicate",),
    "no such option": ("demo", "--frobnicate"),
    "a missing argument": ("fit",),
    "a missing option": ("fit", "zoo:fashion"),
    "a number out of range": ("demo", "--threads", "0"),
    "no such model": ("profile", "nothing.onnx"),
    "no such model in the zoo": ("profile", "zoo:nothing"),
    "a folder for a model": ("profile", "."),
    "a text for a model": ("profile", "text.txt"),
    "an empty model": ("profile", "empty.onnx"),
    "a path with a newline": ("profile", "no\nthing.onnx"),
    "a path that is not unicode": ("profile", os.fsdecode(b"\xff.onnx")),
    "no such task": ("evaluate", "zoo:fashion", "--task", "nothing.npz"),
    "no such task in the zoo": ("evaluate", "zoo:fashion", "--task", "zoo:nothing"),
    "a text for a task": ("evaluate", "zoo:fashion", "--task", "text.txt"),
    "a task that fails": ("evaluate", "zoo:fashion", "--task", "broken.py:task"),
    "a budget without a number": (*FIT, "--budget", "size<=small"),
    "a budget of another unit": (*FIT, "--budget", "size<=3ms"),
    "a budget on the unknown": (*FIT, "--budget", "beauty<=3", "--recipe", "simplify"),
    "no such method": (*FIT, "--budget", "size<=1x", "--recipe", "magic"),
    "no such recipe file": (*FIT, "--budget", "size<=1x", "--recipe", "nothing.toml"),
    "a recipe that is no TOML": (*FIT, "--budget", "size<=1x", "--recipe", "bad.toml"),
    "a recipe of another form": (*FIT, "--budget", "size<=1x", "--recipe", "list.json"),
    "an old method": ("compress", "zoo:fashion", "--recipe", "tidy", "-o", "m.onnx"),
    "an old method in a file": ("compress", "zoo:fashion", "--recipe", "old.toml", "-o", "m.onnx"),
    "an old option in a file": ("compress", "zoo:fashion", "--recipe", "old.json", "-o", "m.onnx"),
    "a project that is a file": (*FIT, "--budget", "size<=1x", "--project", "text.txt"),
    "a project in a file": (*FIT, "--budget", "size<=1x", "--project", "text.txt/P"),
    "a project that is something else": (*FIT, "--budget", "size<=1x", "--project", "full"),
    "an output that is a folder": ("compress", "zoo:fashion", "--recipe", "simplify", "-o", "full"),
    "an output nowhere": ("compress", "zoo:fashion", "--recipe", "simplify", "-o", "no/where.onnx"),
    "an output that is a pipe": ("compress", "zoo:fashion", "--recipe", "simplify", "-o", "pipe"),
    "a report nowhere": (
        "compare", "zoo:fashion", "zoo:fashion", "--task", "zoo:fashion", "--report", "no/r.html",
    ),
    "a report that is a pipe": (
        "compare", "zoo:fashion", "zoo:fashion", "--task", "zoo:fashion", "--report", "pipe",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, few) -> Path:
    """Files that are not what they are taken for."""
    made = tmp_path_factory.mktemp("bad")
    (made / "text.txt").write_text("not a model\n")
    (made / "empty.onnx").touch()
    shutil.copyfile(few, made / "few.npz")
    (made / "broken.py").write_text("def task():\n    return 1 / 0\n")
    (made / "bad.toml").write_text("steps = [")
    (made / "list.json").write_text("[1, 2]")
    (made / "old.toml").write_text('[[steps]]\nmethod = "equalise"\n')
    old = '{"steps": [{"method": "weights", "config": {"aim": "original"}}]}'
    (made / "old.json").write_text(old)
    os.mkfifo(made / "pipe")
    (made / "full").mkdir()
    (made / "full" / "thesis.txt").touch()
    return made


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_bad_input_gets_one_message_and_exit_code_2(arguments, run, folder):
    done = run(*arguments, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert not done.stdout
    assert done.stderr.startswith("packlight: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_an_unreadable_model_gets_a_message(run, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (tmp_path / "m.onnx").write_bytes(b"x")
    (tmp_path / "m.onnx").chmod(0)
    done = run("profile", "m.onnx", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_debug_shows_where_a_message_comes_from(run, tmp_path):
    for arguments, environment in (
        (("profile", "nothing.onnx", "--debug"), {}),
        (("profile", "nothing.onnx"), {"PACKLIGHT_DEBUG": "1"}),
    ):
        done = run(*arguments, cwd=tmp_path, **environment)
        assert done.returncode == 2
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("packlight: there is no file")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, run, tmp_path):
    done = run(verb, "--help", cwd=tmp_path, COLUMNS="80")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert "\n  Example" in done.stdout
    assert f"\n    packlight {verb} " in done.stdout
    assert "\\b" not in done.stdout
    assert ("--json" in done.stdout) != (verb in {"studio", "report"})
    first = done.stdout.split("Example")[0]
    assert all(len(line) <= 80 for line in first.splitlines())


def test_without_a_verb_the_help_is_shown(run, tmp_path):
    done = run(cwd=tmp_path)
    assert done.returncode == 0
    assert all(f"  {verb} " in done.stdout for verb in VERBS)


def test_a_closed_pipe_is_no_error(tmp_path):
    command = f"'{sys.executable}' -m packlight profile zoo:fashion --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "{"
    assert not done.stderr


def test_output_that_cannot_be_written_is_bad_input(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "packlight", "--help"],
            check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "packlight: the system refused: No space left on device\n"


INTERRUPTED = {
    "Ctrl-C": "stop(signal.SIGINT)",
    "SIGTERM": "stop(signal.SIGTERM)",
    "an error of compiled code that was interrupted": """
    try:
        stop(signal.SIGINT)
    except KeyboardInterrupt as error:
        raise SystemError("returned a result with an exception set") from error
    """,
    "an error after an interruption that nobody saw": """
    with contextlib.suppress(KeyboardInterrupt):
        stop(signal.SIGTERM)
    raise ValueError("half a result")
    """,
    "a thread that goes on": """
    threading.Thread(target=time.sleep, args=(600,)).start()
    stop(signal.SIGINT)
    """,
    "a search that keeps what it measured": """
    with exit_codes.resumable(pathlib.Path(".")):
        try:
            stop(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error
    """,
}
STOPPING = """
import contextlib, os, pathlib, signal, sys, threading, time
from packlight.cli import exit_codes, lessons, main

signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it

def stop(number):
    os.kill(os.getpid(), number)
    time.sleep(60)

def verb() -> int:
    print("so far")
    {body}

lessons.lessons = verb
sys.argv = ["packlight", "lessons"]
sys.exit(main())
"""


@pytest.mark.parametrize("body", INTERRUPTED.values(), ids=INTERRUPTED)
def test_whatever_an_interruption_becomes_the_command_ends_as_interrupted(body, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", STOPPING.format(body=body.strip())],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert done.stdout == "so far\n"
    assert done.stderr.startswith("packlight: interrupted")
    assert ("to resume" in done.stderr) == ("resumable" in body)
    assert done.stderr.count("\n") == 1


def loaded(code: str) -> set[str]:
    """Names of the modules that are loaded after running some Python."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return set(done.stdout.split())


HEAVY = {"numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "scipy", "sqlalchemy", "rich"}


def test_importing_packlight_loads_nothing_heavy():
    found = loaded("import packlight")
    assert "packlight" in found
    assert not found & {*HEAVY, "typer", "packlight.records"}


def test_help_loads_nothing_heavy():
    code = (
        "import contextlib, io, sys\n"
        "from packlight.cli import main\n"
        "sys.argv = ['packlight', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n    assert main() == 0"
    )
    assert not loaded(code) & HEAVY


def test_memory_that_runs_out_is_not_blamed_on_samples_alone():
    assert "a smaller model, or fewer or smaller samples" in error_message(MemoryError())[1]


def test_what_compiled_code_prints_while_a_command_works_leaves_stdout_to_the_result():
    code = (
        "import ctypes, sys\n"
        "from packlight.cli.screen import working\n"
        "with working():\n"
        "    ctypes.CDLL(None).printf(b'of a library\\n')\n"
        "    print('of a task')\n"
        "print('the result')\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "the result\n"
    assert sorted(done.stderr.splitlines()) == ["of a library", "of a task"]
