"""Facts about runtimes: which operators each computes in integers, and what it fuses for that.

Every fact is a field of a data file with its source. A test checks those on ONNX Runtime against
the graphs that it writes when it optimizes. ``policy`` has the operators around which packlight
puts Q/DQ pairs, of those that the runtime fuses.
"""

from __future__ import annotations

import tomllib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import onnx_ir as ir

from packlight.records.codec import from_json
from packlight.records.configs import IntegerRuntime

FOLDER = Path(__file__).with_name("runtimes")
POLICY_FILE = Path(__file__).with_name("policies.toml")

Attributes = Mapping[str, object]
DEFAULTS: Attributes = MappingProxyType({})

MATRIX = 2
"""Dimensions of a matrix, and inputs of a Gemm without a bias."""

CLIP_TOLERANCE = 2.0**-23
"""Difference from a grid's end up to which ONNX Runtime takes a clipping bound to be at it."""


BITS = 8
"""Bits of the codes that integer kernels compute with."""

STORED: Literal["stored"] = "stored"
"""Stands for the grid of stored floats, which have none."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Grid of a value in codes; scale and zero point count by what they equal."""

    scale: Hashable
    zero_point: Hashable
    bits: int = BITS


Grids = Sequence[Grid | Literal["stored"] | None]
"""The grid of each value; None for computed floats."""


