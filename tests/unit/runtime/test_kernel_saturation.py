"""Sums in pairs of 16 bits against a scalar reading of the instruction, and against the kernels."""

import json
import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from packlight.compression import compress
from packlight.model import Model, nodes, save
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import machine, open_session, saturation
from packlight.runtime.calibration import Calibrator
from packlight.runtime.kernel_sums import (
    LARGEST_CODE,
    code_matrices,
    may_saturate,
    saturated_product,
    saturating_operands,
    saturation_losses,
)
from packlight.testing import NETWORKS
from packlight.testing.cases import sample_calls

QEMU = shutil.which("qemu-x86_64")
KINDS = {
    np.dtype("uint8"): TensorProto.UINT8,
    np.dtype("int8"): TensorProto.INT8,
    np.dtype("int32"): TensorProto.INT32,
    np.dtype("float32"): TensorProto.FLOAT,
}
info = helper.make_tensor_value_info


def clipped(number):
    return max(-32768, min(32767, number))


def scalar(codes, weight):
    """Number by number, in the order of the instruction."""
    sums = np.zeros((len(codes), weight.shape[1]), np.int64)
    for row in range(len(codes)):
        for column in range(weight.shape[1]):
            for first in range(0, codes.shape[1], 2):
                pair = [
                    int(codes[row, place]) * int(weight[place, column])
                    for place in range(first, min(first + 2, codes.shape[1]))
                ]
                sums[row, column] += clipped(sum(pair))
    return sums


def adversarial(rng, shape, kind):
    """Numbers of which most are at the ends of their range."""
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    drawn, luck = rng.integers(low, high + 1, shape), rng.random(shape)
    return np.where(luck < 0.4, high, np.where(luck < 0.6, low, drawn)).astype(kind)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 4))
def test_products_are_what_the_instruction_gives(seed, inner, out):
    rng = np.random.default_rng(seed)
    codes, weight = adversarial(rng, (3, inner), np.uint8), adversarial(rng, (inner, out), np.int8)

    np.testing.assert_array_equal(saturated_product(codes, weight), scalar(codes, weight))


def test_a_pair_is_risky_where_the_worst_codes_leave_16_bits():
    ends = np.array([-128, -65, -64, -63, -1, 0, 1, 63, 64, 65, 127], np.int8)
    weight = np.stack(np.meshgrid(ends, ends)).reshape(2, -1)
    corners = np.array(
        [[0, 0], [0, LARGEST_CODE], [LARGEST_CODE, 0], [LARGEST_CODE, LARGEST_CODE]], np.uint8
    )

    tried = (saturation_losses(corners, weight)[1] > 0).any(axis=0)

    np.testing.assert_array_equal(may_saturate(weight)[0], tried)
    assert tried.any()
    assert not tried.all()


