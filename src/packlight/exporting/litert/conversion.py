"""A neutral model as the bytes of a LiteRT file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from packlight.errors import InputError
from packlight.exporting.formats import refuse_operators
from packlight.exporting.litert.flatbuffer import Tensor
from packlight.exporting.litert.layouts import natural
from packlight.exporting.litert.lowering import Lowering, Result
from packlight.exporting.litert.operators import FLOAT_OPERATORS
from packlight.exporting.litert.operators.gelu import match_gelu, write_gelu
from packlight.exporting.litert.operators.integers import QUANTIZATION, lower_integers
from packlight.exporting.litert.values import Operator, UnsupportedError, Value, stored_value
from packlight.exporting.neutral import Neutral
from packlight.exporting.operator_view import unknown_operators, values_of
from packlight.records.export import WeightForm, form_label

OPERATORS = {**FLOAT_OPERATORS, **QUANTIZATION}
DESCRIPTION = "written by packlight"
INPUT_TYPES = ("float32", "int8", "int16", "int32", "int64", "uint8", "bool")


@dataclass(frozen=True, slots=True)
class LiteRTFile:
    """A written model.

    Attributes:
        content: its bytes.
        operators: LiteRT's operators in the order in which they run.
        weights: form and bytes of each weight that is not float32, by its name in ONNX.
    """

    content: bytes
    operators: tuple[str, ...]
    weights: Mapping[str, tuple[WeightForm, int]]

    def labels(self) -> set[str]:
        """Labels of the forms of its weights."""
        return {form_label(form) for form, _ in self.weights.values()}


def convert(neutral: Neutral) -> LiteRTFile:
    """Write a model.

    Raises:
        ExportError: operators that LiteRT cannot express, each by name and reason.
        InputError: an input has a type that LiteRT does not compute with.
    """
    missing = unknown_operators(neutral.graph, OPERATORS)
    if missing:
        raise refuse_operators("litert", dict.fromkeys(missing, ""))
    lowering = Lowering(neutral.encoded)
    inputs = _add_inputs(lowering, neutral)
    _add_stored(lowering, neutral)
    for node in neutral.graph.graph:
        if node in lowering.absorbed:
            _follow(lowering, node)
            continue
        gelu = match_gelu(lowering, node)
        if gelu is not None:
            lowering.begin(node)
            write_gelu(lowering, gelu)
            continue
        _lower(lowering, node, neutral.graph.opset_imports)
    outputs = {
        name: _output_tensor(lowering, value, inputs) for name, value in neutral.outputs.items()
    }
    content = lowering.builder.finish(inputs, _distinct(lowering, outputs), DESCRIPTION)
    builder = lowering.builder
    return LiteRTFile(content, tuple(builder.operator_names), builder.recorded)


def _add_inputs(lowering: Lowering, neutral: Neutral) -> dict[str, Tensor]:
    inputs = {}
    for name, value in neutral.inputs.items():
        dtype = neutral.dtype(value)
        if dtype not in INPUT_TYPES:
            raise InputError(
                f"input '{name}' of '{neutral.name}' has type {dtype}, which LiteRT has no "
                "operators for: cast it before the model, in float32"
            )
        shape = neutral.shape(value)
        tensor = lowering.builder.tensor(name, shape, dtype)
        inputs[name] = tensor
        lowering.bind(value, Value(name, shape, dtype, {natural(len(shape)): tensor}))
    return inputs


def _add_stored(lowering: Lowering, neutral: Neutral) -> None:
    encoded = neutral.encoded
    for value in neutral.graph.graph.inputs:
        weight = encoded.get(str(value.name))
        if weight is not None:
            name = str(value.name)
            lowering.bind(value, Value(name, weight.shape, "float32", weight=weight))
    for value in neutral.graph.graph.initializers.values():
        assert value.const_value is not None
        array = np.asarray(value.const_value.numpy())
        name = str(value.name)
        if array.dtype == np.float16 and name in neutral.weights:
            weight = neutral.weights[name]
            lowering.bind(value, Value(name, array.shape, "float32", weight=weight))
            continue
        lowering.bind(value, stored_value(name, array))


def _lower(lowering: Lowering, node: ir.Node, imports: Mapping[str, int]) -> None:
    """Write an operator."""
    function = OPERATORS[node.op_type]
    op = Operator(node, imports.get("", 0), values_of(lowering.values, node))
    lowering.begin(node)
    try:
        result = lower_integers(lowering, op) or function(lowering, op)
    except UnsupportedError as error:
        reason = f"'{node.name}' has {error}, which its operators do not do"
        raise refuse_operators("litert", {node.op_type: reason}) from None
    _bind(lowering, node, result)


def _bind(lowering: Lowering, node: ir.Node, result: Result) -> None:
    values = (result,) if isinstance(result, Value) else result
    for output, value in zip(node.outputs, values, strict=False):
        if output not in lowering.values:
            value.name = value.name or str(output.name)
            lowering.bind(output, value)


def _follow(lowering: Lowering, node: ir.Node) -> None:
    """Give the output of an absorbed operator the value of the one that absorbed it."""
    output = node.outputs[0]
    if output in lowering.values:
        return
    sources = [lowering.values[value] for value in node.inputs if value in lowering.values]
    lowering.bind(output, next(value for value in sources if not value.is_stored))


def _output_tensor(lowering: Lowering, value: ir.Value, inputs: Mapping[str, Tensor]) -> Tensor:
    """The tensor of an output, a copy where it is an input or stored."""
    lowered = lowering.values[value]
    tensor = lowering.form(lowered)
    if tensor.is_stored or tensor in inputs.values():
        return _copied(lowering, tensor)
    return tensor


def _copied(lowering: Lowering, tensor: Tensor) -> Tensor:
    sizes = lowering.constant(tensor.shape, "int32")
    return lowering.emit(
        "RESHAPE", [tensor, sizes], tensor.shape, tensor.dtype, tensor.quantization,
        newShape=np.array(tensor.shape, np.int32),
    )  # fmt: skip


def _distinct(lowering: Lowering, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Outputs that share no tensor."""
    result: dict[str, Tensor] = {}
    for name, tensor in outputs.items():
        taken = tensor in result.values()
        result[name] = _copied(lowering, tensor) if taken else tensor
    return result
