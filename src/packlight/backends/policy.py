"""Choice of the operators around which packlight puts Q/DQ pairs, of those that a runtime fuses."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packlight.backends.capabilities import Capabilities, capabilities
from packlight.records.codec import from_json
from packlight.records.configs import IntegerRuntime

FILE = Path(__file__).with_name("policies.toml")


@dataclass(frozen=True, slots=True)
class Choices:
    """Operators that packlight leaves in float for a runtime, and what it does with constants.

    Attributes:
        quantize_constants: whether stored floats get a grid where operators without a weight
            read them.
        unused: operators that get no pairs although the runtime computes them in integers.
        keep_float: operators that stay in float, with the reason that people read.
        sources: of each field.
    """

    quantize_constants: bool
    unused: tuple[str, ...]
    keep_float: Mapping[str, str]
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Policy:
    """Operators that get pairs for a runtime.

    Attributes:
        runtime: facts about it.
        choices: of packlight.
    """

    runtime: Capabilities
    choices: Choices

    @property
    def integer_operators(self) -> frozenset[str]:
        """Operators without a weight that get pairs, and a grid of their own."""
        return self._used(self.runtime.integer_operators)

    @property
    def code_movers(self) -> frozenset[str]:
        """Operators that get pairs, with the grid of what they read."""
        return self._used(self.runtime.code_movers)

    def _used(self, operators: tuple[str, ...]) -> frozenset[str]:
        return frozenset(operators).difference(self.choices.unused, self.choices.keep_float)


@cache
def policy(runtime: IntegerRuntime) -> Policy:
    """Read where packlight puts pairs for a runtime."""
    choices = tomllib.loads(FILE.read_text("utf-8"))[runtime]
    return Policy(capabilities(runtime), from_json(Choices, choices))
