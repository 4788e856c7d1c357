"""Integer references against numpy's int64, to the bit, on values that saturate elsewhere."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from packlight.model import Model
from packlight.records import SessionOptions
from packlight.runtime import open_session, with_exact_integers
from packlight.runtime.exact_integers import digit_bits

EXACT = SessionOptions(arithmetic="exact")
KINDS = {
    np.dtype("uint8"): TensorProto.UINT8,
    np.dtype("int8"): TensorProto.INT8,
    np.dtype("int32"): TensorProto.INT32,
    np.dtype("float32"): TensorProto.FLOAT,
}


def one_node(node, feeds, stored, output, *, opset=13, domain=""):
    """A model of one operator: arrays that are fed, and arrays that are stored."""
    inputs = [helper.make_tensor_value_info(k, KINDS[v.dtype], v.shape) for k, v in feeds.items()]
    outputs = [helper.make_tensor_value_info("y", KINDS[np.dtype(output)], None)]
    weights = [numpy_helper.from_array(np.asarray(v), k) for k, v in stored.items()]
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain, 1)] if domain else []
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return Model(ir.from_proto(proto), "one")


def exactly(node, feeds, stored, output, **kwargs):
    session = open_session(one_node(node, feeds, stored, output, **kwargs), EXACT)
    assert session.inexact == ()
    return session.run(feeds)["y"]


@pytest.mark.parametrize("inner", [1, 64, 5000])
@pytest.mark.parametrize(("kind", "weight"), [(np.int8, 127), (np.int8, -128), (np.uint8, 255)])
def test_matrix_products_of_extremes_are_exact(inner, kind, weight):
    a = np.full((3, inner), 255, np.uint8)
    w = np.full((inner, 5), weight, kind)

    y = exactly(helper.make_node("MatMulInteger", ["a", "w"], ["y"]), {"a": a}, {"w": w}, np.int32)

    np.testing.assert_array_equal(y, a.astype(np.int64) @ w.astype(np.int64))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from([np.uint8, np.int8]), st.booleans())
def test_matrix_products_with_zero_points_are_exact(seed, kind, per_column):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (2, 4, 300)).astype(np.uint8)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max + 1
    w = rng.integers(low, high, (300, 7)).astype(kind)
    zero = rng.integers(low, high, 7 if per_column else ()).astype(kind)
    node = helper.make_node("MatMulInteger", ["a", "w", "az", "wz"], ["y"])

    y = exactly(node, {"a": a}, {"w": w, "az": np.uint8(200), "wz": zero}, np.int32)

    expected = (a.astype(np.int64) - 200) @ (w.astype(np.int64) - zero.astype(np.int64))
    np.testing.assert_array_equal(y, expected)


def test_a_zero_point_for_each_row_belongs_to_its_row():
    a = np.arange(12, dtype=np.uint8).reshape(3, 4)
    w = np.eye(4, dtype=np.int8)
    zero = np.array([1, 2, 3], np.uint8)
    node = helper.make_node("MatMulInteger", ["a", "w", "az"], ["y"])

    y = exactly(node, {"a": a}, {"w": w, "az": zero}, np.int32)

    np.testing.assert_array_equal(y, a.astype(int) - zero[:, None])


def integer_convolution(x, w, x_zero, w_zero, *, pads, strides=1, group=1):
    """Directly from the definition, int64."""
    x = x.astype(np.int64) - x_zero
    w = w.astype(np.int64) - np.asarray(w_zero, np.int64).reshape(-1, 1, 1, 1)
    x = np.pad(x, ((0, 0), (0, 0), (pads, pads), (pads, pads)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::strides, ::strides]
    inner, outer = w.shape[1], w.shape[0] // group
    return np.concatenate(
        [
            np.einsum(
                "nchwij,ocij->nohw",
                windows[:, g * inner : (g + 1) * inner],
                w[g * outer : (g + 1) * outer],
            )
            for g in range(group)
        ],
        axis=1,
    )


CONVOLUTIONS = [(1, 4, 1, 0, 1), (8, 6, 3, 1, 2), (8, 8, 3, 2, 8), (600, 2, 3, 1, 1)]


@pytest.mark.parametrize("dimensions", CONVOLUTIONS)
@pytest.mark.parametrize("extreme", [True, False])
def test_convolutions_are_exact_and_pad_with_the_zero_point(dimensions, extreme):
    channels, out, size, pads, group = dimensions
    rng = np.random.default_rng(channels)
    x = rng.integers(0, 256, (2, channels, 6, 6)).astype(np.uint8)
    w = rng.integers(-128, 128, (out, channels // group, size, size)).astype(np.int8)
    x_zero, w_zero = np.uint8(3), rng.integers(-128, 128, out).astype(np.int8)
    if extreme:
        x[:], w[:], x_zero, w_zero = 255, -128, np.uint8(0), np.full(out, 127, np.int8)
    node = helper.make_node(
        "ConvInteger", ["x", "w", "xz", "wz"], ["y"], pads=[pads] * 4, strides=[2, 2], group=group
    )

    y = exactly(node, {"x": x}, {"w": w, "xz": x_zero, "wz": w_zero}, np.int32)

    expected = integer_convolution(x, w, int(x_zero), w_zero, pads=pads, strides=2, group=group)
    np.testing.assert_array_equal(y, expected)


@given(st.integers(1, 65793))
def test_a_sum_of_digits_times_codes_stays_below_two_to_the_24(products):
    bits = digit_bits(products)

    assert bits >= 1
    assert products * 255 * (2**bits - 1) < 2**24


def test_a_convolution_over_too_many_products_is_named():
    x, w = np.zeros((1, 70000, 1, 1), np.uint8), np.zeros((1, 70000, 1, 1), np.uint8)
    model = one_node(
        helper.make_node("ConvInteger", ["x", "w"], ["y"], name="big"), {"x": x}, {"w": w}, np.int32
    )

    assert with_exact_integers(model)[1] == ("ConvInteger big",)


def test_quantized_matrix_products_follow_their_definition():
    rng = np.random.default_rng(3)
    a = rng.integers(0, 256, (4, 500)).astype(np.uint8)
    w = rng.integers(-128, 128, (500, 6)).astype(np.int8)
    stored = {
        "as": np.float32(0.02), "az": np.uint8(120), "w": w,
        "ws": rng.uniform(0.001, 0.01, 6).astype(np.float32), "wz": np.zeros(6, np.int8),
        "ys": np.float32(0.05), "yz": np.uint8(128),
    }  # fmt: skip
    node = helper.make_node("QLinearMatMul", ["a", *stored], ["y"])

    y = exactly(node, {"a": a}, stored, np.uint8)

    real = ((a.astype(np.int64) - 120) @ w.astype(np.int64)) * (0.02 * stored["ws"].astype(float))
    expected = np.clip(np.rint(real / 0.05) + 128, 0, 255)
    assert np.abs(y.astype(int) - expected).max() <= 1  # a tie of the real numbers
    assert (y == expected).mean() > 0.95


def test_quantized_convolutions_follow_their_definition():
    rng = np.random.default_rng(4)
    x = rng.integers(0, 256, (1, 16, 5, 5)).astype(np.uint8)
    w = rng.integers(-128, 128, (8, 16, 3, 3)).astype(np.int8)
    stored = {
        "xs": np.float32(0.02), "xz": np.uint8(7), "w": w,
        "ws": rng.uniform(0.001, 0.01, 8).astype(np.float32), "wz": np.zeros(8, np.int8),
        "ys": np.float32(0.1), "yz": np.uint8(100),
        "b": rng.integers(-1000, 1000, 8).astype(np.int32),
    }  # fmt: skip
    node = helper.make_node("QLinearConv", ["x", *stored], ["y"], pads=[1, 1, 1, 1])

    y = exactly(node, {"x": x}, stored, np.uint8)

    total = integer_convolution(x, w, 7, 0, pads=1) + stored["b"].reshape(1, -1, 1, 1)
    real = total * (0.02 * stored["ws"].astype(float)).reshape(1, -1, 1, 1)
    expected = np.clip(np.rint(real / 0.1) + 100, 0, 255)
    assert np.abs(y.astype(int) - expected).max() <= 1
    assert (y == expected).mean() > 0.95


def test_fused_dynamic_products_follow_their_definition():
    rng = np.random.default_rng(5)
    a = rng.standard_normal((3, 400)).astype(np.float32)
    w = rng.integers(-128, 128, (400, 5)).astype(np.int8)
    stored = {"w": w, "ws": rng.uniform(0.001, 0.01, 5).astype(np.float32), "wz": np.int8(4)}
    bias = rng.standard_normal(5).astype(np.float32)
    node = helper.make_node(
        "DynamicQuantizeMatMul", ["a", "w", "ws", "wz", "b"], ["y"], domain="com.microsoft"
    )

    y = exactly(node, {"a": a}, {**stored, "b": bias}, np.float32, domain="com.microsoft")

    codes, scale, zero = dynamic_quantize(a)
    total = (codes.astype(np.int64) - int(zero)) @ (w.astype(np.int64) - 4)
    expected = total * (float(scale) * stored["ws"].astype(float)) + bias
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_products_that_give_floats_follow_their_definition():
    rng = np.random.default_rng(6)
    a = rng.integers(0, 256, (3, 400)).astype(np.uint8)
    w = rng.integers(-128, 128, (400, 5)).astype(np.int8)
    stored = {"w": w, "as": np.float32(0.5), "ws": np.full(5, 0.25, np.float32), "az": np.uint8(9)}
    node = helper.make_node("MatMulIntegerToFloat", ["a", *stored], ["y"], domain="com.microsoft")

    y = exactly(node, {"a": a}, stored, np.float32, domain="com.microsoft")

    expected = ((a.astype(np.int64) - 9) @ w.astype(np.int64)) * 0.125
    np.testing.assert_array_equal(y, expected.astype(np.float32))


def dynamic_quantize(x):
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [
            helper.make_tensor_value_info(n, k, None)
            for n, k in (
                ("q", TensorProto.UINT8),
                ("s", TensorProto.FLOAT),
                ("z", TensorProto.UINT8),
            )
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return ReferenceEvaluator(proto).run(None, {"x": x})


def test_low_bit_products_keep_their_activations_in_float():
    """Fused products of a file, at the accuracy level that computes with 8-bit activations."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((4, 128)).astype(np.float32)
    packed = rng.integers(0, 256, (16, 4, 16)).astype(np.uint8)
    scale = np.full(64, 0.1, np.float32)
    node = helper.make_node(
        "MatMulNBits", ["x", "q", "s"], ["y"], domain="com.microsoft",
        K=128, N=16, bits=4, block_size=32, accuracy_level=4,
    )  # fmt: skip

    y = exactly(node, {"x": x}, {"q": packed, "s": scale}, np.float32, domain="com.microsoft")

    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(16, 128).astype(int) - 8
    expected = x.astype(float) @ (codes.T * 0.1)
    assert np.linalg.norm(y - expected) < 1e-5 * np.linalg.norm(expected)


