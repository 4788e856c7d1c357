"""An ONNX model as a PyTorch module: weights as parameters, differentiable, every value named.

A table of operators (``operators``) computes each in plain functions of PyTorch. Whatever is not
in it is refused before anything is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import unquote

import onnx
import onnx.inliner
import onnx_ir as ir
import torch
from onnx_ir.passes import common

from packlight.errors import InputError
from packlight.model import Model, nodes, operator_type, release, stored_tensor
from packlight.model.map_types import from_proto
from packlight.model.model import graphs, name_values
from packlight.torch.graph import (
    CONTROL_FLOW,
    Operators,
    Program,
    compile_graph,
    operator_of,
    run_program,
)
from packlight.torch.operators import OPERATORS
from packlight.torch.operators.limits import missing_form
from packlight.torch.sizes import MEASURES, size_inputs
from packlight.torch.values import DTYPES, FLOATS, Array, Tensor, Value, array_of, as_tensor

OLDEST_OPSET = 7
"""Operators broadcast by attributes before."""

SIZE_KINDS = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)
SIZE_ELEMENTS = 64
"""Most elements of a stored vector of integers that is taken for sizes, axes or positions."""

COMPOSED = (
    "AffineGrid",
    "Attention",
    "NegativeLogLikelihoodLoss",
    "RotaryEmbedding",
    "SoftmaxCrossEntropyLoss",
)
"""Operators that the standard defines by others, and that are computed so."""

STATISTICS: Mapping[str, tuple[int, ...]] = {"BatchNormalization": (3, 4)}
"""Inputs of operators that hold statistics, which are measured instead of learned."""


class OnnxModule(torch.nn.Module):
    """An ONNX graph that runs in PyTorch.

    It takes tensors or arrays, in the order of ``input_names`` or by name, and returns a tuple of
    tensors in the order of ``output_names``. Training mode changes nothing: normalizations use the
    stored statistics and dropout passes its input on.

    Attributes:
        input_names: of the inputs that a call needs.
        output_names: of the outputs.
        weights: module with a parameter or buffer for each stored tensor; see ``parameter_name``.
    """

    def __init__(
        self,
        program: Program,
        input_names: tuple[str, ...],
        stored: Mapping[str, Tensor],
        sizes: Mapping[str, Array],
        trainable: Collection[str],
    ) -> None:
        super().__init__()
        self.input_names = input_names
        self.output_names = program.outputs
        self.weights = torch.nn.Module()
        for name, tensor in stored.items():
            if name in trainable:
                self.weights.register_parameter(parameter_name(name), torch.nn.Parameter(tensor))
            else:
                self.weights.register_buffer(parameter_name(name), tensor)
        self._program = program
        self._stored = {name: parameter_name(name) for name in stored}
        self._sizes = dict(sizes)

    def forward(self, *inputs: Value, **named: Value) -> tuple[Value, ...]:
        """Run the graph.

        Raises:
            InputError: an input is missing, or there is none of that name.
        """
        values = dict(zip(self.input_names, inputs, strict=False))
        values.update(named)
        self._check_inputs(len(inputs), values)
        tensors = {name: as_tensor(value) for name, value in values.items()}
        device = next((v.device for v in tensors.values() if hasattr(v, "device")), None)
        scope = {name: getattr(self.weights, key) for name, key in self._stored.items()}
        scope.update(self._sizes)
        scope.update(tensors)
        results = run_program(self._program, scope, device or torch.device("cpu"))
        return tuple(as_tensor(value, device or "cpu") for value in results)

    def _check_inputs(self, count: int, values: Mapping[str, Value]) -> None:
        missing = [name for name in self.input_names if name not in values]
        unknown = [name for name in values if name not in self._program.inputs]
        if missing or unknown or count > len(self.input_names):
            inputs = ", ".join(self.input_names) or "no inputs"
            problem = f"{count} came in order"
            if unknown:
                problem = f"there is no '{unknown[0]}'"
            if missing:
                problem = f"'{missing[0]}' is missing"
            raise InputError(f"the model takes {inputs}; {problem}: give each once, in that order")


def to_module(
    model: Model, freeze: Collection[str] = (), *, operators: Operators = OPERATORS
) -> OnnxModule:
    """Build a PyTorch module that computes what a model does.

    Stored floating-point tensors of more than one element become parameters, except statistics of
    normalizations; all others become buffers, or plain numbers where they are sizes. Nothing shares
    memory with the model.

    Args:
        model: any model.
        freeze: names of stored tensors that become buffers as well.
        operators: functions that compute operators, where some are not those of the table.

    Raises:
        InputError: an operator is not supported, or ``freeze`` names no stored tensor.
    """
    unsupported = unsupported_operators(model, operators)
    if unsupported:
        raise InputError(
            f"'{model.name}' has operators that packlight cannot compute in PyTorch: "
            f"{', '.join(unsupported)}; export the model without them, or choose a format that "
            "does not need PyTorch"
        )
    graph = _inlined(model)
    kept: dict[str, Tensor] = {}
    sizes: dict[str, Array] = {}
    for value, tensor in _stored_values(graph):
        array = array_of(tensor)
        integers = tensor.dtype in SIZE_KINDS and array.ndim <= 1 and array.size <= SIZE_ELEMENTS
        if integers or _is_size(value):
            sizes[str(value.name)] = array
        else:
            kept[str(value.name)] = as_tensor(array)
        release(tensor)
    unknown = [name for name in freeze if name not in kept]
    if unknown:
        raise InputError(
            f"'{unknown[0]}' is no stored tensor of '{model.name}' and cannot be kept as it is; "
            f"it has {', '.join(list(kept)[:5])}"
        )
    statistics = _statistics(graph)
    trainable = {
        name
        for name, tensor in kept.items()
        if tensor.dtype in FLOATS and tensor.numel() > 1
        if name not in statistics and name not in freeze
    }
    program = compile_graph(graph.graph, graph.opset_imports, operators)
    return OnnxModule(program, tuple(model.inputs()), kept, sizes, trainable)


def unsupported_operators(model: Model, operators: Operators = OPERATORS) -> list[str]:
    """Operators of a model that cannot be computed in PyTorch, each with what is missing."""
    graph = _inlined(model)
    opset = graph.opset_imports.get("", OLDEST_OPSET)
    problems = [problem for node in nodes(graph) if (problem := _problem(node, graph, operators))]
    if opset < OLDEST_OPSET:
        problems.append(f"those of opset {opset}, before {OLDEST_OPSET}")
    return list(dict.fromkeys(problems))


def parameter_name(name: str) -> str:
    """Name of a stored tensor in PyTorch, which allows no dots; ``stored_name`` reverses it."""
    escaped = name.replace("%", "%25").replace(".", "%2E")
    if not escaped or hasattr(torch.nn.Module, escaped) or hasattr(torch.nn.Module(), escaped):
        return f"%{ord(escaped[:1] or ' '):02X}{escaped[1:]}"
    return escaped


def stored_name(name: str) -> str:
    """Name of a stored tensor in ONNX."""
    return unquote(name)


def _inlined(model: Model) -> ir.Model:
    """A copy without calls of the model's own functions, in which every value has a name."""
    graph = model.clone()
    if graph.functions:
        common.InlinePass()(graph)
    if any(node.op_type in COMPOSED and not node.domain for node in nodes(graph)):
        graph = _decomposed(graph)
    for index, node in enumerate(nodes(graph)):
        for position, value in enumerate(node.outputs):
            if value.name is None and list(value.uses()):
                value.name = f"packlight_{index}_{position}"
    name_values(graph)
    return graph


