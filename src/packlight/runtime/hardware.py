"""This machine: the properties that decide how fast and how exactly a model runs."""

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
from packlight.runtime.calls import start_session
from packlight.runtime.isolation.limits import cores, physical_memory

CPUINFO = Path("/proc/cpuinfo")
NAMES = ("model name", "Model", "Processor", "Hardware")
FLAGS = ("flags", "Features")
RELEVANT_SETS = frozenset((
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni",
    "avx_vnni_int8", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
))  # fmt: skip
"""Instruction sets by which ONNX Runtime chooses kernels, as Linux writes them."""

SYSCTL = {
    "hw.optional.neon": "asimd", "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_DotProd": "asimddp", "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16", "hw.optional.arm.FEAT_SME": "sme",
    "hw.optional.avx2_0": "avx2", "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512vnni": "avx512_vnni",
}  # fmt: skip
"""Names of instruction sets in macOS, with those in Linux."""


@cache
def machine() -> Machine:
    """Describe this machine."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=str(cpu_info().get("name") or platform.processor() or platform.machine()),
        architecture=platform.machine(),
        cores=cores(),
        memory=physical_memory(),
        features=instruction_sets(),
        saturates=_int16_sums_saturate(),
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
    )


PRODUCTS = 64
COLUMNS = 16
CODE = 255
WEIGHT = 127
EXPECTED = PRODUCTS * CODE * WEIGHT
"""A sum whose neighboring products exceed 16 bits in pairs."""


def _int16_sums_saturate() -> bool:
    session = start_session(to_bytes(saturation_probe()), "probe", SessionOptions())
    return bool((session.run(probe_inputs())["y"] != EXPECTED).any())


def probe_inputs() -> dict[str, NDArray[np.generic]]:
    """Inputs of the probe."""
    return {"x": np.full((1, PRODUCTS), CODE, np.uint8)}


def saturation_probe() -> Model:
    """The product of unsigned codes with a stored signed weight; each sum is ``EXPECTED``."""
    x = ir.val("x", ir.DataType.UINT8, (1, PRODUCTS))
    y = ir.val("y", ir.DataType.INT32, (1, COLUMNS))
    weight = np.full((PRODUCTS, COLUMNS), WEIGHT, np.int8)
    w = ir.val("w", const_value=ir.tensor(weight, name="w"))
    node = ir.Node("", "MatMulInteger", [x, w], outputs=[y])
    graph = ir.Graph([x], [y], nodes=[node], initializers=[w], opset_imports={"": 13}, name="probe")
    return Model(ir.Model(graph, ir_version=8), "probe")


def cpu_info() -> Mapping[str, str]:
    """Name and flags of the first processor, as the system states them."""
    if CPUINFO.exists():
        return from_cpuinfo()
    return _from_sysctl()


def instruction_sets() -> tuple[str, ...]:
    """Instruction sets by which ONNX Runtime chooses kernels."""
    return relevant_sets(cpu_info().get("flags", ""))


def relevant_sets(flags: str) -> tuple[str, ...]:
    """Those among a processor's flags by which ONNX Runtime chooses kernels."""
    return tuple(sorted(RELEVANT_SETS & set(flags.split())))


def from_cpuinfo(text: str | None = None) -> Mapping[str, str]:
    """Name and flags of the first processor, as Linux states them."""
    rows = [line.partition(":") for line in (text or CPUINFO.read_text()).splitlines()]
    cpu_info = {key.strip(): value.strip() for key, _, value in reversed(rows)}
    name = next((cpu_info[key] for key in NAMES if cpu_info.get(key)), "")
    return {"name": name, "flags": next((cpu_info[key] for key in FLAGS if key in cpu_info), "")}


def _from_sysctl() -> Mapping[str, str]:
    if platform.system() != "Darwin":
        return {}
    flags = [flag for key, flag in SYSCTL.items() if _sysctl(key) == "1"]
    return {"name": _sysctl("machdep.cpu.brand_string"), "flags": " ".join(flags)}


def _sysctl(key: str) -> str:
    command = ["/usr/sbin/sysctl", "-n", key]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if answer.returncode != 0:
        return ""
    return answer.stdout.strip()
