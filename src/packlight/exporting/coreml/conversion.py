"""A neutral model as a package of Core ML, with the same bytes every time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import onnx_ir as ir
from coremltools.converters.mil.converter import ConverterRegistry, mil_convert_to_proto
from coremltools.converters.mil.mil import Builder, Function, Program, types

from packlight.disk import scratch_folder
from packlight.errors import InputError
from packlight.exporting.coreml.lowering import Lowering, Operator, Precision, Value, port_names
from packlight.exporting.coreml.operators import OPERATORS
from packlight.exporting.coreml.reading import PROGRAM
from packlight.exporting.coreml.widening import widened
from packlight.exporting.formats import refuse_operators
from packlight.exporting.neutral import Neutral
from packlight.exporting.operator_view import UnsupportedError, unknown_operators, values_of
from packlight.exporting.quiet import quiet_output
from packlight.records.export import WeightForm

HIGHEST_RANK = 5
"""Axes that values of MIL have at most."""

INPUT_TYPES: Mapping[str, Any] = {
    "float32": types.fp32,
    "int32": types.int32,
    "int64": types.int32,
    "bool": types.int32,
}
"""Types of inputs that Core ML takes, by those of ONNX; truth values are 0 and 1."""

IDENTIFIERS = uuid.uuid5(uuid.NAMESPACE_URL, "https://packlight/coreml")
"""Root of the identifiers in a package's manifest, which coremltools draws at random."""


