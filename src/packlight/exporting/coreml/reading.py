"""Read a written package again: its program, its stored numbers, and how they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.frontend.milproto.load import load as load_program
from coremltools.converters.mil.mil import types

from packlight.exporting.bookkeeping import count_forms, file_sizes
from packlight.exporting.quiet import quiet_output
from packlight.records.export import DenseForm, FloatForm, GridForm, PaletteForm, SparseForm

DATA = "Data/com.apple.CoreML"
PROGRAM = f"{DATA}/model.mlmodel"
WEIGHTS = f"{DATA}/weights"

GRIDS = ("constexpr_blockwise_shift_scale", "constexpr_sparse_blockwise_shift_scale")
PALETTES = ("constexpr_lut_to_dense", "constexpr_lut_to_sparse")
SPARSE = "constexpr_sparse_to_dense"
RESTORING = (*GRIDS, *PALETTES, SPARSE)
CODES = {
    "constexpr_blockwise_shift_scale": "data",
    "constexpr_sparse_blockwise_shift_scale": "nonzero_data",
    "constexpr_lut_to_dense": "indices",
    "constexpr_lut_to_sparse": "indices_nonzero_data",
}
"""Inputs that hold codes or indices, by operator."""

FLOAT_BITS = {types.fp16: 16, types.fp32: 32}


@dataclass(frozen=True, slots=True)
class Contents:
    """Contents of a package.

    Attributes:
        numbers: stored in each way, by label of the form.
        bytes: by kind of content.
        inputs: names.
        outputs: names.
    """

    numbers: Mapping[str, int]
    bytes: Mapping[str, int]
    inputs: frozenset[str]
    outputs: frozenset[str]


def read_function(path: Path) -> Any:
    """The one function of a package, in the classes of coremltools."""
    with quiet_output():
        spec = ct.models.utils.load_spec(str(path))
        program = load_program(spec, spec.specificationVersion, str(path / WEIGHTS))
    return program.functions["main"]


def read_contents(path: Path) -> Contents:
    """Read a package and count its stored numbers by encoding."""
    function = read_function(path)
    sizes = {"weights": file_sizes(path, [WEIGHTS]), "graph": file_sizes(path, [PROGRAM])}
    sizes["metadata"] = file_sizes(path.parent, [path.name]) - sum(sizes.values())
    return Contents(
        numbers=count_forms(_stored(function)),
        bytes=sizes,
        inputs=frozenset(function.inputs),
        outputs=frozenset(var.name for var in function.outputs),
    )


def _stored(function: Any) -> Iterator[tuple[DenseForm | SparseForm, int]]:
    """Form and count of the numbers of each weight."""
    for op in function.operations:
        if op.op_type == SPARSE:
            yield SparseForm(0.0, _values_of(op)), int(np.prod(op.mask.shape))
        elif op.op_type in (GRIDS[0], PALETTES[0]):
            yield _dense(op), int(np.prod(op.outputs[0].shape))
        elif op.op_type == "const" and op.outputs[0].dtype in FLOAT_BITS:
            readers = {reader.op_type for reader in op.outputs[0].child_ops}
            if not readers & set(RESTORING):
                bits = FLOAT_BITS[op.outputs[0].dtype]
                yield FloatForm(bits), int(np.prod(op.outputs[0].shape))


def _values_of(op: Any) -> DenseForm:
    """How the numbers of a sparse weight are stored."""
    producer = op.nonzero_data.op
    if producer.op_type == "const":
        return FloatForm(FLOAT_BITS[op.nonzero_data.dtype])
    return _dense(producer)


def _dense(op: Any) -> DenseForm:
    """The form of codes that an operator restores."""
    bits = op.inputs[CODES[op.op_type]].dtype.get_bitwidth()
    if op.op_type in GRIDS:
        return GridForm(bits)
    return PaletteForm(bits)
