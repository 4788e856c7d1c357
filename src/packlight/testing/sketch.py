"""Draw small ONNX graphs with seeded random weights, one operator at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from packlight.model import Model, name_operators, name_values

Dims = Sequence[int | str]

FUNCTIONS_IR = 8
"""The first IR version that has functions."""


def value_info(name: str, dims: Dims, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output of a graph; a dimension given as text is open."""
    return helper.make_tensor_value_info(name, kind, list(dims))


class Sketch:
    """A graph under construction.

    Args:
        opset: of the standard operators.
        seed: of the weights.
        prefix: of every name, so that the names of a body differ from those around it.
    """

    def __init__(self, opset: int, seed: int = 0, prefix: str = "") -> None:
        self.opset = opset
        self.prefix = prefix
        self.random = np.random.default_rng([seed, opset])
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []

    def fresh(self, stem: str) -> str:
        """Unused name."""
        return f"{self.prefix}{stem}_{len(self.nodes) + len(self.stored)}"

    def array(self, *shape: int, fan_in: int = 0) -> NDArray[np.float32]:
        """Normal numbers, scaled so that sums over ``fan_in`` of them have variance 1."""
        scale = 1 / math.sqrt(fan_in or max(1, math.prod(shape) // shape[0]))
        return (self.random.standard_normal(shape) * scale).astype(np.float32)

    def keep(self, array: NDArray[np.generic], stem: str = "weight") -> str:
        """Store an array."""
        self.stored.append(numpy_helper.from_array(array, self.fresh(stem)))
        return str(self.stored[-1].name)

    def weight(self, *shape: int, fan_in: int = 0) -> str:
        """Store random weights."""
        return self.keep(self.array(*shape, fan_in=fan_in))

    def constant(self, array: NDArray[np.generic]) -> str:
        """Store an array in a Constant instead of an initializer."""
        return self.add("Constant", value=numpy_helper.from_array(array))

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator and give the name of its first result."""
        name = self.fresh(op.lower())
        results = {"LSTM": ["", f"{name}.out"], "GRU": ["", f"{name}.out"]}
        outputs = results.get(op, [f"{name}.out"])
        self.nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs[-1]

    def norm(self, value: str, width: int) -> str:
        """Add a batch normalization of ``width`` channels."""
        uniform = self.random.uniform(0.5, 1.5, (2, width)).astype(np.float32)
        bias = self.array(width, fan_in=16)
        mean = self.array(width, fan_in=16)
        stored = [self.keep(array, "norm") for array in (uniform[0], bias, mean, uniform[1])]
        return self.add("BatchNormalization", value, *stored)

    def body(self, result: str, dims: Dims) -> onnx.GraphProto:
        """The graph as the body of an If."""
        output = value_info(result, dims)
        return helper.make_graph(self.nodes, self.prefix or "body", [], [output], self.stored)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Mapping[str, Dims],
        *,
        domains: Mapping[str, int] = MappingProxyType({}),
        functions: Sequence[onnx.FunctionProto] = (),
    ) -> Model:
        """The finished model.

        Args:
            name: of the model.
            inputs: with types and shapes.
            outputs: shapes by name, of float32.
            domains: versions of operators that ONNX does not define, by domain.
            functions: the model's own.
        """
        results = [value_info(result, dims) for result, dims in outputs.items()]
        graph = helper.make_graph(self.nodes, name, list(inputs), results, self.stored)
        imports = [helper.make_opsetid("", self.opset)]
        least = max(4, helper.find_min_ir_version_for(imports))
        if functions:
            least = max(FUNCTIONS_IR, least)
        imports += [helper.make_opsetid(*domain) for domain in domains.items()]
        proto = helper.make_model(
            graph, opset_imports=imports, ir_version=least, functions=functions
        )
        drawn = ir.from_proto(proto)
        name_operators(drawn)
        name_values(drawn)
        return Model(drawn, name)
