"""What a count is, and what it is made from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

Sizes = tuple[int, ...]


class UnknownError(Exception):
    """An operator's arithmetic cannot be counted; the message says why."""


@dataclass(frozen=True, slots=True)
class Work:
    """Arithmetic of one execution.

    Attributes:
        macs: multiply-accumulates.
        other_ops: further elementary operations on single numbers.
        note: what was assumed, as a sentence; empty where nothing was.
    """

    macs: int = 0
    other_ops: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Around:
    """An operator with the shapes around it.

    Attributes:
        node: the operator.
        inputs: by position; None where the shape is open or the input is left out.
        outputs: by position; None where the shape is open or the output is not asked for.
    """

    node: ir.Node
    inputs: tuple[Sizes | None, ...]
    outputs: tuple[Sizes | None, ...]

    def has(self, place: int) -> bool:
        """Whether an input is given."""
        return place < len(self.node.inputs) and self.node.inputs[place] is not None

    def read(self, place: int, rank: int | None = None) -> Sizes:
        """Shape of an input.

        Raises:
            UnknownError: it is open, or does not have ``rank`` dimensions.
        """
        sizes = self.inputs[place] if self.has(place) else None
        if sizes is None:
            raise UnknownError("the shape of what it reads is open")
        if rank is not None and len(sizes) != rank:
            raise UnknownError(f"its input {place} has {len(sizes)} dimensions, not {rank}")
        return sizes

    def given(self, place: int = 0) -> Sizes:
        """Shape of an output.

        Raises:
            UnknownError: it is open.
        """
        sizes = self.outputs[place] if place < len(self.outputs) else None
        if sizes is None:
            raise UnknownError("the shape of what it gives is open")
        return sizes

    def first_given(self) -> Sizes:
        """Shape of the first output that is asked for.

        Raises:
            UnknownError: it is open.
        """
        asked = [place for place, value in enumerate(self.node.outputs) if value.name]
        return self.given(asked[0] if asked else 0)

    def integer(self, name: str, default: int) -> int:
        """An attribute that is a number."""
        return int(self.node.attributes.get_int(name, default))

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        return str(self.node.attributes.get_string(name, default))


Count = Callable[[Around], Work]


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def numbers(sizes: Sizes) -> int:
    """How many numbers a shape has."""
    return math.prod(sizes)
