"""Stored tensors are looked at, not touched."""

import numpy as np
import onnx_ir as ir

from packlight.model import stored_tensor


def test_asking_for_a_stored_tensor_leaves_the_file_as_it_is():
    tensors = {
        "value": ir.AttrTensor("value", ir.tensor(np.array([1.5, 2.5], np.float32))),
        "value_floats": ir.AttrFloat32s("value_floats", [1.5, 2.5]),
    }
    constants = [ir.Node("", "Constant", [], [one]) for one in tensors.values()]
    results = [node.outputs[0] for node in constants]
    for name, value in zip(tensors, results, strict=True):
        value.name = name
    graph = ir.Graph([], results, nodes=constants, opset_imports={"": 18})
    model = ir.Model(graph, ir_version=8)
    before = ir.to_proto(model).SerializeToString()

    assert [stored_tensor(value).numpy().tolist() for value in results] == [[1.5, 2.5]] * 2
    assert ir.to_proto(model).SerializeToString() == before
    assert stored_tensor(ir.Value(name="computed")) is None
