"""Name and instruction sets of this machine's processor."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
NAMES = ("model name", "Model", "Processor", "Hardware")
FLAGS = ("flags", "Features")
MATTER = frozenset((
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni",
    "avx_vnni_int8", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
))  # fmt: skip
"""Instruction sets that kernels of ONNX Runtime are chosen by, as Linux writes them."""

SYSCTL = {
    "hw.optional.neon": "asimd", "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_DotProd": "asimddp", "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16", "hw.optional.arm.FEAT_SME": "sme",
    "hw.optional.avx2_0": "avx2", "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512vnni": "avx512_vnni",
}  # fmt: skip
"""The same as macOS writes them."""


def stated() -> Mapping[str, str]:
    """Name and flags of the first processor, as the system states them."""
    return from_cpuinfo() if CPUINFO.exists() else from_sysctl()


def features() -> tuple[str, ...]:
    """Instruction sets that kernels of ONNX Runtime are chosen by."""
    return tuple(sorted(MATTER & set(stated().get("flags", "").split())))


def from_cpuinfo(text: str | None = None) -> Mapping[str, str]:
    """Name and flags of the first processor, as Linux states them."""
    rows = [line.partition(":") for line in (text or CPUINFO.read_text()).splitlines()]
    stated = {key.strip(): value.strip() for key, _, value in reversed(rows)}
    name = next((stated[key] for key in NAMES if stated.get(key)), "")
    return {"name": name, "flags": next((stated[key] for key in FLAGS if key in stated), "")}


def from_sysctl() -> Mapping[str, str]:
    """Name and flags as macOS states them; nothing on other systems."""
    if platform.system() != "Darwin":
        return {}
    flags = [flag for key, flag in SYSCTL.items() if sysctl(key) == "1"]
    return {"name": sysctl("machdep.cpu.brand_string"), "flags": " ".join(flags)}


def sysctl(key: str) -> str:
    """One value of macOS; empty for a key that this version does not know."""
    command = ["/usr/sbin/sysctl", "-n", key]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() if answer.returncode == 0 else ""
