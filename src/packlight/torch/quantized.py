"""Quantized weights and activations in the operators that PyTorch's exporters recognize.

The grids are ours: nothing is observed or rounded here. Codes are int8, those of activations in
uint8 are moved by 128. Every reader restores a value for itself, since back ends fuse a restored
value with one operator only.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch.fx.traceback import annotate

from packlight.model import Model
from packlight.torch.graph import Operators
from packlight.torch.interpreter import to_module
from packlight.torch.operators import OPERATORS
from packlight.torch.values import Array, Function, Operator, Tensor, Value

DOMAIN = "packlight.exporting"
WEIGHT = "Weight"
LINEAR = "Linear"
DYNAMIC = "Dynamic"
CLIP = "Clip"
SQUARE = "Square"
"""Operators that stand for a stored weight, a product with one that lies (outputs, inputs), an
activation that is quantized at every call, a Clip with bounds in attributes, and a square."""

LEAST = "min"
MOST = "max"
"""Attributes of ``Clip``."""

ROWS = "per_row"
"""Attribute of ``Dynamic``: whether each row has a range of its own."""

QUANTIZE = OPERATORS[""]["QuantizeLinear"]
DEQUANTIZE = OPERATORS[""]["DequantizeLinear"]

OPERATOR_LABEL = "onnx"
"""Key of the label in ``node.meta["custom"]``."""

LOWEST = -128
HIGHEST = 127
LOWEST_WEIGHT = -127
LOWEST_OF_4_BITS = -8
HIGHEST_OF_4_BITS = 7


@dataclass(frozen=True, slots=True)
class ActivationGrid:
    """Grid of an activation.

    Attributes:
        scale: real value of one step.
        zero: code of 0.0, in int8.
    """

    scale: float
    zero: int


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedWeight:
    """Codes and scales of a weight.

    Attributes:
        codes: of the weight's shape, channels along the first axis.
        scales: of each channel (channels,), or of its blocks (channels, blocks).
        block: numbers along the last axis that share a scale, of 4 bits; 0 where channels do.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    block: int = 0


