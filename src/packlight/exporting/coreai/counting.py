"""Count what a written ``.aimodel`` holds, from its own bytecode."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = "main.mlirb"
BUILD_SPARSE = "coreai.build_sparse_with_bitmask"
SPARSE_TO_DENSE = "coreai.sparse_with_bitmask_to_dense"
PALETTE = ("coreai.lut_to_dense", "coreai.lut_to_sparse_with_bitmask")
GRID = "coreai.blockwise_shift_scale"
CODED_KINDS = {**dict.fromkeys(PALETTE, "palette"), GRID: "grid"}
"""Kinds of weights by the operator that restores their codes."""

RESTORING = (BUILD_SPARSE, *PALETTE, GRID)
CONSTANT = "coreai.constant"
BYTE_BITS = 8
ELEMENT_BITS = re.compile(r"\d+$")
"""Bits at the end of the name of an element's type, as in ``ui4`` or ``f32``."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Contents of a file.

    Attributes:
        numbers: stored in each way, by label of the form.
        bytes: of all constants.
        inputs: names.
        outputs: names.
    """

    numbers: Mapping[str, int]
    bytes: int
    inputs: frozenset[str]
    outputs: frozenset[str]


def read_contents(path: Path) -> Contents:
    """Read a written model and count its stored numbers by encoding."""
    from coreai.authoring import AIProgram, Context  # noqa: PLC0415  an extra
    from coreai_onnx import _ir  # noqa: PLC0415

    context = Context()
    program = AIProgram._load_bytecode(path / PROGRAM, context._mlir_context)
    module = _ir.mlir_module_of(program)
    numbers: Counter[str] = Counter()
    size = 0
    names: dict[str, frozenset[str]] = {"arg_attrs": frozenset(), "res_attrs": frozenset()}
    for operator in _operators(module.operation):
        if operator.name == CONSTANT:
            size += _bytes_of(operator)
        label, elements = _stored(operator)
        numbers[label] += elements
        if operator.name == "coreai.graph":
            names = {key: _names(operator, key) for key in names}
    numbers.pop("", None)
    return Contents(dict(sorted(numbers.items())), size, names["arg_attrs"], names["res_attrs"])


def _operators(operator: Any) -> Iterator[Any]:
    for region in operator.regions:
        for block in region.blocks:
            for inner in block.operations:
                yield inner.operation
                yield from _operators(inner.operation)


def _stored(operator: Any) -> tuple[str, int]:
    """Label and count of the numbers that an operator restores, or that a constant holds."""
    if operator.name == BUILD_SPARSE:
        values, mask = operator.operands
        return f"sparse {_sparse_kind(operator)} {_bits(values)}", _count(mask)
    if operator.name in CODED_KINDS and operator.operands[0].owner.name == CONSTANT:
        codes = operator.operands[0]
        return f"{CODED_KINDS[operator.name]} {_bits(codes)}", _count(codes)
    if operator.name == CONSTANT and _is_float(operator.results[0]):
        value = operator.results[0]
        if not any(reader.name in RESTORING for reader in _readers(value)):
            return f"float {_bits(value)}", _count(value)
    return "", 0


def _sparse_kind(operator: Any) -> str:
    """Kind of the values of a sparse weight, by the operators that read it."""
    for reader in _readers(operator.results[0]):
        if reader.name in PALETTE:
            return "palette"
        if reader.name == SPARSE_TO_DENSE and any(
            later.name == GRID for later in _readers(reader.results[0])
        ):
            return "grid"
    return "float"


def _readers(value: Any) -> list[Any]:
    return [use.owner.operation for use in value.uses]


def _element(value: Any) -> str:
    return str(value.type.element_type)


def _is_float(value: Any) -> bool:
    return _element(value) in ("f16", "f32", "bf16")


def _bits(value: Any) -> int:
    digits = ELEMENT_BITS.search(_element(value))
    if digits is None:
        return 0
    return int(digits.group())


def _count(value: Any) -> int:
    return math.prod(value.type.shape)


def _bytes_of(constant: Any) -> int:
    """Bytes of a constant; one of equal numbers is stored once."""
    value = constant.results[0]
    elements = _count(value)
    if getattr(constant.attributes["value"], "is_splat", False):
        elements = 1
    return -(-elements * _bits(value) // BYTE_BITS)


def _names(operator: Any, key: str) -> frozenset[str]:
    """Names of the inputs or outputs of a graph."""
    if key not in operator.attributes:
        return frozenset()
    return frozenset(re.findall(r'coreai\.name = "([^"]*)"', str(operator.attributes[key])))
