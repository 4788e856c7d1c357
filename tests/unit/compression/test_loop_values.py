"""Weights that converters carry through loops are weights of what the bodies compute."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.compression import compress
from packlight.model import Model, file_size, name_operators, name_values, nodes
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.runtime.calibration import Calibrator
from packlight.testing.cases import EXACT
from packlight.testing.laws import signal_to_noise

WIDTH = 32
FLOAT = TensorProto.FLOAT


def info(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def array(*shape):
    return (np.random.default_rng(len(shape)).standard_normal(shape) / 6).astype(np.float32)


def finished(nodes_, inputs, outputs, stored):
    tensors = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(nodes_, "loop", inputs, outputs, tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    model = ir.from_proto(proto)
    name_operators(model)
    name_values(model)
    return Model(model, "loop")


def loop(*, copied=False, read_after=False):
    """A Loop that carries its weight, a product with the same weight before, and an outer value."""
    body_nodes = [
        helper.make_node("Identity", ["going"], ["go_on"]),
        helper.make_node("MatMul", ["state", "kernel"], ["product"]),
        helper.make_node("Add", ["product", "outer"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["next"]),
    ]
    kept = "kernel"
    if copied:
        body_nodes.append(helper.make_node("Identity", ["kernel"], ["same"]))
        kept = "same"
    body = helper.make_graph(
        body_nodes,
        "body",
        [info("step", [], 7), info("going", [], 9), info("state", ["n", WIDTH]),
         info("kernel", [WIDTH, WIDTH])],
        [info("go_on", [], 9), info("next", ["n", WIDTH]), info(kept, [WIDTH, WIDTH])],
    )  # fmt: skip
    top = [
        helper.make_node("MatMul", ["x", "weight"], ["first"]),
        helper.make_node("Relu", ["first"], ["outer"]),
        helper.make_node("Loop", ["times", "", "first", "weight"], ["last", "after"], body=body),
        helper.make_node("MatMul", ["last", "after" if read_after else "weight"], ["y"]),
    ]
    stored = {"weight": array(WIDTH, WIDTH), "times": np.array(3)}
    return finished(top, [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], stored)


def scan():
    """A Scan that carries its weight beside a state."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "kernel"], ["product"]),
            helper.make_node("Add", ["product", "entry"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["next"]),
            helper.make_node("Identity", ["kernel"], ["same"]),
            helper.make_node("Identity", ["next"], ["shown"]),
        ],
        "body",
        [info("kernel", [WIDTH, WIDTH]), info("state", [1, WIDTH]), info("entry", [1, WIDTH])],
        [info("same", [WIDTH, WIDTH]), info("next", [1, WIDTH]), info("shown", [1, WIDTH])],
    )
    top = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["entries"]),
        helper.make_node(
            "Scan", ["weight", "start", "entries"], ["rest", "last", "all"], body=body,
            num_scan_inputs=1,
        ),
        helper.make_node("MatMul", ["last", "weight"], ["y"]),
    ]  # fmt: skip
    stored = {"weight": array(WIDTH, WIDTH), "start": array(1, WIDTH), "axes": np.array([1])}
    return finished(top, [info("x", ["n", WIDTH])], [info("y", [1, WIDTH])], stored)


MODELS = {
    "loop": loop,
    "loop that copies": lambda: loop(copied=True),
    "loop whose weight is read after it": lambda: loop(read_after=True),
    "scan": scan,
}
CALLS = [{"x": np.random.default_rng(seed).standard_normal((4, WIDTH)).astype(np.float32)}
         for seed in range(4)]  # fmt: skip


def compressed(model, recipe):
    return compress(model, parse_recipe(recipe), Calibrator([[feeds] for feeds in CALLS]))


def outputs(model):
    session = open_session(model, EXACT)
    return np.stack([next(iter(session.run(feeds).values())) for feeds in CALLS])


@pytest.mark.parametrize("name", MODELS)
def test_what_a_body_hands_on_unchanged_is_read_from_outside(name):
    model = MODELS[name]()

    made = compressed(model, "simplify")

    onnx.checker.check_model(ir.to_proto(made.model.graph), full_check=True)
    np.testing.assert_allclose(outputs(made.model), outputs(model), rtol=1e-5, atol=1e-5)
    products = [node for node in nodes(made.model.graph) if node.op_type == "MatMul"]
    assert {node.inputs[1].name for node in products} == {"weight"}
    assert file_size(made.model.graph) <= file_size(model.graph)


@pytest.mark.parametrize("recipe", ["static", "dynamic", "weights:8", "weights:8,rounding=gptq"])
@pytest.mark.parametrize("name", MODELS)
def test_weights_of_bodies_are_compressed_behind_simplify(name, recipe):
    model = MODELS[name]()

    made = compressed(model, f"simplify+{recipe}")

    changed = sum(change.before for change in made.changes)
    assert changed == 4 * WIDTH * WIDTH
    assert signal_to_noise(outputs(model), outputs(made.model)) > 25
    assert not made.refusals or "model-input" not in {r.code for r in made.refusals}


@pytest.mark.parametrize("recipe", ["static", "dynamic", "weights:8", "weights:8,rounding=gptq"])
@pytest.mark.parametrize("name", MODELS)
def test_a_carried_weight_alone_is_no_input_of_the_model(name, recipe):
    model = MODELS[name]()

    made = compressed(model, recipe)

    assert "model-input" not in {refusal.code for refusal in made.refusals}
    assert signal_to_noise(outputs(model), outputs(made.model)) > 25


def test_a_weight_that_changes_from_step_to_step_stays_carried():
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["go_on"]),
            helper.make_node("MatMul", ["state", "kernel"], ["next"]),
            helper.make_node("Mul", ["kernel", "half"], ["decayed"]),
        ],
        "body",
        [info("step", [], 7), info("going", [], 9), info("state", ["n", WIDTH]),
         info("kernel", [WIDTH, WIDTH])],
        [info("go_on", [], 9), info("next", ["n", WIDTH]), info("decayed", [WIDTH, WIDTH])],
    )  # fmt: skip
    top = [helper.make_node("Loop", ["times", "", "x", "weight"], ["y", "rest"], body=body)]
    stored = {"weight": array(WIDTH, WIDTH), "times": np.array(3), "half": np.float32([0.5])}
    model = finished(top, [info("x", ["n", WIDTH])], [info("y", ["n", WIDTH])], stored)

    made = compressed(model, "simplify")

    np.testing.assert_allclose(outputs(made.model), outputs(model), rtol=1e-5, atol=1e-5)
    assert not [change for change in made.changes if change.method == "weights"]
