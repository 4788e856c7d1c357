"""Outputs of any type as arrays: sequences and maps element by element, texts last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

TEXT_KINDS = "OSUT"
"""Kinds of NumPy types that hold texts."""


def as_arrays(outputs: Mapping[str, object]) -> dict[str, Array]:
    """Outputs as arrays, numbers first, so that metrics of the first output find numbers there.

    An element of a sequence is named as ``boxes[0]``; maps with the same keys become one array of
    their values, in the order of the keys. An absent optional output gives none.

    >>> [*as_arrays({"label": np.array(["a"], object), "scores": [{"b": 0.75, "a": 0.25}]}).items()]
    [('scores', array([[0.25, 0.75]])), ('label', array(['a'], dtype=object))]
    """
    arrays = [entry for name, value in outputs.items() for entry in _arrays_of(name, value)]
    texts = [entry for entry in arrays if is_text(entry[1])]
    numbers = [entry for entry in arrays if not is_text(entry[1])]
    return dict([*numbers, *texts])


def is_text(array: Array) -> bool:
    """Test whether an array holds texts."""
    return array.dtype.kind in TEXT_KINDS


def _arrays_of(name: str, value: object) -> Iterator[tuple[str, Array]]:
    if isinstance(value, np.ndarray | np.generic):
        yield name, np.asarray(value)
    elif isinstance(value, Mapping):
        yield name, np.array([value[key] for key in sorted(value)])
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if _are_alike_maps(value):
            yield name, np.array([[entry[key] for key in sorted(entry)] for entry in value])
        else:
            for index, element in enumerate(value):
                yield from _arrays_of(f"{name}[{index}]", element)


def _are_alike_maps(values: Sequence[object]) -> bool:
    first = values[0] if values else None
    if not isinstance(first, Mapping):
        return False
    return all(isinstance(value, Mapping) and value.keys() == first.keys() for value in values)
