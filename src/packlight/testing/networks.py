"""Small networks with structures that compression methods meet, and seeded random weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from onnx import TensorProto

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
}
"""Networks by name and opset; every call builds an equal network."""
