"""Raise a model to a newer opset, with its weights kept out of the converter's hands.

Two converters exist and each fails where the other works: onnx's own is right from below opset
18 (onnxscript's leaves reductions behind there), onnxscript's from 18 on. Neither knows functions
of the model's own, so calls are written out. What onnx's gets wrong is in ``meaning.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from packlight.errors import ModelError
from packlight.model.check import reason
from packlight.model.model import graphs, name_operators, nodes
from packlight.model.opset_meaning import flatten_hardmax, place_resizes

SCRIPT_FROM = 18
SMALL = 1024
"""Bytes up to which a stored value may steer the conversion, as the shape of a Reshape does."""


def raised(model: ir.Model, opset: int) -> ir.Model:
    """The model at ``opset`` or at its own where that is newer; the model given may be edited.

    Raises:
        ModelError: the converter does not know one of the operators.
    """
    current = model.opset_imports.get("", 0)
    if current >= opset:
        return model
    try:
        newer = by_onnx(model, opset) if current < SCRIPT_FROM else by_onnxscript(model, opset)
        check_domains(newer)
    except Exception as error:  # the converters raise many types; all mean that they cannot
        raise ModelError(
            f"the model has opset {current} and cannot be raised to {opset}, which this recipe "
            f"needs: {reason(error)}. Export it with opset {opset}, or choose 8 bits"
        ) from error
    imports = [onnx.helper.make_opsetid(d, v) for d, v in newer.opset_imports.items()]
    least = onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True)
    newer.ir_version = max(newer.ir_version, least)
    name_operators(newer)
    return newer


def by_onnxscript(model: ir.Model, opset: int) -> ir.Model:
    """Convert with onnxscript, in place."""
    from onnxscript import version_converter  # noqa: PLC0415  takes long to load

    version_converter.convert_version(model, opset)
    if model.opset_imports[""] != opset:
        raise ValueError(f"onnxscript stopped at opset {model.opset_imports['']}")
    return model


def check_domains(model: ir.Model) -> None:
    """Refuse operators that nothing in the model defines."""
    known = {"ai.onnx", *model.opset_imports}
    strange = next((node for node in nodes(model) if node.domain not in known), None)
    if strange is not None:
        raise ValueError(
            f"the model neither imports nor defines '{strange.domain}', which "
            f"{strange.name or strange.op_type} is of"
        )


def dissolve(model: ir.Model) -> None:
    """Write out calls of the model's own functions, in place: onnx's converter drops these."""
    own = model.functions
    if any(node.op_identifier() in own for node in nodes(model)):
        common.InlinePass()(model)
        own.clear()
        common.RemoveUnusedOpsetsPass()(model)


def by_onnx(model: ir.Model, opset: int) -> ir.Model:
    """Convert with onnx; large weights are inputs meanwhile, so that they are never copied."""
    before = model.opset_imports[""]
    dissolve(model)
    flatten_hardmax(model, opset)
    described = {value.name for value in values(model) if value.type is not None}
    weights = {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes > SMALL
    }
    added = []
    for name, tensor in weights.items():
        value = model.graph.initializers.pop(name)
        value.type = ir.TensorType(tensor.dtype)
        value.shape = ir.Shape(tensor.shape.numpy())
        value.const_value = None
        if value not in model.graph.inputs:
            model.graph.inputs.append(value)
            added.append(name)
    inner = {value.name: value.const_value for value in stored_in_bodies(model)}
    newer = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), opset))
    restore(newer, weights, added)
    for value in stored_in_bodies(newer):  # which no longer know in which folder their bytes lie
        value.const_value = inner.get(value.name, value.const_value)
    place_resizes(newer, before)
    newer.metadata_props.update(model.metadata_props)
    for value in values(newer):
        if value.name not in described and not value.is_graph_output():
            value.type = value.shape = None
    return newer


def restore(model: ir.Model, weights: Mapping[str, ir.TensorProtocol], added: list[str]) -> None:
    """Make stored values again of those that were inputs during the conversion."""
    for value in list(model.graph.inputs):
        name = str(value.name)
        if name in weights:
            value.const_value = weights[name]
            if name in added:
                model.graph.inputs.remove(value)
            model.graph.register_initializer(value)


def stored_in_bodies(model: ir.Model) -> Iterator[ir.Value]:
    """Stored values of the bodies of operators."""
    for graph in graphs(model):
        if graph is not model.graph:
            yield from graph.initializers.values()


def values(model: ir.Model) -> list[ir.Value]:
    """Every value that an operator gives."""
    return [output for node in nodes(model) for output in node.outputs]
