"""Models whose integer arithmetic a kernel can spoil, with the float models they were made from."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from packlight.metrics import METRICS
from packlight.model import Model
from packlight.task import ArraySamples, Task

INPUTS, OUTPUTS, SAMPLES, BLOCK = 64, 8, 12, 32


@pytest.fixture
def graph_of():
    """Nodes and weights as a Model."""
    return make_graph


def make_graph(name, nodes, weights, inputs, outputs):
    def values(shapes):
        return [
            ir.val(key, ir.DataType.FLOAT, ir.Shape(["batch", *dims]))
            for key, dims in shapes.items()
        ]

    known = {value.name: value for value in values(inputs)}
    feeds = list(known.values())
    for key, array in weights.items():
        known[key] = ir.val(key, const_value=ir.tensor(array, name=key))
    stored = [known[key] for key in weights]
    made = []
    for op, taken, given, attributes in nodes:
        node = ir.node(op, [known[key] for key in taken], attributes, name=f"{op}_{len(made)}",
                       num_outputs=len(given))  # fmt: skip
        for value, key in zip(node.outputs, given, strict=True):
            value.name, known[key] = key, value
        made.append(node)
    results = []
    for value in values(outputs):
        known[value.name].dtype, known[value.name].shape = value.dtype, value.shape
        results.append(known[value.name])
    graph = ir.Graph(feeds, results, nodes=made, initializers=stored, name=name,
                     opset_imports={"": 21})  # fmt: skip
    return Model(ir.Model(graph, ir_version=10), name)


def bright(shape, seed=1):
    """Inputs near the top of their range, where sums of two products are largest."""
    return np.random.default_rng(seed).uniform(0.8, 1, shape).astype(np.float32)


def steep(shape, seed=2):
    """Codes near the top of the signed range, which eight bits hold exactly."""
    return np.random.default_rng(seed).integers(100, 128, shape).astype(np.int8)


def fidelity_task(name, arrays):
    dtypes = {key: np.dtype(np.float32) for key in arrays}
    return Task(name, ArraySamples(arrays, dtypes), METRICS["cosine"])


@pytest.fixture
def static_case():
    """Conv between QuantizeLinear and DequantizeLinear, weights s8, activations u8."""
    codes, step = steep((OUTPUTS, 16, 3, 3)), np.float32(1 / 127)
    top = np.float32(16 * 9)
    weights = {
        "codes": codes, "step": step, "zero": np.int8(0),
        "input_step": np.float32(1 / 255), "output_step": np.float32(top / 255),
        "lowest": np.uint8(0),
    }  # fmt: skip
    nodes = [
        ("QuantizeLinear", ["x", "input_step", "lowest"], ["xq"], {}),
        ("DequantizeLinear", ["xq", "input_step", "lowest"], ["xd"], {}),
        ("DequantizeLinear", ["codes", "step", "zero"], ["w"], {}),
        ("Conv", ["xd", "w"], ["c"], {"kernel_shape": [3, 3]}),
        ("QuantizeLinear", ["c", "output_step", "lowest"], ["cq"], {}),
        ("DequantizeLinear", ["cq", "output_step", "lowest"], ["y"], {}),
    ]
    shapes = {"x": [16, 6, 6]}, {"y": [OUTPUTS, 4, 4]}
    variant = make_graph("static", nodes, weights, *shapes)
    plain = [("Conv", ["x", "w"], ["y"], {"kernel_shape": [3, 3]})]
    floats = {"w": codes.astype(np.float32) * step}
    reference = make_graph("static float", plain, floats, *shapes)
    return variant, reference, fidelity_task("static", {"x": bright((SAMPLES, 16, 6, 6))})


@pytest.fixture
def dynamic_case():
    """DynamicQuantizeLinear and MatMulInteger, weights s8."""
    codes, step = steep((INPUTS, OUTPUTS)), np.float32(1 / 127)
    nodes = [
        ("DynamicQuantizeLinear", ["x"], ["xq", "scale", "offset"], {}),
        ("MatMulInteger", ["xq", "codes", "offset", "zero"], ["sum"], {}),
        ("Cast", ["sum"], ["real"], {"to": ir.DataType.FLOAT.value}),
        ("Mul", ["scale", "step"], ["unit"], {}),
        ("Mul", ["real", "unit"], ["y"], {}),
    ]
    weights = {"codes": codes, "zero": np.int8(0), "step": step}
    shapes = {"x": [INPUTS]}, {"y": [OUTPUTS]}
    variant = make_graph("dynamic", nodes, weights, *shapes)
    floats = {"w": codes.astype(np.float32) * step}
    reference = make_graph("dynamic float", [("MatMul", ["x", "w"], ["y"], {})], floats, *shapes)
    return variant, reference, fidelity_task("dynamic", {"x": bright((SAMPLES, INPUTS))})


@pytest.fixture
def blocked_case():
    """Blocked int4 weights that lose nothing, which ONNX Runtime fuses with their MatMul."""
    rng = np.random.default_rng(3)
    codes = rng.integers(-8, 8, (INPUTS, OUTPUTS)).astype(np.int8)
    step = np.full((INPUTS // BLOCK, OUTPUTS), 0.125, np.float32)
    weights = {"codes": codes.astype(ml_dtypes.int4), "step": step}
    nodes = [
        ("DequantizeLinear", ["codes", "step"], ["w"], {"axis": 0, "block_size": BLOCK}),
        ("MatMul", ["x", "w"], ["y"], {}),
    ]
    shapes = {"x": [INPUTS]}, {"y": [OUTPUTS]}
    variant = make_graph("blocked", nodes, weights, *shapes)
    floats = {"w": codes.astype(np.float32) * np.float32(0.125)}
    reference = make_graph("blocked float", [("MatMul", ["x", "w"], ["y"], {})], floats, *shapes)
    inputs = rng.standard_normal((SAMPLES, INPUTS), dtype=np.float32)
    return variant, reference, fidelity_task("blocked", {"x": inputs})
