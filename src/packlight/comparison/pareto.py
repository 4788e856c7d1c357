"""The variants that no other beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packlight.errors import InputError


def pareto_front(
    points: Mapping[str, Mapping[str, float]],
    minimize: Sequence[str] = (),
    maximize: Sequence[str] = (),
) -> tuple[str, ...]:
    """Ids of points that no other is at least as good as in everything and better in something.

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
        key for key, own in costs.items()
        if not any(dominates(other, own) for other in costs.values())
    )  # fmt: skip


def cost(
    key: str, point: Mapping[str, float], minimize: Sequence[str], maximize: Sequence[str]
) -> tuple[float, ...]:
    """A point as numbers of which less is better."""
    missing = [name for name in (*minimize, *maximize) if name not in point]
    if missing:
        raise InputError(f"a front needs {', '.join(missing)} of every variant; '{key}' has none")
    return (*(point[name] for name in minimize), *(-point[name] for name in maximize))


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether one is nowhere worse than the other, and not the same."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
