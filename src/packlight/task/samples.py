"""Samples that are made when they are asked for."""

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
    """A sequence of samples by index; subclasses say how many, and make one."""

    @abstractmethod
    def make(self, index: int) -> Steps:
        """The sample at an index from 0."""

    @overload
    def __getitem__(self, index: int) -> Steps: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Steps]: ...
    def __getitem__(self, index: int | slice) -> Steps | Sequence[Steps]:
        """One sample, or a selection of them; nothing is made before it is asked for."""
        places = range(len(self))[index]
        return self.make(places) if isinstance(places, int) else Selection(self, places)


@dataclass(frozen=True, slots=True)
class LazySamples(Samples):
    """Samples computed one at a time, as from text or sound.

    Attributes:
        size: how many.
        build: index -> calls of the model, by input name; the same index must give the same.
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
    """Some samples of others.

    Attributes:
        source: the others.
        places: indices in it.
    """

    source: Sequence[Steps]
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def make(self, index: int) -> Steps:
        """The sample at an index of the selection."""
        return self.source[self.places[index]]


@dataclass(frozen=True, slots=True)
class ArraySamples(Samples):
    """Rows of arrays, each a single call of batch 1.

    Attributes:
        arrays: by input name, each (n, ...).
        dtypes: what the model takes; rows are cast one at a time, so that images stay uint8 here.
        whole: inputs whose row is all that the model takes; the others get a leading axis of 1.
    """

    arrays: Mapping[str, NDArray[np.generic]]
    dtypes: Mapping[str, np.dtype[np.generic]]
    whole: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return min((len(array) for array in self.arrays.values()), default=0)

    def make(self, index: int) -> Steps:
        """Row ``index`` of every array, in the type that the model takes."""
        return ({name: self.row(name, index) for name in self.arrays},)

    def row(self, name: str, index: int) -> NDArray[np.generic]:
        """One row as it is fed."""
        array = self.arrays[name]
        rows = array[index] if name in self.whole else array[index : index + 1]
        return np.asarray(rows, dtype=self.dtypes[name])
