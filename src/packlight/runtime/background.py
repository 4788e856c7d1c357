"""Work done ahead in another thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, cast

T = TypeVar("T")
END: Final = object()


def ahead(values: Iterator[T]) -> Iterator[T]:
    """The same values in the same order, each computed while the one before it is used.

    No more than one waits. What goes wrong in the other thread is raised here, in its place.
    """
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(next, values, END)
        while (value := coming.result()) is not END:
            coming = worker.submit(next, values, END)
            yield cast("T", value)