@dataclass(frozen=True, slots=True)
class CoreMLPackage:
    """A written package.

    Attributes:
        inputs: names in the package by those in ONNX.
        outputs: the same of the outputs.
        weights: form and bytes of each weight that is not plain floats, by its name in ONNX.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    weights: Mapping[str, tuple[WeightForm, int]]


def write_package(neutral: Neutral, path: Path, precision: Precision) -> CoreMLPackage:
    """Write a model.

    Args:
        neutral: the model.
        path: of the package, a folder that is not there.
        precision: of the numbers inside.

    Raises:
        ExportError: operators that Core ML cannot express, each by name and reason.
        InputError: an input has a type that Core ML does not take.
    """
    missing = unknown_operators(neutral.graph, OPERATORS)
    if missing:
        raise refuse_operators("coreml", dict.fromkeys(missing, ""))
    inputs, outputs = ports_of(neutral)
    lowering = Lowering(precision)
    with quiet_output(), scratch_folder() as weights:
        program = _program(neutral, lowering, inputs, outputs)
        spec, _ = mil_convert_to_proto(
            program,
            "milinternal",
            "mlprogram",
            ConverterRegistry,
            main_pipeline=ct.PassPipeline.EMPTY,
            weights_dir=str(weights),
            specification_version=ct.target.iOS18.value,
        )
        ct.models.utils.save_spec(spec, str(path), weights_dir=str(weights))
    (path / PROGRAM).write_bytes(spec.SerializeToString(deterministic=True))
    _fix_identifiers(path)
    return CoreMLPackage(inputs, outputs, lowering.recorded)


def ports_of(neutral: Neutral) -> tuple[dict[str, str], dict[str, str]]:
    """Names of inputs and of outputs in a package, by those in ONNX."""
    inputs = port_names(list(neutral.inputs), ())
    return inputs, port_names(list(neutral.outputs), inputs.values())


def _program(
    neutral: Neutral, lowering: Lowering, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> Program:
    Builder.name_count.clear()  # names that coremltools counts must not depend on what was before
    program = Program()
    ports = {}
    for name, value in neutral.inputs.items():
        dtype = neutral.dtype(value)
        shape = neutral.shape(value)
        if dtype not in INPUT_TYPES or not 0 < len(shape) <= HIGHEST_RANK:
            raise InputError(
                f"input '{name}' of '{neutral.name}' has type {dtype} and {len(shape)} axes; Core "
                "ML takes float32, integers and truth values with 1 to 5 axes"
            )
        ports[inputs[name]] = Builder.placeholder(shape, dtype=INPUT_TYPES[dtype])
    taken = {*inputs.values(), *outputs.values()}
    lowering.reserve(taken)
    with Function(ports, opset_version=ct.target.iOS18) as function:
        _add_inputs(lowering, neutral, function, inputs)
        _add_stored(lowering, neutral)
        for node in neutral.graph.graph:
            _lower(lowering, node, neutral.graph.opset_imports)
        function.set_outputs(
            [_output(lowering, value, outputs[name]) for name, value in neutral.outputs.items()]
        )
    program.add_function("main", function)
    return program


def _add_inputs(
    lowering: Lowering, neutral: Neutral, function: Any, inputs: Mapping[str, str]
) -> None:
    for name, value in neutral.inputs.items():
        var = function.inputs[inputs[name]]
        is_wide = var.dtype == types.fp32 and lowering.precision == "float16"
        if value.dtype == ir.DataType.BOOL:
            var = lowering.op("cast", f"{name}_truth", x=var, dtype="bool")
        held = Value(name, neutral.shape(value))
        if is_wide:
            held.wide = var
        else:
            held.var = var
        lowering.values[value] = held


def _add_stored(lowering: Lowering, neutral: Neutral) -> None:
    encoded = neutral.encoded
    for value in neutral.graph.graph.inputs:
        weight = encoded.get(str(value.name))
        if weight is not None:
            lowering.values[value] = Value(weight.name, weight.shape, weight=weight)
    for value in neutral.graph.graph.initializers.values():
        assert value.const_value is not None
        array = np.asarray(value.const_value.numpy())
        lowering.values[value] = Value(str(value.name), array.shape, array=array)


def _lower(lowering: Lowering, node: ir.Node, imports: Mapping[str, int]) -> None:
    """Write an operator."""
    op = Operator(node, imports.get("", 0), values_of(lowering.values, node))
    lowering.begin(node)
    wide = widened(lowering, op)
    if wide is not None:
        lowering.values[node.outputs[0]] = wide
        return
    try:
        result = OPERATORS[node.op_type](lowering, op)
        results = result if isinstance(result, tuple) else (result,)
        if any(len(var.shape) > HIGHEST_RANK for var in results):
            raise UnsupportedError(f"a result of more than {HIGHEST_RANK} axes")
    except UnsupportedError as error:
        reason = f"'{node.name}' has {error}, which its operators do not do"
        raise refuse_operators("coreml", {node.op_type: reason}) from None
    except (ValueError, TypeError) as error:  # coremltools checks ranks and types of arguments
        reason = f"coremltools refuses '{node.name}': {str(error).splitlines()[0]}"
        raise refuse_operators("coreml", {node.op_type: reason}) from error
    for output, var in zip(node.outputs, results, strict=False):
        lowering.values[output] = Value(str(output.name), tuple(var.shape), var)


def _output(lowering: Lowering, value: ir.Value, name: str) -> Any:
    """An output under its name, in float32 where it holds floats."""
    held = lowering.values[value]
    if held.var is None and held.wide is not None:
        return Builder.identity(x=held.wide, name=name)
    var = lowering.var(held)
    if var.dtype in (types.fp16, types.fp32):
        if lowering.float_type == "fp32":
            return Builder.identity(x=var, name=name)
        return Builder.cast(x=var, dtype="fp32", name=name)
    if var.dtype == types.bool:
        return Builder.cast(x=var, dtype="int32", name=name)
    return Builder.identity(x=var, name=name)


def _fix_identifiers(path: Path) -> None:
    """Replace the random identifiers of a package by some that follow from what they name."""
    manifest = path / "Manifest.json"
    record = json.loads(manifest.read_text("utf-8"))
    entries = record["itemInfoEntries"]
    renamed = {old: str(uuid.uuid5(IDENTIFIERS, entry["path"])) for old, entry in entries.items()}
    record["itemInfoEntries"] = dict(
        sorted((renamed[old], entry) for old, entry in entries.items())
    )
    record["rootModelIdentifier"] = renamed[record["rootModelIdentifier"]]
    manifest.write_text(json.dumps(record, indent=4, sort_keys=True) + "\n", "utf-8")
