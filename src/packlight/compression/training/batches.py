"""Samples that are learned from and those that decide, and the batches of each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from packlight.compression.training.samples import Batching, Sample, Samples, alone

HELD_SHARE = 0.15
"""Share of the samples that decide."""

HELD_RUNS = 4
"""Runs of consecutive samples in which these lie: neighbors are often of the same origin."""

MOST_HELD = 256
"""Samples that decide, at most."""


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of samples.

    Attributes:
        learned: that are learned from.
        held: that decide which state is kept.
    """

    learned: tuple[int, ...]
    held: tuple[int, ...]


def split_samples(count: int) -> Split:
    """Hold out some runs of consecutive samples; of few samples one, of a single one none.

    >>> split_samples(10)
    Split(learned=(0, 1, 2, 3, 5, 6, 7, 8), held=(4, 9))
    """
    wanted = min(MOST_HELD, round(HELD_SHARE * count))
    if count == 1:
        return Split((0,), (0,))
    runs = max(1, min(HELD_RUNS, wanted))
    length = max(1, wanted // runs)
    ends = [count * (run + 1) // runs for run in range(runs)]
    held = tuple(index for end in ends for index in range(end - length, end))
    return Split(tuple(index for index in range(count) if index not in set(held)), held)


class Batches:
    """Groups of samples that run together.

    Args:
        samples: all of them.
        batching: axes along which they are joined; None where they run one by one.
        most: samples that run together.
    """

    def __init__(self, samples: Samples, batching: Batching | None, most: int) -> None:
        self.samples = samples
        self.batching = batching
        self.most = most

    def groups(self, indices: Sequence[int]) -> Iterator[tuple[list[Sample], Batching]]:
        """Samples of the same shapes together, in the order of the first of each."""
        waiting: dict[object, list[Sample]] = {}
        for index in indices:
            sample = self.samples[index]
            group = waiting.setdefault(sample.signature, [])
            group.append(sample)
            if len(group) == self.most or self.batching is None:
                yield from self._joined(waiting.pop(sample.signature))
        for group in waiting.values():
            yield from self._joined(group)

    def _joined(self, group: list[Sample]) -> Iterator[tuple[list[Sample], Batching]]:
        batching = self.batching
        calls = range(len(group[0].feeds))
        if batching is None or any(batching.feeds(group, call) is None for call in calls):
            yield from (([sample], alone(sample)) for sample in group)
        else:
            yield group, batching


def step_samples(learned: Sequence[int], step: int, size: int, seed: int) -> list[int]:
    """Samples of a step: every one once before any a second time, in an order of each round.

    Args:
        learned: samples that are learned from.
        step: counted from 0.
        size: samples of a step.
        seed: of the orders.
    """
    size = min(size, len(learned))
    chosen: list[int] = []
    for place in range(step * size, (step + 1) * size):
        cycle, position = divmod(place, len(learned))
        if not chosen or position == 0:
            order = np.random.default_rng([seed, cycle]).permutation(len(learned))
        chosen.append(learned[order[position]])
    return chosen
