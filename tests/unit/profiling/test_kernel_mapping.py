"""Kernels of optimised graphs, by the operators that they compute."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from packlight.model import Model, name_operators
from packlight.profiling import profile
from packlight.profiling.kernel_attribution import attribute_kernels
from packlight.profiling.kernel_mapping import KernelMapping
from packlight.profiling.node_tags import tag_nodes
from packlight.records import SessionOptions
from packlight.runtime.kernel_times import time_kernels


def network(body, inputs, outputs, opset=17, **weights):
    """A model from ONNX text, with seeded random weights of the given shapes."""
    text = f'<ir_version: 9, opset_import: ["" : {opset}]> g ({inputs}) => ({outputs}) {{ {body} }}'
    proto = parser.parse_model(text)
    random = np.random.default_rng(0)
    for name, value in weights.items():
        drawn = (
            value
            if isinstance(value, (np.ndarray, np.generic))
            else random.random(value, np.float32)
        )
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(drawn), name))
    graph = ir.from_proto(proto)
    name_operators(graph)
    return Model(graph, "g")


def became(model, **feeds):
    """What became of each operator: ``kernel``, ``in X``, ``at load``, ``removed``."""
    copy, costs = tag_nodes(model), profile(model, {}).operators
    kernels = time_kernels(copy.model, [feeds], {}, SessionOptions(), seconds=0.01, rounds=1)
    loaded = [copy.operators[at] for at, one in enumerate(costs) if one.at_load]
    attribution = attribute_kernels(KernelMapping(copy, kernels.graph, loaded), costs)
    assert len(attribution.of_kernel) == len(attribution.kernels), "a kernel has no place"
    return {
        one.name: f"in {costs[attribution.into[at]].name}"
        if at in attribution.into
        else attribution.placements[at]
        for at, one in enumerate(costs)
    }


def image(*shape):
    return np.random.default_rng(1).random(shape, np.float32)


def test_what_follows_a_convolution_is_fused_into_it():
    # 32 channels, so that data is laid out in blocks, and names of values are lost
    model = network(
        "[c1] a = Conv<pads=[1,1,1,1]>(x, w) [bn] b = BatchNormalization(a, s, t, m, v) "
        "[r1] c = Relu(b) [c2] d = Conv<pads=[1,1,1,1]>(c, u) [sum] e = Add(d, c) [r2] f = Relu(e) "
        "[c3] h = Conv(f, k) [r3] y = Relu(h)",
        "float[1,32,8,8] x", "float[1,32,8,8] y", w=(32, 32, 3, 3), s=(32,), t=(32,), m=(32,),
        v=(32,), u=(32, 32, 3, 3), k=(32, 32, 1, 1),
    )  # fmt: skip

    assert became(model, x=image(1, 32, 8, 8)) == {
        "c1": "kernel", "bn": "in c1", "r1": "in c1", "c2": "kernel", "sum": "in c2",
        "r2": "in c2", "c3": "kernel", "r3": "in c3",
    }  # fmt: skip


def test_bias_and_activation_are_fused_into_the_product():
    model = network(
        "[g] a = Gemm(x, w, b) [r] c = Relu(a) [m] d = MatMul(c, w) [plus] e = Add(d, b) "
        "[t] y = Tanh(e)",
        "float[2,16] x", "float[2,16] y", w=(16, 16), b=(16,),
    )  # fmt: skip

    found = became(model, x=image(2, 16))

    assert (found["g"], found["r"]) == ("kernel", "in g")
    assert (found["m"], found["plus"]) == ("kernel", "in m")
    assert found["t"] in ("kernel", "in m")


def test_the_parts_of_a_layer_normalisation_are_one_kernel():
    model = network(
        "[m] m = ReduceMean<axes=[-1], keepdims=1>(x) [d] d = Sub(x, m) [p] p = Pow(d, two) "
        "[v] v = ReduceMean<axes=[-1], keepdims=1>(p) [e] e = Add(v, eps) [s] s = Sqrt(e) "
        "[q] q = Div(d, s) [g] g = Mul(q, scale) [y] y = Add(g, bias)",
        "float[2,4,16] x", "float[2,4,16] y", two=np.float32(2), eps=np.float32(1e-5),
        scale=(16,), bias=(16,),
    )  # fmt: skip

    found = became(model, x=image(2, 4, 16))

    (head,) = (name for name, what in found.items() if what == "kernel")
    assert set(found.values()) == {"kernel", f"in {head}"}


def test_codes_around_a_product_belong_to_it_and_shared_ones_to_the_first():
    model = network(
        "[q0] q = QuantizeLinear(x, s, z) [d1] a = DequantizeLinear(q, s, z) "
        "[w1] w = DequantizeLinear(k, s, i) [c1] b = Conv(a, w) [r] r = Relu(b) "
        "[q1] c = QuantizeLinear(r, s, z) [d2] d = DequantizeLinear(c, s, z) "
        "[w2] u = DequantizeLinear(k, s, i) [c2] e = Conv(d, u) [q2] f = QuantizeLinear(e, s, z) "
        "[d3] y = DequantizeLinear(f, s, z)",
        "float[1,16,4,4] x", "float[1,16,4,4] y", s=np.float32(0.1), z=np.uint8(0), i=np.int8(0),
        k=np.random.default_rng(0).integers(-9, 9, (16, 16, 1, 1)).astype(np.int8),
    )  # fmt: skip

    assert became(model, x=image(1, 16, 4, 4)) == {
        "q0": "kernel", "d1": "in c1", "w1": "in c1", "c1": "kernel", "r": "in c1", "q1": "in c1",
        "d2": "in c2", "w2": "in c2", "c2": "kernel", "q2": "in c2", "d3": "kernel",
    }  # fmt: skip


def test_copies_are_removed_and_what_is_stored_is_computed_at_load():
    model = network(
        "[turn] w = Transpose<perm=[1,0]>(k) [same] a = Identity(x) [shape] s = Shape(x) "
        "[m] b = MatMul(a, w) [back] y = Reshape(b, s)",
        "float[4,4] x", "float[4,4] y", k=(4, 4),
    )  # fmt: skip

    found = became(model, x=image(4, 4))

    assert found["turn"] == "at load"
    assert found["same"] == "removed"
    assert found["m"] == "kernel"
    assert found["shape"] in ("at load", "removed")


def test_a_unit_between_blocks_of_channels_has_a_kernel_of_its_own():
    # The parts of a GELU between two convolutions: its kernel keeps no name at all.
    model = network(
        "[c1] a = Conv(x, w) [d] d = Div(a, root) [e] e = Erf(d) [p] p = Add(e, one) "
        "[m] m = Mul(a, p) [h] h = Mul(m, half) [c2] y = Conv(h, w)",
        "float[1,32,8,8] x", "float[1,32,8,8] y", w=(32, 32, 1, 1),
        root=np.float32(2**0.5), one=np.float32(1), half=np.float32(0.5),
    )  # fmt: skip

    found = became(model, x=image(1, 32, 8, 8))

    assert (found["c1"], found["c2"]) == ("kernel", "kernel")
    parts = {found[name] for name in "depmh"}
    (head,) = (name for name in "depmh" if found[name] == "kernel")
    assert parts == {"kernel", f"in {head}"}


@pytest.mark.parametrize("name", ["x", "packlight:0:", "packlight:3.1:"])
def test_marks_are_read_back_whatever_names_a_model_has(name):
    model = network("[a] b = Relu(x) [c] y = Neg(b)", "float[2] x", "float[2] y")
    model.graph.graph[0].name = name

    copy = tag_nodes(model)

    assert [node.name for node in copy.operators] == ["packlight:0:", "packlight:1:"]
    assert copy.renamed == {"y": "packlight:1.0:"}
    assert copy.value("packlight:1.0:") is copy.operators[1].outputs[0]
    assert copy.tagged("fused packlight:0.0:_nchwc") == (
        copy.operators[0], copy.operators[0].outputs[0],
    )  # fmt: skip
    assert copy.value("x") is None
    assert model.graph.graph[0].name == name
