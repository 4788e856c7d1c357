"""Operators that move, cut, join and resize values, and subgraphs that compute shapes."""

from __future__ import annotations

import math

import numpy as np
from onnx import numpy_helper
from operator_motifs import Entry, windows
from sketchbook import Sketchbook


def transpose(book: Sketchbook) -> None:
    """Axes behind the first in another order."""
    source = book.floating(3, 4)
    if source is None:
        return
    perm = [0, *(int(axis) for axis in 1 + book.random.permutation(source.rank - 1))]
    book.offer(book.add("Transpose", [source.name], [source.shape[a] for a in perm], perm=perm))


def turned(book: Sketchbook) -> None:
    """Axes in reverse, without a perm."""
    source = book.floating(2)
    if source is not None and book.chance(0.5):
        book.offer(book.add("Transpose", [source.name], source.shape[::-1]))


def flatten(book: Sketchbook) -> None:
    """Flatten, or the Reshape that does the same."""
    source = book.floating(3, 4, 5)
    if source is None:
        return
    shape = (source.shape[0], math.prod(source.shape[1:]))
    if shape[1] > 400:
        return
    if book.chance(0.5):
        book.offer(book.add("Flatten", [source.name], shape))
        return
    book.offer(book.add("Reshape", [source.name, book.integers((0, -1))], shape))


