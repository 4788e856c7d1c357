"""Measurements as text: scaled units, and no more digits than the interval supports.

The command line and the report show every number through this module.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from packlight.records.budget import LOSSES
from packlight.records.measurement import Measurement

DIGITS = 3
MOST_DIGITS = 4


class Scale(NamedTuple):
    """A unit for display.

    Attributes:
        size: of the unit, in SI.
        label: text behind the number.
        steps: least width of an interval, in units of the last digit.
    """

    size: float
    label: str
    steps: int = 3


PERCENT = Scale(0.01, " %")
POINTS = Scale(0.01, " points")
TIMES = Scale(1, "x", steps=2)
PLAIN = Scale(1, "")
SCALES = {
    "B": (Scale(1e9, " GB"), Scale(1e6, " MB"), Scale(1e3, " kB"), Scale(1, " B")),
    "s": (Scale(1, " s"), Scale(1e-3, " ms"), Scale(1e-6, " us"), Scale(1e-9, " ns")),
    "J": (Scale(1, " J"), Scale(1e-3, " mJ"), Scale(1e-6, " uJ")),
    "1": (PERCENT,),
    "dB": (Scale(1, " dB"),),
    "nat": (Scale(1, " nat"),),
}
UNSHARED = re.compile(
    r"spearman|pearson|cosine|mae|rmse|kl|brier|rank_agreement|ssim|\w+_corrcoef|\w+_deviance|"
    r"(cohen_kappa|r2|d2_\w+|explained_variance|n?dcg)_score|"
    r"(?!hamming_|zero_one_)\w+_loss|(?!calibration_)\w+_error"
)
"""Dimensionless metrics that nobody reads as a percentage."""
BOUNDED = re.compile(
    r"top\d+|f1\w*|agreement|cosine|pearson|spearman|cer|wer\w*|map\d*|m?iou|bleu|chrf|ssim|eer|"
    r"(?!dcg_)\w+_(score|corrcoef)|(brier_score|hamming|zero_one)_loss"
)
"""Metrics between 0 and 1: their drops are differences in points, others' relative to the base."""


def show_value(m: Measurement) -> str:
    """The number with its unit; ``~`` marks an estimate.

    >>> show_value(Measurement(0.0030, "1", 0.001, 0.009, "measured", 500))
    '0.3 %'
    >>> show_value(Measurement(520_000, "B", 510_000, 533_000, "estimated", 1))
    '~520 kB'
    """
    return scaled_value(m, unit_scale(m))


def show_interval(m: Measurement) -> str:
    """The 95 % interval in the unit of ``show_value``; empty for an exact number.

    >>> show_interval(Measurement(0.0030, "1", 0.001, 0.009, "measured", 500))
    '[0.1, 0.9]'
    """
    return scaled_interval(m, unit_scale(m))


def show(m: Measurement) -> str:
    """The number with its unit and its interval.

    >>> show(Measurement(0.0021, "s", 0.00205, 0.0022, "measured", 500))
    '2.10 ms [2.05, 2.20]'
    """
    return _scaled(m, unit_scale(m))


def show_named(name: str, m: Measurement) -> str:
    """The number with its interval, as a metric of this name is read.

    >>> show_named("latency_ratio", Measurement(0.81, "1", 0.78, 0.84, "measured", 9))
    '0.81x [0.78, 0.84]'
    >>> show_named("spearman", Measurement(0.81, "1", 0.78, 0.84, "measured", 9))
    '0.81 [0.78, 0.84]'
    """
    return _scaled(m, _named_scale(name, m))


def show_drop(metric: str, m: Measurement) -> str:
    """A drop with its interval: in points, or in percent where it is relative to the base.

    >>> show_drop("top1", Measurement(0.005, "1", 0.002, 0.008, "measured", 5000))
    '0.5 points [0.2, 0.8]'
    """
    return _scaled(m, drop_scale(metric))


def detectable_drop(metric: str, drop: float) -> str:
    """Sentence about the minimum detectable drop.

    >>> detectable_drop("top1", 0.00177)
    'Minimum detectable drop (80 % power): 0.18 points.'
    """
    return f"{DETECTABLE}: {show_detectable(metric, drop)}."


