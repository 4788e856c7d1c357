"""Measurements as people read them: scaled units, and no more digits than the interval supports.

The command line and the report show every number through this module.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from packlight.records.budget import LOSSES
from packlight.records.measurement import Measurement

DIGITS = 3
MOST_DIGITS = 4


class Scale(NamedTuple):
    """A unit for reading.

    Attributes:
        size: of one of it in SI.
        label: what follows the number.
        steps: of the last digit, that an interval is at least wide.
    """

    size: float
    label: str
    steps: int = 3


PERCENT, TIMES, PLAIN = Scale(0.01, " %"), Scale(1, "x", steps=2), Scale(1, "")
SCALES = {
    "B": (Scale(1e9, " GB"), Scale(1e6, " MB"), Scale(1e3, " kB"), Scale(1, " B")),
    "s": (Scale(1, " s"), Scale(1e-3, " ms"), Scale(1e-6, " us"), Scale(1e-9, " ns")),
    "J": (Scale(1, " J"), Scale(1e-3, " mJ"), Scale(1e-6, " uJ")),
    "1": (PERCENT,),
    "dB": (Scale(1, " dB"),),
    "nat": (Scale(1, " nat"),),
}
UNSHARED = ("spearman", "pearson", "cosine", "mae", "rmse", "kl", "brier", "rank_agreement")
"""Dimensionless metrics that nobody reads as a percentage."""


def show_value(m: Measurement, as_ratio: bool = False) -> str:
    """The number with its unit; ``~`` marks an estimate.

    >>> show_value(Measurement(0.0030, "1", 0.001, 0.009, "measured", 500))
    '0.3 %'
    >>> show_value(Measurement(0.81, "1", 0.78, 0.84, "measured", 500), as_ratio=True)
    '0.81x'
    >>> show_value(Measurement(520_000, "B", 510_000, 533_000, "estimated", 1))
    '~520 kB'
    """
    return scaled_value(m, scale_for(m, as_ratio))


def show_interval(m: Measurement, as_ratio: bool = False) -> str:
    """The 95 % interval in the unit of ``show_value``; empty for an exact number.

    >>> show_interval(Measurement(0.0030, "1", 0.001, 0.009, "measured", 500))
    '[0.1, 0.9]'
    """
    return scaled_interval(m, scale_for(m, as_ratio))


def show(m: Measurement, as_ratio: bool = False) -> str:
    """The number with its unit and its interval.

    >>> show(Measurement(0.0021, "s", 0.00205, 0.0022, "measured", 500))
    '2.10 ms [2.05, 2.20]'
    """
    scale = scale_for(m, as_ratio)
    return f"{scaled_value(m, scale)} {scaled_interval(m, scale)}".rstrip()


def show_named(name: str, m: Measurement) -> str:
    """The number with its interval, as a metric of this name is read.

    >>> show_named("latency_ratio", Measurement(0.81, "1", 0.78, 0.84, "measured", 9))
    '0.81x [0.78, 0.84]'
    >>> show_named("spearman", Measurement(0.81, "1", 0.78, 0.84, "measured", 9))
    '0.81 [0.78, 0.84]'
    """
    return f"{show_named_value(name, m)} {show_named_interval(name, m)}".rstrip()


def show_named_value(name: str, m: Measurement) -> str:
    """The number alone, as a metric of this name is read."""
    return scaled_value(m, named_scale(name, m))


def show_named_interval(name: str, m: Measurement) -> str:
    """The interval alone, as a metric of this name is read."""
    return scaled_interval(m, named_scale(name, m))


def show_bytes(value: float) -> str:
    """Bytes in decimal units.

    >>> show_bytes(2e6), show_bytes(520_400), show_bytes(999_900), show_bytes(17)
    ('2 MB', '520 kB', '1 MB', '17 B')
    """
    return bare(value, scale_of("B", value))


def show_seconds(value: float) -> str:
    """Seconds in the unit that keeps the number readable.

    >>> show_seconds(0.008), show_seconds(3.2e-5), show_seconds(75)
    ('8 ms', '32 us', '75 s')
    """
    return bare(value, scale_of("s", value))


def show_share(value: float) -> str:
    """A share as a percentage.

    >>> show_share(0.01), show_share(-0.00342)
    ('1 %', '-0.342 %')
    """
    return bare(value, PERCENT)


def show_number(name: str, value: float, unit: str) -> str:
    """A bare number, as a bound on a metric of this name is read.

    >>> show_number("size", 2e6, "B"), show_number("drop", 0.01, "1")
    ('2 MB', '1 %')
    """
    scale = unshared(name, abs(value)) if unit == "1" else scale_of(unit, value)
    return bare(value, scale)


def scaled_value(m: Measurement, scale: Scale) -> str:
    """A number in a chosen unit."""
    mark = "~" if m.how == "estimated" else ""
    return f"{mark}{fixed(m.value / scale.size, decimals(m, scale))}{scale.label}"


def scaled_interval(m: Measurement, scale: Scale) -> str:
    """An interval in a chosen unit, which is not repeated."""
    if m.low == m.high:
        return ""
    places = decimals(m, scale)
    return f"[{fixed(m.low / scale.size, places)}, {fixed(m.high / scale.size, places)}]"


def scale_for(m: Measurement, as_ratio: bool) -> Scale:
    """The unit in which a measurement reads best."""
    return TIMES if as_ratio else scale_of(m.unit, magnitude(m))


def named_scale(name: str, m: Measurement) -> Scale:
    """The unit in which a measurement of this name reads best."""
    return unshared(name, magnitude(m)) if m.unit == "1" else scale_of(m.unit, magnitude(m))


def unshared(name: str, size: float) -> Scale:
    """How a dimensionless metric is read: a multiple, a percentage or a plain number."""
    if name.endswith("_ratio"):
        return TIMES
    plain = size > 1 or name in UNSHARED
    return PLAIN if plain and name not in LOSSES else PERCENT


def scale_of(unit: str, size: float) -> Scale:
    """The largest unit that still leaves at least 1 before the point, after rounding."""
    scales = SCALES[unit]
    if not math.isfinite(size) or size == 0:
        return next((scale for scale in scales if scale.size == 1), scales[-1])
    rounded = float(f"{abs(size):.{DIGITS - 1}e}")
    return next((scale for scale in scales if rounded >= scale.size), scales[-1])


def magnitude(m: Measurement) -> float:
    """The size that decides the unit: the value's, or the interval's where the value is 0."""
    return abs(m.value) or max(abs(m.low), abs(m.high))


def decimals(m: Measurement, scale: Scale) -> int:
    """Places after the point: few against the interval, and at most four digits in all.

    >>> decimals(Measurement(0.0030, "1", 0.001, 0.009, "measured", 500), PERCENT)
    1
    >>> decimals(Measurement(0.9987, "1", 0.9979, 0.9994, "measured", 9), TIMES)
    3
    """
    largest = max(abs(end) / scale.size for end in (m.low, m.value, m.high))
    width = (m.high - m.low) / scale.size
    if scale.label == " B" or largest == 0 or not math.isfinite(largest):
        return 0
    if width == 0:
        return places_of(largest, DIGITS)
    wanted = math.ceil(-math.log10(width / scale.steps))
    near_one = scale == TIMES and 0.1 <= largest < 1  # noqa: PLR2004 - 0.999 and 1.001 alike
    return max(0, min(wanted, places_of(1 if near_one else largest, MOST_DIGITS)))


def places_of(size: float, digits: int) -> int:
    """Places after the point that show so many digits."""
    exponent = int(f"{size:.{digits - 1}e}".partition("e")[2])
    return max(0, digits - 1 - exponent)


def fixed(value: float, places: int) -> str:
    """A number with so many places, and no minus before a zero.

    >>> fixed(-0.04, 1)
    '0.0'
    """
    return f"{round(value, places) + 0.0:.{places}f}"


def bare(value: float, scale: Scale) -> str:
    """A number of three digits without trailing zeros, with its unit."""
    number = value / scale.size
    if not math.isfinite(number):
        return f"{number}{scale.label}"
    text = fixed(number, places_of(abs(number), DIGITS))
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{scale.label}"
