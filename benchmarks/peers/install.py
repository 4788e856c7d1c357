"""Make a virtual environment for each peer, from its pinned requirements.

python benchmarks/peers/install.py        # all of them, a few GB and minutes
python benchmarks/peers/install.py nncf   # some of them

torch is a requirement of all four; on a machine without a GPU its CPU build is enough, and pip
takes it from PyTorch's own index when told so by --extra-index-url in PIP_EXTRA_INDEX_URL.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENVS = HERE.parent / ".cache" / "venvs"
PEERS = ("coremltools", "aimet", "nncf", "onnxruntime")


def python(peer: str) -> Path:
    """The interpreter of a peer's environment."""
    return VENVS / peer / "bin" / "python"


def install(peer: str) -> None:
    """Make or complete the environment of a peer."""
    if not python(peer).exists():
        venv.create(VENVS / peer, with_pip=True)
    subprocess.run(
        [python(peer), "-m", "pip", "install", "-q", "-r", HERE / f"{peer}.txt"], check=True
    )


if __name__ == "__main__":
    for name in sys.argv[1:] or PEERS:
        print(f"installing {name}", flush=True)
        install(name)
