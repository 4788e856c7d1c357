"""Parts of the calibration samples that have no source in common.

Samples of one source, as crops of a photo or pieces of a recording, are much alike: held-out ones
tell of other data only where their sources are held out too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

LEAST_PARTS = 2


def source_parts(
    count: int, groups: Mapping[str, Sequence[str]], most: int
) -> tuple[tuple[int, ...], ...]:
    """Indices of samples in parts without a common source, of about the same size.

    Sources are the groups of ``source_column``. Without groups, neighbors count as of one source:
    parts are then in one piece, in the order of time.

    Args:
        count: number of samples.
        groups: by column, the group of each sample.
        most: parts; fewer where there are fewer sources.

    >>> source_parts(4, {"photo": ["a", "b", "a", "c"]}, 2)
    ((0, 2, 3), (1,))
    >>> source_parts(4, {}, 2)
    ((0, 1), (2, 3))
    """
    names = source_names(count, groups)
    members: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        members.setdefault(name, []).append(index)
    if len(members) < LEAST_PARTS:
        bounds = [count * part // most for part in range(most + 1)]
        pieces = [tuple(range(*pair)) for pair in pairwise(bounds)]
        return tuple(piece for piece in pieces if piece)
    parts: list[list[int]] = [[] for _ in range(min(most, len(members)))]
    for number, indices in enumerate(members.values()):
        parts[number % len(parts)] += indices
    return tuple(tuple(sorted(part)) for part in parts)


def source_column(count: int, groups: Mapping[str, Sequence[str]]) -> str:
    """The column of groups that tells sources apart best; empty without groups.

    Columns that name every sample by itself come last.
    """
    sources = {column: len(set(map(str, names))) for column, names in groups.items()}
    return max(sources, key=lambda column: (sources[column] < count, sources[column]), default="")


def source_names(count: int, groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The source of each sample; empty without groups."""
    return tuple(map(str, groups.get(source_column(count, groups), ())))


def source_count(count: int, groups: Mapping[str, Sequence[str]]) -> int:
    """Number of different sources: of samples, where no groups tell."""
    return len(set(source_names(count, groups))) or count
