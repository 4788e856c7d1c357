"""Weights that several operators read are stored once in integers, and counted once."""

import numpy as np
import pytest

from packlight.compression import compress
from packlight.model import file_size
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.runtime.calibration import Calibrator
from packlight.testing import sample_calls
from packlight.testing.cases import EXACT
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info

WIDTH = 48


def kernels_of_eight(opset=17):
    """A kernel that eight convolutions read, each behind an input of another size."""
    net = Sketch(opset)
    kernel = net.weight(64, 32, 3, 3)
    value = net.add("Conv", "x", net.weight(32, 4, 1, 1))
    results = []
    for octave in range(8):
        scaled = net.add("Mul", value, net.keep(np.float32([2.0**-octave])))
        bias = net.keep(net.array(64))
        results.append(net.add("Conv", scaled, kernel, bias, pads=[1, 1, 1, 1]))
    result = net.add("Concat", *results, axis=1)
    return net.model("octaves", [value_info("x", ["n", 4, 6, 6])], {result: ["n", 512, 6, 6]})


def unrolled(op, steps=5, opset=17, **attributes):
    """One matrix that every step of an unrolled loop reads."""
    net = Sketch(opset)
    matrix = net.weight(WIDTH, WIDTH, fan_in=WIDTH)
    value = "x"
    for _ in range(steps):
        value = net.add("Tanh", net.add(op, value, matrix, **attributes))
    return net.model("unrolled", [value_info("x", ["n", WIDTH])], {value: ["n", WIDTH]})


def read_in_two_branches():
    net = Sketch(17)
    matrix = net.weight(WIDTH, WIDTH, fan_in=WIDTH)
    bodies = {}
    for op in ("Relu", "Neg"):
        body = Sketch(17, prefix=op)
        bodies[op] = body.body(body.add(op, body.add("MatMul", "x", matrix)), ["n", WIDTH])
    value = net.add("If", "truth", then_branch=bodies["Relu"], else_branch=bodies["Neg"])
    inputs = [value_info("x", ["n", WIDTH]), value_info("truth", [], 9)]
    return net.model("branches", inputs, {value: ["n", WIDTH]})


SHARED = {
    "kernels": kernels_of_eight,
    "products": lambda: unrolled("MatMul"),
    "gemms": lambda: unrolled("Gemm"),
    "turned gemms": lambda: unrolled("Gemm", transB=1),
    "branches": read_in_two_branches,
}


def compressed(model, recipe):
    return compress(model, parse_recipe(recipe), Calibrator([[f] for f in sample_calls(model)]))


def stored_bytes(model):
    return sum(v.const_value.nbytes for v in model.graph.graph.initializers.values())


def decibels(model, other):
    feeds = sample_calls(model, seed=3)[0]
    pair = (next(iter(open_session(m, EXACT).run(feeds).values())) for m in (model, other))
    return signal_to_noise(*pair)


@pytest.mark.parametrize("recipe", ["static", "static,rounding=gptq", "dynamic", "weights:8"])
@pytest.mark.parametrize("name", SHARED)
def test_a_shared_weight_is_stored_once_and_counted_once(name, recipe):
    model = SHARED[name]()

    made = compressed(model, recipe)

    assert file_size(made.model.graph) <= file_size(model.graph)
    before = sum(change.before for change in made.changes)
    after = sum(change.after for change in made.changes)
    assert before <= stored_bytes(model)
    assert after <= stored_bytes(made.model)
    if made.changes:
        kept = stored_bytes(model) - before
        small = stored_bytes(made.model) - after - kept
        assert small <= 0.1 * stored_bytes(model), "what the table does not count is small"
        assert decibels(model, made.model) > 20


@pytest.mark.parametrize("recipe", ["static", "dynamic"])
@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_every_step_of_an_unrolled_loop_computes_in_integers(op, recipe):
    made = compressed(unrolled(op), recipe)

    integers = [change for change in made.changes if change.storage.rounding is not None]
    assert len(integers) == 5
    assert [change.before > 0 for change in integers] == [True, False, False, False, False]


@pytest.mark.parametrize("recipe", ["static", "dynamic", "static,skip=matmul_2"])
def test_a_weight_that_is_read_in_float_too_stays_float(recipe):
    net = Sketch(17)
    matrix = net.weight(WIDTH, WIDTH)
    first = net.add("MatMul", "x", matrix)
    second = net.add("MatMul", net.add("Tanh", first), matrix)
    if "skip" not in recipe:
        second = net.add("Add", second, net.add("ReduceMax", matrix, axes=[0], keepdims=0))
    model = net.model("both", [value_info("x", ["n", WIDTH])], {second: ["n", WIDTH]})
    names = [node.name for node in model.graph.graph if node.op_type == "MatMul"]
    recipe = recipe.replace("matmul_2", names[1])

    made = compressed(model, recipe)

    assert file_size(made.model.graph) <= file_size(model.graph) + 600
    assert not [change for change in made.changes if change.before]
    assert "shared" in {refusal.code for refusal in made.refusals}
