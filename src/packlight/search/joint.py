"""One allocation over the operators of several models, whose files share a budget of bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from packlight.search.allocation import Alternative, Program
from packlight.search.mixes import ROUNDS, Mix, Mixes


@dataclass(frozen=True, slots=True)
class JointMixes:
    """Mixes of several models at once.

    Attributes:
        models: the mixes of each.
    """

    models: Sequence[Mixes]

    def within(self, size: float, caps: Mapping[int, float]) -> tuple[Mix, ...] | None:
        """A mix for each model: the least sum of damages that fits; None if nothing fits.

        Args:
            size: bytes of all files together, at most; may be infinite.
            caps: damage of a model at most, by its index.
        """
        program = self._program()
        damages = np.concatenate([mixes.corrected() for mixes in self.models])
        limit = size - sum(mixes.base for mixes in self.models)
        caps_by_name = {f"damage {model}": cap for model, cap in caps.items()}
        best: tuple[Mix, ...] | None = None
        for _ in range(ROUNDS):
            limits = {**caps_by_name, "size": limit} if math.isfinite(limit) else caps_by_name
            chosen = program.solve(limits, damages)
            if chosen is None:
                break
            found = self._split(chosen)
            total = sum(mix.size for mix in found)
            if total <= size and (best is None or _damage(found) < _damage(best)):
                best = found
            if not math.isfinite(limit) or 0 <= size - total <= max(64, size * 2e-4):
                break
            limit += size - total
        return best

    def smallest(self) -> tuple[Mix, ...]:
        """The mixes with the smallest files."""
        return tuple(
            mixes.smallest() if mixes.damages else mixes.mix_of(()) for mixes in self.models
        )

    def _program(self) -> Program:
        """Alternatives of all models; each file needs functions of its own."""
        alternatives: list[Alternative] = []
        functions: dict[str, int] = {}
        operators = 0
        for model, mixes in enumerate(self.models):
            names = {name: f"{name} of {model}" for name in mixes.program.functions}
            functions |= {names[name]: size for name, size in mixes.program.functions.items()}
            corrected = mixes.corrected()
            for index, entry in enumerate(mixes.program.alternatives):
                costs = {**entry.costs, f"damage {model}": float(corrected[index])}
                alternatives.append(
                    replace(
                        entry,
                        operator=entry.operator + operators,
                        costs=costs,
                        functions=tuple(names[name] for name in entry.functions),
                    )
                )
            operators += mixes.program.operators
        return Program(tuple(alternatives), functions)

    def _split(self, chosen: Sequence[int]) -> tuple[Mix, ...]:
        """The mix of each model, from alternatives of all."""
        found = []
        first = 0
        for mixes in self.models:
            end = first + len(mixes.program.alternatives)
            found.append(mixes.mix_of([index - first for index in chosen if first <= index < end]))
            first = end
        return tuple(found)


def _damage(mixes: Sequence[Mix]) -> float:
    return sum(mix.damage for mix in mixes)
