"""Kernels of ONNX Runtime for x86 processors without VNNI, on a processor that has it.

A copy of ONNX Runtime is made to believe that the system does not save the registers of AVX-512, so
that it computes with its kernels for AVX2, as on a processor of 2013 to 2019; the silicon stays
that of this machine. The copy differs in two bytes at each place where the library asks
(``xgetbv``, and what follows is made to clear these bits). Whether its sums of pairs then saturate,
is for the caller to test.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path

from packlight.errors import DeviceError

QUERY = bytes.fromhex("31c9 0f01d0 89c0 48c1e220 4809c2 48f7d0")
"""xor ecx, ecx; xgetbv; mov eax, eax; then the halves are put together and inverted."""

CLEARED = bytes.fromhex("31c9 0f01d0 241f 48c1e220 4809c2 48f7d0")
"""The same with ``and al, 0x1f`` in place of a move that does nothing."""

X86 = ("x86_64", "AMD64")


def copy_without_vnni(folder: Path) -> int:
    """Copy this ONNX Runtime into a folder, with its kernels for AVX2 alone.

    Args:
        folder: where the package ``onnxruntime`` is made.

    Returns:
        Places that were changed, at least one.

    Raises:
        DeviceError: this processor is of another kind, or this build asks in another way.
    """
    if platform.machine() not in X86:
        raise DeviceError(
            f"kernels for AVX2 run on x86 processors only; this one is {platform.machine()}"
        )
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent
    copy = folder / source.name
    shutil.copytree(source, copy)
    places = 0
    for library in (copy / "capi").glob("*.so*"):
        code = library.read_bytes()
        places += code.count(QUERY)
        library.write_bytes(code.replace(QUERY, CLEARED))
    if not places:
        raise DeviceError(
            "this build of ONNX Runtime asks for AVX-512 in another way, so its kernels for AVX2 "
            "cannot be chosen; leave x86-avx2 out"
        )
    return places


def environment_with(folder: Path) -> dict[str, str]:
    """This environment, with a folder before all others where Python looks for packages."""
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
