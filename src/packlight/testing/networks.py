"""Small networks with structures that compression methods meet, and seeded random weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from packlight.model import Model
from packlight.testing.sketch import Dims, Sketch, value_info

BATCH = "batch"


def perceptron(opset: int) -> Model:
    """MatMul and Add, twice."""
    net = Sketch(opset)
    value = net.add("MatMul", "x", net.weight(32, 48, fan_in=32))
    value = net.add("Relu", net.add("Add", value, net.weight(48)))
    value = net.add("MatMul", value, net.weight(48, 10, fan_in=48))
    value = net.add("Add", value, net.weight(10))
    return net.model("perceptron", [value_info("x", [BATCH, 32])], {value: [BATCH, 10]})


def gemms(opset: int) -> Model:
    """Gemm with and without transB, with a bias of one and of two dimensions, and without."""
    net = Sketch(opset)
    value = net.add("Gemm", "x", net.weight(32, 40, fan_in=32), net.weight(40))
    value = net.add("Gemm", net.add("Relu", value), net.weight(24, 40), net.weight(1, 24), transB=1)
    value = net.add("Gemm", net.add("Tanh", value), net.weight(16, 24), transB=1, alpha=0.5)
    return net.model("gemms", [value_info("x", [BATCH, 32])], {value: [BATCH, 16]})


def residual(opset: int) -> Model:
    """Convolutions with batch normalization around a shortcut, and a linear head."""
    net = Sketch(opset)
    first = net.add("Conv", "x", net.weight(16, 3, 3, 3), pads=[1, 1, 1, 1])
    first = net.add("Relu", net.norm(first, 16))
    second = net.add("Conv", first, net.weight(16, 16, 3, 3), net.weight(16), pads=[1, 1, 1, 1])
    value = net.add("Relu", net.add("Add", first, net.norm(second, 16)))
    value = net.add("Flatten", net.add("GlobalAveragePool", value))
    value = net.add("Gemm", value, net.weight(20, 16), net.weight(20), transB=1)
    return net.model("residual", [value_info("x", [BATCH, 3, 8, 8])], {value: [BATCH, 20]})


def depthwise(opset: int) -> Model:
    """Depthwise and grouped convolutions behind a clipped activation."""
    net = Sketch(opset)
    value = net.add("Conv", "x", net.weight(32, 8, 1, 1), net.weight(32))
    bounds = [net.keep(np.array(bound, np.float32), "bound") for bound in (0, 6)]
    value = net.add("Clip", value, *bounds)
    value = net.add("Conv", value, net.weight(32, 1, 3, 3), group=32, pads=[1, 1, 1, 1])
    value = net.add("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
    value = net.add("Conv", net.add("Relu", value), net.weight(16, 8, 3, 3), group=4)
    return net.model("depthwise", [value_info("x", [BATCH, 8, 8, 8])], {value: [BATCH, 16, 2, 2]})


def upsampling(opset: int) -> Model:
    """A convolution, then a transposed one with batch normalization, then one in groups."""
    net = Sketch(opset)
    value = net.add("Relu", net.add("Conv", "x", net.weight(16, 3, 3, 3), pads=[1, 1, 1, 1]))
    value = net.add("ConvTranspose", value, net.weight(16, 8, 4, 4, fan_in=64), strides=[2, 2])
    value = net.add("Relu", net.norm(value, 8))
    value = net.add("ConvTranspose", value, net.weight(8, 4, 4, 4, fan_in=32), group=2)
    return net.model("upsampling", [value_info("x", [BATCH, 3, 4, 4])], {value: [BATCH, 8, 13, 13]})


def recurrent(opset: int, op: str, gates: int, directions: int) -> Model:
    """An LSTM or GRU and a product behind its last state."""
    net = Sketch(opset)
    hidden = 12
    weight = net.weight(directions, gates * hidden, 16, fan_in=16)
    state = net.weight(directions, gates * hidden, hidden, fan_in=hidden)
    bias = net.weight(directions, 2 * gates * hidden, fan_in=16)
    direction = {1: "forward", 2: "bidirectional"}[directions]
    value = net.add(op, "x", weight, state, bias, hidden_size=hidden, direction=direction)
    value = net.add("Transpose", value, perm=[1, 0, 2])
    value = net.add("Flatten", value)
    value = net.add("MatMul", value, net.weight(directions * hidden, 32, fan_in=hidden))
    return net.model(op.lower(), [value_info("x", [5, BATCH, 16])], {value: [BATCH, 32]})


def attention(opset: int) -> Model:
    """A convolution, then one head of attention: products of activations beside those of weights.

    LayerNormalization needs opset 17.
    """
    net = Sketch(opset)
    value = net.add("Conv", "x", net.weight(16, 8, 1, 1), net.weight(16))
    value = net.add("Reshape", value, net.keep(np.array([0, 16, 16]), "shape"))
    value = net.add("Transpose", value, perm=[0, 2, 1])
    query, key, value_heads = (net.add("MatMul", value, net.weight(16, 16)) for _ in range(3))
    scores = net.add("MatMul", query, net.add("Transpose", key, perm=[0, 2, 1]))
    mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), value_heads)
    value = net.add("Add", value, mixed)
    scale = net.keep(np.ones(16, np.float32))
    bias = net.weight(16)
    value = net.add("LayerNormalization", value, scale, bias)
    value = net.add("MatMul", value, net.weight(16, 40, fan_in=16))
    return net.model("attention", [value_info("x", [BATCH, 8, 4, 4])], {value: [BATCH, 16, 40]})


def embedding(opset: int) -> Model:
    """A table of vectors, read by tokens, and a product."""
    net = Sketch(opset)
    value = net.add("Gather", net.weight(32, 16), "tokens")
    value = net.add("MatMul", value, net.weight(16, 24, fan_in=16))
    tokens = value_info("tokens", [BATCH, 6], TensorProto.INT64)
    return net.model("embedding", [tokens], {value: [BATCH, 6, 24]})


def tied(opset: int) -> Model:
    """A table of vectors that is also the weight of the last product, as in language models."""
    net = Sketch(opset)
    table = net.weight(32, 16)
    value = net.add("Gather", table, "tokens")
    value = net.add("MatMul", value, net.weight(16, 16))
    value = net.add(
        "Gemm", net.add("Reshape", value, net.keep(np.array([-1, 16]))), table, transB=1
    )
    tokens = value_info("tokens", [BATCH, 6], TensorProto.INT64)
    return net.model("tied", [tokens], {value: ["rows", 32]})


def branches(opset: int) -> Model:
    """An If: one body convolves with weights around it, the other has its own in Constants."""
    net = Sketch(opset)
    outer = net.weight(24, 4, 5)
    then = Sketch(opset, 1, "then.")
    otherwise = Sketch(opset, 2, "else.")
    value = then.add("Relu", then.add("Conv", "x", outer))
    then_result = then.add("GlobalAveragePool", value)
    inner = otherwise.constant(otherwise.array(16, 4, 5))
    value = otherwise.add(
        "Transpose", otherwise.add("Relu", otherwise.add("Conv", "x", inner)), perm=[2, 0, 1]
    )
    parts = [otherwise.constant(otherwise.array(1, 96, width, fan_in=width)) for width in (16, 24)]
    value = otherwise.add("LSTM", value, *parts, hidden_size=24)
    else_result = otherwise.add("Transpose", value, perm=[1, 2, 0])
    dims: Dims = [BATCH, 24, 1]
    bodies = {
        "then_branch": then.body(then_result, dims),
        "else_branch": otherwise.body(else_result, dims),
    }
    value = net.add("Flatten", net.add("If", "choice", **bodies))
    value = net.add("MatMul", value, net.weight(24, 16, fan_in=24))
    inputs = [value_info("x", [BATCH, 4, 16]), value_info("choice", [], TensorProto.BOOL)]
    return net.model("branches", inputs, {value: [BATCH, 16]})


def around(opset: int) -> Model:
    """An If whose bodies read what an integer operator around them gives."""
    net = Sketch(opset)
    bodies = []
    outer = net.add("Relu", net.add("Conv", "x", net.weight(16, 8, 3)))
    for seed in (1, 2):
        body = Sketch(opset, seed, "body.")
        value = body.add("Relu", body.add("Conv", outer, body.weight(16, 16, 3)))
        bodies.append(body.body(body.add("Conv", value, body.weight(8, 16, 3)), [BATCH, 8, 10]))
    value = net.add("If", "choice", then_branch=bodies[0], else_branch=bodies[1])
    value = net.add("Conv", value, net.weight(16, 8, 3))
    inputs = [value_info("x", [BATCH, 8, 16]), value_info("choice", [], TensorProto.BOOL)]
    return net.model("around", inputs, {value: [BATCH, 16, 8], outer: [BATCH, 16, 14]})


def shared(opset: int) -> Model:
    """One weight read by two products that sum over the same axis, one by two that do not."""
    net = Sketch(opset)
    same = net.weight(32, 32)
    crossed = net.weight(32, 32)
    value = net.add("Relu", net.add("MatMul", "x", same))
    value = net.add("Relu", net.add("MatMul", value, same))
    value = net.add("Relu", net.add("Gemm", value, crossed))
    value = net.add("Gemm", value, crossed, net.weight(32), transB=1)
    return net.model("shared", [value_info("x", [BATCH, 32])], {value: [BATCH, 32]})


def aliased(opset: int) -> Model:
    """A weight that is read through an Identity, and one through a Transpose."""
    net = Sketch(opset)
    value = net.add("MatMul", "x", net.add("Identity", net.weight(32, 24, fan_in=32)))
    turned = net.add("Transpose", net.weight(16, 24), perm=[1, 0])
    value = net.add("MatMul", net.add("Relu", value), turned)
    return net.model("aliased", [value_info("x", [BATCH, 32])], {value: [BATCH, 16]})


def published(opset: int) -> Model:
    """A weight that is also an output of the model."""
    net = Sketch(opset)
    weight = net.weight(32, 24, fan_in=32)
    value = net.add("Relu", net.add("MatMul", "x", weight))
    value = net.add("MatMul", value, net.weight(24, 24))
    outputs: dict[str, Dims] = {value: [BATCH, 24], weight: [32, 24]}
    return net.model("published", [value_info("x", [BATCH, 32])], outputs)


def defaults(opset: int) -> Model:
    """A weight that is an input of the model with a stored default, beside one that is not."""
    net = Sketch(opset)
    weight = net.weight(32, 24, fan_in=32)
    value = net.add("MatMul", net.add("Relu", net.add("MatMul", "x", weight)), net.weight(24, 24))
    inputs = [value_info("x", [BATCH, 32]), value_info(weight, [32, 24])]
    return net.model("defaults", inputs, {value: [BATCH, 24]})


def typed(opset: int, kind: type[np.floating[Any]]) -> Model:
    """Convolutions, a normalization and a product that store and compute in one type."""
    net = Sketch(opset)
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(kind))

    def weight(*shape: int, fan_in: int = 0) -> str:
        return net.keep(net.array(*shape, fan_in=fan_in).astype(kind))

    value = net.add("Cast", "x", to=dtype)
    if kind == np.float16:  # ONNX Runtime convolves no float64
        value = net.add("Relu", net.add("Conv", value, weight(16, 8, 3, fan_in=24), weight(16)))
        value = net.add("Conv", value, net.constant(net.array(24, 16, 3).astype(kind)), weight(24))
    else:
        value = net.add("Transpose", value, perm=[0, 2, 1])
        value = net.add("MatMul", value, net.constant(net.array(8, 24, fan_in=8).astype(kind)))
        value = net.add("Transpose", value, perm=[0, 2, 1])
    value = net.add("ReduceMean", net.add("Relu", value), axes=[2], keepdims=0)
    value = net.add("MatMul", value, weight(24, 32, fan_in=24))
    value = net.add("Relu", net.add("Add", value, weight(32)))
    value = net.add("Gemm", value, weight(300, 32, fan_in=32), weight(300), transB=1)
    value = net.add("Cast", value, to=TensorProto.FLOAT)
    return net.model("typed", [value_info("x", [BATCH, 8, 12])], {value: [BATCH, 300]})


def converted(opset: int) -> Model:
    """Weights that a Cast converts from half precision and from double precision."""
    net = Sketch(opset)
    half = net.keep(net.array(32, 40, fan_in=32).astype(np.float16))
    double = net.keep(net.array(24, 40).astype(np.float64))
    value = net.add("MatMul", "x", net.add("Cast", half, to=TensorProto.FLOAT))
    value = net.add("Relu", value)
    value = net.add("Gemm", value, net.add("Cast", double, to=TensorProto.FLOAT), transB=1)
    return net.model("converted", [value_info("x", [BATCH, 32])], {value: [BATCH, 24]})


def tables(opset: int) -> Model:
    """Tables that are looked up, cut, added, multiplied and moved, a mask and a long bias."""
    net = Sketch(opset)
    steps = 6
    value = net.add("Gather", net.weight(32, 4, 16, fan_in=16), "tokens")
    value = net.add("Reshape", value, net.keep(np.array([-1, steps, 64]), "shape"))
    start, end, axis = (net.keep(np.array([n]), "bound") for n in (0, steps, 1))
    value = net.add("Add", value, net.add("Slice", net.weight(1, 40, 64), start, end, axis))
    value = net.add("Mul", value, net.weight(1, steps, 64, fan_in=1))
    turned = net.add("Transpose", net.weight(64, steps, fan_in=1), perm=[1, 0])
    value = net.add("Sub", value, turned)
    mask = np.zeros((steps, 64), np.float32)
    mask[:, ::7] = 1
    value = net.add("Mul", value, net.keep(mask, "mask"))
    value = net.add("MatMul", value, net.weight(64, 300, fan_in=64))
    value = net.add("Add", value, net.weight(300))
    tokens = value_info("tokens", [BATCH, steps], TensorProto.INT64)
    return net.model("tables", [tokens], {value: [BATCH, steps, 300]})


MICROSOFT = "com.microsoft"


def fused(opset: int) -> Model:
    """ONNX Runtime's own operators that read weights."""
    net = Sketch(opset)
    parts = net.weight(32, 96, fan_in=32), net.weight(96)
    value = net.add("Attention", "x", *parts, domain=MICROSOFT, num_heads=4)
    weight = net.weight(48, 32)
    value = net.add("FusedMatMul", value, weight, domain=MICROSOFT, transB=1, alpha=0.5)
    value = net.add("Reshape", value, net.keep(np.array([-1, 48]), "shape"))
    parts = net.weight(48, 20, fan_in=48), net.weight(20)
    value = net.add("FusedGemm", value, *parts, domain=MICROSOFT, activation="Relu")
    value = net.add("Reshape", value, net.keep(np.array([-1, 5, 20]), "shape"))
    value = net.add("FusedConv", value, net.weight(24, 5, 3), domain=MICROSOFT, activation="Relu")
    inputs = [value_info("x", [BATCH, 5, 32])]
    return net.model("fused", inputs, {value: [BATCH, 24, 18]}, domains={MICROSOFT: 1})


