"""Activations, and the softmax family."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from packlight.model import from_start
from packlight.torch.values import Function, Operator, Tensor

PER_AXIS_FROM = 13
"""Opset from which Softmax is over one axis; before, over all from its axis on."""


def _plain(compute: Callable[[Tensor], Tensor]) -> Function:
    def apply(_op: Operator, x: Tensor) -> Tensor:
        return compute(x)

    return apply


def _elu(op: Operator, x: Tensor) -> Tensor:
    alpha = op.number("alpha", 1.0)
    return torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0)))


def _celu(op: Operator, x: Tensor) -> Tensor:
    return F.celu(x, op.number("alpha", 1.0))


def _selu(op: Operator, x: Tensor) -> Tensor:
    alpha = op.number("alpha", 1.67326319217681884765625)
    gamma = op.number("gamma", 1.05070102214813232421875)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0)))


def _leaky_relu(op: Operator, x: Tensor) -> Tensor:
    return F.leaky_relu(x, op.number("alpha", 0.01))


def _prelu(_op: Operator, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _thresholded_relu(op: Operator, x: Tensor) -> Tensor:
    return torch.where(x > op.number("alpha", 1.0), x, torch.zeros_like(x))


def _hard_sigmoid(op: Operator, x: Tensor) -> Tensor:
    return torch.clamp(x * op.number("alpha", 0.2) + op.number("beta", 0.5), 0, 1)


def _hard_swish(_op: Operator, x: Tensor) -> Tensor:
    return x * torch.clamp(x / 6 + 0.5, 0, 1)


def _swish(op: Operator, x: Tensor) -> Tensor:
    return x * torch.sigmoid(op.number("alpha", 1.0) * x)


def _gelu(op: Operator, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=op.text("approximate", "none"))


def _softplus(x: Tensor) -> Tensor:
    return torch.clamp(x, min=0) + torch.log1p(torch.exp(-torch.abs(x)))


def _shrink(op: Operator, x: Tensor) -> Tensor:
    threshold = op.number("lambd", 0.5)
    bias = op.number("bias", 0.0)
    inner = torch.where(x > threshold, x - bias, torch.zeros_like(x))
    return torch.where(x < -threshold, x + bias, inner).to(x.dtype)


def _over_axis(compute: Callable[[Tensor, int], Tensor]) -> Function:
    """Compute over the last axis, or until opset 12 over all axes from the axis on."""

    def apply(op: Operator, x: Tensor) -> Tensor:
        if op.opset >= PER_AXIS_FROM:
            return compute(x, op.integer("axis", -1))
        axis = from_start(op.integer("axis", 1), x.ndim)
        matrix = x.reshape(math.prod(x.shape[:axis]), -1)
        return compute(matrix, 1).reshape(x.shape)

    return apply


def _hardmax(x: Tensor, axis: int) -> Tensor:
    largest = torch.argmax(x, axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, largest, 1)


def _fast_gelu(_op: Operator, x: Tensor, bias: Tensor | None = None) -> Tensor:
    if bias is not None:
        x = x + bias
    return F.gelu(x, approximate="tanh")


def _bias_gelu(_op: Operator, x: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(x + bias)


def _quick_gelu(op: Operator, x: Tensor) -> Tensor:
    return x * torch.sigmoid(op.number("alpha", 1.702) * x)


ACTIVATIONS: Mapping[str, Function] = {
    "Celu": _celu,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Hardmax": _over_axis(_hardmax),
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _over_axis(torch.log_softmax),
    "Mish": _plain(F.mish),
    "PRelu": _prelu,
    "Relu": _plain(torch.relu),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _plain(torch.sigmoid),
    "Softmax": _over_axis(torch.softmax),
    "Softplus": _plain(_softplus),
    "Softsign": _plain(F.softsign),
    "Swish": _swish,
    "Tanh": _plain(torch.tanh),
    "ThresholdedRelu": _thresholded_relu,
}

MICROSOFT_ACTIVATIONS: Mapping[str, Function] = {
    "BiasGelu": _bias_gelu,
    "FastGelu": _fast_gelu,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
}
