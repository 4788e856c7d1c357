"""Sequences of tensors, as lists that are never edited."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from packlight.torch.values import Function, Operator, Tensor, Value, integer, integers

Sequence = list[Tensor]


def _construct(_op: Operator, *values: Tensor) -> Sequence:
    return list(values)


def _empty(_op: Operator) -> Sequence:
    return []


def _at(_op: Operator, values: Sequence, position: Value) -> Tensor:
    return values[integer(position)]


def _insert(_op: Operator, values: Sequence, value: Tensor, position: Value = None) -> Sequence:
    index = integer(position, len(values))
    copy = list(values)
    copy.insert(index, value)
    return copy


def _erase(_op: Operator, values: Sequence, position: Value = None) -> Sequence:
    index = integer(position, -1) % len(values)
    return values[:index] + values[index + 1 :]


def _length(_op: Operator, values: Sequence) -> Tensor:
    return torch.tensor(len(values))


def _concatenate(op: Operator, values: Sequence) -> Tensor:
    axis = op.integer("axis", 0)
    if op.flag("new_axis"):
        return torch.stack(values, axis)
    return torch.cat(values, axis)


def _split(op: Operator, x: Tensor, sizes: Value = None) -> Sequence:
    axis = op.integer("axis", 0)
    if sizes is None:
        if op.flag("keepdims", default=True):
            return list(torch.split(x, 1, axis))
        return list(torch.unbind(x, axis))
    if sizes.ndim == 0:
        return list(torch.split(x, integer(sizes), axis))
    return list(torch.split(x, integers(sizes), axis))


SEQUENCES: Mapping[str, Function] = {
    "ConcatFromSequence": _concatenate,
    "SequenceAt": _at,
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceLength": _length,
    "SplitToSequence": _split,
}
