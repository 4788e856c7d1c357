"""Operators and small patterns to put in a random graph, with their least opset and frequency.

A motif draws what it reads from the values there are, adds its operators, and offers its result;
where nothing fits, it adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto
from sketchbook import Sketchbook, Value

Motif = Callable[[Sketchbook], None]


@dataclass(frozen=True)
class Entry:
    """A motif in the table.

    Attributes:
        draw: adds it to a graph.
        frequency: relative to those of others.
        opset: the least that has all its operators.
    """

    draw: Motif
    frequency: float = 1.0
    opset: int = 7


# Products


def matmul(book: Sketchbook) -> None:
    """MatMul with a stored weight on the right, and at times a bias."""
    source = book.floating(2, 3, 4)
    if source is None:
        return
    width = book.width()
    inner = source.shape[-1]
    weight = book.weight(inner, width, fan_in=inner)
    result = book.add("MatMul", [source.name, weight], (*source.shape[:-1], width))
    if book.chance(0.5):
        bias = book.weight(*([1] * book.number(0, 0, source.rank - 1)), width, fan_in=4)
        sides = [result.name, bias]
        if book.chance(0.3):
            sides.reverse()
        result = book.add("Add", sides, result.shape)
    book.offer(result)


def left_matmul(book: Sketchbook) -> None:
    """MatMul with a stored weight on the left."""
    source = book.floating(2, 3)
    if source is None:
        return
    width, inner = book.width(), source.shape[-2]
    if source.rank == 2 and book.chance(0.7):
        return
    weight = book.weight(width, inner, fan_in=inner)
    shape = (*source.shape[:-2], width, source.shape[-1])
    book.offer(book.add("MatMul", [weight, source.name], shape))


def batched_matmul(book: Sketchbook) -> None:
    """MatMul with a stored weight of three axes."""
    source = book.floating(3)
    if source is None:
        return
    inner, width = source.shape[-1], book.width()
    weight = book.weight(source.shape[0] if book.chance(0.3) else 1, inner, width, fan_in=inner)
    book.offer(book.add("MatMul", [source.name, weight], (*source.shape[:-1], width)))


def gemm(book: Sketchbook) -> None:
    """Gemm with any of its attributes."""
    source = book.floating(2)
    if source is None:
        return
    width = book.width()
    turned = book.chance(0.5)
    attributes: dict[str, object] = {"transB": 1} if turned else {}
    rows, inner = source.shape
    if book.chance(0.1):
        attributes["transA"] = 1
        rows, inner = inner, rows
    if book.chance(0.25):
        attributes["alpha"] = float(book.choose(0.5, 2.0, -1.0))
    if book.chance(0.25):
        attributes["beta"] = float(book.choose(0.5, 2.0, 0.0))
    weight = book.weight(*((width, inner) if turned else (inner, width)), fan_in=inner)
    inputs = [source.name, weight]
    if book.opset < 11 or book.chance(0.7):
        shape = book.choose((width,), (1, width), (1,), (width,))
        inputs.append(book.weight(*shape, fan_in=4))
    book.offer(book.add("Gemm", inputs, (rows, width), **attributes))


def windows(book: Sketchbook, source: Value) -> tuple[dict[str, object], list[int], list[int]]:
    """Draw kernel, strides, dilations and padding; gives attributes, kernel and result sizes."""
    sizes = source.shape[2:]
    kernel = [min(book.number(1, 2, 3), s) for s in sizes]
    strides = [book.number(1, 1, 2) for _ in sizes]
    dilations = [
        2 if k > 1 and 2 * (k - 1) + 1 <= s and book.chance(0.15) else 1
        for k, s in zip(kernel, sizes, strict=True)
    ]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes: dict[str, object] = {"kernel_shape": kernel}
    if book.chance(0.8) or max(strides) > 1:
        attributes["strides"] = strides
    if max(dilations) > 1:
        attributes["dilations"] = dilations
    mode = book.number(0, 0, 1, 2, 3, 4)
    if mode in (1, 2) and max(dilations) == 1:
        attributes["auto_pad"] = ("SAME_UPPER", "SAME_LOWER")[mode - 1]
        return attributes, kernel, [-(-s // t) for s, t in zip(sizes, strides, strict=True)]
    if mode == 3:
        attributes["auto_pad"] = "VALID"
    pads = [0] * (2 * len(sizes))
    if mode in (0, 4):
        pads = [int(book.random.integers(0, k)) for k in kernel * 2]
        attributes["pads"] = pads
    around = [pads[i] + pads[i + len(sizes)] for i in range(len(sizes))]
    result = [
        (s + p - r) // t + 1 for s, p, r, t in zip(sizes, around, reach, strides, strict=True)
    ]
    return attributes, kernel, result


def groups_of(book: Sketchbook, channels: int) -> int:
    """Draw a number of groups that divides channels."""
    divisors = [d for d in (1, 1, 1, 2, 3, 4, channels) if channels % d == 0]
    return book.number(*divisors)


def conv(book: Sketchbook) -> None:
    """Conv in one to three dimensions, in groups, and at times a normalisation or a sum behind."""
    source = book.floating(3, 4, 5)
    if source is None:
        return
    channels = source.shape[1]
    groups = groups_of(book, channels)
    out = groups * book.number(1, 2, 4, 8) if groups > 1 else book.width()
    attributes, kernel, sizes = windows(book, source)
    if groups > 1:
        attributes["group"] = groups
    if book.chance(0.2):
        del attributes["kernel_shape"]
    fan_in = channels // groups * math.prod(kernel)
    inputs = [source.name, book.weight(out, channels // groups, *kernel, fan_in=fan_in)]
    if book.chance(0.5):
        inputs.append(book.weight(out, fan_in=4))
    result = book.add("Conv", inputs, (source.shape[0], out, *sizes), **attributes)
    book.offer(behind_conv(book, result))


def behind_conv(book: Sketchbook, result: Value) -> Value:
    """A normalisation, a sum for each channel, or an activation behind a convolution."""
    kind = book.number(0, 0, 1, 2, 3, 4)
    if kind in (1, 4):
        result = normalised(book, result)
    if kind == 2:
        shape = (result.shape[1], *[1] * (result.rank - 2))
        if book.chance(0.4):
            shape = (1, *shape)
        sides = [result.name, book.weight(*shape, fan_in=4)]
        if book.chance(0.3):
            sides.reverse()
        result = book.add("Add", sides, result.shape)
    if kind in (3, 4):
        result = book.add("Relu", [result.name], result.shape)
    return result


def conv_transpose(book: Sketchbook) -> None:
    """ConvTranspose in one or two dimensions, in groups."""
    source = book.floating(3, 4)
    if source is None or max(source.shape[2:]) > 12:
        return
    channels = source.shape[1]
    groups = groups_of(book, channels)
    width = book.number(1, 2, 4, 8)
    sizes = source.shape[2:]
    kernel = [book.number(1, 2, 3) for _ in sizes]
    strides = [book.number(1, 2) for _ in sizes]
    pads = [int(book.random.integers(0, (k + 1) // 2)) for k in kernel * 2]
    around = [pads[i] + pads[i + len(sizes)] for i in range(len(sizes))]
    result = [
        t * (s - 1) + k - p for s, k, t, p in zip(sizes, kernel, strides, around, strict=True)
    ]
    if min(result) < 1:
        return
    fan_in = channels // groups * math.prod(kernel)
    inputs = [source.name, book.weight(channels, width, *kernel, fan_in=fan_in)]
    if book.chance(0.5):
        inputs.append(book.weight(width * groups, fan_in=4))
    output = book.add(
        "ConvTranspose", inputs, (source.shape[0], width * groups, *result),
        kernel_shape=kernel, strides=strides, pads=pads, group=groups,
    )  # fmt: skip
    book.offer(behind_conv(book, output))


def recurrent(book: Sketchbook) -> None:
    """LSTM, GRU or RNN over (steps, batch, inputs), with initial states at times."""
    source = book.floating(3)
    if source is None:
        return
    kind = str(book.choose("LSTM", "GRU", "RNN"))
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    steps, batch, inner = source.shape
    hidden = book.number(4, 8, 12)
    direction = str(book.choose("forward", "forward", "reverse", "bidirectional"))
    ways = 2 if direction == "bidirectional" else 1
    inputs = [
        source.name,
        book.weight(ways, gates * hidden, inner, fan_in=inner),
        book.weight(ways, gates * hidden, hidden, fan_in=hidden),
    ]
    state = (ways, batch, hidden)
    if book.chance(0.7):
        inputs.append(book.weight(ways, 2 * gates * hidden, fan_in=4))
        if book.chance(0.4):
            inputs += ["", book.store(book.array(state, 4), "state").name]
            if kind == "LSTM" and book.chance(0.7):
                inputs.append(book.store(book.array(state, 4), "state").name)
    attributes: dict[str, object] = {"hidden_size": hidden, "direction": direction}
    if kind == "GRU" and book.chance(0.5):
        attributes["linear_before_reset"] = 1
    shapes = [(steps, ways, batch, hidden), state]
    output, last = book.add_several(kind, inputs, shapes, **attributes)
    if book.chance(0.3):
        book.offer(last)
    turned = book.add("Transpose", [output.name], (steps, batch, ways, hidden), perm=[0, 2, 1, 3])
    shape = (steps, batch, ways * hidden)
    book.offer(book.add("Reshape", [turned.name, book.integers((0, 0, -1))], shape))


def embedding(book: Sketchbook) -> None:
    """Gather on a stored table, along either axis."""
    source = book.value(lambda v: v.dtype == "int64" and v.rank in (1, 2))
    if source is None:
        return
    width = book.width()
    if book.chance(0.85):
        table = book.weight(32, width, fan_in=1)
        book.offer(book.add("Gather", [table, source.name], (*source.shape, width)))
        return
    table = book.weight(width, 32, fan_in=1)
    book.offer(book.add("Gather", [table, source.name], (width, *source.shape), axis=1))


def attention(book: Sketchbook) -> None:
    """Scaled dot products of several heads, from (batch, steps, width)."""
    source = book.floating(3)
    if source is None:
        return
    batch, steps, inner = source.shape
    heads = book.number(1, 2, 4)
    size = book.number(4, 8)
    width = heads * size
    parts = []
    for index in range(3):
        part = book.add(
            "MatMul", [source.name, book.weight(inner, width, fan_in=inner)], (batch, steps, width)
        )
        if book.chance(0.5):
            part = book.add("Add", [part.name, book.weight(width, fan_in=4)], part.shape)
        target = book.integers((0, 0, heads, size))
        part = book.add("Reshape", [part.name, target], (batch, steps, heads, size))
        perm, shape = [0, 2, 1, 3], (batch, heads, steps, size)
        if index == 1:
            perm, shape = [0, 2, 3, 1], (batch, heads, size, steps)
        parts.append(book.add("Transpose", [part.name], shape, perm=perm))
    query, key, content = parts
    scores = book.add("MatMul", [query.name, key.name], (batch, heads, steps, steps))
    if book.chance(0.5):
        scores = book.add("Div", [scores.name, book.scalar(math.sqrt(size))], scores.shape)
    else:
        scores = book.add("Mul", [scores.name, book.scalar(1 / math.sqrt(size), 1)], scores.shape)
    if book.chance(0.3):
        scores = book.add("Add", [scores.name, book.weight(steps, steps, fan_in=4)], scores.shape)
    shares = book.add("Softmax", [scores.name], scores.shape, axis=3 if book.opset < 13 else -1)
    mixed = book.add("MatMul", [shares.name, content.name], (batch, heads, steps, size))
    mixed = book.add("Transpose", [mixed.name], (batch, steps, heads, size), perm=[0, 2, 1, 3])
    joined = book.add("Reshape", [mixed.name, book.integers((0, 0, width))], (batch, steps, width))
    weight = book.weight(width, inner, fan_in=width)
    result = book.add("MatMul", [joined.name, weight], source.shape)
    if book.chance(0.6):
        result = book.add("Add", [source.name, result.name], source.shape)
    book.offer(result)


def einsum(book: Sketchbook) -> None:
    """Einsum with a stored weight."""
    source = book.floating(3)
    if source is None:
        return
    inner, width = source.shape[-1], book.width()
    weight = book.weight(inner, width, fan_in=inner)
    shape = (*source.shape[:-1], width)
    book.offer(book.add("Einsum", [source.name, weight], shape, equation="abc,cd->abd"))


def quantized(book: Sketchbook) -> None:
    """A product with a weight that is stored in 8 bits already."""
    source = book.floating(2, 3)
    if source is None:
        return
    inner, width = source.shape[-1], book.width()
    codes = book.store(book.random.integers(-127, 128, (inner, width)).astype(np.int8), "codes")
    scale = book.scalar(1 / 64 / math.sqrt(inner))
    weight = book.add("DequantizeLinear", [codes.name, scale], (inner, width))
    book.offer(book.add("MatMul", [source.name, weight.name], (*source.shape[:-1], width)))


# Normalisations


def normalised(book: Sketchbook, source: Value) -> Value:
    """A batch normalisation of a value."""
    width = source.shape[1]
    scale, variance = book.random.uniform(0.5, 1.5, (2, width)).astype(np.float32)
    vectors = [scale, book.array((width,), 4), book.array((width,), 4), variance]
    if book.chance(0.15):
        vectors[0] = -scale
    names = [book.store(vector, "norm").name for vector in vectors]
    attributes = {"epsilon": 1e-3} if book.chance(0.3) else {}
    return book.add("BatchNormalization", [source.name, *names], source.shape, **attributes)


def batch_norm(book: Sketchbook) -> None:
    """A batch normalisation behind anything."""
    source = book.floating(2, 3, 4)
    if source is not None:
        book.offer(normalised(book, source))


def instance_norm(book: Sketchbook) -> None:
    """An instance normalisation of enough numbers."""
    source = book.floating(3, 4)
    if source is None or math.prod(source.shape[2:]) < 4:
        return
    width = source.shape[1]
    names = [book.weight(width, fan_in=1), book.weight(width, fan_in=4)]
    book.offer(book.add("InstanceNormalization", [source.name, *names], source.shape, epsilon=0.1))


def layer_norm(book: Sketchbook) -> None:
    """LayerNormalization over the last axis."""
    source = book.floating(2, 3)
    if source is None or source.shape[-1] < 4:
        return
    names = [book.weight(source.shape[-1], fan_in=1)]
    if book.chance(0.7):
        names.append(book.weight(source.shape[-1], fan_in=4))
    book.offer(book.add("LayerNormalization", [source.name, *names], source.shape, epsilon=0.1))


def written_layer_norm(book: Sketchbook) -> None:
    """A layer normalisation in plain operators, as older exporters write it."""
    source = book.floating(3)
    if source is None or source.shape[-1] < 4:
        return
    narrow = (*source.shape[:-1], 1)
    mean = reduced(book, "ReduceMean", source, [-1] if book.opset >= 11 else [2], narrow)
    centered = book.add("Sub", [source.name, mean.name], source.shape)
    squared = book.add("Pow", [centered.name, book.scalar(2.0)], source.shape)
    variance = reduced(book, "ReduceMean", squared, [-1] if book.opset >= 11 else [2], narrow)
    safe = book.add("Add", [variance.name, book.scalar(0.1)], narrow)
    deviation = book.add("Sqrt", [safe.name], narrow)
    result = book.add("Div", [centered.name, deviation.name], source.shape)
    scale = book.weight(source.shape[-1], fan_in=1)
    result = book.add("Mul", [result.name, scale], source.shape)
    bias = book.weight(source.shape[-1], fan_in=4)
    book.offer(book.add("Add", [result.name, bias], source.shape))


# Activations

ACTIVATIONS = {
    "Relu": 7, "LeakyRelu": 7, "Sigmoid": 7, "Tanh": 7, "Elu": 7, "HardSigmoid": 7, "Abs": 7,
    "Neg": 7, "Erf": 9, "HardSwish": 14, "Gelu": 20, "Softplus": 7, "Selu": 7, "Mish": 18,
    "Identity": 7, "Softsign": 7,
}  # fmt: skip
"""Operators on each number alone, with the opset that brought them."""


def activation(book: Sketchbook) -> None:
    """One or two operators on each number alone."""
    source = book.floating()
    if source is None:
        return
    names = [name for name, opset in ACTIVATIONS.items() if opset <= book.opset]
    for _ in range(book.number(1, 1, 2)):
        source = book.add(str(book.choose(*names)), [source.name], source.shape)
    book.offer(source)


def clip(book: Sketchbook) -> None:
    """Clip with bounds as attributes or inputs."""
    source = book.floating()
    if source is None:
        return
    low, high = book.number(-1, 0, 0), book.number(1, 6)
    if book.opset < 11:
        book.offer(book.add("Clip", [source.name], source.shape, min=float(low), max=float(high)))
        return
    inputs = [source.name, book.scalar(low)]
    if book.chance(0.7):
        inputs.append(book.scalar(high))
    elif book.chance(0.3):
        inputs = [source.name, "", book.scalar(high)]
    book.offer(book.add("Clip", inputs, source.shape))


def prelu(book: Sketchbook) -> None:
    """PRelu with one slope or one for each channel."""
    source = book.floating(2, 3, 4)
    if source is None:
        return
    shape = (source.shape[1], *[1] * (source.rank - 2)) if book.chance(0.6) else (1,)
    book.offer(book.add("PRelu", [source.name, book.weight(*shape, fan_in=4)], source.shape))


def gelu(book: Sketchbook) -> None:
    """Gelu in plain operators."""
    source = book.floating()
    if source is None:
        return
    scaled = book.add("Div", [source.name, book.scalar(math.sqrt(2))], source.shape)
    error = book.add("Erf", [scaled.name], source.shape)
    above = book.add("Add", [error.name, book.scalar(1)], source.shape)
    product = book.add("Mul", [source.name, above.name], source.shape)
    book.offer(book.add("Mul", [product.name, book.scalar(0.5)], source.shape))


def swish(book: Sketchbook) -> None:
    """A value times its sigmoid."""
    source = book.floating()
    if source is None:
        return
    gate = book.add(str(book.choose("Sigmoid", "HardSigmoid")), [source.name], source.shape)
    book.offer(book.add("Mul", [source.name, gate.name], source.shape))


def softmax(book: Sketchbook) -> None:
    """Softmax along the last axis or the default one."""
    source = book.floating(2, 3, 4)
    if source is None:
        return
    attributes = {"axis": source.rank - 1} if book.chance(0.7) else {}
    kind = str(book.choose("Softmax", "Softmax", "LogSoftmax"))
    book.offer(book.add(kind, [source.name], source.shape, **attributes))


# Arithmetic


def stored_arithmetic(book: Sketchbook) -> None:
    """Add, Sub, Mul or Div with something stored."""
    source = book.floating()
    if source is None:
        return
    kind = str(book.choose("Add", "Sub", "Mul", "Mul", "Div"))
    axis = int(book.random.integers(source.rank))
    shape = [1] * (source.rank - axis)
    if book.chance(0.8):
        shape[0] = source.shape[axis] if axis or source.rank == 1 else 1
    if book.chance(0.1):
        shape = []
    array = book.array(shape, 4)
    if kind == "Div":
        array = np.sign(array) * (np.abs(array) + 0.5) + (array == 0).astype(np.float32)
    sides = [source.name, book.store(array.astype(np.float32), "factor").name]
    if kind != "Div" and book.chance(0.3):
        sides.reverse()
    book.offer(book.add(kind, sides, source.shape))


def computed_arithmetic(book: Sketchbook) -> None:
    """Add, Sub, Mul or Div of two computed values whose shapes fit."""
    first = book.floating()
    if first is None:
        return
    second = book.value(
        lambda v: v.dtype == "float32" and broadcast(v.shape, first.shape) is not None
    )
    if second is None:
        return
    shape = broadcast(first.shape, second.shape)
    assert shape is not None
    kind = str(book.choose("Add", "Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"))
    if kind == "Div":
        positive = book.add("Abs", [second.name], second.shape)
        second = book.add("Add", [positive.name, book.scalar(1)], second.shape)
    if kind in ("Max", "Min", "Sum") and book.opset < 8 and first.shape != second.shape:
        kind = "Add"
    book.offer(book.add(kind, [first.name, second.name], shape))


def broadcast(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...] | None:
    """The common shape of two, or None."""
    try:
        return tuple(map(int, np.broadcast_shapes(tuple(first), tuple(second))))
    except ValueError:
        return None


def residual(book: Sketchbook) -> None:
    """A product back to the width it came from, added to where it came from."""
    source = book.floating(2, 3)
    if source is None:
        return
    inner, width = source.shape[-1], book.width()
    weight = book.weight(inner, width, fan_in=inner)
    middle = book.add("MatMul", [source.name, weight], (*source.shape[:-1], width))
    middle = book.add("Relu", [middle.name], middle.shape)
    weight = book.weight(width, inner, fan_in=width)
    result = book.add("MatMul", [middle.name, weight], source.shape)
    sides = [source.name, result.name]
    if book.chance(0.5):
        sides.reverse()
    book.offer(book.add("Add", sides, source.shape))


def tied(book: Sketchbook) -> None:
    """One weight read by two operators, the second time turned."""
    source = book.floating(2)
    if source is None:
        return
    inner, width = source.shape[-1], book.width()
    weight = book.weight(inner, width, fan_in=inner)
    middle = book.add("MatMul", [source.name, weight], (source.shape[0], width))
    middle = book.add("Tanh", [middle.name], middle.shape)
    if book.chance(0.5):
        vector = book.weight(inner, fan_in=4)
        result = book.add("Gemm", [middle.name, weight, vector], source.shape, transB=1)
    else:
        turned = book.add("Transpose", [weight], (width, inner), perm=[1, 0])
        result = book.add("MatMul", [middle.name, turned.name], source.shape)
    book.offer(middle)
    book.offer(result)


def where(book: Sketchbook) -> None:
    """Where with a stored mask or one that compares an input with 0."""
    source = book.floating()
    if source is None:
        return
    mask = book.store(book.random.random(source.shape[-1:]) < 0.5, "mask").name
    inputs = [mask, source.name, book.scalar(0.25)]
    book.offer(book.add("Where", inputs, source.shape))


def casts(book: Sketchbook) -> None:
    """A part of the graph in another precision."""
    source = book.floating(2)
    if source is None:
        return
    dtype = str(book.choose("float16", "float64", "float64"))
    number = TensorProto.FLOAT16 if dtype == "float16" else TensorProto.DOUBLE
    inside = book.add("Cast", [source.name], source.shape, dtype, to=number)
    width, inner = book.width(), source.shape[-1]
    weight = book.store(book.array((inner, width), inner).astype(dtype)).name
    inside = book.add("MatMul", [inside.name, weight], (source.shape[0], width), dtype)
    book.offer(book.add("Cast", [inside.name], inside.shape, to=TensorProto.FLOAT))


def dropout(book: Sketchbook) -> None:
    """Dropout at inference, with its ratio where the opset has it."""
    source = book.floating()
    if source is None:
        return
    if book.opset < 12:
        book.offer(book.add("Dropout", [source.name], source.shape, ratio=0.3))
        return
    inputs = [source.name, book.scalar(0.3)]
    if book.chance(0.3):
        inputs.append(book.store(np.array(False), "training").name)
    book.offer(book.add("Dropout", inputs, source.shape))


def reduced(
    book: Sketchbook,
    kind: str,
    source: Value,
    axes: list[int],
    shape: Sequence[int],
    *,
    keep: int = 1,
) -> Value:
    """A reduction, with axes as an attribute or as an input."""
    if book.opset >= (13 if kind == "ReduceSum" else 18):
        return book.add(kind, [source.name, book.integers(axes)], shape, keepdims=keep)
    return book.add(kind, [source.name], shape, axes=axes, keepdims=keep)


def reduction(book: Sketchbook) -> None:
    """A reduction over one axis behind the first."""
    source = book.floating(2, 3, 4)
    if source is None:
        return
    kind = str(book.choose("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"))
    axis = int(book.random.integers(1, source.rank))
    keep = book.number(0, 1)
    shape = list(source.shape)
    shape[axis : axis + 1] = [1] if keep else []
    axes = [axis - source.rank if book.opset >= 11 and book.chance(0.3) else axis]
    book.offer(reduced(book, kind, source, axes, shape, keep=keep))


TABLE: tuple[Entry, ...] = (
    Entry(matmul, 4), Entry(left_matmul, 0.7), Entry(batched_matmul, 0.7), Entry(gemm, 4),
    Entry(conv, 6), Entry(conv_transpose, 2), Entry(recurrent, 1.5), Entry(embedding, 2),
    Entry(attention, 1.5), Entry(einsum, 0.3, 12), Entry(quantized, 0.3, 10), Entry(batch_norm),
    Entry(instance_norm, 0.5), Entry(layer_norm, 1, 17), Entry(written_layer_norm, 0.7),
    Entry(activation, 4), Entry(clip, 1.2), Entry(prelu), Entry(gelu, 0.8, 9), Entry(swish),
    Entry(softmax), Entry(stored_arithmetic, 3), Entry(computed_arithmetic, 2), Entry(residual, 2),
    Entry(tied, 1), Entry(where, 0.5, 9), Entry(casts, 0.3, 9), Entry(dropout, 0.6),
    Entry(reduction, 1),
)  # fmt: skip
