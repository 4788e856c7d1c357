"""Raise a model to a newer opset, without its large weights passing through the converter.

Of the two converters onnx's is right below opset 18, where onnxscript's leaves reductions behind,
and onnxscript's from 18 on. Neither knows a model's functions, so calls are inlined. onnx's changes
results that this module corrects: until opset 13 Hardmax is of a matrix that its axis splits a
tensor into, and until opset 11 Resize and Upsample read element ``i`` of a result at ``i / scale``;
from then on Resize states where, and half a pixel off by default.
Source: the operator specifications of ONNX, and ``Resize`` of opset 10 in ONNX Runtime, whose
nearest element is the one below where a scale enlarges and the one above where it does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from packlight.errors import ModelError
from packlight.model.check import root_cause
from packlight.model.map_types import from_proto, with_types
from packlight.model.model import content_bytes, graphs, name_operators, nodes, stored_tensor

SCRIPT_FROM = 18
STEERING_BYTES = 1024
"""Bytes up to which the converter sees a stored value, such as the shape of a Reshape."""

HARDMAX_AXIS_OPSET = 13
"""Opset from which Hardmax is of one axis instead of a matrix."""

RESIZE_COORDINATES_OPSET = 11
"""Opset from which Resize states where it reads."""

RESIZE_SHRINKS_OPSET = 10
"""Opset from which scales may be below 1."""

SCALES_INPUT = 2
"""Input of Resize that holds its scales, from opset 11 on."""


def raise_opset(model: ir.Model, opset: int) -> ir.Model:
    """Convert the model to ``opset``, unless its opset is newer; the argument may be edited.

    Raises:
        ModelError: the converter does not know one of the operators.
    """
    current = model.opset_imports.get("", 0)
    if current >= opset:
        return model
    try:
        newer = _convert(model, opset)
        _check_domains(newer)
    except Exception as error:  # the converters raise many types; all mean failure
        raise ModelError(
            f"the model has opset {current} and cannot be raised to {opset}, which this recipe "
            f"needs: {root_cause(error)}. Export it with opset {opset}, or choose 8 bits"
        ) from error
    imports = [onnx.helper.make_opsetid(d, v) for d, v in newer.opset_imports.items()]
    least = onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True)
    newer.ir_version = max(newer.ir_version, least)
    name_operators(newer)
    return newer


def _convert(model: ir.Model, opset: int) -> ir.Model:
    if "" not in model.opset_imports:  # no operator is of the standard, so none changes
        model.opset_imports[""] = opset
        return model
    convert = _convert_with_onnxscript
    if model.opset_imports[""] < SCRIPT_FROM:
        convert = _convert_with_onnx
    return convert(model, opset)


def _convert_with_onnxscript(model: ir.Model, opset: int) -> ir.Model:
    from onnxscript import version_converter  # noqa: PLC0415  takes long to load

    version_converter.convert_version(model, opset)
    if model.opset_imports[""] != opset:
        raise ValueError(f"onnxscript stopped at opset {model.opset_imports['']}")
    return model


def _check_domains(model: ir.Model) -> None:
    """Refuse operators of domains that the model neither imports nor defines."""
    domains = {"ai.onnx", *model.opset_imports}
    undefined = next((node for node in nodes(model) if node.domain not in domains), None)
    if undefined is not None:
        raise ValueError(
            f"the model neither imports nor defines '{undefined.domain}', which "
            f"{undefined.name or undefined.op_type} is of"
        )


def _inline_functions(model: ir.Model) -> None:
    functions = model.functions
    if any(node.op_identifier() in functions for node in nodes(model)):
        common.InlinePass()(model)
        functions.clear()
        common.RemoveUnusedOpsetsPass()(model)


def _convert_with_onnx(model: ir.Model, opset: int) -> ir.Model:
    """Convert with onnx; large weights are inputs during it, so that they are never copied."""
    before = model.opset_imports[""]
    _inline_functions(model)
    _flatten_hardmax(model, opset)
    described = {value.name for value in _output_values(model) if value.type is not None}
    weights = {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and content_bytes(value.const_value) > STEERING_BYTES
    }
    former_initializers = []
    for name, tensor in weights.items():
        value = model.graph.initializers.pop(name)
        value.type = ir.TensorType(tensor.dtype)
        value.shape = ir.Shape(tensor.shape.numpy())
        value.const_value = None
        if value not in model.graph.inputs:
            model.graph.inputs.append(value)
            former_initializers.append(name)
    body_weights = {value.name: value.const_value for value in _stored_in_bodies(model)}
    newer = from_proto(onnx.version_converter.convert_version(with_types(model), opset))
    _restore_weights(newer, weights, former_initializers)
    for value in _stored_in_bodies(newer):  # the conversion loses the folder of their data
        value.const_value = body_weights.get(value.name, value.const_value)
    _keep_resize_sampling(newer, before)
    newer.metadata_props.update(model.metadata_props)
    for value in _output_values(newer):
        if value.name not in described and not value.is_graph_output():
            value.type = value.shape = None
    return newer


def _restore_weights(
    model: ir.Model, weights: Mapping[str, ir.TensorProtocol], added: list[str]
) -> None:
    """Turn inputs back into the stored values that they were before the conversion."""
    for value in list(model.graph.inputs):
        name = str(value.name)
        if name in weights:
            value.const_value = weights[name]
            if name in added:
                model.graph.inputs.remove(value)
            model.graph.register_initializer(value)


def _stored_in_bodies(model: ir.Model) -> Iterator[ir.Value]:
    for graph in graphs(model):
        if graph is not model.graph:
            yield from graph.initializers.values()


def _output_values(model: ir.Model) -> list[ir.Value]:
    return [output for node in nodes(model) for output in node.outputs]


def _flatten_hardmax(model: ir.Model, opset: int) -> None:
    """Flatten the input of each Hardmax to a matrix, in place, before a conversion to ``opset``."""
    if not model.opset_imports[""] < HARDMAX_AXIS_OPSET <= opset:
        return
    hardmaxes = [node for node in nodes(model) if node.op_type == "Hardmax" and not node.domain]
    on_matrices = [node for node in hardmaxes if not _is_last_axis(node)]
    for node in on_matrices:
        flatten(node)
    if on_matrices:
        common.NameFixPass()(model)


def _is_last_axis(node: ir.Node) -> bool:
    axis = node.attributes.get_int("axis", 1)
    source = node.inputs[0]
    if axis == -1 or source is None or source.shape is None:
        return axis == -1
    return axis == len(source.shape) - 1


def flatten(node: ir.Node) -> None:
    """Insert a Flatten before an operator along an axis, and a Reshape after it."""
    source = node.inputs[0]
    graph = node.graph
    assert graph is not None
    flat = ir.node("Flatten", [source], {"axis": node.attributes.get_int("axis", 1)})
    copy = ir.node(node.op_type, flat.outputs, {"axis": 1}, name=node.name)
    shape = ir.node("Shape", [source])
    reshape = ir.node("Reshape", [copy.outputs[0], shape.outputs[0]])
    ir.convenience.replace_nodes_and_values(
        graph, node, [node], [flat, copy, shape, reshape], node.outputs, reshape.outputs
    )


def _keep_resize_sampling(model: ir.Model, before: int) -> None:
    """Let each Resize of a model raised from opset ``before`` read where it did, in place."""
    if not before < RESIZE_COORDINATES_OPSET <= model.opset_imports[""]:
        return
    resizes = [node for node in nodes(model) if node.op_type == "Resize" and not node.domain]
    shrinks = before >= RESIZE_SHRINKS_OPSET
    mixed = [node for node in resizes if not _sample_asymmetric(node, shrinks=shrinks)]
    for node in mixed:
        _shrink_first(node)
    if mixed:
        common.NameFixPass()(model)


def _sample_asymmetric(node: ir.Node, *, shrinks: bool) -> bool:
    """Let one Resize read at ``i / scale``.

    A Resize with whole-numbered scales reads the same elements half a pixel off, so it is not
    changed.

    Returns:
        False where it must also shrink before it enlarges.
    """
    scales = _stored_scales(node)
    if node.attributes.get_string("mode", "nearest") != "nearest":
        _read_at(node, "floor")
    elif scales is None or scales.min(initial=1) < 1 < scales.max(initial=1):
        _read_at(node, "floor")
        return scales is None and not shrinks
    elif (scales < 1).any():
        _read_at(node, "ceil")
    elif (scales % 1).any():
        _read_at(node, "floor")
    return True


def _stored_scales(node: ir.Node) -> NDArray[np.float32] | None:
    """Scales of a Resize, one for each axis; None where they are computed or an input."""
    value = node.inputs[SCALES_INPUT]
    if value is None or value.is_graph_input():
        return None
    tensor = stored_tensor(value)
    if tensor is None:
        return None
    return tensor.numpy().astype(np.float32)


def _read_at(node: ir.Node, nearest: str) -> None:
    node.attributes.add(ir.AttrString("coordinate_transformation_mode", "asymmetric"))
    node.attributes.add(ir.AttrString("nearest_mode", nearest))


def _shrink_first(node: ir.Node) -> None:
    """Split a Resize into one that shrinks and one that enlarges, since they round differently."""
    graph = node.graph
    assert graph is not None
    source, roi, scales = node.inputs
    unit = ir.node("Constant", [], {"value": ir.tensor(np.float32(1))})
    below = ir.node("Min", [scales, unit.outputs[0]])
    above = ir.node("Max", [scales, unit.outputs[0]])
    first = ir.node("Resize", [source, roi, below.outputs[0]], {"mode": "nearest"})
    _read_at(first, "ceil")
    graph.insert_before(node, [unit, below, above, first])
    node.replace_input_with(0, first.outputs[0])
    node.replace_input_with(SCALES_INPUT, above.outputs[0])