@dataclass(frozen=True, slots=True)
class BlockedProducts:
    """Products whose kernel reads a weight in blocks of codes.

    Attributes:
        kernel: type of operator that DequantizeLinear and the product become.
        operators: products that it computes.
        blocks: inputs in a block.
        bits: of a code.
    """

    kernel: str = ""
    operators: tuple[str, ...] = ()
    blocks: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Operators that a runtime computes in integers, by the names of ONNX, and on which grids.

    Attributes:
        title: of the runtime.
        codes: type of activations.
        symmetric: whether the zero point of activations is in the middle.
        weight_operators: operators with a weight and an integer kernel.
        per_channel: those whose weights may have a scale for each output channel.
        clipping: operators that disappear in the clipping of the grid behind them.
        integer_operators: operators without a weight whose integer kernel has an output grid.
        code_movers: operators that move or choose codes; their grids before and behind are equal.
        wide_movers: those of them that move codes of 16 bits too.
        quantized_constants: operators whose stored floats the runtime quantizes itself.
        equal_grids: operators whose inputs should have the grid of the output.
        float_outputs: operators with a weight whose integer kernel can give floats.
        attributes: values that attributes must have for an integer kernel, by operator.
        fixed_grids: that the runtime fixes: step, and the code of 0.0 counted from the lowest.
        code_operators: types of operators that read codes or make them for themselves.
        block_operators: types of operators that read a weight in blocks of codes.
        blocked_products: products that become one of them.
        sources: of each field.
    """

    title: str
    codes: Literal["uint8", "int8"]
    symmetric: bool
    weight_operators: tuple[str, ...]
    per_channel: tuple[str, ...]
    clipping: tuple[str, ...]
    integer_operators: tuple[str, ...]
    code_movers: tuple[str, ...]
    equal_grids: tuple[str, ...]
    float_outputs: tuple[str, ...]
    attributes: Mapping[str, Mapping[str, float | str]]
    fixed_grids: Mapping[str, tuple[float, int]]
    sources: Mapping[str, str]
    wide_movers: tuple[str, ...] = ()
    quantized_constants: tuple[str, ...] = ()
    code_operators: tuple[str, ...] = ()
    block_operators: tuple[str, ...] = ()
    blocked_products: BlockedProducts = BlockedProducts()

    def computes_in_integers(self, op_type: str, attributes: Attributes = DEFAULTS) -> bool:
        """Say whether an operator has a kernel that reads and gives codes.

        Args:
            op_type: of the operator.
            attributes: that it has, without those of no effect.
        """
        kernels = (*self.weight_operators, *self.integer_operators, *self.code_movers)
        if op_type not in kernels:
            return False
        required = self.attributes.get(op_type, {})
        return all(attributes.get(name, value) == value for name, value in required.items())

    def fuses_qdq(
        self, op_type: str, reads: Grids, writes: Grids, attributes: Attributes = DEFAULTS
    ) -> bool:
        """Say whether one integer kernel replaces an operator with the Q/DQ around it.

        Args:
            op_type: of the operator.
            reads: grids of what it reads, but for indices, shapes and conditions.
            writes: grids of what it gives.
            attributes: that it has, without those of no effect.
        """
        grids = [grid for grid in (*reads, *writes) if isinstance(grid, Grid)]
        wide = any(grid.bits != BITS for grid in grids)
        if not reads or None in reads or not self.computes_in_integers(op_type, attributes):
            return False
        if wide and op_type not in self.wide_movers:
            return False
        if STORED in reads and (op_type not in self.quantized_constants or None in writes):
            return False
        if op_type in self.code_movers:
            return all(grid == reads[0] for grid in writes)
        return op_type in self.float_outputs or None not in writes

    def clips_by_grid(
        self, op_type: str, bounds: tuple[float, float], covered: tuple[float, float]
    ) -> bool:
        """Say whether a clipping operator disappears in the QuantizeLinear behind it.

        Args:
            op_type: of the operator.
            bounds: lowest and highest number that it gives.
            covered: lowest and highest number of the grid.
        """
        low = bounds[0] - covered[0] <= CLIP_TOLERANCE
        high = covered[1] - bounds[1] <= CLIP_TOLERANCE
        return op_type in self.clipping and low and high

    def fuses_blocked_dequantize(
        self,
        op_type: str,
        shape: Sequence[object],
        block: int,
        bits: int,
        *,
        attributes: Attributes = DEFAULTS,
        bias: Sequence[object] | None = None,
    ) -> bool:
        """Say whether a product reads a weight in blocks of codes without restoring it.

        Args:
            op_type: of the product.
            shape: of the weight, (inputs, outputs), each block within a column.
            block: inputs in a block.
            bits: of a code.
            attributes: of the product.
            bias: shape of what is added, if anything is.
        """
        products = self.blocked_products
        fits = op_type in products.operators and block in products.blocks and bits in products.bits
        if not fits or len(shape) != MATRIX or attributes.get("transA") or attributes.get("transB"):
            return False
        required = self.attributes.get(op_type, {})
        plain = all(attributes.get(name, value) == value for name, value in required.items())
        return plain and (bias is None or tuple(bias) == (shape[1],))


@cache
def capabilities(runtime: IntegerRuntime) -> Capabilities:
    """Read what a runtime computes in integers."""
    text = (FOLDER / f"{runtime}.toml").read_text("utf-8")
    return from_json(Capabilities, tomllib.loads(text))


def effective_attributes(node: ir.Node) -> Attributes:
    """Collect the attributes of an operator, without the factor of a bias that it does not have."""
    attributes = {
        name: attribute.value
        for name, attribute in node.attributes.items()
        if not attribute.is_ref()
    }
    if len([value for value in node.inputs if value is not None]) <= MATRIX:
        attributes.pop("beta", None)
    return attributes


@dataclass(frozen=True, slots=True)
class Choices:
    """Operators that packlight leaves in float for a runtime, and what it does with constants.

    Attributes:
        quantize_constants: whether stored floats get a grid where operators without a weight
            read them.
        unused: operators that get no pairs although the runtime computes them in integers.
        keep_float: operators that stay in float, with the reason that people read.
        sources: of each field.
    """

    quantize_constants: bool
    unused: tuple[str, ...]
    keep_float: Mapping[str, str]
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Policy:
    """Operators that get pairs for a runtime.

    Attributes:
        runtime: facts about it.
        choices: of packlight.
    """

    runtime: Capabilities
    choices: Choices

    @property
    def integer_operators(self) -> frozenset[str]:
        """Operators without a weight that get pairs, and a grid of their own."""
        return self._used(self.runtime.integer_operators)

    @property
    def code_movers(self) -> frozenset[str]:
        """Operators that get pairs, with the grid of what they read."""
        return self._used(self.runtime.code_movers)

    def _used(self, operators: tuple[str, ...]) -> frozenset[str]:
        return frozenset(operators).difference(self.choices.unused, self.choices.keep_float)


@cache
def policy(runtime: IntegerRuntime) -> Policy:
    """Read where packlight puts pairs for a runtime."""
    choices = tomllib.loads(POLICY_FILE.read_text("utf-8"))[runtime]
    return Policy(capabilities(runtime), from_json(Choices, choices))
