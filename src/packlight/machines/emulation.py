"""Arm processors emulated by qemu: where the emulator lies, and how an agent starts in it.

``packlight devices emulate --install`` puts qemu, Debian's arm64 Python and the aarch64 wheels of
numpy and ONNX Runtime into the user's data folder. ONNX Runtime then chooses and runs its real
kernels for Arm. Times mean nothing there.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from packlight.errors import DeviceError

INSTALL = "packlight devices emulate --install"
MANIFEST = "manifest.json"
BASE = "base"
PACKAGES = "packages"
QEMU = "qemu-aarch64-static"
CORES = 4
COMMON = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"


@dataclass(frozen=True, slots=True)
class ArmProcessor:
    """A processor that qemu emulates.

    Attributes:
        title: for people.
        part: number of the design, as Linux states it.
        features: instruction sets, as Linux states them.
    """

    title: str
    part: str
    features: str


ARM = {
    "cortex-a53": ArmProcessor("Arm Cortex-A53, as in a Raspberry Pi 3", "0xd03", COMMON),
    "cortex-a72": ArmProcessor("Arm Cortex-A72, as in a Raspberry Pi 4", "0xd08", COMMON),
    "cortex-a76": ArmProcessor(
        "Arm Cortex-A76, as in a Raspberry Pi 5", "0xd0b",
        f"{COMMON} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp",
    ),
    "neoverse-n1": ArmProcessor(
        "Arm Neoverse N1, as in AWS Graviton2", "0xd0c",
        f"{COMMON} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp",
    ),
}  # fmt: skip
"""Processors by qemu's names of them."""


def emulator_folder() -> Path:
    """Where the emulator is installed: in the user's data folder."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "packlight" / "emulator"


def installed_versions() -> dict[str, str]:
    """Versions of the packages in the emulator; empty where it is not installed.

    Raises:
        DeviceError: the folder holds something else.
    """
    manifest = emulator_folder() / MANIFEST
    if not manifest.exists():
        return {}
    try:
        versions = json.loads(manifest.read_text())
        return {str(name): str(text) for name, text in versions.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DeviceError(
            f"'{manifest}' is damaged: delete its folder and run `{INSTALL}` again"
        ) from error


def is_current() -> bool:
    """Test whether the emulator is installed with this ONNX Runtime."""
    return installed_versions().get("onnxruntime") == version("onnxruntime")


def emulated_agent(cpu: str, agent: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment of an agent on an emulated processor.

    Args:
        cpu: a name in ``ARM``.
        agent: file of the agent.

    Raises:
        DeviceError: the emulator is not installed, or holds another ONNX Runtime.
    """
    versions = installed_versions()
    if not versions:
        raise DeviceError(f"{cpu} needs the emulator: install it once with `{INSTALL}`")
    installed = versions.get("onnxruntime", "none")
    current = version("onnxruntime")
    if installed != current:
        raise DeviceError(
            f"the emulator holds ONNX Runtime {installed}, and this is {current}, so differences "
            f"would not be those of processors: run `{INSTALL}` again"
        )
    folder = emulator_folder()
    python = folder / BASE / "usr" / "bin" / f"python{versions['python']}"
    command = [
        versions["qemu"], "-cpu", cpu, "-L", str(processor_root(folder, cpu)),
        str(python), "-S", "-P", str(agent), "--stdio",
    ]  # fmt: skip
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(folder / PACKAGES),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return command, environment


def processor_root(folder: Path, cpu: str) -> Path:
    """The root of an emulated processor: the common one, and what the system says about it."""
    return folder / "processors" / cpu


def write_processor_root(folder: Path, cpu: str) -> None:
    """Write what Linux would say about a processor; cpuinfo crashes on this machine's own."""
    root = processor_root(folder, cpu)
    system = root / "sys" / "devices" / "system" / "cpu"
    system.mkdir(parents=True)
    (root / "proc").mkdir()
    for name in ("possible", "present"):
        (system / name).write_text(f"0-{CORES - 1}\n")
    (root / "proc" / "cpuinfo").write_text(
        "".join(map(_cpu_text, [ARM[cpu]] * CORES, range(CORES)))
    )
    for path in (folder / BASE).iterdir():
        (root / path.name).symlink_to(Path("..", "..", BASE, path.name))


def _cpu_text(processor: ArmProcessor, number: int) -> str:
    return (
        f"processor\t: {number}\nBogoMIPS\t: 100.00\nFeatures\t: {processor.features}\n"
        f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\n"
        f"CPU part\t: {processor.part}\nCPU revision\t: 1\n\n"
    )
