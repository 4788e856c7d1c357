"""Operators whose results can be computed beforehand, and their results.

They are computed as ONNX Runtime computes them, an operator at a time.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.backends.capabilities import capabilities
from packlight.backends.onnxruntime.qdq import RESTORE
from packlight.compression.sites.weight_roles import stored
from packlight.errors import ModelError
from packlight.model import Model, is_random
from packlight.records import SessionOptions

Array = NDArray[np.generic]

EXACT = SessionOptions(arithmetic="exact")

GROWTH = 1024
"""Elements up to which the result of a growing operator is computed."""

FEW = 64
"""Elements up to which a narrow tensor is an index or a shape, not a compressed weight."""

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


def is_computable(node: ir.Node) -> bool:
    """Check that an operator has one small enough result, always the same, and without texts."""
    read = [tensor for value in node.inputs if (tensor := stored(value)) is not None]
    return (
        len(node.outputs) == 1
        and node.domain in ("", "ai.onnx.ml")
        and not any(attribute.is_ref() for attribute in node.attributes.values())
        and not is_random(node)
        and not any(tensor.dtype == ir.DataType.STRING or _is_compressed(tensor) for tensor in read)
        and _does_not_grow(node)
        and not _feeds_integer_kernel(node)
    )


def _does_not_grow(node: ir.Node) -> bool:
    """Check that the result of an operator is small, or no larger than what it reads."""
    if _is_small(node.outputs[0]):
        return True
    shape = node.outputs[0].shape
    if node.op_type in GROWING or shape is None or not shape.is_static():
        return node.op_type not in GROWING
    read = sum(_elements(stored(value)) for value in node.inputs)
    return math.prod(shape.numpy()) <= read


def _elements(tensor: ir.TensorProtocol | None) -> int:
    return 0 if tensor is None else tensor.size


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


def compute(model: ir.Model, node: ir.Node) -> Array | None:
    """Result of ONNX Runtime; None where it has no kernel, or NumPy no type."""
    from packlight.runtime import open_session  # noqa: PLC0415  takes long to load
    from packlight.runtime.calls import DTYPES  # noqa: PLC0415

    copied = stored(node.inputs[0]) if node.op_type == "Identity" else None
    if copied is not None and copied.dtype.numpy().kind in "biuf":
        return copied.numpy()
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
