"""Every verb in a clean home: no file is left in it, and no process asks for a connection.

ONNX Runtime 1.31 keeps a device id and a queue of events in the user's cache folder, and an
uploader, unless it is told not to before it is first imported. The test watches the home and the
folder for temporary files, and asks the system for every call that could reach a network.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from packlight.backends.formats import FORMATS, format_capabilities
from packlight.exporting.formats import is_installed
from packlight.model import save
from packlight.testing.sketch import Sketch, value_info

STRACE = shutil.which("strace")
CALLS = "connect,sendto,sendmsg,bind,execve"
PIP = re.compile(r'execve\(.*"(\S*/)?pip[\d.]*"')
FIT = ("fit", "zoo:fashion", "--task", "few.npz", "--recipe", "simplify+weights:8", "--seconds",
       "0.05", "--budget", "size<=0.5x", "--project", "P")  # fmt: skip
VERBS = {
    "profile": ("profile", "zoo:fashion", "--download"),
    "a measured profile": ("profile", "zoo:fashion", "--measure", "--seconds", "0.1"),
    "plan": ("plan", "zoo:fashion", "--device", "pixel-8"),
    "compress": ("compress", "zoo:fashion", "--recipe", "best4", "--task", "few.npz", "-o",
                 "a.onnx"),
    "evaluate": ("evaluate", "smaller.onnx", "--task", "few.npz", "--reference", "zoo:fashion"),
    "compare": ("compare", "zoo:fashion", "smaller.onnx", "--task", "few.npz", "--report", "r.html",
                "--samples", "s.csv", "--seconds", "0.05"),
    "layers": ("layers", "zoo:fashion", "smaller.onnx", "--task", "few.npz", "--limit", "4"),
    "diagnose": ("diagnose", "zoo:fashion", "smaller.onnx", "--limit", "4", "--seconds", "0.05"),
    "fit": FIT,
    "portability": ("portability", "zoo:fashion", "--task", "few.npz", "--cpu", "x86-avx2",
                    "--limit", "4"),
    "init-task": ("init-task", "zoo:fashion", "-o", "t.py"),
    "devices": ("devices", "show", "pixel-8"),
    "lessons": ("lessons",),
}  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="homes and calls of Linux")


def watched(
    folder: Path, *command: str
) -> tuple[subprocess.CompletedProcess[str], str, list[Path]]:
    """Run a command with a home and a folder for temporary files of its own.

    Returns:
        How it ended; the calls that could reach a network, and starts of pip; what it left in both
        folders.
    """
    home, scratch = folder / "home", folder / "tmp"
    home.mkdir()
    scratch.mkdir()
    log = folder / "calls.txt"
    log.touch()
    traced = [STRACE, "-f", "-qq", "-e", f"trace={CALLS}", "-o", str(log)] if STRACE else []
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "PYTHONPATH") if key in os.environ}
    done = subprocess.run(
        [*traced, *command],
        check=False, cwd=folder, env={**kept, "HOME": str(home), "TMPDIR": str(scratch)},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    left = [path for place in (home, scratch) for path in place.rglob("*")]
    lines = log.read_text().splitlines()
    unwanted = [line for line in lines if "AF_INET" in line or PIP.search(line)]
    return done, "\n".join(unwanted), left


@pytest.fixture
def folder(tmp_path, few, smaller):
    shutil.copyfile(few, tmp_path / "few.npz")
    shutil.copyfile(smaller, tmp_path / "smaller.onnx")
    return tmp_path


OFTEN = ("plan", "compress", "fit")
"""Verbs that are watched every time; the others are slow."""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(words, id=name, marks=() if name in OFTEN else pytest.mark.slow)
        for name, words in VERBS.items()
    ],
)
def test_a_verb_leaves_nothing_at_home_and_asks_for_no_connection(arguments, folder):
    done, calls, left = watched(folder, sys.executable, "-m", "packlight", *arguments)

    assert done.returncode in (0, 1), done.stderr
    assert not calls
    assert left == []


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A network that every format holds as it is."""
    draw = Sketch(17)
    hidden = draw.add("Relu", draw.add("MatMul", "words", draw.weight(16, 8)))
    logits = draw.add("Gemm", hidden, draw.weight(8, 4), draw.weight(4))
    model = draw.model("words", [value_info("words", (1, 16))], {logits: (1, 4)})
    path = tmp_path_factory.mktemp("words") / "words.onnx"
    save(model, path)
    return path


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_asks_for_no_connection_and_installs_nothing(to, words, tmp_path):
    """OpenVINO brings a package that reports use; its converter calls it, its reader does not."""
    if not is_installed(to):
        pytest.skip(f"pip install 'packlight[{format_capabilities(to).extra}]' for {to}")
    command = ("export", str(words), "--to", to, "-o", "bundle", "--samples", "4")
    done, calls, left = watched(tmp_path, sys.executable, "-m", "packlight", *command)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle" / "bundle.json").is_file()
    assert not calls
    # PyTorch makes an empty folder for its compiler's caches when ExecuTorch imports it
    assert [path for path in left if not path.name.startswith("torchinductor_")] == []


NETWORK = "import torch\n\ndef make():\n    return torch.nn.Linear(4, 3), (torch.zeros(1, 4),)\n"


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is an extra")
def test_a_plan_for_a_pytorch_network_sends_and_leaves_nothing(folder):
    (folder / "net.py").write_text(NETWORK)
    command = (sys.executable, "-m", "packlight", "plan", "net.py:make", "--device", "pixel-8")
    done, calls, left = watched(folder, *command)

    assert done.returncode in (0, 1), done.stderr
    assert not calls
    assert left == []


def test_the_watch_sees_what_onnxruntime_does_when_nobody_tells_it_not_to(tmp_path):
    """The file it leaves, where this version has telemetry at all, and a connection of Python's."""
    import onnxruntime

    code = "import onnxruntime as o; o.InferenceSession; o.get_available_providers()"
    _, _, left = watched(tmp_path, sys.executable, "-c", code)
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 31):
        assert any("deviceid" in path.name for path in left)


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_the_watch_sees_a_connection(tmp_path):
    code = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    _, calls, _ = watched(tmp_path, sys.executable, "-c", code)

    assert "connect(" in calls


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_the_watch_sees_a_start_of_pip(tmp_path):
    _, calls, _ = watched(tmp_path, sys.executable, "-m", "pip", "--version")

    assert "execve(" in calls


def test_a_program_that_imported_onnxruntime_first_is_told_too():
    code = (
        "import os, onnxruntime\n"
        "told = []\n"
        "onnxruntime.disable_telemetry_events = lambda: told.append(True)\n"
        "import packlight.runtime.calls\n"
        "print(told, os.environ['ORT_DISABLE_TELEMETRY'])\n"
    )
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=environment)  # fmt: skip

    assert done.stdout == "[True] 1\n"


IMPORT = re.compile(r"^(import|from) (onnxruntime|nncf|aimet\w*|coremltools)\b", re.MULTILINE)


def test_no_script_of_the_benchmarks_lets_onnxruntime_send():
    """Those of the peers run in environments without packlight."""
    root = Path(__file__).parents[2] / "benchmarks"
    texts = {path.name: path.read_text() for path in root.rglob("*.py")}
    starts = {name: found.start() for name, text in texts.items() if (found := IMPORT.search(text))}
    sending = [name for name, start in starts.items()
               if "ORT_DISABLE_TELEMETRY" not in texts[name][:start]]  # fmt: skip

    assert len(starts) > 5
    assert sending == []
