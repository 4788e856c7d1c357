"""This machine, as far as it decides how fast and how exactly a model runs."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from packlight.model import Model, to_bytes
from packlight.records.machine import Machine
from packlight.records.session import SessionOptions
from packlight.runtime.calls import start
from packlight.runtime.limits import cores, physical_memory

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


@cache
def machine() -> Machine:
    """What this machine is."""
    stated = from_cpuinfo() if CPUINFO.exists() else from_sysctl()
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=str(stated.get("name") or platform.processor() or platform.machine()),
        architecture=platform.machine(),
        cores=cores(),
        memory=physical_memory(),
        features=tuple(sorted(MATTER & set(stated.get("flags", "").split()))),
        saturates=saturates(),
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
    )


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


PRODUCTS, COLUMNS = 64, 16
CODE, WEIGHT = 255, 127
EXPECTED = PRODUCTS * CODE * WEIGHT
"""A sum whose neighbouring products exceed 16 bits in pairs."""


def saturates() -> bool:
    """Whether sums of 8-bit products saturate: tried, for flags do not tell under emulation."""
    session = start(to_bytes(probe()), "probe", SessionOptions())
    return bool((session.run(codes())["y"] != EXPECTED).any())


def codes() -> dict[str, NDArray[np.generic]]:
    """What to feed to the probe."""
    return {"x": np.full((1, PRODUCTS), CODE, np.uint8)}


def probe() -> Model:
    """The product of unsigned codes with a stored signed weight; each sum is ``EXPECTED``."""
    x = ir.val("x", ir.DataType.UINT8, (1, PRODUCTS))
    y = ir.val("y", ir.DataType.INT32, (1, COLUMNS))
    weight = np.full((PRODUCTS, COLUMNS), WEIGHT, np.int8)
    w = ir.val("w", const_value=ir.tensor(weight, name="w"))
    node = ir.Node("", "MatMulInteger", [x, w], outputs=[y])
    graph = ir.Graph([x], [y], nodes=[node], initializers=[w], opset_imports={"": 13}, name="probe")
    return Model(ir.Model(graph, ir_version=8), "probe")