def _decomposed(graph: ir.Model) -> ir.Model:
    """Write operators that the standard defines by others as those; types decide which."""
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(graph), data_prop=True)
    chosen = [("", name) for name in COMPOSED]
    try:
        proto = onnx.inliner.inline_selected_functions(proto, chosen, inline_schema_functions=True)
    except RuntimeError:  # onnx needs the type of every input, also of one left out
        return graph
    return from_proto(proto)


def _stored_values(graph: ir.Model) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    for part in graphs(graph):
        for value in part.initializers.values():
            assert value.const_value is not None
            yield value, value.const_value
    for node in nodes(graph):
        if node.op_type == "Constant" and not node.domain:
            tensor = stored_tensor(node.outputs[0])
            assert tensor is not None
            yield node.outputs[0], tensor


def _is_size(value: ir.Value) -> bool:
    """Tell whether every reader of a value takes it for sizes."""
    readers = list(value.uses())
    inputs = [index in size_inputs(node) for node, index in readers]
    return bool(readers) and all(inputs) and not value.is_graph_output()


def _statistics(graph: ir.Model) -> set[str]:
    return {
        str(value.name)
        for node in nodes(graph)
        for index in STATISTICS.get(node.op_type, ())
        if (value := node.inputs[index]) is not None
    }


def _problem(node: ir.Node, graph: ir.Model, operators: Operators) -> str | None:
    """Name an operator that cannot be computed, and what of it; else None."""
    domain = node.domain
    name = operator_type(node)
    if not domain and node.op_type == "Constant":
        tensor = stored_tensor(node.outputs[0])
        if tensor is None or tensor.dtype not in DTYPES:
            return "Constant of texts"
        return None
    function = operators.get(domain, {}).get(node.op_type)
    if function is None and (domain or node.op_type not in (*CONTROL_FLOW, *MEASURES)):
        return name
    missing = missing_form(operator_of(node, graph.opset_imports), node)
    if missing is None and function is not None:
        missing = _surplus_input(function, node)
    if missing is not None:
        return f"{name} with {missing}"
    kinds = [value.dtype for value in (*node.inputs, *node.outputs) if value is not None]
    unknown = [kind for kind in kinds if kind is not None and kind not in DTYPES]
    if unknown:
        return f"{name} of {unknown[0].name}"
    return None


def _surplus_input(function: object, node: ir.Node) -> str | None:
    """Name the first input that a function does not take."""
    assert callable(function)
    parameters = list(inspect.signature(function).parameters.values())
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    for position, value in enumerate(node.inputs, 1):
        if position >= len(parameters) and value is not None:
            return f"input {position}"
    return None
