"""Compute what is constant as ONNX Runtime computes it, an operator at a time.

The optimizer of onnxscript finds what is constant, and drops what shapes make superfluous. It
computes with ONNX's reference implementation, which for some operators gives other numbers, so that
part is done here. Functions of the model's own stay as they are: what they compute depends on
attributes of each call, and their operators may be of another opset.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from packlight.backends.capabilities import capabilities
from packlight.backends.onnxruntime.qdq import RESTORE
from packlight.compression.sites.weight_roles import stored
from packlight.errors import ModelError
from packlight.model import (
    Model,
    confirmed_shapes_only,
    initializers,
    is_random,
    nodes,
    release,
)
from packlight.model.model import TEXTS, stored_texts
from packlight.records import SessionOptions

EXACT = SessionOptions(arithmetic="exact")

GROWTH = 1024
"""Elements up to which the result of a growing operator is stored."""

UNLIMITED = 2**40
"""Size limit of the optimizer, which is replaced by our limit by operator."""

FEW = 64
"""Elements up to which a narrow tensor is an index or a shape, not a compressed weight."""

BARE_NUMBERS = 12
"""The first opset whose Constant holds numbers without a tensor, as the optimizer writes them."""

WIDE = (
    ir.DataType.FLOAT,
    ir.DataType.DOUBLE,
    ir.DataType.INT32,
    ir.DataType.INT64,
    ir.DataType.UINT32,
    ir.DataType.UINT64,
    ir.DataType.BOOL,
    ir.DataType.STRING,
)

GROWING = ("Expand", "Tile", "ConstantOfShape", "Range", "Gather", "OneHot", "Pad", "Resize")
"""Operators whose result can be much larger than what they read."""


def is_foldable(node: ir.Node) -> bool:
    """Check that all inputs of an operator are stored, and none is compressed."""
    tensors = [stored(value) for value in node.inputs if value is not None]
    return all(tensor is not None and not _is_compressed(tensor) for tensor in tensors)


def _is_compressed(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype not in WIDE and tensor.size > FEW


def fold_constants(graph: ir.Model) -> None:
    """Compute what is constant, where that does not make the file larger by much."""
    from onnxscript import optimizer  # noqa: PLC0415  takes long to load

    outside = [value.const_value for value in initializers(graph) if value.const_value]
    _write_out_texts(graph)
    with confirmed_shapes_only(graph), _hidden_functions(graph), _hidden_defaults(graph):
        optimizer.fold_constants(
            graph,
            input_size_limit=GROWTH,
            output_size_limit=UNLIMITED,
            should_fold=partial(_fold, graph),
        )
    old = graph.opset_imports.get("", 0) < BARE_NUMBERS
    limit = 0 if old else FEW
    common.LiftConstantsToInitializersPass(lift_all_constants=old, size_limit=limit)(graph)
    for tensor in outside:
        release(tensor)


def _write_out_texts(model: ir.Model) -> None:
    """Convert Constants with texts that are not ASCII to tensors, in place, for the optimizer."""
    for node in nodes(model):
        if node.op_type == "Constant" and any(name in node.attributes for name in TEXTS):
            texts = stored_texts(node)
            if texts is not None and not b"".join(texts.string_data()).isascii():
                node.attributes.clear()
                node.attributes.add(ir.AttrTensor("value", texts))


@contextmanager
def _hidden_functions(model: ir.Model) -> Iterator[None]:
    functions = dict(model.functions)
    model.functions.clear()
    try:
        yield
    finally:
        model.functions.update(functions)


@contextmanager
def _hidden_defaults(model: ir.Model) -> Iterator[None]:
    """Hide default values of inputs: to the optimizer they would be constant."""
    graph = model.graph
    defaults = {
        value: value.const_value for value in graph.inputs if value.name in graph.initializers
    }
    for value in defaults:
        del graph.initializers[str(value.name)]
        value.const_value = None
    try:
        yield
    finally:
        for value, tensor in defaults.items():
            value.const_value = tensor
            graph.initializers[str(value.name)] = value


def _fold(model: ir.Model, node: ir.Node) -> bool:
    """Replace an operator by its result, if it can be computed now.

    The optimizer calls this for every operator whose inputs are all stored; the answer is always
    that it must not compute it itself.
    """
    if _is_computable(node) and not _would_duplicate(model, node):
        array = _compute(model, node)
        if array is not None:
            _replace_by_constant(node, array)
    return False


def _is_computable(node: ir.Node) -> bool:
    """Check that an operator has one small enough result, always the same, and without texts."""
    read = [tensor for value in node.inputs if (tensor := stored(value)) is not None]
    return (
        len(node.outputs) == 1
        and node.domain in ("", "ai.onnx.ml")
        and not any(attribute.is_ref() for attribute in node.attributes.values())
        and not is_random(node)
        and not any(tensor.dtype == ir.DataType.STRING or _is_compressed(tensor) for tensor in read)
        and (_is_small(node.outputs[0]) or node.op_type not in GROWING)
        and not _feeds_integer_kernel(node)
    )


def _would_duplicate(model: ir.Model, node: ir.Node) -> bool:
    """Check for a large tensor that would stay stored beside the result of an operator.

    It stays where an operator that is not folded reads it too, as the table of tied embeddings, and
    is kept where the results of its readers are larger in all than it is.
    """
    if _is_small(node.outputs[0]):
        return False
    large = [v for v in node.inputs if v is not None and _elements(stored(v)) > GROWTH]
    return any(_outlives_folding(model, value, node) for value in large)


def _outlives_folding(model: ir.Model, value: ir.Value, node: ir.Node) -> bool:
    """Check that a stored value has a reader that is not folded, or results larger than itself."""
    if value.is_graph_output():
        return True
    operations = [node]
    for reader in value.consumers():
        if not any(_is_same_operation(reader, other) for other in operations):
            operations.append(reader)
    if len(operations) == 1:
        return False
    if not all(is_foldable(reader) and _is_computable(reader) for reader in operations):
        return True
    results = sum(_result_elements(model, reader) for reader in operations)
    return results > _elements(stored(value))


def _elements(tensor: ir.TensorProtocol | None) -> int:
    return 0 if tensor is None else tensor.size


def _result_elements(model: ir.Model, node: ir.Node) -> int:
    shape = node.outputs[0].shape
    if shape is not None and shape.is_static():
        return math.prod(shape.numpy())
    array = _compute(model, node)
    return 2**63 if array is None else array.size


def _is_same_operation(first: ir.Node, second: ir.Node) -> bool:
    """Check for operators with equal results, as those of two branches, of which one often goes."""
    settings = [{name: a.value for name, a in n.attributes.items()} for n in (first, second)]
    return (
        first.op_identifier() == second.op_identifier()
        and settings[0] == settings[1]
        and len(first.inputs) == len(second.inputs)
        and all(map(_is_same_value, first.inputs, second.inputs))
    )


def _is_same_value(first: ir.Value | None, second: ir.Value | None) -> bool:
    if first is second:
        return True
    tensors = [stored(first), stored(second)]
    if tensors[0] is None or tensors[1] is None or max(map(_elements, tensors)) > GROWTH:
        return False
    same_type = tensors[0].dtype == tensors[1].dtype and tensors[0].shape == tensors[1].shape
    return same_type and np.array_equal(tensors[0].numpy(), tensors[1].numpy())


def _feeds_integer_kernel(node: ir.Node) -> bool:
    """Check that an integer kernel reads what a DequantizeLinear restores, and would not as floats.

    ONNX Runtime quantizes stored floats of a few operators itself, but only before codes.
    """
    if node.op_type != RESTORE:
        return False
    runtime = capabilities("onnxruntime")
    again = set(runtime.quantized_constants).difference(runtime.float_outputs)
    readers = [reader for reader in node.outputs[0].consumers() if reader.op_type not in again]
    producers = [value.producer() for reader in readers for value in reader.inputs if value]
    pairs = [node for node in producers if node is not None and node.op_type == RESTORE]
    fuses = any(runtime.computes_in_integers(str(reader.op_type)) for reader in readers)
    return fuses and any(stored(pair.inputs[0]) is None for pair in pairs)


def _is_small(value: ir.Value) -> bool:
    shape = value.shape
    return shape is not None and shape.is_static() and math.prod(shape.numpy()) <= GROWTH


def _compute(model: ir.Model, node: ir.Node) -> NDArray[np.generic] | None:
    """Result of ONNX Runtime; None where it has no kernel, or NumPy no type."""
    from packlight.runtime import open_session  # noqa: PLC0415  takes long to load
    from packlight.runtime.calls import DTYPES  # noqa: PLC0415

    try:
        session = open_session(_operator_model(model, node), EXACT)
        (result,) = session.native.get_outputs()
        if result.type not in DTYPES:
            return None
        return session.run({})[result.name]
    except ModelError:
        return None


def _operator_model(model: ir.Model, node: ir.Node) -> Model:
    """A model of one operator and its inputs."""
    inputs = [_copy_stored(value, f"{index}") for index, value in enumerate(node.inputs)]
    copy = ir.Node(node.domain, node.op_type, inputs, node.attributes, num_outputs=1)
    copy.outputs[0].name = "result"
    graph = ir.Graph(
        [], copy.outputs, nodes=[copy], name=node.op_type,
        initializers=[value for value in inputs if value is not None],
        opset_imports=dict(model.opset_imports),
    )  # fmt: skip
    return Model(ir.Model(graph, ir_version=model.ir_version), f"{node.op_type} {node.name}")


def _copy_stored(value: ir.Value | None, name: str) -> ir.Value | None:
    """A stored value under another name, with the same array."""
    tensor = stored(value)
    if tensor is None:
        return None
    held = ir.Tensor(tensor.numpy(), tensor.dtype, name=name)
    return ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()),
        const_value=held,
    )  # fmt: skip


def _replace_by_constant(node: ir.Node, array: NDArray[np.generic]) -> None:
    """Store an array instead of the operator that computes it."""
    (before,) = node.outputs
    graph = node.graph
    inputs = set(node.inputs)
    assert isinstance(graph, ir.Graph)
    tensor = ir.tensor(array, name=before.name)
    value = ir.Value(
        name=before.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape),
        const_value=tensor,
    )  # fmt: skip
    before.shape = value.shape
    graph.register_initializer(value)
    ir.convenience.replace_nodes_and_values(graph, node, [node], [], [before], [value])
    for source in inputs:
        _drop_unread(source)


def _drop_unread(value: ir.Value | None) -> None:
    if value is None or not value.is_initializer():
        return
    if value.graph is not None and not (value.uses() or value.is_graph_output()):
        del value.graph.initializers[str(value.name)]
