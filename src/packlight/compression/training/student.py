"""A compressed model as a module whose weights are learned in the form in which they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch.nn.utils import parametrize

from packlight.compression.sites.weight_roles import is_standard, stored
from packlight.compression.training.stored_weights import CompressedWeight, compressed_weights
from packlight.model import Model, nodes
from packlight.records.variant import Refusal
from packlight.torch.interpreter import (
    OnnxModule,
    parameter_name,
    stored_name,
    to_module,
    unsupported_operators,
)
from packlight.torch.operators.quantization import RANGES, TRAINING_DOMAIN
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

TINY = 1e-30
PAIR_INPUTS = 3
"""Inputs of an operator that quantizes with a zero point."""

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
        forms: Any = self.module.weights.parametrizations
        latent: Tensor = forms[key].original
        return latent

    def tensors(self) -> list[Tensor]:
        """All that is learned: latent weights, then scales, tables and what is stored as it is."""
        latents = [self.latent(key) for key in self.weights]
        known = set(map(id, latents))
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        return [*latents, *(p for p in parameters if id(p) not in known)]

    def rates(self, latent_rate: float, rate: float) -> list[float]:
        """Rates of the tensors, as shares of their size.

        Args:
            latent_rate: share of the rounding error of a latent weight.
            rate: of all others.
        """
        rates = []
        for key, weight in self.weights.items():
            latent = self.latent(key).detach()
            with torch.no_grad():
                error = float(weight.form.expected_error(latent) / latent.norm().clamp(min=TINY))
            error *= latent.numel() ** 0.5
            rates.append(latent_rate * error if error else rate)
        return [*rates, *[rate] * (len(self.tensors()) - len(rates))]

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

    def _tensors(self, values: Mapping[str, ir.Value]) -> Iterator[tuple[str, ir.TensorProtocol]]:
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
    fuse_pairs(graph)
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


def fuse_pairs(graph: ir.Model) -> None:
    """Let one operator, which gradients pass, stand for each pair of Q and DQ, in place."""
    for node in list(graph.graph):
        if not is_standard(node, "QuantizeLinear") or len(node.inputs) < PAIR_INPUTS:
            continue
        readers = list(node.outputs[0].consumers())
        zero = node.inputs[2]
        tensor = None if zero is None else stored(zero)
        matches = tensor is not None and all(_same_grid(node, reader) for reader in readers)
        if tensor is None or not matches or node.outputs[0].is_graph_output():
            continue
        low, high = RANGES[tensor.dtype]
        attributes = {"low": low, "high": high, "axis": node.attributes.get_int("axis", 1)}
        fused = ir.node(
            "QuantizeDequantize",
            node.inputs,
            attributes,
            domain=TRAINING_DOMAIN,
            name=str(node.name),
        )
        fused.outputs[0].name = f"{node.outputs[0].name}.restored"
        graph.graph.insert_before(node, fused)
        for reader in readers:
            output = reader.outputs[0]
            name = output.name
            ir.convenience.replace_all_uses_with(
                output, fused.outputs[0], replace_graph_outputs=True
            )
            if fused.outputs[0].is_graph_output():
                fused.outputs[0].name = name
                output.name = None
        graph.graph.remove([*readers, node], safe=True)
    graph.opset_imports[TRAINING_DOMAIN] = 1


def _same_grid(quantize: ir.Node, reader: ir.Node) -> bool:
    """Tell whether an operator restores codes on the grid that they were made on."""
    if not is_standard(reader, "DequantizeLinear") or len(reader.inputs) < PAIR_INPUTS:
        return False
    pairs = zip(quantize.inputs[1:], reader.inputs[1:], strict=True)
    return all(_equal(first, second) for first, second in pairs)


def _equal(first: ir.Value | None, second: ir.Value | None) -> bool:
    if first is None or second is None or first is second:
        return first is second
    tensor = stored(first)
    same = stored(second)
    return tensor is not None and same is not None and np.array_equal(tensor.numpy(), same.numpy())


def training_obstacle(model: Model) -> Refusal | None:
    """Why no gradient reaches the weights of a model; None where it does."""
    unsupported = unsupported_operators(model)
    if unsupported:
        reason = f"packlight cannot compute {', '.join(unsupported)} in PyTorch"
        return Refusal("", "unsupported-operator", reason, "export the model without them")
    blocking = _blocking_operators(model)
    if blocking:
        reason = f"no gradient passes {', '.join(blocking)}, which computes in integers"
        remedy = "train before such a step, or use static in its place"
        return Refusal("", "already-integer", reason, remedy)
    return None


def _blocking_operators(model: Model) -> list[str]:
    """Types of operators that compute in integers, which no gradient passes."""
    graph = model.clone()
    fuse_pairs(graph)
    kinds = [str(n.op_type) for n in nodes(graph) if n.op_type in INTEGER_OPERATORS]
    return sorted(set(kinds))
