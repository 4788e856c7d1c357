"""Containers and disks that cannot be written: a result, or a sentence that names the cause."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import packlight
from packlight import zoo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and limits of Linux")

NOWHERE = "/proc"
"""A home in which not even the superuser can make a file."""


def own_mounts() -> bool:
    """Whether this user may mount in a space of its own."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A copy of packlight without anything compiled."""
    root = tmp_path_factory.mktemp("site")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(packlight.__file__).parent, root / "packlight", ignore=ignored)
    return root


def run_sealed(package: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command where neither the package nor the home can be written."""
    seal = f"mount --bind '{package}' '{package}' && mount -o remount,ro,bind '{package}' && "
    command = ["unshare", "--mount", "sh", "-c", f'{seal}exec "$@"', "sh"]
    if not own_mounts():
        if os.geteuid() == 0:
            pytest.skip("rights do not bind the superuser, and it may not mount")
        for path in (package, *package.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        command = []
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package), "HOME": NOWHERE}
    return subprocess.run(
        [*command, sys.executable, "-m", "packlight", *map(str, arguments)],
        check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.mark.parametrize(
    "recipe", ["simplify+palette:4", pytest.param("weights:4", marks=pytest.mark.slow)]
)
def test_kernels_compile_where_neither_package_nor_home_can_be_written(recipe, package, tmp_path):
    done = run_sealed(
        package, tmp_path, "compress", "zoo:fashion", "--recipe", recipe, "-o", "a.onnx"
    )

    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert not list(package.rglob("*.nb?"))


@pytest.mark.slow
def test_methods_that_learn_work_there_too(few, package, tmp_path):
    done = run_sealed(package, tmp_path, "compress", "zoo:fashion", "--recipe", "best4",
                      "--task", few, "-o", "a.onnx")  # fmt: skip

    assert done.returncode == 0, done.stderr


LIMITED = {
    "compress": ("m.onnx", "compress", "zoo:fashion", "--recipe", "simplify", "-o", "m.onnx"),
    "profile --csv": ("p.csv", "profile", "zoo:fashion", "--csv", "p.csv"),
    "layers --csv": ("l.csv", "layers", "zoo:fashion", "smaller.onnx", "--task", "few.npz",
                     "--limit", "2", "--csv", "l.csv"),
    "evaluate --samples": ("s.csv", "evaluate", "zoo:fashion", "--task", "few.npz",
                           "--samples", "s.csv"),
    "init-task": ("t.py", "init-task", "zoo:fashion", "-o", "t.py"),
    "fit": ("P", "fit", "zoo:fashion", "--task", "few.npz", "--recipe", "weights:8",
            "--budget", "size<=1x", "--seconds", "0.05", "--project", "P"),
}  # fmt: skip


def full_disk(folder: Path, command: list[str]) -> list[str]:
    """A command in a folder of a disk that is full."""
    disk = folder / "disk"
    lines = (
        f"mkdir -p '{disk}' && mount -t tmpfs -o size=64k tmpfs '{disk}'",
        f"ln -s '{folder}/few.npz' '{folder}/smaller.onnx' '{disk}'",
        f"cat /dev/zero > '{disk}/filler' 2> /dev/null",
        f"cd '{disk}' && exec \"$@\"",
    )
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "sh", *command]


def read_only_disk(folder: Path, command: list[str]) -> list[str]:
    """A command in a folder of a disk that can only be read."""
    mount = f"mount --bind '{folder}' '{folder}' && mount -o remount,ro,bind '{folder}'"
    return ["unshare", "--mount", "sh", "-c", f'{mount} && cd "$0" && exec "$@"', str(folder),
            *command]  # fmt: skip


DISKS: dict[str, tuple[Callable[[Path, list[str]], list[str]], str]] = {
    "full": (full_disk, "the disk is full"),
    "read-only": (read_only_disk, "can only be read"),
}


@pytest.mark.parametrize("arguments", LIMITED.values(), ids=LIMITED)
@pytest.mark.parametrize("disk", DISKS.values(), ids=DISKS)
def test_a_disk_that_takes_nothing_is_called_so(disk, arguments, few, smaller, tmp_path):
    place, sentence = disk
    if not own_mounts():
        pytest.skip("only who may mount has a disk to fill")
    shutil.copyfile(few, tmp_path / "few.npz")
    shutil.copyfile(smaller, tmp_path / "smaller.onnx")
    name, *words = arguments
    before = sorted(path.name for path in tmp_path.iterdir())
    command = [sys.executable, "-m", "packlight", *words]
    done = subprocess.run(
        place(tmp_path, command), check=False, cwd=tmp_path, capture_output=True, text=True,
        timeout=600, env={**os.environ, "TMPDIR": "/tmp"},
    )  # fmt: skip

    assert done.returncode == 2, done.stdout
    assert sentence in done.stderr
    assert f"{name}" in done.stderr
    assert "copy" not in done.stderr
    assert done.stderr.count("\n") == 1
    left = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in left if name != "disk"] == before


def test_temporary_files_that_do_not_fit_are_called_so(few, tmp_path):
    if not own_mounts():
        pytest.skip("only who may mount has a disk to fill")
    shutil.copyfile(zoo.model_path("fashion"), tmp_path / "m.onnx")
    mount = f"mkdir '{tmp_path}/disk' && mount -t tmpfs -o size=100k tmpfs '{tmp_path}/disk'"
    command = ["compare", "m.onnx", "m.onnx", "--task", few, "--quality"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-m",
         "packlight", *map(str, command)],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=600,
        env={**os.environ, "TMPDIR": f"{tmp_path}/disk"},
    )  # fmt: skip

    assert done.returncode == 2, done.stdout
    assert "the disk is full" in done.stderr
    assert f"{tmp_path}/disk" in done.stderr
