"""Integer arithmetic on kernels for processors without VNNI, on a processor that has it.

    python benchmarks/without_vnni.py --cases efficientnet --samples 40

Runs ``integers.py`` with the copy of ONNX Runtime that ``packlight portability --cpu x86-avx2``
uses, whose kernels are those for AVX2. It is used only if its sums of pairs then saturate. Files
come from ``integers.py`` where it made them, before it is run so. Arguments are those of
``integers.py``.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from packlight.machines.without_vnni import copy_without_vnni, environment_with
from sources import HERE

CHECK = "import sys; from packlight.runtime import machine; sys.exit(not machine().saturates)"


def main() -> None:
    """Make the copy, check it, and run the benchmark with it."""
    with TemporaryDirectory(prefix="packlight-without-vnni-") as folder:
        places = copy_without_vnni(Path(folder))
        env = environment_with(Path(folder))
        check = subprocess.run([sys.executable, "-c", CHECK], env=env, check=False)
        if check.returncode:
            raise SystemExit("sums of pairs do not saturate in the copy, or it does not run")
        print(f"{places} places changed; sums of pairs saturate\n", flush=True)
        command = [sys.executable, str(HERE / "integers.py"), *sys.argv[1:]]
        raise SystemExit(subprocess.run(command, env=env, check=False).returncode)


if __name__ == "__main__":
    main()