class QuantizedModule(torch.nn.Module):
    """A model whose grids are operators of ``torch.ops.quantized_decomposed``.

    Args:
        model: in which operators ``Weight`` stand for quantized weights, ``Linear`` for products
            with them, and ``Dynamic`` for activations that are quantized at every call.
        weights: by name of the operator ``Weight``.
        activations: by name of the QuantizeLinear or DequantizeLinear; others of these operators
            are computed as ONNX describes them.
        ranges: by name of the operator ``Dynamic``, numbers that are put behind each row of the
            activation so that its range is a known one.

    Attributes:
        keys: first part of the names of a weight's buffers, by name of the operator ``Weight``;
            ``_codes``, ``_scales`` and ``_zeros`` follow it.
    """

    def __init__(
        self,
        model: Model,
        weights: Mapping[str, QuantizedWeight],
        activations: Mapping[str, ActivationGrid],
        ranges: Mapping[str, NDArray[np.float32]],
    ) -> None:
        super().__init__()
        import torch.ao.quantization.fx._decomposed  # noqa: PLC0415, F401  defines the operators

        self.keys = {name: f"weight{index}" for index, name in enumerate(weights)}
        self._blocks = {name: weight.block for name, weight in weights.items()}
        self._activations = activations
        self._ranges = {name: f"range{index}" for index, name in enumerate(ranges)}
        for name, array in ranges.items():
            self.register_buffer(self._ranges[name], _tensor(array))
        for name, weight in weights.items():
            key = self.keys[name]
            zeros = np.zeros(weight.scales.shape, np.int64)
            self.register_buffer(f"{key}_codes", _tensor(weight.codes))
            self.register_buffer(f"{key}_scales", _tensor(weight.scales))
            self.register_buffer(f"{key}_zeros", _tensor(zeros))
        self.program = to_module(model, operators=self._operators())

    def forward(self, *inputs: Value) -> tuple[Value, ...]:
        """Run the graph."""
        results: tuple[Value, ...] = self.program(*inputs)
        return results

    def _operators(self) -> Operators:
        """The table of operators, with those of grids replaced."""
        ours = {
            **OPERATORS[""],
            "QuantizeLinear": self._quantize,
            "DequantizeLinear": self._dequantize,
        }
        special: dict[str, Function] = {
            WEIGHT: self._weight,
            LINEAR: _linear,
            DYNAMIC: self._dynamic,
            CLIP: _clip,
            SQUARE: _square,
        }
        table = {**OPERATORS, "": ours, DOMAIN: special}
        return {
            domain: {op_type: _labeled(function) for op_type, function in functions.items()}
            for domain, functions in table.items()
        }

    def _quantize(
        self, op: Operator, x: Tensor, scale: Tensor, zero: Tensor | None = None
    ) -> Tensor:
        grid = self._activations.get(op.name)
        if grid is None:
            quantized: Tensor = QUANTIZE(op, x, scale, zero)
            return quantized
        codes: Tensor = torch.ops.quantized_decomposed.quantize_per_tensor.default(
            x, grid.scale, grid.zero, LOWEST, HIGHEST, torch.int8
        )
        return codes

    def _dequantize(
        self, op: Operator, x: Tensor, scale: Tensor, zero: Tensor | None = None
    ) -> Tensor:
        grid = self._activations.get(op.name)
        if grid is None:
            floats: Tensor = DEQUANTIZE(op, x, scale, zero)
            return floats
        restored: Tensor = torch.ops.quantized_decomposed.dequantize_per_tensor.default(
            x, grid.scale, grid.zero, LOWEST, HIGHEST, torch.int8
        )
        return restored

    def _weight(self, op: Operator) -> Tensor:
        block = self._blocks[op.name]
        key = self.keys[op.name]
        codes, scales, zeros = (
            getattr(self, f"{key}_{part}") for part in ("codes", "scales", "zeros")
        )
        restored: Tensor
        if block:
            restored = torch.ops.quantized_decomposed.dequantize_per_channel_group.default(
                codes, scales, zeros, LOWEST_OF_4_BITS, HIGHEST_OF_4_BITS, torch.int8, block,
                torch.float32,
            )  # fmt: skip
            return restored
        restored = torch.ops.quantized_decomposed.dequantize_per_channel.default(
            codes, scales, zeros, 0, LOWEST_WEIGHT, HIGHEST, torch.int8
        )
        return restored

    def _dynamic(self, op: Operator, x: Tensor) -> Tensor:
        """Quantize an activation by its own range and restore it."""
        if op.name in self._ranges:
            x = torch.cat([x, getattr(self, self._ranges[op.name])], dim=-1)
        decomposed = torch.ops.quantized_decomposed
        restored: Tensor
        if op.flag(ROWS):
            scale, zero = decomposed.choose_qparams_per_token_asymmetric.default(x, torch.int8)
            grid = (scale, zero, LOWEST, HIGHEST, torch.int8)
            codes = decomposed.quantize_per_token.default(x, *grid)
            restored = decomposed.dequantize_per_token.default(codes, *grid, torch.float32)
            return restored
        eps = torch.finfo(torch.float32).eps
        scale, zero = decomposed.choose_qparams.tensor(x, LOWEST, HIGHEST, eps, torch.int8)
        grid = (scale, zero, LOWEST, HIGHEST, torch.int8)
        codes = decomposed.quantize_per_tensor.tensor(x, *grid)
        restored = decomposed.dequantize_per_tensor.tensor(codes, *grid)
        return restored


def _labeled(function: Function) -> Function:
    """Label the nodes that an operator becomes in an exported program with its type in ONNX."""

    @functools.wraps(function)
    def labeled(op: Operator, *inputs: Value) -> Value:
        with annotate({OPERATOR_LABEL: op.op_type}):
            return function(op, *inputs)

    return labeled


def _linear(_op: Operator, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    result: Tensor = F.linear(x, weight, bias)
    return result


def _clip(op: Operator, x: Tensor) -> Tensor:
    """Clip; what two bounds or 0 alone do is fused with the operator before."""
    least = op.attributes.get(LEAST)
    most = op.attributes.get(MOST)
    if least is not None and most is not None:
        return F.hardtanh(x, float(least), float(most))
    if least == 0:
        return F.relu(x)
    return torch.clamp(x, least, most)


def _square(_op: Operator, x: Tensor) -> Tensor:
    return torch.pow(x, 2)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, order="C"))
