"""Operators on sizes, in NumPy: what is computed from shapes stays outside PyTorch.

An exported program then has plain numbers where the graph computes a shape, and no tensor is read
back for it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from packlight.torch.values import BITS, Array, Function, Operator, Value, integer, integers


def shape(op: Operator, x: Value) -> Array:
    """Shape of a tensor or an array, or a part of it."""
    sizes = list(x.shape)
    end = op.integer("end", len(sizes))
    return np.array(sizes[op.integer("start") : end], np.int64)


def size(_op: Operator, x: Value) -> Array:
    """Number of elements of a tensor or an array."""
    return np.array(math.prod(x.shape), np.int64)


def _plain(compute: Callable[..., Array]) -> Function:
    def apply(_op: Operator, *values: Array) -> Array:
        return np.asarray(compute(*values))

    return apply


def _typed(compute: Callable[..., Array]) -> Function:
    """Compute in the type of the first value."""

    def apply(_op: Operator, *values: Array) -> Array:
        return np.asarray(functools.reduce(compute, values)).astype(values[0].dtype)

    return apply


def _divide(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.asarray(x / y)
    quotient = np.abs(x) // np.abs(y)
    return np.asarray(quotient * np.sign(x) * np.sign(y))


def _modulo(op: Operator, x: Array, y: Array) -> Array:
    remainder = np.fmod if op.flag("fmod") else np.mod
    return np.asarray(remainder(x, y)).astype(x.dtype)


def _cast(op: Operator, x: Array) -> Array:
    return x.astype(ir.DataType(op.integer("to")).numpy())


def castable(op: Operator) -> bool:
    """Tell whether NumPy has the type that a Cast makes."""
    kind = ir.DataType(op.integer("to"))
    return kind not in BITS and kind.numpy().isbuiltin == 1


def _gather(op: Operator, x: Array, indices: Array) -> Array:
    return np.asarray(np.take(x, indices, axis=op.integer("axis", 0)))


def _concat(op: Operator, *values: Array) -> Array:
    return np.concatenate(values, axis=op.integer("axis", 0))


def _axes(op: Operator, axes: Array | None) -> tuple[int, ...]:
    return tuple(op.integers_of("axes", axes))


def _squeeze(op: Operator, x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, axis=_axes(op, axes) or None)


def _unsqueeze(op: Operator, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, _axes(op, axes))


def _slice(
    op: Operator,
    x: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    begin = op.integers_of("starts", starts)
    end = op.integers_of("ends", ends)
    names = list(_axes(op, axes)) or list(range(len(begin)))
    strides = integers(steps, [1] * len(begin))
    parts = [slice(None)] * x.ndim
    for axis, first, last, stride in zip(names, begin, end, strides, strict=True):
        open_end = stride < 0 and last < -x.shape[axis]
        parts[axis] = slice(first, None if open_end else last, stride)
    return np.array(x[tuple(parts)])


def _reshape(op: Operator, x: Array, sizes: Array) -> Array:
    numbers = integers(sizes)
    if not op.flag("allowzero"):
        numbers = [x.shape[axis] if count == 0 else count for axis, count in enumerate(numbers)]
    return x.reshape(numbers)


def _transpose(op: Operator, x: Array) -> Array:
    return np.transpose(x, op.integers("perm") or None)


def _constant_of_shape(op: Operator, sizes: Array) -> Array:
    fill = op.attributes.get("value", np.zeros(1, np.float32))
    return np.full(integers(sizes), fill.reshape(()), fill.dtype)


def _range(_op: Operator, start: Array, limit: Array, step: Array) -> Array:
    first, last, stride = (value.reshape(()).item() for value in (start, limit, step))
    count = max(math.ceil((last - first) / stride), 0)
    return np.asarray(np.arange(count) * stride + first).astype(start.dtype)


def _expand(_op: Operator, x: Array, sizes: Array) -> Array:
    target = np.broadcast_shapes(x.shape, tuple(integers(sizes)))
    return np.array(np.broadcast_to(x, target))


def _tile(_op: Operator, x: Array, repeats: Array) -> Array:
    return np.tile(x, integers(repeats))


def _reduce(compute: Callable[..., Array]) -> Function:
    def apply(op: Operator, x: Array, axes: Array | None = None) -> Array:
        names = _axes(op, axes)
        if not names and op.flag("noop_with_empty_axes"):
            return x
        keep = op.flag("keepdims", default=True)
        return np.asarray(compute(x, axis=names or None, keepdims=keep)).astype(x.dtype)

    return apply


def _split(op: Operator, x: Array, sizes: Array | None = None) -> tuple[Array, ...]:
    axis = op.integer("axis", 0)
    lengths = op.integers_of("split", sizes)
    if not lengths:
        count = op.integer("num_outputs", op.output_count)
        length = math.ceil(x.shape[axis] / count)
        lengths = [length] * count
    return tuple(np.split(x, np.cumsum(lengths)[:-1], axis=axis))


def _cumulative_sum(op: Operator, x: Array, axis: Array) -> Array:
    dim = integer(axis)
    backward = op.flag("reverse")
    if backward:
        x = np.flip(x, dim)
    total = np.cumsum(x, dim, dtype=x.dtype)
    if op.flag("exclusive"):
        total = total - x
    if backward:
        total = np.flip(total, dim)
    return total


SIZES: Mapping[str, Function] = {
    "Abs": _plain(np.abs),
    "Add": _typed(np.add),
    "And": _plain(np.logical_and),
    "Cast": _cast,
    "Ceil": _plain(np.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cumulative_sum,
    "Div": _typed(_divide),
    "Equal": _plain(np.equal),
    "Expand": _expand,
    "Floor": _plain(np.floor),
    "Gather": _gather,
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Identity": _plain(np.asarray),
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "Max": _typed(np.maximum),
    "Min": _typed(np.minimum),
    "Mod": _modulo,
    "Mul": _typed(np.multiply),
    "Neg": _plain(np.negative),
    "Not": _plain(np.logical_not),
    "Or": _plain(np.logical_or),
    "Pow": _typed(np.power),
    "Range": _range,
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _plain(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _typed(np.subtract),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _plain(np.where),
}
"""Operators by type that are computed in NumPy where every input is an array of it."""

MEASURES: Mapping[str, Function] = {"Shape": shape, "Size": size}
"""Operators that give an array of sizes for a tensor."""

REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
)

SIZE_INPUTS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(REDUCTIONS, (1,)),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), (4,)),
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "Expand": (1,),
    "MaxUnpool": (2,),
    "OneHot": (1,),
    "Pad": (1, 2, 3),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "ReverseSequence": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
"""Inputs that state sizes, axes or a number for all elements; arrays among them stay arrays."""


def size_inputs(node: ir.Node) -> tuple[int, ...]:
    """Positions of the inputs of an operator that are in ``SIZE_INPUTS``."""
    if node.domain:
        return ()
    return SIZE_INPUTS.get(node.op_type, ())
