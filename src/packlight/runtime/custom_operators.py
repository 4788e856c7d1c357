"""Libraries of custom operators, registered in every session of this process and its children.

They come by an environment variable, so that the children that vet files and measure memory have
them too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from packlight.errors import InputError

if TYPE_CHECKING:
    import onnx_ir as ir

VARIABLE = "PACKLIGHT_LIBRARIES"
"""Environment variable with the paths of the libraries."""

KNOWN_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")
"""Domains of operators that ONNX Runtime has, besides its own."""

OWN = ("com.microsoft", "com.ms.")
"""How the names of ONNX Runtime's own domains begin."""


def use_libraries(paths: Sequence[str | Path]) -> None:
    """Register libraries of custom operators in every session from now on.

    Args:
        paths: shared libraries, as ``ops.so``; code in them runs when a session opens.

    Raises:
        InputError: one is no file.
    """
    for path in paths:
        if not Path(path).is_file():
            raise InputError(f"a library of custom operators is a file; there is none at '{path}'")
    os.environ[VARIABLE] = os.pathsep.join(str(Path(path).resolve()) for path in paths)


def libraries() -> list[str]:
    """Paths of the libraries in use."""
    return [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]


def unregistered_domains(model: ir.Model) -> list[str]:
    """Domains of operators that only a library has, where none is in use."""
    if libraries():
        return []
    return sorted(set(_custom_domains(model)))


def _custom_domains(model: ir.Model) -> Iterable[str]:
    defined = {identifier[0] for identifier in model.functions}
    from packlight.model import nodes  # noqa: PLC0415 - the child that measures memory needs none

    for node in nodes(model):
        own = node.domain.startswith(OWN) or node.domain in KNOWN_DOMAINS
        if not own and node.domain not in defined:
            yield node.domain
