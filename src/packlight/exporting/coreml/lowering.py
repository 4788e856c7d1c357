"""From a graph of ONNX with fixed shapes to a program of MIL, the language of Core ML.

Core ML keeps the order of axes that ONNX has. Numbers are float16 by default, as its neural engine
computes; inputs and outputs stay float32.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from coremltools.converters.mil.mil import Builder
from numpy.typing import NDArray

from packlight.exporting.coreml.stored import Scaled, restore_weight
from packlight.exporting.operator_view import OperatorView, StoredNumbers
from packlight.exporting.weights import StoredWeight
from packlight.records.export import WeightForm

Array = NDArray[Any]
Var = Any
"""A value of MIL."""

Precision = Literal["float16", "float32"]
Result = Var | tuple[Var, ...]
Function = Callable[["Lowering", "Operator"], Result]

FLOATS = {"float16": "fp16", "float32": "fp32"}
"""Names of types in MIL."""

SMALLEST_EPSILON = {"float16": 1e-7, "float32": 0.0}
"""Least number that is added before a division; a smaller one would be 0 in float16."""


@dataclass(slots=True, eq=False)
class Value(StoredNumbers):
    """A value of the graph.

    Attributes:
        name: in ONNX.
        var: in the program, once it is written.
        wide: the same in float32, where the program has it; ``var`` is made from it when it is
            read.
        scaled: a weight without the factors of its table, once it is written.
        array: its numbers, where they are stored.
        weight: its numbers, where they have an encoding.
        shape: in ONNX.
    """

    name: str
    shape: tuple[int, ...]
    var: Var = None
    wide: Var = None
    scaled: Scaled | None = None
    array: Array | None = None
    weight: StoredWeight | None = None

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


Operator = OperatorView[Value]
"""An operator with the values that it reads."""


class Lowering:
    """A program under construction.

    Args:
        precision: of its numbers.
    """

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.values: dict[ir.Value, Value] = {}
        self.recorded: dict[str, tuple[WeightForm, int]] = {}
        self._names: set[str] = set()
        self._constants: dict[Any, Var] = {}
        self._stem = ""

    @property
    def float_type(self) -> str:
        """Name of the type of its floats in MIL."""
        return FLOATS[self.precision]

    def reserve(self, names: Collection[str]) -> None:
        """Keep names for inputs and outputs."""
        self._names.update(names)

    def begin(self, node: ir.Node) -> None:
        """Name what is written from now on after an operator's output."""
        self._stem = str(node.outputs[0].name)

    def name(self, stem: str | None = None) -> str:
        """A name for the next operator that no other has."""
        plain = mil_name(self._stem if stem is None else stem)
        name = plain
        number = 0
        while name in self._names:
            number += 1
            name = f"{plain}_{number}"
        self._names.add(name)
        return name

    def array(self, numbers: Any) -> Array:
        """Stored numbers in the types that MIL has."""
        array: Array = np.asarray(numbers)
        if array.dtype == np.int64:
            limits = np.iinfo(np.int32)
            return np.clip(array, limits.min, limits.max).astype(np.int32)
        if array.dtype.kind != "f":
            return array
        kind = np.dtype(self.precision)
        limit = np.finfo(kind).max
        finite = np.isfinite(array)
        held: Array = np.where(finite, np.clip(array, -limit, limit), array)
        return held.astype(kind)

    def number(self, number: float) -> Any:
        """One number in the program's precision."""
        return self.array(np.float64(number))[()]

    def epsilon(self, number: float) -> Any:
        """A number that keeps a divisor from 0."""
        return self.number(max(number, SMALLEST_EPSILON[self.precision]))

    def var(self, value: Value) -> Var:
        """The value in the program, written where it is stored."""
        if value.var is None:
            if value.wide is not None:
                half = f"{value.name}_half"
                value.var = self.op("cast", half, x=value.wide, dtype=self.float_type)
            elif value.weight is not None:
                scaled = self.scaled(value)
                value.var = scaled.var
                if scaled.scale is not None:
                    value.var = self.op("mul", value.name, x=scaled.var, y=scaled.scale)
            else:
                value.var = Builder.const(
                    val=self.array(value.numbers()), name=self.name(value.name)
                )
        return value.var

    def wide(self, value: Value) -> Var:
        """The value in float32."""
        if value.wide is None:
            value.wide = self.op("cast", f"{value.name}_wide", x=self.var(value), dtype="fp32")
        return value.wide

    def scaled(self, value: Value) -> Scaled:
        """A weight without the factors of its table, and those."""
        assert value.weight is not None
        if value.scaled is None:
            value.scaled = restore_weight(self, value.weight)
        return value.scaled

    def record(self, name: str, form: WeightForm, count: int) -> None:
        """State how a weight is stored, and in how many bytes; parts of one are added up."""
        _, before = self.recorded.get(name, (form, 0))
        self.recorded[name] = (form, before + count)

    def op(self, kind: str, stem: str | None = None, /, **arguments: Any) -> Any:
        """Write an operator of MIL; constants among its arguments are stored once.

        Args:
            kind: of the operator.
            stem: of its name; that of the operator of ONNX by default.
            arguments: by name. Those that are left out would be stored again each time.
        """
        stored = {name: self._argument(name, value) for name, value in arguments.items()}
        return getattr(Builder, kind)(name=self.name(stem), **stored)

    def product(
        self, x: Any, y: Any, *, transpose_x: bool = False, transpose_y: bool = False
    ) -> Var:
        """Write a product of matrices."""
        return self.op("matmul", x=x, y=y, transpose_x=transpose_x, transpose_y=transpose_y)

    def _argument(self, name: str, value: Any) -> Any:
        """An argument as a value of the program."""
        if not isinstance(value, PLAIN) or (isinstance(value, list) and not _are_numbers(value)):
            return value
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = Builder.const(val=value, name=self.name(name))
        return self._constants[key]


PLAIN = (str, bool, int, float, list, np.ndarray, np.generic)
"""Types of arguments that are constants."""


def _are_numbers(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, int) for value in values)


RESERVED = frozenset(
    {
        "any", "bool", "program", "func", "tensor", "list", "dict", "tuple", "true", "false",
        "string", "bf16", "fp16", "fp32", "fp64", "int8", "int16", "int32", "int64", "uint8",
        "uint16", "uint32", "uint64", "state",
    }
)  # fmt: skip
"""Names that mean something in MIL."""


def mil_name(name: str) -> str:
    """A name with the characters that MIL allows."""
    plain = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    if not plain or not re.match("[a-zA-Z_]", plain):
        plain = f"_{plain}"
    if plain in RESERVED:
        return f"{plain}_"
    return plain


def port_names(names: Sequence[str], taken: Collection[str]) -> dict[str, str]:
    """Names of inputs or outputs in MIL by those in ONNX, each once and none that is taken."""
    result: dict[str, str] = {}
    for name in names:
        plain = mil_name(name)
        number = 0
        chosen = plain
        while chosen in result.values() or chosen in taken:
            number += 1
            chosen = f"{plain}_{number}"
        result[name] = chosen
    return result
