"""Paths of source files as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath, PurePosixPath, PureWindowsPath


def short_names(files: Iterable[str]) -> dict[str, str]:
    """Short paths for people: from the package, or below the folder that all files share.

    >>> short_names(["/home/me/net/model.py", "/home/me/net/parts/block.py"])
    {'/home/me/net/model.py': 'model.py', '/home/me/net/parts/block.py': 'parts/block.py'}
    >>> short_names(["/usr/lib/python3/site-packages/timm/layers/act.py"])
    {'/usr/lib/python3/site-packages/timm/layers/act.py': 'timm/layers/act.py'}
    """
    named = sorted({file for file in files if file})
    paths = {file: _pure_path(file).parts for file in named}
    packaged = {file: after_packages(parts) for file, parts in paths.items()}
    folders = [parts[:-1] for file, parts in paths.items() if not packaged[file]]
    shared = 0
    for names in zip(*folders, strict=False):
        if len(set(names)) > 1:
            break
        shared += 1
    return {file: "/".join(packaged[file] or paths[file][shared:]) for file in named}


def after_packages(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The part of a path below the folder of installed packages; empty outside of one."""
    indices = [
        index for index, part in enumerate(parts) if part in ("site-packages", "dist-packages")
    ]
    return parts[indices[-1] + 1 :] if indices else ()


def _pure_path(file: str) -> PurePath:
    if "\\" in file:
        return PureWindowsPath(file)
    return PurePosixPath(file)