DETECTABLE = "Minimum detectable drop (80 % power)"


def show_detectable(metric: str, drop: float) -> str:
    """The minimum detectable drop with two digits."""
    scale = drop_scale(metric)
    return f"{drop / scale.size:.2g}{scale.label}"


def drop_scale(metric: str) -> Scale:
    """The unit of a metric's drops."""
    if BOUNDED.fullmatch(metric):
        return POINTS
    return PERCENT


def plural(number: int, noun: str) -> str:
    """A number of things.

    >>> plural(1, "finding"), plural(2, "finding")
    ('1 finding', '2 findings')
    """
    ending = "" if number == 1 else "s"
    return f"{number:,} {noun}{ending}"


def show_named_value(name: str, m: Measurement) -> str:
    """The number alone, as a metric of this name is read."""
    return scaled_value(m, _named_scale(name, m))


def show_named_interval(name: str, m: Measurement) -> str:
    """The interval alone, as a metric of this name is read."""
    return scaled_interval(m, _named_scale(name, m))


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
    """A number without an interval, such as a bound on a metric of this name.

    >>> show_number("size", 2e6, "B"), show_number("drop", 0.01, "1")
    ('2 MB', '1 %')
    """
    return bare(value, metric_scale(name, unit, abs(value)))


def _scaled(m: Measurement, scale: Scale) -> str:
    return f"{scaled_value(m, scale)} {scaled_interval(m, scale)}".rstrip()


def scaled_value(m: Measurement, scale: Scale) -> str:
    """A number in a chosen unit."""
    estimate = "~" if m.how == "estimated" else ""
    return f"{estimate}{fixed(m.value / scale.size, decimals(m, scale))}{scale.label}"


def scaled_interval(m: Measurement, scale: Scale) -> str:
    """An interval in a chosen unit, which is not repeated."""
    if m.low == m.high:
        return ""
    places = decimals(m, scale)
    return f"[{fixed(m.low / scale.size, places)}, {fixed(m.high / scale.size, places)}]"


def unit_scale(m: Measurement) -> Scale:
    """The unit in which a measurement reads best."""
    return scale_of(m.unit, _magnitude(m))


def _named_scale(name: str, m: Measurement) -> Scale:
    return metric_scale(name, m.unit, _magnitude(m))


def metric_scale(name: str, unit: str, size: float) -> Scale:
    """The unit of a metric; a dimensionless one is a multiple, a percentage or a plain number."""
    if unit != "1":
        return scale_of(unit, size)
    if name.endswith("_ratio"):
        return TIMES
    if name not in LOSSES and (size > 1 or UNSHARED.fullmatch(name)):
        return PLAIN
    return PERCENT


def scale_of(unit: str, size: float) -> Scale:
    """The largest unit that still leaves at least 1 before the point, after rounding."""
    scales = SCALES[unit]
    if not math.isfinite(size) or size == 0:
        return next((scale for scale in scales if scale.size == 1), scales[-1])
    rounded = float(f"{abs(size):.{DIGITS - 1}e}")
    return next((scale for scale in scales if rounded >= scale.size), scales[-1])


def _magnitude(m: Measurement) -> float:
    return abs(m.value) or max(abs(m.low), abs(m.high))


def decimals(m: Measurement, scale: Scale) -> int:
    """Digits after the point that the interval supports; at most four digits in total.

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
    supported = math.ceil(-math.log10(width / scale.steps))
    if scale == TIMES and largest >= 0.1:  # noqa: PLR2004 - 0.999 and 1.001 alike
        largest = max(1, largest)
    return max(0, min(supported, places_of(largest, MOST_DIGITS)))


def places_of(size: float, digits: int) -> int:
    """Digits after the point where a number has so many digits in total."""
    exponent = int(f"{size:.{digits - 1}e}".partition("e")[2])
    return max(0, digits - 1 - exponent)


def fixed(value: float, places: int) -> str:
    """A number with so many digits after the point, and no minus before a zero.

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
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text}{scale.label}"
