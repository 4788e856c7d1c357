"""Source lines of operators, from the metadata that PyTorch's exporters leave.

The newer exporter stores a stack trace, outermost call first, and the modules around an operator;
the older one puts the modules into its name, as ``/blocks.0/conv/Conv``.
Source: torch.onnx, keys ``pkg.torch.onnx.*`` of metadata_props, as torch 2.13 writes them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import PurePath, PurePosixPath, PureWindowsPath

import onnx_ir as ir

from packlight.records import SourceLine

NOTE = "pkg.torch.onnx."
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
"""A call in a stack trace, as Python prints it."""

INSIDE_TORCH = re.compile(r"(^|[/\\])torch[/\\](nn|fx|onnx|export|_\w+|utils|autograd)[/\\]")
"""Files whose lines do not belong to the model."""

NETWORK = "."
"""Module path of the network itself."""

INVENTED = "_empty_nn_module_stack"
"""Start of the scope that the exporter writes where it knows none."""


def source_of(node: ir.Node) -> SourceLine | None:
    """The source line of an operator; None where no exporter stored it."""
    trace = node.metadata_props.get(f"{NOTE}stack_trace", "")
    scopes = node.metadata_props.get(f"{NOTE}name_scopes", "")
    file, line = innermost_call(trace)
    module = module_path(scopes) if scopes else module_in_name(str(node.name or ""))
    if not file and not module:
        return None
    return SourceLine(file, line, module)


def innermost_call(trace: str) -> tuple[str, int]:
    """File and line of the innermost call outside PyTorch; of the innermost if all are inside."""
    calls = [(match["file"], int(match["line"])) for match in FRAME.finditer(trace)]
    outside = [call for call in calls if not INSIDE_TORCH.search(call[0])]
    return (outside or calls or [("", 0)])[-1]


def module_path(scopes: str) -> str:
    """Path of the innermost module, from a list of paths that ends with the operation's name."""
    try:
        paths = ast.literal_eval(scopes)
    except (SyntaxError, ValueError):
        return ""  # written by another tool
    if not isinstance(paths, list) or len(paths) < MODULE_AND_NAME:
        return ""
    module = str(paths[-2])
    return "" if module.startswith(INVENTED) else module or NETWORK


MODULE_AND_NAME = 2


def module_in_name(name: str) -> str:
    """Path of the module from a name as ``/blocks.0/conv/Conv``; the last piece is the operator."""
    start, *pieces = name.split("/")
    if start or not pieces:
        return ""
    return ".".join(pieces[:-1]) or NETWORK


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
    return PureWindowsPath(file) if "\\" in file else PurePosixPath(file)
