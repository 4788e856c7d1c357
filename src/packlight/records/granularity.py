"""Granularity of stored weights: the group that shares a scale or a table of values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from packlight.errors import RecipeError


@dataclass(frozen=True, slots=True)
class PerTensor:
    """One for the whole tensor."""

    kind: ClassVar[str] = "per-tensor"

    def __str__(self) -> str:
        return "per tensor"


@dataclass(frozen=True, slots=True)
class PerChannel:
    """One for each output channel."""

    kind: ClassVar[str] = "per-channel"

    def __str__(self) -> str:
        return "per channel"


@dataclass(frozen=True, slots=True)
class PerBlock:
    """One for each block of inputs of an output channel.

    Attributes:
        size: block size, inputs in a block: at least 1.
    """

    kind: ClassVar[str] = "per-block"

    size: int = 32

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 1:
            raise RecipeError(f"a block counts inputs: at least 1; got {self.size!r}")

    def __str__(self) -> str:
        return f"per block of {self.size}"


@dataclass(frozen=True, slots=True)
class PerGroup:
    """One for each group of output channels.

    Attributes:
        size: output channels in a group, at least 1.
    """

    kind: ClassVar[str] = "per-group"

    size: int = 16

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 1:
            raise RecipeError(f"a group counts channels: at least 1; got {self.size!r}")

    def __str__(self) -> str:
        return f"per group of {self.size} channels"


Granularity = PerTensor | PerChannel | PerBlock | PerGroup
"""Who shares a scale or a table."""