OWN = "own"


def called(opset: int) -> Model:
    """Calls of a function, of one that calls it, of one in a body; weights of calls and its own."""
    net = Sketch(opset)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(OWN, 1)]
    leaky = helper.make_node("LeakyRelu", ["sum"], ["y"])
    leaky.attribute.append(
        onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    )
    operators = [
        helper.make_node("MatMul", ["h", "w"], ["product"]),
        helper.make_node("Constant", [], ["own"], value=numpy_helper.from_array(net.array(32, 32))),
        helper.make_node("MatMul", ["product", "own"], ["mixed"]),
        helper.make_node("Add", ["h", "mixed"], ["sum"]),
        leaky,
    ]
    block = helper.make_function(OWN, "Block", ["h", "w"], ["y"], operators, imports, ["slope"])
    inner = helper.make_node("Block", ["h", "w"], ["half"], domain=OWN, slope=0.5)
    outer = helper.make_node("Block", ["half", "v"], ["y"], domain=OWN, slope=0.25)
    pair = helper.make_function(OWN, "Pair", ["h", "w", "v"], ["y"], [inner, outer], imports)
    value = net.add("Block", "x", net.weight(32, 32), domain=OWN, slope=0.1)
    value = net.add("Pair", value, net.weight(32, 32), net.weight(32, 32), domain=OWN)
    bodies = {}
    for seed, name in enumerate(("then_branch", "else_branch"), 1):
        body = Sketch(opset, seed, f"{name}.")
        result = body.add("Block", value, body.weight(32, 32), domain=OWN, slope=0.2)
        bodies[name] = body.body(result, [BATCH, 32])
    value = net.add("If", "choice", **bodies)
    inputs = [value_info("x", [BATCH, 32]), value_info("choice", [], TensorProto.BOOL)]
    outputs: dict[str, Dims] = {value: [BATCH, 32]}
    functions = [block, pair]
    return net.model("called", inputs, outputs, domains={OWN: 1}, functions=functions)