def test_operators_inside_branches_are_replaced_and_keep_their_names():
    a, w = np.full((1, 64), 255, np.uint8), np.full((64, 4), 127, np.int8)
    info = helper.make_tensor_value_info
    branches = [
        helper.make_graph(
            [helper.make_node("MatMulInteger", ["a", "w"], [f"{side}_y"])],
            side, [], [info(f"{side}_y", TensorProto.INT32, None)],
        )
        for side in ("then", "else")
    ]  # fmt: skip
    node = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    graph = helper.make_graph(
        [node], "g",
        [info("c", TensorProto.BOOL, []), info("a", TensorProto.UINT8, [1, 64])],
        [info("y", TensorProto.INT32, None)],
        [numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model = Model(ir.from_proto(proto), "branches")
    before = model.digest

    rewritten, inexact = with_exact_integers(model)

    kinds = {n.op_type for n in ir.traversal.RecursiveGraphIterator(rewritten.graph.graph)}
    assert inexact == ()
    assert "MatMulInteger" not in kinds
    assert Model(model.graph, "branches").digest == before
    for taken in (True, False):
        y = open_session(model, EXACT).run({"c": np.array(taken), "a": a})["y"]
        np.testing.assert_array_equal(y, np.full((1, 4), 64 * 255 * 127))


def test_integer_operators_without_a_reference_are_named():
    a = np.zeros((1, 4), np.uint8)
    stored = {"as": np.float32(1), "az": np.uint8(0), "b": a, "bs": np.float32(1)}
    stored |= {"bz": np.uint8(0), "cs": np.float32(1), "cz": np.uint8(0)}
    node = helper.make_node("QLinearAdd", ["a", *stored], ["y"], name="sum", domain="com.microsoft")
    model = one_node(node, {"a": a}, stored, np.uint8, domain="com.microsoft")

    assert open_session(model, EXACT).inexact == ("QLinearAdd sum",)
    assert open_session(model, SessionOptions()).inexact == ()
