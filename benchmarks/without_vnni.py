"""Integer arithmetic on kernels for processors without VNNI, on a processor that has it.

    python benchmarks/without_vnni.py --cases efficientnet --samples 40

Runs ``integers.py`` with a copy of ONNX Runtime that believes the system does not save the
registers of AVX-512, so that it computes float and integers alike with its kernels for AVX2, as on
a processor of 2013 to 2019; the silicon stays that of this machine. The copy differs in two bytes
at each place where the library asks (``xgetbv``, and what follows is made to clear these bits). It
is used only if its sums of pairs then saturate. Files come from ``integers.py`` where it made them,
before it is run so. Arguments are those of ``integers.py``.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime

from sources import HERE

ASKS = bytes.fromhex("31c9 0f01d0 89c0 48c1e220 4809c2 48f7d0")
"""xor ecx, ecx; xgetbv; mov eax, eax; then the halves are put together and inverted."""

WITHOUT = bytes.fromhex("31c9 0f01d0 241f 48c1e220 4809c2 48f7d0")
"""The same with ``and al, 0x1f`` in place of a move that does nothing."""

CHECK = "import sys; from packlight.runtime import machine; sys.exit(not machine().saturates)"


def copied(folder: Path) -> int:
    """Make the copy; how many places were changed."""
    source = Path(onnxruntime.__file__).parent
    shutil.copytree(source, folder / source.name)
    places = 0
    for library in (folder / source.name / "capi").glob("*.so*"):
        code = library.read_bytes()
        places += code.count(ASKS)
        library.write_bytes(code.replace(ASKS, WITHOUT))
    return places


def main() -> None:
    """Make the copy, check it, and run the benchmark with it."""
    with TemporaryDirectory(prefix="packlight-without-vnni-") as folder:
        places = copied(Path(folder))
        paths = [folder, os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        check = subprocess.run([sys.executable, "-c", CHECK], env=env, check=False)
        if not places:
            raise SystemExit("this build of ONNX Runtime asks in another way; nothing was changed")
        if check.returncode:
            raise SystemExit("sums of pairs do not saturate in the copy, or it does not run")
        print(f"{places} places changed; sums of pairs saturate\n", flush=True)
        command = [sys.executable, str(HERE / "integers.py"), *sys.argv[1:]]
        raise SystemExit(subprocess.run(command, env=env, check=False).returncode)


if __name__ == "__main__":
    main()