def reshape(book: Sketchbook) -> None:
    """The last axis split in two, or the last two joined."""
    source = book.floating(2, 3, 4)
    if source is None:
        return
    last = source.shape[-1]
    if source.rank > 2 and book.chance(0.5):
        shape = (*source.shape[:-2], source.shape[-2] * last)
    else:
        parts = [part for part in (2, 3, 4) if last % part == 0]
        if not parts:
            return
        part = book.number(*parts)
        shape = (*source.shape[:-1], part, last // part)
    target = [0] * min(source.rank - 1, len(shape) - 1) + list(
        shape[min(source.rank - 1, len(shape) - 1) :]
    )
    if source.rank > len(shape):
        target = [0] * (len(shape) - 1) + [-1]
    book.offer(book.add("Reshape", [source.name, book.integers(target)], shape))


def computed_reshape(book: Sketchbook) -> None:
    """A Reshape whose target is computed from Shape, as exporters write it."""
    source = book.floating(3, 4)
    if source is None:
        return
    shape = book.add("Shape", [source.name], (source.rank,), "int64")
    first = book.store(np.array(0, np.int64), "index").name
    batch = book.add("Gather", [shape.name, first], (), "int64", axis=0)
    batch = unsqueezed(book, batch.name, [0], (1,), "int64")
    target = book.add("Concat", [batch, book.integers([-1])], (2,), "int64", axis=0)
    flat = (source.shape[0], math.prod(source.shape[1:]))
    if flat[1] <= 400:
        book.offer(book.add("Reshape", [source.name, target.name], flat))


def constant_of_shape(book: Sketchbook) -> None:
    """Something stored, spread to the shape of a value, added to it."""
    source = book.floating()
    if source is None:
        return
    shape = book.add("Shape", [source.name], (source.rank,), "int64")
    fill = numpy_helper.from_array(np.array([0.5], np.float32))
    spread = book.add("ConstantOfShape", [shape.name], source.shape, value=fill)
    book.offer(book.add("Add", [source.name, spread.name], source.shape))


def expanded(book: Sketchbook) -> None:
    """A stored vector that is spread to the shape of a value, or tiled, and multiplied."""
    source = book.floating(2, 3)
    if source is None:
        return
    shape = book.add("Shape", [source.name], (source.rank,), "int64")
    vector = book.weight(source.shape[-1], fan_in=1)
    wide = book.add("Expand", [vector, shape.name], source.shape)
    book.offer(book.add("Mul", [source.name, wide.name], source.shape))


def unsqueezed(
    book: Sketchbook, name: str, axes: list[int], shape: tuple[int, ...], dtype: str = "float32"
) -> str:
    """Unsqueeze with axes as an attribute or as an input; gives the name of the result."""
    if book.opset >= 13:
        return book.add("Unsqueeze", [name, book.integers(axes)], shape, dtype).name
    return book.add("Unsqueeze", [name], shape, dtype, axes=axes).name


def squeeze(book: Sketchbook) -> None:
    """An axis comes and, behind an activation, goes at times."""
    source = book.floating(2, 3)
    if source is None:
        return
    axis = int(book.random.integers(1, source.rank + 1))
    shape = (*source.shape[:axis], 1, *source.shape[axis:])
    wide = book.add("Relu", [unsqueezed(book, source.name, [axis], shape)], shape)
    book.offer(wide)
    if book.chance(0.5):
        return
    if book.opset >= 13:
        book.offer(book.add("Squeeze", [wide.name, book.integers([axis])], source.shape))
        return
    book.offer(book.add("Squeeze", [wide.name], source.shape, axes=[axis]))


def concat(book: Sketchbook) -> None:
    """Two values side by side, or a value and something stored."""
    first = book.floating(2, 3, 4)
    if first is None:
        return
    axis = int(book.random.integers(1, first.rank))
    wide = first.shape[:axis], first.shape[axis + 1 :]
    second = book.value(
        lambda v: v.dtype == "float32" and v.rank == first.rank
        and (v.shape[:axis], v.shape[axis + 1 :]) == wide
    )  # fmt: skip
    if second is None:
        return
    names, size = [first.name, second.name], first.shape[axis] + second.shape[axis]
    if book.chance(0.2):
        names.append(book.store(book.array((*wide[0], 2, *wide[1]), 4), "part").name)
        size += 2
    book.offer(book.add("Concat", names, (*wide[0], size, *wide[1]), axis=axis))


def split(book: Sketchbook) -> None:
    """Two or three pieces along an axis behind the first."""
    source = book.floating(2, 3, 4)
    if source is None:
        return
    axis = int(book.random.integers(1, source.rank))
    size = source.shape[axis]
    if size < 4:
        return
    pieces = [size // 2, size - size // 2]
    if book.chance(0.4):
        pieces = [1, size // 2, size - size // 2 - 1]
    shapes = [(*source.shape[:axis], piece, *source.shape[axis + 1 :]) for piece in pieces]
    if book.opset < 13:
        results = book.add_several("Split", [source.name], shapes, axis=axis, split=pieces)
    else:
        inputs = [source.name, book.integers(pieces)]
        results = book.add_several("Split", inputs, shapes, axis=axis)
    for result in results:
        book.offer(result)


def cut(book: Sketchbook) -> None:
    """Slice along one axis behind the first, backwards at times."""
    source = book.floating(2, 3, 4)
    if source is None:
        return
    axis = int(book.random.integers(1, source.rank))
    size = source.shape[axis]
    if size < 3:
        return
    start, end, step = book.choose(
        (1, size, 1), (0, size - 1, 1), (0, 2**31, 2), (-1, -size - 1, -1), (-3, 2**31, 1)
    )
    if book.opset < 10:
        step = 1
        start, end = (1, size)
    length = len(range(size)[start : end if abs(end) <= size else None : step])
    shape = (*source.shape[:axis], length, *source.shape[axis + 1 :])
    if book.opset < 10:
        book.offer(book.add("Slice", [source.name], shape, starts=[start], ends=[end], axes=[axis]))
        return
    inputs = [source.name, *(book.integers([number]) for number in (start, end, axis, step))]
    book.offer(book.add("Slice", inputs, shape))


def pad(book: Sketchbook) -> None:
    """Pad around the last axis."""
    source = book.floating(2, 3, 4)
    if source is None:
        return
    mode = str(book.choose("constant", "constant", "reflect", "edge"))
    if source.shape[-1] < 3:
        mode = "constant"
    pads = [0] * (2 * source.rank)
    pads[source.rank - 1], pads[-1] = 1, book.number(0, 1, 2)
    if mode == "constant" and book.chance(0.3):
        pads[1] += 1
    shape = [s + pads[i] + pads[i + source.rank] for i, s in enumerate(source.shape)]
    if book.opset < 11:
        book.offer(book.add("Pad", [source.name], shape, pads=pads, mode=mode))
        return
    inputs = [source.name, book.integers(pads)]
    if mode == "constant" and book.chance(0.4):
        inputs.append(book.scalar(float(book.choose(0.0, 0.5))))
    book.offer(book.add("Pad", inputs, shape, mode=mode))


def pool(book: Sketchbook) -> None:
    """MaxPool or AveragePool."""
    source = book.floating(3, 4)
    if source is None:
        return
    attributes, _, sizes = windows(book, source)
    attributes.pop("dilations", None)
    if attributes.get("pads") or min(sizes) < 1:
        attributes.pop("pads", None)
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1] * len(sizes))
    if "auto_pad" not in attributes or attributes["auto_pad"] == "VALID":
        sizes = [
            (s - k) // t + 1 for s, k, t in zip(source.shape[2:], kernel, strides, strict=True)
        ]
    kind = str(book.choose("MaxPool", "AveragePool"))
    book.offer(book.add(kind, [source.name], (*source.shape[:2], *sizes), **attributes))


def global_pool(book: Sketchbook) -> None:
    """GlobalAveragePool or GlobalMaxPool."""
    source = book.floating(3, 4)
    if source is None:
        return
    shape = (*source.shape[:2], *[1] * (source.rank - 2))
    kind = str(book.choose("GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool"))
    book.offer(book.add(kind, [source.name], shape))


def resize(book: Sketchbook) -> None:
    """Images twice as large, by Upsample or Resize."""
    source = book.floating(4)
    if source is None or max(source.shape[2:]) > 8:
        return
    scales = [1.0, 1.0, 2.0, 2.0]
    shape = (*source.shape[:2], *(2 * size for size in source.shape[2:]))
    mode = str(book.choose("nearest", "linear"))
    if book.opset < 9:
        book.offer(book.add("Upsample", [source.name], shape, scales=scales, mode=mode))
        return
    factors = book.store(np.array(scales, np.float32), "scales").name
    if book.opset < 11:
        kind = "Upsample" if book.opset == 9 else "Resize"
        book.offer(book.add(kind, [source.name, factors], shape, mode=mode))
        return
    attributes = {}
    if book.chance(0.5):
        attributes["coordinate_transformation_mode"] = "asymmetric"
    if mode == "nearest" and book.chance(0.5):
        attributes["nearest_mode"] = "floor"
    empty = "" if book.opset >= 13 else book.store(np.zeros(0, np.float32), "roi").name
    inputs = [source.name, empty, factors]
    if book.chance(0.3):
        nothing = "" if book.opset >= 13 else book.store(np.zeros(0, np.float32), "empty").name
        inputs = [source.name, empty, nothing, book.integers(shape)]
    book.offer(book.add("Resize", inputs, shape, mode=mode, **attributes))


def depth_to_space(book: Sketchbook) -> None:
    """Channels become places."""
    source = book.floating(4)
    if source is None or source.shape[1] % 4 or max(source.shape[2:]) > 8:
        return
    n, c, h, w = source.shape
    book.offer(book.add("DepthToSpace", [source.name], (n, c // 4, 2 * h, 2 * w), blocksize=2))


def constant_expression(book: Sketchbook) -> None:
    """A sum of stored values, added to a value: something for constant folding."""
    source = book.floating()
    if source is None:
        return
    width = source.shape[-1]
    first = book.weight(width, fan_in=4)
    second = book.weight(width, fan_in=4)
    total = book.add("Add", [first, second], (width,))
    total = book.add(str(book.choose("Mul", "Sub")), [total.name, book.scalar(0.5)], (width,))
    book.offer(book.add("Add", [source.name, total.name], source.shape))


def gather_channels(book: Sketchbook) -> None:
    """Channels in another order."""
    source = book.floating(2, 3, 4)
    if source is None:
        return
    order = book.random.permutation(source.shape[1])[: max(2, source.shape[1] - 1)]
    shape = (source.shape[0], len(order), *source.shape[2:])
    book.offer(book.add("Gather", [source.name, book.integers(order)], shape, axis=1))


TABLE: tuple[Entry, ...] = (
    Entry(transpose, 1.5), Entry(turned, 0.3), Entry(flatten, 2), Entry(reshape, 1.2),
    Entry(computed_reshape, 0.7), Entry(constant_of_shape, 0.4, 9), Entry(expanded, 0.5, 8),
    Entry(squeeze, 0.8), Entry(concat, 1.5), Entry(split, 1.2), Entry(cut), Entry(pad),
    Entry(pool, 1.5), Entry(global_pool, 1), Entry(resize, 0.8), Entry(depth_to_space, 0.4),
    Entry(constant_expression, 0.8), Entry(gather_channels, 0.5),
)  # fmt: skip