def one_node(name, node, x, stored, kind):
    inputs, outputs = [info("x", KINDS[x.dtype], x.shape)], [info("y", KINDS[np.dtype(kind)], None)]
    weights = [numpy_helper.from_array(np.asarray(array), key) for key, array in stored.items()]
    graph = helper.make_graph([node], name, inputs, outputs, weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return Model(ir.from_proto(proto), name)


def product(name, shape, left, right):
    """MatMulInteger of random codes, with zero points."""
    rng = np.random.default_rng(len(name))
    rows, inner, out = shape
    x, weight = adversarial(rng, (rows, inner), left), adversarial(rng, (inner, out), right)
    stored = {"w": weight, "xz": np.array(100, left), "wz": np.array(3, right)}
    node = helper.make_node("MatMulInteger", ["x", "w", "xz", "wz"], ["y"])
    return one_node(name, node, x, stored, np.int32), x


def convolution(name, shape, left, right):
    """QLinearConv of random codes, whose output tells whole sums divided by a power of two."""
    rng = np.random.default_rng(len(name))
    channels, out, group, size = shape
    x = adversarial(rng, (1, channels, 6, 6), left)
    weight = adversarial(rng, (out, channels // group, size, size), right)
    stored = {
        "xs": np.float32(1), "xz": np.array(77, left), "w": weight, "ws": np.float32(1),
        "wz": np.array(0, right), "ys": np.float32(2.0 ** (6 + weight[0].size.bit_length())),
        "yz": np.array(100, left),
    }  # fmt: skip
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    node = helper.make_node("QLinearConv", names, ["y"], group=group, pads=[size // 2] * 4)
    return one_node(name, node, x, stored, left), x


SHAPES = [(1, 7, 19), (1, 64, 32), (5, 33, 19), (9, 130, 8), (1, 600, 19)]
IMAGES = [(3, 16, 1, 3), (4, 16, 1, 1), (8, 16, 1, 3), (6, 6, 6, 3), (16, 16, 16, 3), (8, 8, 2, 3),
          (5, 7, 1, 2), (6, 12, 2, 3), (16, 32, 16, 3)]  # fmt: skip
CODES = [(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)]


def cases():
    for place, kinds in enumerate(CODES):
        for shape in SHAPES:
            name = f"product-{'-'.join(map(str, shape))}-{place}"
            yield name, product(name, shape, *kinds)
        for shape in IMAGES:
            name = f"convolution-{'-'.join(map(str, shape))}-{place}"
            yield name, convolution(name, shape, *kinds)


def simulated(model, x):
    """What the kernel gives by the simulator; None where it says that nothing saturates."""
    (node,) = nodes(model.graph)
    read = next(saturating_operands(node), None)
    if read is None:
        return None
    arrays = {value.name: value.const_value.numpy() for value in node.inputs[1:]}
    weight, zero = arrays["w"], int(arrays["xz"])
    turned = read.layout(node, weight)
    rows = code_matrices(node, x, weight, zero, 0)
    sums = np.stack(
        [
            saturated_product(rows[group % len(rows)], part) - zero * part.astype(int).sum(axis=0)
            for group, part in enumerate(turned)
        ]
    )
    if node.op_type == "MatMulInteger":
        point = int(arrays["wz"])
        return sums[0] - point * (x.astype(int).sum(axis=1) - zero * x.shape[1])[:, None]
    coded = np.rint(sums / float(arrays["ys"])).astype(int) + int(arrays["yz"])
    return np.clip(coded, 0, 255).transpose(0, 2, 1)


SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from packlight.records import SessionOptions
from packlight.runtime.calls import start_session

outputs = {}
for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
    session = start_session(path, path.stem, SessionOptions())
    outputs[path.stem] = session.run({"x": np.load(path.with_suffix(".npy"))})["y"].tolist()
print(json.dumps(outputs))
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """What kernels without VNNI give: of this machine, or of one that is emulated on it."""
    folder = tmp_path_factory.mktemp("kernels")
    for name, (model, x) in cases():
        save(model, folder / f"{name}.onnx")
        np.save(folder / f"{name}.npy", x)
    emulated = [QEMU, "-cpu", "Haswell"]
    if machine().saturates:
        emulated = []
    elif QEMU is None or sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("needs an x86-64 processor without VNNI, or qemu-x86_64 to emulate one")
    done = subprocess.run(
        [*emulated, sys.executable, "-c", SCRIPT, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [name for name, _ in cases()])
def test_the_simulator_equals_the_kernel_of_a_processor_without_vnni(kernels, name):
    model, x = dict(cases())[name]
    found = np.array(kernels[name])
    exactly = open_session(model, SessionOptions(arithmetic="exact")).run({"x": x})["y"]

    expected = simulated(model, x)

    if expected is None:
        np.testing.assert_array_equal(found, exactly)
    else:
        np.testing.assert_array_equal(found, expected.reshape(found.shape))
        assert (found != exactly).any()


def made(network, recipe):
    model = NETWORKS[network]()
    samples = [[feeds] for feeds in sample_calls(model)]
    exactly = SessionOptions(arithmetic="exact", matmul_accuracy=1)

    return compress(model, parse_recipe(recipe), Calibrator(samples, exactly)).model, samples


def test_weights_of_7_bits_are_safe_and_those_of_8_are_told_by_operator():
    seven, samples = made("residual-17", "static:7")
    eight, _ = made("residual-17", "static:8,portable=false")

    safe, told = saturation(seven, samples), saturation(eight, samples)

    assert [one.operator for one in safe] == [one.operator for one in told]
    assert {one.operator for one in told} <= {str(node.name) for node in nodes(eight.graph)}
    assert {one.kernel for one in told} == {"QLinearConv", "QGemm"}
    assert all(one.safe and not one.saturated for one in safe)
    assert not all(one.safe for one in told)
    assert all(one.sums > 0 and one.pairs > 0 for one in told)


def test_without_samples_only_what_is_possible_is_told():
    model, _ = made("residual-17", "static:8,portable=false")

    found = saturation(model)

    assert sum(one.risky for one in found) > 0
    assert {(one.sums, one.saturated, one.share, one.noise) for one in found} == {(0, 0, 0.0, 0.0)}


def test_what_is_lost_is_counted_where_all_codes_are_large():
    weight = np.full((64, 8), 127, np.int8)
    x = np.full((1, 64), 255, np.uint8)
    stored = {"w": weight}
    model = one_node(
        "all", helper.make_node("MatMulInteger", ["x", "w"], ["y"]), x, stored, "int32"
    )

    (found,) = saturation(model, [[{"x": x}]])

    assert (found.kernel, found.pairs, found.risky) == ("MatMulInteger", 32 * 8, 32 * 8)
    assert (found.sums, found.saturated, found.share) == (8, 8, 1.0)
    assert found.noise > 0


def test_a_float_model_has_nothing_that_saturates():
    model = NETWORKS["residual-17"]()

    assert saturation(model, [[sample_calls(model)[0]]]) == ()


def test_products_quantized_when_they_run_are_looked_at_with_the_codes_they_give():
    rng = np.random.default_rng(0)
    x = rng.uniform(200, 255, (1, 128)).astype(np.float32)
    weight = rng.integers(100, 128, (128, 16)).astype(np.int8)
    names = {"w": weight, "ws": np.float32(0.01)}
    steps = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="range"),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["sum"], name="product"),
        helper.make_node("Cast", ["sum"], ["real"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Mul", ["s", "ws"], ["scale"], name="scale"),
        helper.make_node("Mul", ["real", "scale"], ["y"], name="scaled"),
    ]
    kinds = [info("x", TensorProto.FLOAT, [1, 128])], [info("y", TensorProto.FLOAT, [1, 16])]
    stored = [numpy_helper.from_array(array, key) for key, array in names.items()]
    graph = helper.make_graph(steps, "dynamic", *kinds, stored)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    (found,) = saturation(Model(ir.from_proto(proto), "dynamic"), [[{"x": x}]])

    assert found.kernel == "DynamicQuantizeMatMul"
    assert found.share == 1.0
