"""Libraries of the extra ``packlight[metrics]``, imported when a metric first needs them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from packlight.errors import TaskError

MODULES = {
    "jiwer": "jiwer",
    "pycocotools": "pycocotools",
    "sacrebleu": "sacrebleu",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}
"""Package by the name that pip knows -> module that it holds."""


def versions(packages: Sequence[str]) -> list[str]:
    """Version of each package; empty for one that is not installed."""
    return [_version(package) for package in packages]


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  loads slowly

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def check_installed(metric: str, packages: Sequence[str]) -> None:
    """Refuse a metric whose packages are not installed.

    Raises:
        TaskError: one is missing.
    """
    for package in packages:
        if not _version(package):
            raise TaskError(
                f"metric '{metric}' needs {package}, which is not installed: "
                "pip install 'packlight[metrics]'"
            )


def load_library(package: str, submodule: str, metric: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        package: as pip names it.
        submodule: of its module, as ``metrics``; empty for the module itself.
        metric: that needs it, for the message.

    Raises:
        TaskError: the package is not installed.
    """
    check_installed(metric, [package])
    name = MODULES[package]
    if submodule:
        name = f"{name}.{submodule}"
    return import_module(name)
