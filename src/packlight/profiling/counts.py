"""The result of counting an operator, and the shapes it is counted from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

Sizes = tuple[int, ...]


class UnknownError(Exception):
    """An operator's arithmetic cannot be counted; the message says why."""


class OpenShapeError(UnknownError):
    """A shape that the arithmetic follows from is open."""


OPEN = "the shape of what it reads or gives is open"


@dataclass(frozen=True, slots=True)
class Work:
    """Arithmetic of one execution.

    Attributes:
        macs: multiply-accumulates.
        other_ops: further elementary operations on single numbers.
        note: assumptions, as a sentence; empty where there are none.
    """

    macs: int = 0
    other_ops: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class OperatorShapes:
    """An operator with the shapes of its inputs and outputs.

    Attributes:
        node: the operator.
        inputs: by position; None where the shape is open or the input is left out.
        outputs: by position; None where the shape is open or the output is left out.
    """

    node: ir.Node
    inputs: tuple[Sizes | None, ...]
    outputs: tuple[Sizes | None, ...]

    def has(self, index: int) -> bool:
        """Return whether an input is present."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def input(self, index: int, rank: int | None = None) -> Sizes:
        """Shape of an input.

        Raises:
            UnknownError: it is open, or does not have ``rank`` dimensions.
        """
        sizes = None
        if self.has(index):
            sizes = self.inputs[index]
        if sizes is None:
            raise OpenShapeError(OPEN)
        if rank is not None and len(sizes) != rank:
            raise UnknownError(f"its input {index} has {len(sizes)} dimensions, not {rank}")
        return sizes

    def past_length(self, index: int, rank: int) -> int:
        """Positions in the past keys at an input of ``rank`` dimensions; 0 without this input."""
        if self.has(index):
            return self.input(index, rank)[-2]
        return 0

    def output(self, index: int = 0) -> Sizes:
        """Shape of an output.

        Raises:
            UnknownError: it is open.
        """
        sizes = next(iter(self.outputs[index:]), None)
        if sizes is None:
            raise OpenShapeError(OPEN)
        return sizes

    def first_output(self) -> Sizes:
        """Shape of the first output that is present.

        Raises:
            UnknownError: it is open.
        """
        present = [index for index, value in enumerate(self.node.outputs) if value.name]
        return self.output(min(present, default=0))

    def integer(self, name: str, default: int) -> int:
        """An attribute that is a number."""
        return int(self.node.attributes.get_int(name, default))

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        return str(self.node.attributes.get_string(name, default))


Count = Callable[[OperatorShapes], Work]


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def element_count(sizes: Sizes) -> int:
    """Count the numbers of a shape."""
    return math.prod(sizes)
