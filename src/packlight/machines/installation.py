"""Install the emulator, with the package managers of the user and into a folder of the user.

Nothing of the system is changed: apt-get works on lists and an empty status of its own, so that it
finds what an arm64 Python needs, and its packages are unpacked, not installed.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from packlight.disk import disk_reason
from packlight.errors import DeviceError
from packlight.machines.emulation import (
    ARM,
    BASE,
    MANIFEST,
    PACKAGES,
    QEMU,
    emulator_folder,
    write_processor_root,
)
from packlight.presentation.printable import printable

TOOLS = ("apt-get", "dpkg-deb")
DEBIAN_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
QEMU_PACKAGE = "qemu-user-static"
QEMU_NAMES = (QEMU, "qemu-aarch64")
WHEELS = ("onnxruntime", "numpy")
PLATFORMS = tuple(f"manylinux_2_{minor}_aarch64" for minor in (39, 35, 34, 31, 28, 27, 24, 17))
OLDEST_PYTHON = (3, 11)
DOWNLOAD_MB = 150
DISK_MB = 220
"""Sizes with Debian 12 and ONNX Runtime 1.31, as counted; other versions differ a little."""

LONGEST_REASON = 300
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Installation:
    """How the emulator would be installed here.

    Attributes:
        folder: where it goes.
        qemu: of the system; empty where it is downloaded as well.
    """

    folder: Path
    qemu: str

    def steps(self) -> tuple[str, ...]:
        """Sentences on what is done, for the user to agree to."""
        debian = [*DEBIAN_PACKAGES, *([] if self.qemu else [QEMU_PACKAGE])]
        wheels = ", ".join(f"{name} {version(name)}" for name in WHEELS)
        return (
            f"apt-get downloads {', '.join(debian)} and what they need, for arm64, from the "
            "sources of this system.",
            f"dpkg-deb unpacks them to {self.folder}; nothing is installed in the system, and no "
            "right of an administrator is needed.",
            f"pip downloads the aarch64 wheels of {wheels}, and they are unpacked there too.",
            f"About {DOWNLOAD_MB} MB are downloaded; {DISK_MB} MB stay on the disk.",
        )


def installation() -> Installation:
    """The installation that is possible here.

    Raises:
        DeviceError: none is.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise DeviceError(
            f"Arm processors are emulated on Linux with x86-64; this is {sys.platform} with "
            f"{platform.machine()}. Measure on a machine of that kind with --agent"
        )
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise DeviceError(
            f"the emulator is installed with Debian's tools, and {missing[0]} is not here. Measure "
            "on a machine of that kind with --agent"
        )
    qemu = next(filter(None, map(shutil.which, QEMU_NAMES)), "")
    return Installation(emulator_folder(), qemu)


def install(plan: Installation, report: Report) -> None:
    """Download and unpack the emulator; what was installed before is replaced at the end.

    Args:
        plan: from ``installation``.
        report: called with the step that starts.

    Raises:
        DeviceError: a step fails; the message says which.
    """
    draft = plan.folder.with_name(f".{plan.folder.name}.{os.getpid()}")
    try:
        draft.mkdir(parents=True)
        try:
            _fill(draft, plan, report)
            shutil.rmtree(plan.folder, ignore_errors=True)
            draft.rename(plan.folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise DeviceError(f"'{plan.folder}' cannot be written: {disk_reason(error)}") from error


def _fill(folder: Path, plan: Installation, report: Report) -> None:
    """Put everything into a new folder."""
    apt = AptFolder(folder / "apt")
    report("reading the package lists")
    apt.run("update")
    report("downloading packages of Debian")
    qemu_package = [] if plan.qemu else [f"{QEMU_PACKAGE}:amd64"]
    apt.run("install", "--yes", "--download-only", *DEBIAN_PACKAGES, *qemu_package)
    report("unpacking them")
    for package in sorted(apt.archives.glob("*.deb")):
        target = folder / ("emulator" if package.name.startswith(QEMU_PACKAGE) else BASE)
        _run(["dpkg-deb", "--extract", str(package), str(target)])
    qemu = plan.qemu
    if not qemu:
        (folder / "emulator" / "usr" / "bin" / QEMU).rename(folder / QEMU)
        shutil.rmtree(folder / "emulator")
        qemu = str(plan.folder / QEMU)
    shutil.rmtree(apt.folder)
    python = _python_version(folder / BASE)
    report("downloading wheels")
    _unpack_wheels(folder, python)
    for cpu in ARM:
        write_processor_root(folder, cpu)
    versions = {name: version(name) for name in WHEELS}
    manifest = {"qemu": qemu, "python": python, **versions}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))


class AptFolder:
    """Lists, status and archives of apt-get, apart from those of the system.

    Attributes:
        folder: that holds them.
        archives: downloaded packages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archives = folder / "cache" / "archives"
        (folder / "state" / "lists" / "partial").mkdir(parents=True)
        (self.archives / "partial").mkdir(parents=True)
        (folder / "status").touch()

    def run(self, *arguments: str) -> None:
        """Run apt-get for arm64, with the sources and settings of the system.

        Raises:
            DeviceError: it fails.
        """
        options = {
            "APT::Architecture": "arm64",
            "Dir::State": self.folder / "state",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
        }
        chosen = [f"--option={key}={value}" for key, value in options.items()]
        chosen += [f"--option=APT::Architectures::={name}" for name in ("arm64", "amd64")]
        _run(["apt-get", "--quiet", *chosen, *arguments])


def _unpack_wheels(folder: Path, python: str) -> None:
    """Download wheels for the emulated Python and unpack them."""
    wheels = folder / "wheels"
    platforms = [f"--platform={name}" for name in (*PLATFORMS, "manylinux2014_aarch64")]
    exact = [f"{name}=={version(name)}" for name in WHEELS]
    _run([
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--only-binary=:all:", *platforms, f"--python-version={python}",
        "--implementation=cp", f"--dest={wheels}", *exact,
    ])  # fmt: skip
    for wheel in wheels.glob("*.whl"):
        shutil.unpack_archive(wheel, folder / PACKAGES, "zip")
    shutil.rmtree(wheels)


def _python_version(base: Path) -> str:
    """Version of the Python that was unpacked, as ``3.11``.

    Raises:
        DeviceError: it is too old, or none.
    """
    pythons = sorted((base / "usr" / "bin").glob("python3.[0-9]*"))
    python = pythons[-1].name.removeprefix("python") if pythons else "none"
    parts = tuple(int(part) for part in python.split(".") if part.isdigit())
    if parts < OLDEST_PYTHON:
        raise DeviceError(
            f"the emulator needs Python 3.11 or newer; the sources of this system have {python}"
        )
    return python


def _run(command: Sequence[str]) -> None:
    """Run a command of a package manager.

    Raises:
        DeviceError: it fails, with its last line.
    """
    done = subprocess.run(  # noqa: S603 - no shell runs
        command, capture_output=True, text=True, errors="replace", check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
        tool = Path(command[0]).name
        raise DeviceError(f"{tool} failed: {printable(lines[-1][:LONGEST_REASON])}")
