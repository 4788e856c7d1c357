"""Source lines of operators, from the metadata that PyTorch's exporters leave.

The newer exporter stores a stack trace, outermost call first, and the modules around an operator;
the older one puts the modules into its name, as ``/blocks.0/conv/Conv``.
Source: torch.onnx, keys ``pkg.torch.onnx.*`` of metadata_props, as torch 2.13 writes them.
"""

from __future__ import annotations

import ast
import re

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
    file, line = _innermost_call(trace)
    module = _module_in_name(str(node.name or ""))
    if scopes:
        module = _module_path(scopes)
    if not file and not module:
        return None
    return SourceLine(file, line, module)


def _innermost_call(trace: str) -> tuple[str, int]:
    calls = [(match["file"], int(match["line"])) for match in FRAME.finditer(trace)]
    outside = [call for call in calls if not INSIDE_TORCH.search(call[0])]
    return (outside or calls or [("", 0)])[-1]


def _module_path(scopes: str) -> str:
    """Path of the innermost module, from a list of paths that ends with the operation's name."""
    try:
        paths = ast.literal_eval(scopes)
    except (SyntaxError, ValueError):
        return ""  # written by another tool
    if not isinstance(paths, list) or len(paths) < MODULE_AND_NAME:
        return ""
    module = str(paths[-2])
    if module.startswith(INVENTED):
        return ""
    return module or NETWORK


MODULE_AND_NAME = 2


def _module_in_name(name: str) -> str:
    start, *pieces = name.split("/")
    if start or not pieces:
        return ""
    return ".".join(pieces[:-1]) or NETWORK
