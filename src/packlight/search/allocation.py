"""Forms for all operators at once: the least predicted damage within limits, exactly.

The choice is an integer program: one form for each operator, functions of the file paid once, and
any number of linear limits, on bytes, seconds or whatever adds up. HiGHS solves it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packlight.runtime.compiled_output import silenced

Doubles = NDArray[np.float64]

GAP = 1e-4
"""Share by which the damage may be above the least."""

KEEP = -1
"""Index of no form: the weights stay as they are."""

MOST_SECONDS = 20.0
"""Of one program."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One form of one operator.

    Attributes:
        operator: index.
        form: index, or ``KEEP``.
        damage: predicted relative squared error of the outputs.
        costs: by the name of the limit that they count for.
        functions: names of functions that it needs.
    """

    operator: int
    form: int
    damage: float
    costs: Mapping[str, float]
    functions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """Alternatives of all operators.

    Attributes:
        alternatives: of every operator at least one.
        functions: bytes of each function, by name; they count for ``size`` and ``download``.
    """

    alternatives: tuple[Alternative, ...]
    functions: Mapping[str, int]

    @property
    def operators(self) -> int:
        """Number of operators."""
        return 1 + max((entry.operator for entry in self.alternatives), default=-1)

    def solve(
        self, limits: Mapping[str, float], damages: Doubles | None = None
    ) -> tuple[int, ...] | None:
        """The alternative of each operator with the least damage; None where none is within limits.

        The solver stops within a millionth of its unit, which may be more than the least damage
        where one is far above the rest. So it starts again in units of the last sum, without what
        is above that, until nothing is gained.

        Args:
            limits: upper bounds by name.
            damages: of the alternatives, in place of their own.

        Returns:
            Indices of alternatives, by operator.
        """
        damage = np.array([entry.damage for entry in self.alternatives])
        if damages is not None:
            damage = damages
        return self._least(damage, limits)

    def cheapest(self, name: str) -> tuple[int, ...]:
        """The alternatives with the least cost of one name."""
        cost = np.array([entry.costs.get(name, 0.0) for entry in self.alternatives])
        chosen = self._least(cost - cost.min(), {}, count_functions=True)
        assert chosen is not None, "without limits there is a choice"
        return chosen

    def _least(
        self, damage: Doubles, limits: Mapping[str, float], *, count_functions: bool = False
    ) -> tuple[int, ...] | None:
        unit = float(damage.max()) or 1.0
        best = self._choices(damage, unit, limits, count_functions=count_functions)
        if best is None or count_functions:
            return best
        while 0 < (total := float(damage[list(best)].sum())) < unit * (1 - GAP):
            unit = total
            again = self._choices(damage, total, limits, count_functions=False)
            if again is None or damage[list(again)].sum() >= total * (1 - GAP):
                break
            best = again
        return best

    def _choices(
        self, damage: Doubles, unit: float, limits: Mapping[str, float], *, count_functions: bool
    ) -> tuple[int, ...] | None:
        """Solve the program with damages up to a unit."""
        from scipy.optimize import LinearConstraint, milp  # noqa: PLC0415  scipy takes long to load
        from scipy.sparse import coo_array, csr_array  # noqa: PLC0415

        count = len(self.alternatives)
        names = sorted(self.functions)
        operators = np.array([entry.operator for entry in self.alternatives])
        ones = np.ones(count)
        member = coo_array(
            (ones, (operators, np.arange(count))), (self.operators, count + len(names))
        )
        constraints = [LinearConstraint(csr_array(member), 1, 1)]
        for row, name in enumerate(names):
            users = np.array([name in entry.functions for entry in self.alternatives], np.float64)
            line = np.zeros(count + len(names))
            line[:count] = users
            line[count + row] = -max(1.0, float(self.operators))
            constraints.append(LinearConstraint(line[None], -np.inf, 0))
        for name, limit in limits.items():
            line = np.zeros(count + len(names))
            line[:count] = [entry.costs.get(name, 0.0) for entry in self.alternatives]
            if name in ("size", "download"):
                line[count:] = [self.functions[function] for function in names]
            scale = float(np.abs(line).max()) or 1.0
            constraints.append(LinearConstraint(line[None] / scale, -np.inf, limit / scale))
        objective = np.concatenate([np.minimum(damage, unit) / unit, np.zeros(len(names))])
        if count_functions:
            objective[count:] = [self.functions[function] / unit for function in names]
        highest = np.concatenate([(damage <= unit).astype(np.float64), np.ones(len(names))])
        with silenced(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy passes HiGHS the number of threads, and warns
            solution = milp(
                objective,
                constraints=constraints,
                integrality=np.ones(count + len(names)),
                bounds=(0, highest),
                options={"mip_rel_gap": GAP, "time_limit": MOST_SECONDS, "threads": 1},
            )
        if solution.x is None:
            return None
        chosen = np.flatnonzero(solution.x[:count] > 1 / 2)
        return tuple(int(index) for index in chosen[np.argsort(operators[chosen], kind="stable")])
