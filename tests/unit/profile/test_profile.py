"""Counts against hand-derived values, and peak memory against a simulator of its own."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from packlight import zoo
from packlight.model import Model, infer_shapes, load, nodes
from packlight.profile import profile
from packlight.profile.liveness import VIEWS, peak_activation


def network(body, inputs, outputs, **weights):
    """A model from ONNX text, with zeros for weights of the given shapes."""
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => ({outputs}) {{ {body} }}'
    proto = parser.parse_model(text)
    for name, shape in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    return Model(ir.from_proto(onnx.shape_inference.infer_shapes(proto)), "g")


CASES = {
    "conv": ("y = Conv(x, w)", "float[1,3,32,32] x", "float[1,8,30,30] y", {"w": (8, 3, 3, 3)},
             8 * 30 * 30 * 27),
    "depthwise": ("y = Conv<group=8, strides=[2,2], pads=[1,1,1,1]>(x, w)", "float[2,8,16,16] x",
                  "float[2,8,8,8] y", {"w": (8, 1, 3, 3)}, 2 * 8 * 64 * 9),
    "transposed": ("y = ConvTranspose<strides=[2,2]>(x, w)", "float[1,4,5,5] x",
                   "float[1,6,11,11] y", {"w": (4, 6, 3, 3)}, 25 * 4 * 6 * 9),
    "gemm": ("y = Gemm<transB=1>(x, w)", "float[5,16] x", "float[5,10] y", {"w": (10, 16)}, 800),
    "turned": ("y = Gemm<transA=1>(x, w)", "float[16,5] x", "float[5,10] y", {"w": (16, 10)}, 800),
    "matmul": ("y = MatMul(x, w)", "float[2,7,16] x", "float[2,7,10] y", {"w": (16, 10)}, 2240),
    "attention": ("y = MatMul(x, z)", "float[1,4,7,8] x, float[1,4,8,9] z", "float[1,4,7,9] y", {},
                  4 * 7 * 8 * 9),
    "lstm": ("y, h, c = LSTM<hidden_size=6>(x, w, r)", "float[10,2,4] x", "float[10,1,2,6] y",
             {"w": (1, 24, 4), "r": (1, 24, 6)}, 10 * 2 * 24 * (4 + 6)),
    "gru": ("y, h = GRU<hidden_size=6, direction=\"bidirectional\">(x, w, r)", "float[10,2,4] x",
            "float[10,2,2,6] y", {"w": (2, 18, 4), "r": (2, 18, 6)}, 10 * 2 * 2 * 18 * 10),
    "einsum": ("y = Einsum<equation=\"bij,jk->bik\">(x, w)", "float[2,3,4] x", "float[2,3,5] y",
               {"w": (4, 5)}, 120),
    "relu": ("y = Relu(x)", "float[1,9] x", "float[1,9] y", {}, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_multiply_accumulates_equal_hand_derived_values(case):
    body, inputs, outputs, weights, expected = CASES[case]

    found = profile(network(body, inputs, outputs, **weights), {})

    assert found.totals["macs"].value == expected
    assert found.unknown == ()
    assert found.totals["parameters"].value == sum(np.prod(shape) for shape in weights.values())


def test_an_open_shape_is_said_to_be_unknown_and_can_be_given():
    model = network("y = MatMul(x, w)", "float[n,16] x", "float[n,10] y", w=(16, 10))

    (unknown,) = profile(model, {}).unknown
    assert "the shape of what MatMul reads or gives is open" in unknown
    assert profile(model, {"x": (3, 16)}).totals["macs"].value == 480


def test_weights_read_twice_are_counted_once():
    model = network(
        "a = MatMul(x, w) y = MatMul(a, w)", "float[1,16] x", "float[1,16] y", w=(16, 16)
    )

    found = profile(model, {})

    assert [operator.shared for operator in found.operators] == [False, True]
    assert found.totals["parameters"].value == 256
    assert found.totals["macs"].value == 512


def test_weights_beside_a_shared_one_and_in_constants_are_counted():
    model = network(
        "k = Constant <value = float[4] {1.0, 2.0, 3.0, 4.0}> () a = Gemm(x, w, b) "
        "c = Gemm(a, w, d) y = Add(c, k)",
        "float[1,4] x", "float[1,4] y", w=(4, 4), b=(4,), d=(4,),
    )  # fmt: skip

    found = profile(model, {})

    assert found.totals["parameters"].value == 16 + 4 + 4 + 4


def test_the_peak_is_where_input_and_output_of_the_widest_operator_live():
    body = "a = Relu(x) b = Flatten(a) c = Relu(b) y = Add(c, c)"
    model = network(body, "float[1,10,10] x", "float[1,100] y")

    found = profile(model, {})

    # While the second Relu runs, c and a, whose storage b has, are alive.
    assert found.totals["peak_activation_bytes"].value == 400 + 400


def simulated_peak(graph, sizes):
    """Every moment on its own: what was made, and is read now or later, or is an output."""
    home = {}
    for value in graph.inputs:
        home[value.name] = value.name
    order = list(graph)
    for node in order:
        for value in node.outputs:
            view = node.op_type in VIEWS
            home[value.name] = (
                home.get(node.inputs[0].name, node.inputs[0].name) if view else value.name
            )
    worst = 0
    for now in range(len(order)):
        made = {v.name for v in graph.inputs} | {
            v.name for n in order[: now + 1] for v in n.outputs
        }
        needed = {v.name for n in order[now:] for v in n.inputs if v is not None}
        needed |= {v.name for v in graph.outputs} | {v.name for v in order[now].outputs}
        alive = {home[name] for name in made & needed if name in home}
        worst = max(worst, sum(sizes.get(name, 0) for name in alive))
    return worst


def test_the_peak_of_the_zoo_equals_that_of_an_independent_simulator():
    model = load(zoo.model_path("fashion"))
    shapes = infer_shapes(model, {"image": (1, 1, 28, 28)})
    values = [v for node in nodes(model.graph) for v in node.outputs] + list(
        model.graph.graph.inputs
    )
    sizes = {v.name: 4 * int(np.prod(shapes[v.name])) for v in values}

    peak, where = peak_activation(model.graph.graph, sizes)

    assert peak == simulated_peak(model.graph.graph, sizes)
    assert where


def test_the_zoo_has_the_counts_that_its_training_script_states():
    found = profile(load(zoo.model_path("fashion")), {"image": (1, 1, 28, 28)})

    assert round(found.totals["macs"].value / 1e6, 2) == 10.94
    assert found.totals["size"].value == zoo.model_path("fashion").stat().st_size
