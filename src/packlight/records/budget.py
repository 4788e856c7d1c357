"""Bounds on costs and losses of a model, as ``size<=2MB`` or ``drop<=1%``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from packlight.errors import RecipeError
from packlight.records.measurement import Measurement, Meets

COSTS = ("size", "download", "latency", "peak_memory", "energy")
ON_DEVICE = {
    "latency": "device_latency", "latency_ratio": "device_latency_ratio",
    "peak_memory": "device_peak_memory", "energy": "device_energy",
}  # fmt: skip
"""Costs that are predicted for a device, and the names of the predictions."""

LOSSES = ("drop", "worst_group_drop", "flips")
UNITS = {
    "": 1.0, "x": 1.0, "%": 0.01,
    "B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9,
    "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
    "s": 1.0, "ms": 1e-3, "us": 1e-6, "J": 1.0, "mJ": 1e-3, "uJ": 1e-6,
}  # fmt: skip
FAMILY = {
    **dict.fromkeys(("B", "kB", "KB", "MB", "GB", "KiB", "MiB", "GiB"), "B"),
    **dict.fromkeys(("s", "ms", "us"), "s"),
    **dict.fromkeys(("J", "mJ", "uJ"), "J"),
}
COST_UNIT = {
    **dict.fromkeys(("size", "download", "peak_memory"), "B"),
    **dict.fromkeys(("latency", "latency_p90", "latency_p99"), "s"),
    "energy": "J",
}
PATTERN = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=)\s*([0-9.eE+-]+)\s*([A-Za-z%]*)\s*")


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound on one measured quantity.

    Attributes:
        metric: ``size``, ``download``, ``latency``, ``peak_memory``, ``energy``, ``drop``,
            ``worst_group_drop``, ``flips``, the name of a metric of the task, or one of
            ``ON_DEVICE``.
        sense: ``<=`` or ``>=``.
        value: in SI units, or as a multiple of the original.
        relative: whether ``value`` is a multiple of the original's.
        text: as it was written.
    """

    metric: str
    sense: Literal["<=", ">="]
    value: float
    relative: bool
    text: str

    @property
    def judged_by(self) -> str:
        """Name of the measurement that is compared with the bound.

        For a multiple of the latency this is the interleaved ratio: latencies measured at different
        times are not comparable, because the machine changes.
        """
        if self.relative and self.metric == "latency":
            return "latency_ratio"
        return self.metric

    def bound(self, original: Mapping[str, Measurement]) -> float:
        """The bound in SI units."""
        if self.relative:
            return self.value * original[self.judged_by].value
        return self.value

    def met(self, measurement: Measurement, original: Mapping[str, Measurement]) -> Meets:
        """Compare a measurement and its interval with the bound."""
        return self.compare(measurement, self.bound(original))

    def compare(self, measurement: Measurement, bound: float) -> Meets:
        """Compare a measurement and its interval with a bound on this side."""
        if self.sense == "<=":
            return measurement.meets(bound)
        return measurement.negative().meets(-bound)


def check_sense(limit: Limit, *, higher_is_better: bool) -> None:
    """Check that a metric is bounded on its worse side.

    Raises:
        RecipeError: it is bounded on its better side.
    """
    better, sense = ("higher", ">=") if higher_is_better else ("lower", "<=")
    if limit.sense != sense:
        raise RecipeError(
            f"{better} is better for '{limit.metric}': write '{limit.metric}{sense}...', not "
            f"'{limit.text}'"
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds on costs and on quality.

    Attributes:
        limits: bounds on cost.
        floors: bounds on loss and on quality.
    """

    VERSION: ClassVar[int] = 1

    limits: tuple[Limit, ...] = ()
    floors: tuple[Limit, ...] = ()

    def all(self) -> tuple[Limit, ...]:
        """Every bound, costs first."""
        return self.limits + self.floors


def parse_budget(texts: Sequence[str] | Budget) -> Budget:
    """Read bounds written as ``METRIC<=VALUE[UNIT]``; a budget stays as it is.

    Raises:
        RecipeError: a text has another form, or its unit does not fit its metric.

    >>> parse_budget(["size<=0.3x", "drop<=1%"]).floors[0].value
    0.01
    """
    if isinstance(texts, Budget):
        return texts
    if isinstance(texts, str):
        texts = [texts]
    bounds = [parse_limit(text) for text in texts]
    costs = tuple(bound for bound in bounds if bound.metric in COSTS)
    return Budget(costs, tuple(bound for bound in bounds if bound.metric not in COSTS))


def parse_limit(text: str) -> Limit:
    """Read one bound."""
    match = PATTERN.fullmatch(text)
    if not match:
        raise RecipeError(f"a budget is METRIC<=VALUE[UNIT], as in 'size<=2MB'; got '{text}'")
    metric, sense, number, unit = match.groups()
    try:
        value = float(number) * UNITS[unit]
        if not math.isfinite(value):
            raise ValueError(number)
    except (ValueError, KeyError) as error:
        units = " ".join(key for key in UNITS if key)
        raise RecipeError(f"'{text}' needs a number with one of the units {units}") from error
    if metric in COSTS and value <= 0:
        raise RecipeError(f"a bound on a cost must be above 0; got '{text}'")
    check_unit(metric, sense, unit, text)
    return Limit(metric, sense, value, unit == "x", text.replace(" ", ""))  # type: ignore[arg-type]


DURATIONS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
DURATION = re.compile(r"\s*([0-9.]+)\s*([a-z]*)\s*")


def parse_duration(text: str) -> float:
    """Read a duration as ``90s``, ``10m`` or ``2h``, in seconds.

    Raises:
        RecipeError: the text has another form, or the duration is not above 0.

    >>> parse_duration("10m")
    600.0
    """
    match = DURATION.fullmatch(text)
    try:
        if match is None or match[2] not in DURATIONS:
            raise ValueError(text)
        seconds = float(match[1]) * DURATIONS[match[2]]
    except ValueError as error:
        raise RecipeError(
            f"a time is a number with s, m or h, as in '10m'; got '{text}'"
        ) from error
    if seconds <= 0:
        raise RecipeError(f"a time is above 0; got '{text}'")
    return seconds


def check_unit(metric: str, sense: str, unit: str, text: str) -> None:
    """Refuse a unit of another family, and a lower bound on a cost or a loss."""
    if metric in COSTS + LOSSES and sense == ">=":
        raise RecipeError(f"'{metric}' is bounded from above; write '{metric}<=...', not '{text}'")
    family = COST_UNIT.get(metric, "")
    if family:
        fits = unit == "x" or FAMILY.get(unit) == family
    else:
        fits = unit not in FAMILY and not (unit == "x" and metric in LOSSES)
    if not fits:
        if not family and metric not in LOSSES and unit in FAMILY:
            costs = ", ".join(key for key, cost in COST_UNIT.items() if cost == FAMILY[unit])
            raise RecipeError(f"'{text}' bounds '{metric}', but the costs in {unit} are: {costs}")
        example = {"B": "2MB", "s": "8ms", "J": "5mJ", "": "1%"}[family]
        raise RecipeError(f"'{text}' needs a unit that fits {metric}, as in '{metric}<={example}'")
