"""Products of matrices."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from packlight.torch.operators.fused_activations import apply_activation
from packlight.torch.values import Function, Operator, Tensor


def _matmul(_op: Operator, x: Tensor, y: Tensor) -> Tensor:
    return torch.matmul(x, y)


def _gemm(op: Operator, x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    alpha = op.number("alpha", 1.0)
    beta = op.number("beta", 1.0)
    if op.flag("transA"):
        x = x.t()
    vector = bias is None or bias.ndim == 1
    if op.flag("transB") and vector and alpha == beta == 1 and x.is_floating_point():
        return F.linear(x, y, bias)
    if op.flag("transB"):
        y = y.t()
    product = torch.matmul(x, y)
    if alpha != 1:
        product = (alpha * product).to(x.dtype)
    if bias is None or beta == 0:
        return product
    if beta != 1:
        bias = (beta * bias).to(x.dtype)
    return product + bias


def _einsum(op: Operator, *values: Tensor) -> Tensor:
    return torch.einsum(op.text("equation", ""), *values)


def _determinant(_op: Operator, x: Tensor) -> Tensor:
    return torch.det(x)


def _fused_matmul(op: Operator, x: Tensor, y: Tensor) -> Tensor:
    if op.flag("transBatchA"):
        x = x.movedim(0, -2)
    if op.flag("transBatchB"):
        y = y.movedim(0, -2)
    if op.flag("transA"):
        x = x.transpose(-1, -2)
    if op.flag("transB"):
        y = y.transpose(-1, -2)
    return op.number("alpha", 1.0) * torch.matmul(x, y)


def _fused_gemm(op: Operator, x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    parameters = [
        op.number(f"activation_{name}", 0.0)
        for name in ("alpha", "beta", "gamma")
        if f"activation_{name}" in op.attributes
    ]
    return apply_activation(op.text("activation", ""), parameters, _gemm(op, x, y, bias))


PRODUCTS: Mapping[str, Function] = {
    "Det": _determinant,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}

MICROSOFT_PRODUCTS: Mapping[str, Function] = {
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
}
