"""Judge budgets one by one: kept, missed or undecided, and the samples that would decide."""

from __future__ import annotations

import math
from collections.abc import Mapping

from packlight.errors import RecipeError
from packlight.records import CheckedBudget, Limit, Measurement, Unclear

MAX_SAMPLES = 10**8
"""Number of samples above which a budget counts as undecidable: the estimate is on the bound."""

Numbers = Mapping[str, Measurement]


def judge(
    limit: Limit, base: Numbers, new: Numbers, *, unclear: Unclear = "fail", tolerance: float = 0.0
) -> CheckedBudget:
    """Judge a budget of a new model.

    Args:
        limit: the budget.
        base: measurements of the base, which multiples refer to.
        new: measurements of the new model.
        unclear: treatment of a bound inside the interval.
        tolerance: share by which the bound is widened.

    Raises:
        RecipeError: what the budget bounds was not measured.
    """
    name = limit.judged_by
    if name not in new or (limit.relative and name not in base):
        known = ", ".join(sorted(new))
        raise RecipeError(
            f"'{limit.text}' bounds '{name}', which was not measured for both models; there are "
            f"{known}"
        )
    measurement = new[name]
    bound = widened(limit, limit.bound(base), tolerance)
    meets = limit.compare(measurement, bound)
    accepted = {"fail": False, "pass": True, "estimate": keeps(limit, measurement.value, bound)}
    passed = meets == "yes"
    needed = None
    if meets == "unclear":
        passed = accepted[unclear]
        needed = samples_needed(measurement, bound)
    return CheckedBudget(
        limit.text, name, bound, measurement, base.get(name), meets, passed, needed
    )


def widened(limit: Limit, bound: float, tolerance: float) -> float:
    """The bound with its tolerance, a share of its absolute value.

    >>> from packlight.records.budget import parse_limit
    >>> widened(parse_limit("latency<=10s"), 10, 0.05), widened(parse_limit("top1>=80%"), 0.8, 0.05)
    (10.5, 0.76)
    """
    slack = tolerance * abs(bound)
    if limit.sense == "<=":
        return bound + slack
    return bound - slack


def keeps(limit: Limit, value: float, bound: float) -> bool:
    """Tell if a value keeps a bound."""
    if limit.sense == "<=":
        return value <= bound
    return value >= bound


def samples_needed(measurement: Measurement, bound: float) -> int | None:
    """Estimate how many samples would decide a budget whose bound lies in the interval.

    The distance from the value to an end of the interval shrinks with the square root of the
    number of samples. With ``n`` times ``(end - value)^2 / (bound - value)^2`` samples the interval
    ends at the bound, provided that the value stays where it is.

    Returns:
        The number; None where the value is on the bound, so that no number decides.

    >>> samples_needed(Measurement(0.5, "1", 0.4, 0.6, "measured", 100), 0.55)
    400
    """
    end = measurement.high if bound >= measurement.value else measurement.low
    distance = abs(bound - measurement.value)
    if distance == 0:
        return None
    needed = measurement.n * ((end - measurement.value) / distance) ** 2
    if needed > MAX_SAMPLES:
        return None
    return _rounded_up(needed)


def _rounded_up(number: float) -> int:
    """A number with two digits, so that it does not look exact."""
    unit: int = 10 ** max(0, math.floor(math.log10(max(number, 1))) - 1)
    return math.ceil(round(number / unit, 9)) * unit
