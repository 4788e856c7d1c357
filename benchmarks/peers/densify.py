"""A quantized ONNX model as plain floats: every weight restored by ONNX Runtime itself.

Used for the peers that write ONNX. What restores or reads a stored integer weight is run once, by
the runtime that defines it; what quantizes activations is taken out, for weights alone are judged.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Stored = dict[str, TensorProto]
PRODUCT, LOOKUP = "MatMulNBits", "GatherBlockQuantized"


def run(node: onnx.NodeProto, stored: Stored, feeds: Mapping[str, NDArray[np.generic]]) -> NDArray:
    """The output of one operator of float32."""
    inputs = [helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
    ) for name, array in feeds.items()]  # fmt: skip
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    constants = [stored[name] for name in node.input if name in stored]
    graph = helper.make_graph([node], "one", inputs, [output], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(feeds))[0])


def attribute(node: onnx.NodeProto, name: str, default: int = 0) -> int:
    """An integer attribute."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def product(node: onnx.NodeProto, stored: Stored) -> NDArray[np.float32]:
    """The (in, out) matrix of a product: what it makes of the identity, in float32."""
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    for index in range(5, len(alone.input)):
        alone.input[index] = ""
    del alone.attribute[:]
    alone.attribute.extend(a for a in node.attribute if a.name != "accuracy_level")
    return run(alone, stored, {node.input[0]: np.eye(attribute(node, "K"), dtype=np.float32)})


def lookup(node: onnx.NodeProto, stored: Stored) -> NDArray[np.float32]:
    """The table of a lookup: all its rows."""
    rows = stored[node.input[0]].dims[0]
    return run(node, stored, {node.input[1]: np.arange(rows)})


def restore(node: onnx.NodeProto, stored: Stored) -> NDArray[np.float32]:
    """What a DequantizeLinear of stored codes gives, also where ONNX Runtime would refuse it.

    NNCF 3.4 writes scales of convolutions and axes of blocked embeddings that no runtime takes; the
    shapes say what is meant. Source: ONNX, DequantizeLinear-21: (codes - zero) * scale.
    """
    codes, *rest = (numpy_helper.to_array(stored[name]) for name in node.input if name)
    shape, block = codes.shape, attribute(node, "block_size")
    spread = [
        repeated(part, shape, block) if block else aligned(part, shape, attribute(node, "axis", 1))
        for part in rest
    ]
    whole = codes.astype(np.int32) - (spread[1].astype(np.int32) if len(spread) > 1 else 0)
    return whole.astype(np.float32) * spread[0].astype(np.float32)


def aligned(part: NDArray[np.generic], shape: tuple[int, ...], axis: int) -> NDArray[np.generic]:
    """Scales or zero points of whole slices, so that they broadcast over the codes."""
    if part.size == 1:
        return part.reshape(())
    if part.size == shape[axis]:
        return part.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    assert part.shape == shape[: part.ndim], (part.shape, shape)
    return part.reshape(*part.shape, *(1 for _ in shape[part.ndim :]))


def repeated(part: NDArray[np.generic], shape: tuple[int, ...], block: int) -> NDArray[np.generic]:
    """Scales or zero points of blocks, one for each code."""
    axis = next(i for i, size in enumerate(shape)
                if part.shape[i] == -(-size // block) and part.shape[i] != size)  # fmt: skip
    return np.repeat(part, block, axis).take(np.arange(shape[axis]), axis)


RESTORE: dict[str, Callable[[onnx.NodeProto, Stored], NDArray[np.float32]]] = {
    PRODUCT: product, LOOKUP: lookup, "DequantizeLinear": restore,
}  # fmt: skip
CODES = {PRODUCT: 1, LOOKUP: 0, "DequantizeLinear": 0}


def plain(node: onnx.NodeProto, weight: str) -> list[onnx.NodeProto]:
    """The standard operators that read the restored weight; none where it is just renamed."""
    if node.op_type == LOOKUP:
        return [helper.make_node("Gather", [weight, node.input[1]], [node.output[0]], node.name)]
    if node.op_type != PRODUCT:
        return []
    bias = node.input[5] if len(node.input) > 5 else ""
    out = f"{node.output[0]}_product" if bias else node.output[0]
    made = [helper.make_node("MatMul", [node.input[0], weight], [out], node.name)]
    return made + ([helper.make_node("Add", [out, bias], [node.output[0]])] if bias else [])


def densify(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The model in floats, and bytes of each restored weight as it was stored."""
    stored: Stored = {tensor.name: tensor for tensor in model.graph.initializer}
    size: dict[str, int] = {}
    renamed: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type in CODES and node.input[CODES[node.op_type]] in stored:
            direct = node.op_type == "DequantizeLinear"
            weight = node.output[0] if direct else f"{node.output[0]}_weight"
            stored[weight] = numpy_helper.from_array(RESTORE[node.op_type](node, stored), weight)
            size[weight] = sum(bytes_of(stored[name]) for name in parts(node, stored))
            nodes += plain(node, weight)
        elif node.op_type == "QuantizeLinear":
            renamed[node.output[0]] = node.input[0]
        elif node.op_type == "DequantizeLinear":
            renamed[node.output[0]] = renamed[node.input[0]]
        else:
            nodes.append(node)
    return assembled(model, nodes, stored, renamed), size


def parts(node: onnx.NodeProto, stored: Stored) -> list[str]:
    """Codes, scales and zero points of a weight."""
    skip = 5 if node.op_type == PRODUCT else len(node.input)
    return [name for name in node.input[:skip] if name in stored]


def bytes_of(tensor: TensorProto) -> int:
    """Bytes of a stored value, packed."""
    bits = {TensorProto.INT4: 4, TensorProto.UINT4: 4}.get(tensor.data_type)
    count = int(np.prod(tensor.dims))
    return -(-count * bits // 8) if bits else numpy_helper.to_array(tensor).nbytes


def assembled(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], stored: Stored, renamed: Mapping[str, str]
) -> onnx.ModelProto:
    """The model with other operators, and only the stored values that they read."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    del made.graph.node[:], made.graph.initializer[:], made.graph.value_info[:]
    for node in nodes:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    made.graph.node.extend(nodes)
    made.graph.node.extend(
        helper.make_node("Identity", [before], [after])
        for after, before in renamed.items() if after in outputs
    )  # fmt: skip
    read = {name for node in made.graph.node for name in node.input}
    made.graph.initializer.extend(stored[name] for name in stored if name in read)
    kept = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    del made.opset_import[:]
    made.opset_import.extend(kept)
    return made
