"""Memory that the operators take that restore weights when a session starts.

ONNX Runtime keeps the result of every operator that it computes then until it has computed all.
"""

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
from onnx import helper, shape_inference

from packlight.compression import compress
from packlight.model import to_bytes
from packlight.records import parse_recipe
from packlight.testing.sketch import Sketch, value_info

ROWS, COLUMNS = 256, 320
SMALL = 0.06
"""Share of scales, tables, and the indices that unpack them."""

MOST = {
    "weights:8": 2,
    "weights:4": 2,
    "weights:8,symmetric=false": 3,
    "weights:7": 4,
    "weights:3": 4,
    "weights:5,symmetric=false": 4.75,
    "weights:8,block=32,expand=load": 3,
    "weights:3,block=48": 7,
    "palette:4": 2,
    "palette:7": 3.75,
    "palette:4,scaled=true,scales=16": 3,
    "palette:3,scaled=true,scales=16": 4.75,
    "palette:4,group=16": 3,
    "sparse": 6.25,
    "sparse:8": 6.25,
    "sparse:5": 7.25,
    "sparse:4,values=palette": 8.25,
}
"""Bytes of all results, of the restored weight too, for each byte of it."""


def product(opset, rows=ROWS, columns=COLUMNS):
    net = Sketch(opset)
    y = net.add("MatMul", "x", net.weight(rows, columns))
    return net.model("product", [value_info("x", [1, rows])], {y: [1, columns]})


def result_bytes(model):
    """Bytes of the results of all operators but the product, each run as it is."""
    proto = onnx.inliner.inline_local_functions(onnx.load_from_string(to_bytes(model)))
    restoring = [node for node in proto.graph.node if node.op_type != "MatMul"]
    names = [node.output[0] for node in restoring if node.op_type != "Constant"]
    inferred = shape_inference.infer_shapes(proto, data_prop=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    outputs = [helper.make_tensor_value_info(name, kinds[name], None) for name in names]
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rows = proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    results = session.run(names, {"x": np.zeros((1, rows), np.float32)})
    return sum(np.asarray(result).nbytes for result in results)


@pytest.mark.parametrize("recipe", MOST)
def test_all_results_together_stay_under_a_multiple_of_the_weight(recipe):
    made = compress(product(21), parse_recipe(recipe))
    assert made.changes and made.changes[0].method == recipe.split(":")[0].split(",")[0]

    total = result_bytes(made.model)

    weight = ROWS * COLUMNS * 4
    assert weight <= total < (MOST[recipe] + SMALL * MOST[recipe]) * weight


@pytest.mark.parametrize("recipe", ["weights:3", "palette:3", "sparse:8"])
def test_codes_that_do_not_fill_their_last_byte_take_little_more(recipe):
    rows, columns = 251, 317
    made = compress(product(21, rows, columns), parse_recipe(recipe))
    assert made.changes

    total = result_bytes(made.model)

    assert total < (MOST.get(recipe, 3.75) + 0.8) * rows * columns * 4
