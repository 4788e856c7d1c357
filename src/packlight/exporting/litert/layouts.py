"""Orders in which the axes of a value lie in memory.

ONNX has channels before positions, LiteRT's kernels want them last. A layout is a permutation:
axis ``i`` of what is stored is axis ``layout[i]`` of the value as ONNX sees it.
"""

from __future__ import annotations

from collections.abc import Sequence

Shape = tuple[int, ...]
Layout = tuple[int, ...]


def natural(rank: int) -> Layout:
    """The order of ONNX."""
    return tuple(range(rank))


def channels_last(rank: int) -> Layout:
    """(batch, positions..., channels)."""
    return (0, *range(2, rank), 1)


def stored_shape(shape: Sequence[int], layout: Layout) -> Shape:
    """Sizes in the order in which they are stored."""
    return tuple(shape[axis] for axis in layout)


def steps_between(source: Layout, target: Layout) -> Layout:
    """The permutation that a transpose applies to what is stored to bring it to another layout."""
    return tuple(source.index(axis) for axis in target)


def after_transpose(layout: Layout, permutation: Sequence[int]) -> Layout:
    """Layout of a transposed value that is stored where the original is."""
    return tuple(list(permutation).index(axis) for axis in layout)


def keeps_order(shape: Sequence[int], source: Layout, target: Layout) -> bool:
    """Tell whether two layouts have the same bytes: axes of more than one element stay in order."""
    before = [axis for axis in source if shape[axis] != 1]
    after = [axis for axis in target if shape[axis] != 1]
    return before == after


def with_leading_axes(layout: Layout, count: int) -> Layout:
    """Layout of a value that got axes of size 1 in front."""
    return (*range(count), *(axis + count for axis in layout))
