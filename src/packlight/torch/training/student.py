"""A compressed model as a module whose weights are learned in the form in which they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch.nn.utils import parametrize

from packlight.compression.sites.weight_roles import is_standard, stored
from packlight.model import Model, nodes
from packlight.torch.interpreter import OnnxModule, parameter_name, stored_name, to_module
from packlight.torch.training.stored_weights import CompressedWeight, compressed_weights
from packlight.torch.values import Tensor, as_array

LEARNED_INPUTS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), (1, 2)),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (1, 2, 3)),
    **dict.fromkeys(
        ("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization"),
        (1, 2),
    ),
    "Add": (0, 1),
    "MatMul": (0, 1),
    "PRelu": (1,),
}
"""Stored inputs of operators that are weights, biases or norms. Others, as masks and grids of
positions, are part of the model and stay."""

INTEGER_OPERATORS = frozenset(
    {"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
     "QuantizeLinear", "DynamicQuantizeLSTM"}
)  # fmt: skip
"""Operators that no gradient passes."""


@dataclass(frozen=True, slots=True, eq=False)
class Student:
    """A module and what is learned of it.

    Attributes:
        module: computes the compressed model.
        weights: in codes, by the name of the module's parameter.
        plain: names of stored values that are learned as they are, by that of the parameter.
        operators: of the model that read what is learned.
    """

    module: OnnxModule
    weights: Mapping[str, CompressedWeight]
    plain: Mapping[str, str]
    operators: tuple[str, ...]

    def latent(self, key: str) -> Tensor:
        """The latent weight of a weight in codes."""
        latent: Tensor = self.module.weights.parametrizations[key].original
        return latent

    def latents(self) -> list[Tensor]:
        """All latent weights."""
        return [self.latent(key) for key in self.weights]

    def others(self) -> list[Tensor]:
        """Scales, tables, and weights, biases and norms that are stored as they are."""
        latent = set(map(id, self.latents()))
        return [p for p in self.module.parameters() if p.requires_grad and id(p) not in latent]

    def write(self, graph: ir.Model) -> None:
        """Store what was learned, in place and in the same bytes."""
        values = {str(value.name): value for value in graph.graph.initializers.values()}
        constants = {
            str(node.outputs[0].name): node for node in nodes(graph) if node.op_type == "Constant"
        }
        for name, tensor in self._tensors(values):
            if name in values:
                values[name].const_value = tensor
            else:
                tensor.name = None
                constants[name].attributes.clear()
                constants[name].attributes["value"] = ir.AttrTensor("value", tensor)

    def _tensors(
        self, values: Mapping[str, ir.Value]
    ) -> Iterator[tuple[str, ir.TensorProtocol]]:
        for key, weight in self.weights.items():
            yield from weight.tensors(self.latent(key))
        for key, name in self.plain.items():
            array = as_array(getattr(self.module.weights, key))
            old = stored(values[name]) if name in values else None
            dtype = ir.DataType.from_numpy(array.dtype) if old is None else old.dtype
            yield name, ir.Tensor(array.astype(dtype.numpy()), dtype=dtype, name=name)


def build_student(model: Model, reference: ir.Model | None) -> Student:
    """Build the module of a compressed model.

    Args:
        model: stays as it is.
        reference: the model before its weights were stored in codes; latent weights begin at its
            weights, moved to where they have the codes that they have.
    """
    graph = model.clone()
    weights: dict[str, CompressedWeight] = {}
    starts: dict[str, Tensor] = {}
    originals = _float_weights(reference)
    for weight in list(compressed_weights(graph)):
        name = str(weight.output.name)
        final = _final_name(weight.output)
        decoded = weight.form.restored_codes(weight.codes)
        start = decoded
        original = originals.get(final)
        if original is not None and original.size == decoded.numel():
            array = np.array(original.numpy(), np.float32).reshape(tuple(decoded.shape))
            start = weight.form.nearest_inside(torch.from_numpy(array), weight.codes)
        weights[parameter_name(name)] = weight
        starts[parameter_name(name)] = start.detach()
        _replace_by_stored(graph, weight, name, decoded)
    coded = {stored_name(key) for key in weights}
    operators, plain = _learned(graph, coded)
    module = to_module(Model(graph, model.name), _frozen(graph, {*plain, *coded}))
    for key, weight in weights.items():
        with torch.no_grad():
            getattr(module.weights, key).copy_(starts[key])
        parametrize.register_parametrization(module.weights, key, weight.form, unsafe=True)
    kept = {parameter_name(name): name for name in plain}
    parameters = dict(module.weights.named_parameters())
    learned = {key: name for key, name in kept.items() if key in parameters}
    return Student(module, weights, learned, operators)


def _float_weights(reference: ir.Model | None) -> Mapping[str, ir.TensorProtocol]:
    if reference is None:
        return {}
    values = reference.graph.initializers.values()
    return {
        str(value.name): value.const_value
        for value in values
        if value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT
    }


def _final_name(value: ir.Value) -> str:
    """Name of the weight as operators read it."""
    readers = list(value.consumers())
    while len(readers) == 1 and is_standard(readers[0], "Reshape", "Slice", "Cast"):
        value = readers[0].outputs[0]
        readers = list(value.consumers())
    return str(value.name)


def _replace_by_stored(
    graph: ir.Model, weight: CompressedWeight, name: str, decoded: Tensor
) -> None:
    """Store a restored weight in place of the operator that restores it."""
    old = weight.output
    tensor = ir.Tensor(decoded.detach().numpy().astype(np.float32), name=name)
    new = ir.Value(name=name, const_value=tensor)
    old.name = f"{name}.restored"
    old.replace_all_uses_with(new)
    graph.graph.remove(weight.node, safe=True)
    graph.graph.register_initializer(new)


def _learned(graph: ir.Model, coded: set[str]) -> tuple[tuple[str, ...], list[str]]:
    """Operators whose weights are learned, and names of those that are learned as they are."""
    operators: dict[str, None] = {}
    plain: dict[str, None] = {}
    for node in graph.graph:
        for index in LEARNED_INPUTS.get(node.op_type, ()) if is_standard(node) else ():
            value = next(iter(node.inputs[index : index + 1]), None)
            if value is None:
                continue
            if coded & _sources(value):
                operators[str(node.name)] = None
            tensor = stored(value)
            if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < 2:  # noqa: PLR2004
                continue
            if value.is_graph_output() or str(value.name) in coded:
                continue
            operators[str(node.name)] = None
            plain[str(value.name)] = None
    return tuple(operators), list(plain)


def _sources(value: ir.Value) -> set[str]:
    """Names of a value and of those that it is a mere form of."""
    names = {str(value.name)}
    maker = value.producer()
    while maker is not None and is_standard(maker, "Reshape", "Slice", "Cast"):
        source = maker.inputs[0]
        if source is None:
            break
        names.add(str(source.name))
        maker = source.producer()
    return names


def _frozen(graph: ir.Model, learned: set[str]) -> list[str]:
    """Names of stored floats that are not learned."""
    frozen = []
    for value in graph.graph.initializers.values():
        tensor = value.const_value
        if tensor is None or tensor.dtype not in TRAINABLE or tensor.size < 2:  # noqa: PLR2004
            continue
        if str(value.name) not in learned:
            frozen.append(str(value.name))
    return frozen


TRAINABLE = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16)


def blocking_operators(graph: ir.Model) -> list[str]:
    """Names of operators that compute in integers, which no gradient passes."""
    return [str(node.name) for node in nodes(graph) if node.op_type in INTEGER_OPERATORS]