LEARNED = "ai.onnx.ml"


def trees(opset: int) -> Model:
    """Two hundred stumps, and a linear model, whose numbers are attributes."""
    net = Sketch(opset)
    count = 200
    trees = np.arange(count)
    stumps = net.add(
        "TreeEnsembleRegressor",
        "x",
        domain=LEARNED,
        n_targets=1,
        nodes_treeids=np.repeat(trees, 3).tolist(),
        nodes_nodeids=np.tile([0, 1, 2], count).tolist(),
        nodes_featureids=np.repeat(trees % 32, 3).tolist(),
        nodes_values=np.repeat(net.array(count, fan_in=1), 3).tolist(),
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * count,
        nodes_truenodeids=np.tile([1, 0, 0], count).tolist(),
        nodes_falsenodeids=np.tile([2, 0, 0], count).tolist(),
        target_treeids=np.repeat(trees, 2).tolist(),
        target_nodeids=np.tile([1, 2], count).tolist(),
        target_ids=[0] * (2 * count),
        target_weights=net.array(2 * count, fan_in=count).tolist(),
    )
    coefficients = net.array(10 * 32, fan_in=32).tolist()
    linear = net.add("LinearRegressor", "x", domain=LEARNED, coefficients=coefficients, targets=10)
    value = net.add("MatMul", net.add("Add", stumps, linear), net.weight(10, 40, fan_in=10))
    inputs = [value_info("x", [BATCH, 32])]
    return net.model("trees", inputs, {value: [BATCH, 40]}, domains={LEARNED: 2})


