"""A number with its unit, uncertainty and origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

How = Literal["counted", "measured", "estimated"]
Unit = Literal["B", "s", "J", "1", "dB", "nat"]
Meets = Literal["yes", "unclear", "no"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number as it reaches a person.

    Attributes:
        value: in ``unit``; a ratio is a number, not a percentage.
        unit: SI: bytes, seconds, joules, ``1`` for ratios and scores, ``dB``, ``nat``.
        low: lower end of the 95 % interval; the value itself where it was counted.
        high: upper end of the 95 % interval.
        how: ``counted`` is exact, ``measured`` observed, ``estimated`` computed from a model.
        n: samples, runs or bytes that it rests on.
    """

    value: float
    unit: Unit
    low: float
    high: float
    how: How
    n: int

    def meets(self, bound: float) -> Meets:
        """Compare with an upper bound: ``unclear`` where the interval includes it."""
        if self.high <= bound:
            return "yes"
        if self.low > bound:
            return "no"
        return "unclear"

    def negative(self) -> Measurement:
        """The negated number, so that ``meets`` tests a lower bound."""
        return Measurement(-self.value, self.unit, -self.high, -self.low, self.how, self.n)


def counted(value: float, unit: Unit = "1", n: int = 1) -> Measurement:
    """An exact number."""
    return Measurement(float(value), unit, float(value), float(value), "counted", n)
