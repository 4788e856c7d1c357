"""The Pareto front: variants that no other variant dominates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packlight.errors import InputError


def pareto_front(
    points: Mapping[str, Mapping[str, float]],
    minimize: Sequence[str] = (),
    maximize: Sequence[str] = (),
) -> tuple[str, ...]:
    """Ids of points that no other point dominates: as good in everything and better in something.

    Args:
        points: by id, numbers by name; every point has all the names below.
        minimize: names where less is better.
        maximize: names where more is better.

    Returns:
        Ids in the order of ``points``; of equal points all or none.

    Raises:
        InputError: a point lacks a number.

    >>> pareto_front({"a": {"size": 1}, "b": {"size": 2}}, minimize=["size"])
    ('a',)
    """
    costs = {key: cost(key, point, minimize, maximize) for key, point in points.items()}
    return tuple(
        key for key, point in costs.items()
        if not any(_dominates(rival, point) for rival in costs.values())
    )  # fmt: skip


def cost(
    key: str, point: Mapping[str, float], minimize: Sequence[str], maximize: Sequence[str]
) -> tuple[float, ...]:
    """A point as numbers to minimize."""
    missing = [name for name in (*minimize, *maximize) if name not in point]
    if missing:
        raise InputError(f"a front needs {', '.join(missing)} of every variant; '{key}' has none")
    return (*(point[name] for name in minimize), *(-point[name] for name in maximize))


def _dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))
