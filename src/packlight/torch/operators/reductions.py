"""Operators that sum, compare or sort along axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from packlight.torch.values import Function, Operator, Tensor, Value, integer, is_float

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _reduction(compute: Reduction) -> Function:
    """Reduce over axes, which are an attribute or, in newer opsets, an input."""

    def apply(op: Operator, x: Tensor, axes: Value = None) -> Tensor:
        names = op.integers_of("axes", axes)
        if not names and op.flag("noop_with_empty_axes"):
            return compute(x.unsqueeze(0), [0], False)
        if x.ndim == 0:
            return compute(x.unsqueeze(0), [0], False)
        axes_used = [axis % x.ndim for axis in names] or list(range(x.ndim))
        return compute(x, axes_used, op.flag("keepdims", default=True))

    return apply


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.sum(x, axes, keep, dtype=x.dtype)


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if is_float(x):
        return torch.mean(x, axes, keep)
    return torch.mean(x.to(torch.float64), axes, keep).to(x.dtype)


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keep, dtype=x.dtype)
    return x


def _largest(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.amax(_never_empty(x, axes, _range_of(x.dtype)[0]), axes, keep)


def _least(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.amin(_never_empty(x, axes, _range_of(x.dtype)[1]), axes, keep)


def _never_empty(x: Tensor, axes: list[int], extreme: float) -> Tensor:
    """A tensor with one extreme number along axes without any, as ONNX reduces nothing."""
    for axis in axes:
        if x.shape[axis] == 0:
            sizes = list(x.shape)
            sizes[axis] = 1
            x = torch.full(sizes, extreme, dtype=x.dtype)
    return x


def _range_of(dtype: torch.dtype) -> tuple[float, float]:
    """Least and largest number of a type."""
    if dtype == torch.bool:
        return False, True
    if dtype.is_floating_point:
        return -math.inf, math.inf
    info = torch.iinfo(dtype)
    return info.min, info.max


def _norm(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if is_float(x):
        norm: Tensor = torch.linalg.vector_norm(x, 2, axes, keep)
        return norm
    return torch.sqrt(_sum(x * x, axes, keep).to(torch.float64)).to(x.dtype)


def _absolute_sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return _sum(torch.abs(x), axes, keep)


def _log_sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.log(_sum(x, axes, keep))


def _log_sum_exp(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.logsumexp(x, axes, keep)


def _sum_square(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return _sum(x * x, axes, keep)


def _argument(compute: Callable[..., Tensor]) -> Function:
    """Position of the largest or least number, the first or the last of equal ones."""

    def apply(op: Operator, x: Tensor) -> Tensor:
        axis = op.integer("axis", 0)
        keep = op.flag("keepdims", default=True)
        if not op.flag("select_last_index"):
            return compute(x, axis, keep)
        return x.shape[axis] - 1 - compute(torch.flip(x, [axis]), axis, keep)

    return apply


def _top_k(op: Operator, x: Tensor, count: Value = None) -> tuple[Tensor, Tensor]:
    """Sort stably, so that of equal numbers the first comes first."""
    length = integer(count, op.integer("k"))
    axis = op.integer("axis", -1)
    descending = op.flag("largest", default=True)
    values, positions = torch.sort(x, dim=axis, descending=descending, stable=True)
    return values.narrow(axis, 0, length), positions.narrow(axis, 0, length)


def _cumulative(compute: Callable[..., Tensor], start: int) -> Function:
    """Sum or multiply up to every position, in either direction, itself included or not."""

    def apply(op: Operator, x: Tensor, axis: Value) -> Tensor:
        dim = integer(axis)
        backward = op.flag("reverse")
        if backward:
            x = torch.flip(x, [dim])
        total = compute(x, dim, dtype=x.dtype)
        if op.flag("exclusive"):
            first = torch.full_like(total.narrow(dim, 0, 1), start)
            total = torch.cat([first, total.narrow(dim, 0, x.shape[dim] - 1)], dim)
        if backward:
            total = torch.flip(total, [dim])
        return total

    return apply


REDUCTIONS: Mapping[str, Function] = {
    "ArgMax": _argument(torch.argmax),
    "ArgMin": _argument(torch.argmin),
    "CumProd": _cumulative(torch.cumprod, 1),
    "CumSum": _cumulative(torch.cumsum, 0),
    "ReduceL1": _reduction(_absolute_sum),
    "ReduceL2": _reduction(_norm),
    "ReduceLogSum": _reduction(_log_sum),
    "ReduceLogSumExp": _reduction(_log_sum_exp),
    "ReduceMax": _reduction(_largest),
    "ReduceMean": _reduction(_mean),
    "ReduceMin": _reduction(_least),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(_sum),
    "ReduceSumSquare": _reduction(_sum_square),
    "TopK": _top_k,
}