NETWORKS: dict[str, Callable[[], Model]] = {
    "perceptron-11": partial(perceptron, 11),
    "perceptron-21": partial(perceptron, 21),
    "gemms-13": partial(gemms, 13),
    "residual-11": partial(residual, 11),
    "residual-17": partial(residual, 17),
    "depthwise-13": partial(depthwise, 13),
    "upsampling-17": partial(upsampling, 17),
    "lstm-13": partial(recurrent, 13, "LSTM", 4, 1),
    "gru-21": partial(recurrent, 21, "GRU", 3, 2),
    "attention-17": partial(attention, 17),
    "embedding-21": partial(embedding, 21),
    "tied-13": partial(tied, 13),
    "branches-16": partial(branches, 16),
    "around-17": partial(around, 17),
    "shared-17": partial(shared, 17),
    "aliased-17": partial(aliased, 17),
    "published-17": partial(published, 17),
    "defaults-13": partial(defaults, 13),
    "half-15": partial(typed, 15, np.float16),
    "double-13": partial(typed, 13, np.float64),
    "converted-17": partial(converted, 17),
    "tables-17": partial(tables, 17),
    "fused-17": partial(fused, 17),
    "called-17": partial(called, 17),
    "trees-15": partial(trees, 15),
}
"""Networks by name and opset; every call builds an equal network."""
