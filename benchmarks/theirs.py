"""The peers' side: a runner in the peer's own environment, and the bytes of what it made."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from judging import judge
from packlight.model import load
from plain import calibration_file, plain_model
from results import Result, place
from sources import HERE
from suite import Case

PEERS = HERE / "peers"
USES = {"nncf": ("densify.py",), "onnxruntime": ("densify.py",)}
"""Files beside the runner that say what a peer's result is."""

HOURS = 3
THREADS = "2"
FEW_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), THREADS)
LAST_WORDS = 160
"""Characters of an error that the table shows."""


def key(chosen: Case, peer: str, setting: Mapping[str, object]) -> Path:
    """Where the result is kept; it is made anew when the runner changes."""
    files = (f"{peer}.txt", f"run_{peer}.py", *USES.get(peer, ()))
    code = [(PEERS / name).read_text() for name in files]
    content = hashlib.sha256(plain_model(chosen).read_bytes()).hexdigest()
    return place(peer, chosen.name, content, dict(setting), code)


def judged(chosen: Case, width: int, peer: str, name: str, setting: Mapping[str, object]) -> Result:
    """Let a peer compress, and judge what it made; a failure is a result too."""
    with TemporaryDirectory(prefix=f"packlight-{peer}-") as folder:
        out = Path(folder) / "made"
        failure = run(chosen, peer, setting, out)
        if failure:
            return Result(chosen.name, width, peer, name, failure=failure)
        report = json.loads(out.with_suffix(".json").read_text())
        made = out.with_suffix(".onnx")
        return Result(
            chosen.name, width, peer, name, size=size_of(made, report["stored"]),
            seconds=report["seconds"], cpu_seconds=report["cpu_seconds"],
            peak_bytes=report["peak_bytes"], remarks=tuple(report["remarks"]),
            **judge(chosen, load(made)),
        )  # fmt: skip


def run(
    chosen: Case, peer: str, setting: Mapping[str, object], out: Path, *, script: str = ""
) -> str:
    """Run a peer, by another script of its own where one is named; why it failed, or nothing."""
    python = installed(peer)
    command = [
        str(python), "-W", "ignore", str(PEERS / (script or f"run_{peer}.py")),
        str(plain_model(chosen)),
        str(calibration_file(chosen)), json.dumps(dict(setting)), str(out),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            timeout=HOURS * 3600, env={**os.environ, **FEW_THREADS, "PYTHONPATH": ""},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done in {HOURS} hours"
    if done.returncode < 0:
        raise SystemExit(f"the run of '{peer}' was ended by signal {-done.returncode}; run again")
    said = [line for line in done.stderr.strip().splitlines() if line.strip()]
    return "" if done.returncode == 0 else (said[-1][:LAST_WORDS] if said else "failed in silence")


def installed(peer: str) -> Path:
    """The interpreter of a peer's environment.

    Raises:
        SystemExit: there is none yet.
    """
    spec = spec_from_file_location("peers_install", PEERS / "install.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    python: Path = module.python(peer)
    if not python.exists():
        raise SystemExit(f"'{peer}' is not installed: python benchmarks/peers/install.py {peer}")
    return python


def size_of(made: Path, stored: Mapping[str, int]) -> int:
    """Bytes of the float file, with each compressed weight as the peer stores it."""
    tensors = {tensor.name: tensor for tensor in onnx.load(made).graph.initializer}
    floats = sum(len(tensors[name].raw_data) for name in stored)
    return made.stat().st_size - floats + sum(stored.values())
