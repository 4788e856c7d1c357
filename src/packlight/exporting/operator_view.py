"""An operator of ONNX as writers read it: its inputs in their own form, and its attributes."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.exporting.weights import StoredWeight


class UnsupportedError(Exception):
    """An operator cannot be expressed; the message completes "OPERATOR has ..."."""


def unknown_operators(graph: ir.Model, known: Container[str]) -> list[str]:
    """Types of operators that are not in a writer's table, each once."""
    unknown = [
        f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        for node in graph.graph
        if node.domain or node.op_type not in known
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
        return self.inputs[index] if index < len(self.inputs) else None

    def stored_integers(self, index: int) -> list[int]:
        """An input that holds sizes or positions."""
        numbers = np.asarray(self.input(index).numbers()).reshape(-1)
        return [int(number) for number in numbers]

    def integer(self, name: str, default: int = 0) -> int:
        """An attribute that is an integer."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_int()

    def number(self, name: str, default: float) -> float:
        """An attribute that is a float."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_float()

    def integers(self, name: str, default: Sequence[int] = ()) -> list[int]:
        """An attribute that is a list of integers."""
        attribute = self.node.attributes.get(name)
        return list(default) if attribute is None else list(attribute.as_ints())

    def numbers(self, name: str) -> list[float]:
        """An attribute that is a list of floats."""
        attribute = self.node.attributes.get(name)
        return [] if attribute is None else list(attribute.as_floats())

    def texts(self, name: str) -> list[str]:
        """An attribute that is a list of texts."""
        attribute = self.node.attributes.get(name)
        return [] if attribute is None else list(attribute.as_strings())

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_string()

    def axis(self, rank: int, default: int, name: str = "axis") -> int:
        """An attribute that names an axis, counted from the start."""
        axis = self.integer(name, default)
        return axis + rank if axis < 0 else axis

    def axes(self, rank: int, index: int) -> list[int] | None:
        """Axes by attribute or stored input, counted from the start; None where none are given."""
        if self.optional(index) is not None:
            axes = self.stored_integers(index)
        elif "axes" in self.node.attributes:
            axes = self.integers("axes")
        else:
            return None
        return [axis + rank if axis < 0 else axis for axis in axes]
