"""Attributes out of their range are refused when a file is read, whatever would follow."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.errors import ModelError
from packlight.model import load

FLOAT = TensorProto.FLOAT


def file_of(tmp_path, node, weights, shape, *, domain=""):
    inputs = [helper.make_tensor_value_info("x", FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", FLOAT, None)]
    stored = [numpy_helper.from_array(np.ones(dims, np.float32), name) for name, dims in weights]
    graph = helper.make_graph([node], "g", inputs, outputs, stored)
    opsets = [helper.make_opsetid("", 17)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    "case",
    [
        ("Gemm", {"transB": 7}, [("w", (4, 4))], [1, 4], "Gemm 'op'.*transB=7; it is 0 or 1"),
        ("Gemm", {"transA": -1}, [("w", (4, 4))], [1, 4], "transA=-1; it is 0 or 1"),
        ("Conv", {"group": 0}, [("w", (4, 4, 1, 1))], [1, 4, 5, 5], "group=0; it is at least 1"),
        ("Conv", {"strides": [1, 0]}, [("w", (4, 4, 1, 1))], [1, 4, 5, 5], "strides=.1, 0."),
        ("ConvTranspose", {"group": -3}, [("w", (4, 4, 1, 1))], [1, 4, 5, 5], "group=-3"),
        ("MaxPool", {"kernel_shape": [0, 2]}, [], [1, 4, 5, 5], "kernel_shape=.0, 2."),
        ("DepthToSpace", {"blocksize": 0}, [], [1, 4, 5, 5], "blocksize=0"),
    ],
)
def test_a_number_out_of_range_is_one_sentence(case, tmp_path):
    op, attributes, weights, shape, sentence = case
    node = helper.make_node(op, ["x", *(name for name, _ in weights)], ["y"], "op", **attributes)
    with pytest.raises(ModelError, match=sentence):
        load(file_of(tmp_path, node, weights, shape))


def test_numbers_in_their_range_are_read(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], "op", group=2, strides=[2, 1])
    assert load(file_of(tmp_path, node, [("w", (4, 2, 1, 1))], [1, 4, 5, 5])).opset() == 17
