"""Trade-off plot of a study, for notebooks; matplotlib is an extra."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from packlight.errors import InputError
from packlight.presentation.numbers import SCALES, drop_scale, scale_of

if TYPE_CHECKING:
    from packlight.records import Measurement, Outcome

COLORS = {"fits": "#1b6e45", "undecided": "#a36b00", "misses": "#a3262a", "unjudged": "#0f5c9c"}
CHOSEN_SIZE = 140
SIZE = 45


def plot_outcome(outcome: Outcome, x: str, y: str, axes: Any) -> Any:
    """Draw every variant by two measurements, with 95 % intervals and budgets.

    Args:
        outcome: of the search.
        x: name of the measurement from left to right.
        y: from bottom to top.
        axes: of matplotlib, to draw on; None for new ones.

    Returns:
        The ``matplotlib.axes.Axes``.

    Raises:
        InputError: matplotlib is not installed, or no variant has both measurements.
    """
    shown = [v for v in outcome.variants if x in v.metrics and y in v.metrics]
    if not shown:
        known = ", ".join(sorted({name for v in outcome.variants for name in v.metrics}))
        raise InputError(f"no variant has both '{x}' and '{y}'; measured are {known}")
    if axes is None:
        axes = _pyplot().subplots(figsize=(8, 5), layout="constrained")[1]
    horizontal = _unit_of(x, [v.metrics[x] for v in shown], outcome.metric)
    vertical = _unit_of(y, [v.metrics[y] for v in shown], outcome.metric)
    for variant in shown:
        across = _scaled(variant.metrics[x], horizontal[0])
        down = _scaled(variant.metrics[y], vertical[0])
        color = COLORS[variant.verdict]
        axes.errorbar(
            across[0], down[0], xerr=_whiskers(across), yerr=_whiskers(down), fmt="none",
            ecolor=color, alpha=0.5,
        )  # fmt: skip
        size = CHOSEN_SIZE if variant.id == outcome.best else SIZE
        axes.scatter([across[0]], [down[0]], s=size, color=color, zorder=3)
        axes.annotate(
            variant.name, (across[0], down[0]), xytext=(6, 6), textcoords="offset points",
            fontsize=8,
        )  # fmt: skip
    _draw_bounds(axes, outcome, {x: horizontal[0], y: vertical[0]}, x)
    axes.set_xlabel(f"{x} ({horizontal[1]})" if horizontal[1] else x)
    axes.set_ylabel(f"{y} ({vertical[1]})" if vertical[1] else y)
    axes.set_title(f"{outcome.model} on {outcome.task}, {outcome.samples:,} samples")
    return axes


def _pyplot() -> Any:
    try:
        return import_module("matplotlib.pyplot")
    except ModuleNotFoundError as error:
        raise InputError(
            "plot needs matplotlib, which is not installed: pip install matplotlib"
        ) from error


def _unit_of(name: str, measurements: list[Measurement], metric: str) -> tuple[float, str]:
    """Size and label of the unit of an axis."""
    unit = measurements[0].unit
    if name == "drop":
        scale = drop_scale(metric)
        return scale.size, scale.label.strip()
    if unit == "1" or unit not in SCALES:
        return 1.0, ""
    scale = scale_of(unit, max(abs(m.value) for m in measurements))
    return scale.size, scale.label.strip()


def _scaled(measurement: Measurement, size: float) -> tuple[float, float, float]:
    return measurement.value / size, measurement.low / size, measurement.high / size


def _whiskers(scaled: tuple[float, float, float]) -> list[list[float]]:
    value, low, high = scaled
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _draw_bounds(axes: Any, outcome: Outcome, scales: dict[str, float], x: str) -> None:
    """Draw the budgets on the two measurements as dashed lines."""
    original = outcome.variants[0].metrics
    for limit in outcome.budget.all():
        if limit.judged_by not in scales:
            continue
        bound = limit.bound(original) / scales[limit.judged_by]
        draw = axes.axvline if limit.judged_by == x else axes.axhline
        draw(bound, linestyle="--", linewidth=1, color="#5c6670", label=limit.text)
