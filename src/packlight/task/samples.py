"""Samples that are computed on access."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from packlight.runtime import Steps


class Samples(Sequence["Steps"]):
    """A sequence of samples by index; subclasses define its length and ``make``."""

    @abstractmethod
    def make(self, index: int) -> Steps:
        """The sample at an index from 0."""

    @overload
    def __getitem__(self, index: int) -> Steps: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Steps]: ...
    def __getitem__(self, index: int | slice) -> Steps | Sequence[Steps]:
        """One sample, or a selection of them, whose samples are computed on access."""
        indices = range(len(self))[index]
        if isinstance(indices, int):
            return self.make(indices)
        return Selection(self, indices)


@dataclass(frozen=True, slots=True)
class LazySamples(Samples):
    """Samples computed one at a time, for example from text or sound.

    Attributes:
        size: number of samples.
        build: index -> calls of the model, by input name; deterministic.
    """

    size: int
    build: Callable[[int], Steps]

    def __len__(self) -> int:
        return self.size

    def make(self, index: int) -> Steps:
        """The sample at an index."""
        return self.build(index)


@dataclass(frozen=True, slots=True)
class Selection(Samples):
    """Samples selected by index from a sequence.

    Attributes:
        source: the sequence.
        indices: in the source.
    """

    source: Sequence[Steps]
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def make(self, index: int) -> Steps:
        """The sample at an index of the selection."""
        return self.source[self.indices[index]]


@dataclass(frozen=True, slots=True)
class ArraySamples(Samples):
    """Rows of arrays, each a single call of batch 1.

    Attributes:
        arrays: by input name, each (n, ...).
        dtypes: of the model's inputs; rows are cast one at a time, so that images stay uint8 here.
        unbatched: inputs whose row has the model's shape; further rows get a leading axis of 1.
    """

    arrays: Mapping[str, NDArray[np.generic]]
    dtypes: Mapping[str, np.dtype[np.generic]]
    unbatched: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return min((len(array) for array in self.arrays.values()), default=0)

    def make(self, index: int) -> Steps:
        """Row ``index`` of every array, in the model's type."""
        return ({name: self.row(name, index) for name in self.arrays},)

    def row(self, name: str, index: int) -> NDArray[np.generic]:
        """One row in the model's shape and type."""
        array = self.arrays[name]
        rows = array[index] if name in self.unbatched else array[index : index + 1]
        return np.asarray(rows, dtype=self.dtypes[name])
