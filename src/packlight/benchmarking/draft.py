"""Draw the graphs that are timed: seeded weights, in floats, codes or blocks of codes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.backends.onnxruntime.kernel_call import Dtype
from packlight.model import Model

Array = NDArray[np.generic]
Attribute = int | float | str | Sequence[int]

OPSET = 21
IR_VERSION = 10
BLOCK = 32
"""Stored numbers that share a scale, in blocks."""

STEP = 0.02
MIDDLE = 128
"""Grid of activations in codes: they stay near 1, whatever the depth."""

BATCH = "batch"
LOW = 0.5
HIGH = 1.5
"""Range of inputs, so that neither products nor powers of them leave normal numbers."""


class Draft:
    """A graph in the making.

    Args:
        name: of the model.
        seed: of weights and inputs.
        dtype: of products: ``int8`` puts codes around them, ``int4`` stores them in blocks.
    """

    def __init__(self, name: str, seed: int, dtype: Dtype = "float32") -> None:
        self.name = name
        self.dtype = dtype
        self.random = np.random.default_rng(seed)
        self.inputs: list[ir.Value] = []
        self.feeds: dict[str, Array] = {}
        self.stored: list[ir.Value] = []
        self.nodes: list[ir.Node] = []

    def feed(self, *shape: int, most: int = 0) -> ir.Value:
        """An input of random numbers; of whole numbers below ``most`` where that is given.

        A first dimension of 1 is left open, as exporters leave it.
        """
        name = f"x{len(self.inputs)}"
        sizes = [BATCH if shape[0] == 1 else shape[0], *shape[1:]]
        kind = ir.DataType.FLOAT
        if most:
            kind = ir.DataType.INT64
            self.feeds[name] = self.random.integers(0, most, shape)
        else:
            self.feeds[name] = self.spread(shape)
        self.inputs.append(ir.val(name, kind, ir.Shape(sizes)))
        return self.inputs[-1]

    def spread(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """Random numbers around 1."""
        return self.random.uniform(LOW, HIGH, shape).astype(np.float32)

    def keep(self, array: Array) -> ir.Value:
        """Store an array."""
        name = f"w{len(self.stored)}"
        self.stored.append(ir.val(name, const_value=ir.tensor(array, name=name)))
        return self.stored[-1]

    def numbers(self, *values: float) -> ir.Value:
        """Store one float, or a list of integers."""
        if len(values) > 1:
            return self.integers(*values)
        return self.keep(np.array(values[0], np.float32))

    def integers(self, *values: float) -> ir.Value:
        """Store a list of integers."""
        return self.keep(np.array(values, np.int64))

    def op(self, op: str, *inputs: ir.Value | None, **attributes: Attribute) -> ir.Value:
        """Add an operator and give its first result."""
        result = ir.val(f"v{len(self.nodes)}")
        name = f"{op.lower()}{len(self.nodes)}"
        node = ir.node(op, list(inputs), dict(attributes), outputs=[result], name=name)
        self.nodes.append(node)
        return result

    def product(
        self, op: str, x: ir.Value, shape: Sequence[int], axis: int, **attributes: Attribute
    ) -> ir.Value:
        """Add a product with a random weight and a bias, in the data type of the draft.

        Args:
            op: type of operator.
            x: what it reads.
            shape: of the weight.
            axis: of the weight that counts outputs.
            attributes: of the operator.
        """
        outputs = shape[axis]
        sums = max(1, math.prod(shape) // outputs)
        weight = self.random.uniform(0.5, 1.5, shape).astype(np.float32) / np.float32(sums)
        bias = [np.zeros(outputs, np.float32)] * (op != "MatMul")
        if self.dtype == "int8":
            return self.integer_product(op, x, weight, axis, bias, **attributes)
        stored = self.blocked_weight(weight) if self.dtype == "int4" else self.keep(weight)
        return self.op(op, x, stored, *map(self.keep, bias), **attributes)

    def integer_product(
        self, op: str, x: ir.Value, weight: Array, axis: int, bias: Sequence[Array],
        **attributes: Attribute,
    ) -> ir.Value:  # fmt: skip
        """A product between codes."""
        outputs = weight.shape[axis]
        scale = np.full(outputs, float(weight.max()) / 127, np.float32)
        codes = np.rint(weight / scale[0]).astype(np.int8)
        zero = self.keep(np.zeros(outputs, np.int8))
        restored = self.op("DequantizeLinear", self.keep(codes), self.keep(scale), zero, axis=axis)
        biases = []
        for vector in bias:
            stored = self.keep(vector.astype(np.int32))
            step = self.keep(scale * np.float32(STEP))
            zeros = self.keep(np.zeros(outputs, np.int32))
            biases.append(self.op("DequantizeLinear", stored, step, zeros, axis=0))
        return self.op(op, self.quantized(x), restored, *biases, **attributes)

    def stored_activation(self, x: ir.Value) -> ir.Value:
        """Result of a product and its activation, in codes where the draft is in codes."""
        if self.dtype == "int8":
            return self.quantized(x)
        return x

    def quantized(self, x: ir.Value) -> ir.Value:
        """A value as it is after codes; what comes from codes stays."""
        producer = x.producer()
        if producer is not None and producer.op_type == "DequantizeLinear":
            return x
        grid = [self.keep(np.array(STEP, np.float32)), self.keep(np.array(0, np.uint8))]
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, *grid), *grid)

    def blocked_weight(self, weight: Array) -> ir.Value:
        """A matrix (sums, columns) as codes of 4 bits, a scale for each block of its sums."""
        sums, columns = weight.shape
        scale = np.full((sums // BLOCK, columns), float(weight.max()) / 7, np.float32)
        codes = np.rint(weight / scale[0]).astype(ml_dtypes.int4)
        stored = self.keep(codes)
        return self.op("DequantizeLinear", stored, self.keep(scale), axis=0, block_size=BLOCK)

    def model(self, *results: ir.Value) -> Model:
        """The finished model."""
        for value in results:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        graph = ir.Graph(self.inputs, list(results), nodes=self.nodes, initializers=self.stored,
                         opset_imports={"": OPSET}, name="timed")  # fmt: skip
        return Model(ir.Model(graph, ir_version=IR_VERSION), self.name)
