"""Where operators come from, by the notes that PyTorch's exporters leave.

The newer exporter notes a stack trace, outermost call first, and the modules around an operator;
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
"""Files whose lines say nothing about the model."""

NETWORK = "."
"""Module path of the network itself."""

INVENTED = "_empty_nn_module_stack"
"""Start of the scope that the exporter notes where it knows none."""


def source_of(node: ir.Node) -> SourceLine | None:
    """Where an operator comes from; None where no exporter said."""
    trace = node.metadata_props.get(f"{NOTE}stack_trace", "")
    scopes = node.metadata_props.get(f"{NOTE}name_scopes", "")
    file, line = innermost(trace)
    module = module_path(scopes) if scopes else module_in_name(str(node.name or ""))
    return SourceLine(file, line, module) if file or module else None


def innermost(trace: str) -> tuple[str, int]:
    """File and line of the innermost call outside PyTorch; of the innermost if all are inside."""
    calls = [(found["file"], int(found["line"])) for found in FRAME.finditer(trace)]
    own = [call for call in calls if not INSIDE_TORCH.search(call[0])]
    return (own or calls or [("", 0)])[-1]


def module_path(scopes: str) -> str:
    """Path of the innermost module, from a list of paths that ends with the operation's name."""
    try:
        paths = ast.literal_eval(scopes)
    except (SyntaxError, ValueError):
        return ""  # a note that somebody else wrote
    modules = [str(path) for path in paths[:-1]] if isinstance(paths, list) else []
    if not modules or modules[-1].startswith(INVENTED):
        return ""
    return modules[-1] or NETWORK


def module_in_name(name: str) -> str:
    """Path of the module from a name as ``/blocks.0/conv/Conv``; the last piece is the operator."""
    start, *pieces = name.split("/")
    return ".".join(pieces[:-1]) or NETWORK if pieces and not start else ""


def short_names(files: Iterable[str]) -> dict[str, str]:
    """Paths as people read them: from the package, or below the folder that all files share.

    >>> short_names(["/home/me/net/model.py", "/home/me/net/parts/block.py"])
    {'/home/me/net/model.py': 'model.py', '/home/me/net/parts/block.py': 'parts/block.py'}
    >>> short_names(["/usr/lib/python3/site-packages/timm/layers/act.py"])
    {'/usr/lib/python3/site-packages/timm/layers/act.py': 'timm/layers/act.py'}
    """
    given = sorted({file for file in files if file})
    paths = {file: pure(file).parts for file in given}
    packaged = {file: after_packages(parts) for file, parts in paths.items()}
    own = [parts[:-1] for file, parts in paths.items() if not packaged[file]]
    shared = 0
    while (
        own and all(len(folder) > shared for folder in own) and len({f[shared] for f in own}) == 1
    ):
        shared += 1
    return {file: "/".join(packaged[file] or paths[file][shared:]) for file in given}


def after_packages(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The part of a path below the folder of installed packages; empty where it is not in one."""
    places = [at for at, part in enumerate(parts) if part in ("site-packages", "dist-packages")]
    return parts[places[-1] + 1 :] if places else ()


def pure(file: str) -> PurePath:
    """A path of any machine."""
    return PureWindowsPath(file) if "\\" in file else PurePosixPath(file)
