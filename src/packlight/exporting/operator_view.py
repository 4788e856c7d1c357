"""An operator of ONNX as writers read it: its inputs in their own form, and its attributes."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.exporting.weights import Encoding, StoredWeight
from packlight.model import from_start, operator_type


class UnsupportedError(Exception):
    """An operator cannot be expressed; the message completes "OPERATOR has ..."."""


def unknown_operators(graph: ir.Model, known: Container[str]) -> list[str]:
    """Types of operators that are not in a writer's table, each once."""
    unknown = [
        operator_type(node) for node in graph.graph if node.domain or node.op_type not in known
    ]
    return list(dict.fromkeys(unknown))


class StoredNumbers:
    """What values of writers have in common whose numbers may be stored.

    Attributes:
        name: in ONNX.
        array: its numbers, where they are stored.
        weight: its numbers, where they are stored with an encoding of their own.
    """

    __slots__ = ()

    name: str
    array: NDArray[Any] | None
    weight: StoredWeight | None

    @property
    def encoding(self) -> Encoding | None:
        """The encoding of its numbers; None where they are computed or plain."""
        if self.weight is None:
            return None
        return self.weight.encoding

    @property
    def is_stored(self) -> bool:
        """True if its numbers are in the file."""
        return self.array is not None or self.weight is not None

    def numbers(self) -> NDArray[Any]:
        """Its stored numbers as operators read them.

        Raises:
            UnsupportedError: it is computed.
        """
        if self.array is not None:
            return self.array
        if self.weight is not None:
            return np.asarray(self.weight.decode())
        raise UnsupportedError(f"'{self.name}' computed instead of stored")


class ReadValue(Protocol):
    """A value as a writer holds it."""

    def numbers(self) -> NDArray[Any]:
        """Its stored numbers; UnsupportedError where it is computed."""
        ...


ValueT = TypeVar("ValueT", bound=ReadValue)


def values_of(values: Mapping[ir.Value, ValueT], node: ir.Node) -> tuple[ValueT | None, ...]:
    """What a writer holds for each input of an operator; None for one that is left out."""
    return tuple(None if value is None else values.get(value) for value in node.inputs)


@dataclass(frozen=True, eq=False)  # no slots: calls of a generic alias need a place for it
class OperatorView(Generic[ValueT]):
    """An operator of the graph with its inputs.

    Attributes:
        node: in ONNX.
        opset: version of its domain.
        inputs: values; None for one that is left out.
    """

    node: ir.Node
    opset: int
    inputs: tuple[ValueT | None, ...]

    @property
    def op_type(self) -> str:
        """Type in ONNX."""
        return self.node.op_type

    def input(self, index: int) -> ValueT:
        """An input that must be there.

        Raises:
            UnsupportedError: it is left out.
        """
        value = self.optional(index)
        if value is None:
            raise UnsupportedError(f"no input {index + 1}")
        return value

    def optional(self, index: int) -> ValueT | None:
        """An input, or None."""
        if index >= len(self.inputs):
            return None
        return self.inputs[index]

    def stored_integers(self, index: int, default: Sequence[int] | None = None) -> list[int]:
        """An input that holds sizes or positions; where it is left out, the default.

        Raises:
            UnsupportedError: it is computed, or left out without a default.
        """
        if default is not None and self.optional(index) is None:
            return list(default)
        numbers = np.asarray(self.input(index).numbers()).reshape(-1)
        return [int(number) for number in numbers]

    def integer(self, name: str, default: int = 0) -> int:
        """An attribute that is an integer."""
        return self.node.attributes.get_int(name, default)

    def number(self, name: str, default: float) -> float:
        """An attribute that is a float."""
        return self.node.attributes.get_float(name, default)

    def integers(self, name: str, default: Sequence[int] = ()) -> list[int]:
        """An attribute that is a list of integers."""
        return list(self.node.attributes.get_ints(name, default))

    def numbers(self, name: str) -> list[float]:
        """An attribute that is a list of floats."""
        return list(self.node.attributes.get_floats(name, ()))

    def texts(self, name: str) -> list[str]:
        """An attribute that is a list of texts."""
        return list(self.node.attributes.get_strings(name, ()))

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        return self.node.attributes.get_string(name, default)

    def axis(self, rank: int, default: int, name: str = "axis") -> int:
        """An attribute that names an axis, counted from the start."""
        return from_start(self.integer(name, default), rank)

    def axes(self, rank: int, index: int) -> list[int] | None:
        """Axes by stored input or attribute, counted from the start; None where none are given."""
        if self.optional(index) is None and "axes" not in self.node.attributes:
            return None
        axes = self.stored_integers(index, self.integers("axes"))
        return [from_start(axis, rank) for axis in axes]

    def new_axes(self, rank: int) -> list[int]:
        """Axes that an Unsqueeze adds to a value of a rank, counted from the start, in order."""
        axes = self.stored_integers(1, self.integers("axes"))
        return sorted(from_start(axis, rank + len(axes)) for axis in axes)
