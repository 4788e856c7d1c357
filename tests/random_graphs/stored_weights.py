"""Read stored values back out of a compressed model, as ONNX Runtime restores them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[np.generic]

FLOAT_LISTS = ("value_float", "value_floats")
"""Attributes of a Constant that hold floats without a tensor."""


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """List a graph and all bodies in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs_of(attribute.g)


def read_model(content: bytes) -> onnx.ModelProto:
    """Parse a model, with tensors in place of the lists of floats in its Constants."""
    model = onnx.load_from_string(content)
    for graph in graphs_of(model.graph):
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name in FLOAT_LISTS:
                array = np.array(helper.get_attribute_value(node.attribute[0]), np.float32)
                tensor = numpy_helper.from_array(array, node.output[0])
                node.attribute[0].CopyFrom(helper.make_attribute("value", tensor))
    return model


def stored_tensors(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Find initializers and the tensors of Constants, by the name of the value.

    The tensors are those in the model: what is written into them changes it.
    """
    tensors: dict[str, onnx.TensorProto] = {}
    for graph in graphs_of(model.graph):
        tensors.update((tensor.name, tensor) for tensor in graph.initializer)
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                tensors[node.output[0]] = node.attribute[0].t
    return tensors


def restored_weights(
    model: onnx.ModelProto, wanted: Mapping[str, onnx.TensorProto]
) -> dict[str, Array]:
    """Compute what a model stores under names, though it may restore it from codes at run.

    Args:
        model: compressed.
        wanted: tensors of the original, by name.

    Returns:
        Arrays by name; names that the model does not have are left out.
    """
    tensors = stored_tensors(model)
    producers = {
        name: node
        for graph in graphs_of(model.graph)
        for node in graph.node
        for name in node.output
    }
    arrays: dict[str, Array] = {}
    computed: list[str] = []
    for name in wanted:
        if name in tensors:
            arrays[name] = numpy_helper.to_array(tensors[name])
        elif name in producers:
            computed.append(name)
    if computed:
        arrays.update(run_alone(model, computed, tensors, producers))
    return arrays


def run_alone(
    model: onnx.ModelProto,
    names: list[str],
    tensors: Mapping[str, onnx.TensorProto],
    producers: Mapping[str, onnx.NodeProto],
) -> dict[str, Array]:
    """Run only the operators that values need, which read nothing but what is stored."""
    nodes: list[onnx.NodeProto] = []
    initializers: dict[str, onnx.TensorProto] = {}
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen or not name:
            return
        seen.add(name)
        if name in tensors:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(tensors[name])
            tensor.name = name
            initializers[name] = tensor
            return
        node = producers[name]
        for source in node.input:
            visit(source)
        if not any(node is other for other in nodes):
            nodes.append(node)

    for name in names:
        visit(name)
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    graph = helper.make_graph(nodes, "weights", [], outputs, list(initializers.values()))
    alone = helper.make_model(
        graph,
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        functions=model.functions,
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        alone.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(names, {}), strict=True))


def with_arrays(model: onnx.ModelProto, arrays: Mapping[str, Array]) -> onnx.ModelProto:
    """Copy a model with other numbers in its stored values."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensors = stored_tensors(copy)
    for name, array in arrays.items():
        tensor = numpy_helper.from_array(np.array(array, order="C"), tensors[name].name)
        tensors[name].CopyFrom(tensor)
    return copy
