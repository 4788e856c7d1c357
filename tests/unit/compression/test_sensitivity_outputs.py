"""What is compared where a model has no real output besides its state."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from packlight.compression import compress
from packlight.compression.bit_allocation.sensitivity_outputs import sensitivity_outputs
from packlight.errors import RecipeError
from packlight.model import to_bytes
from packlight.records import parse_recipe
from packlight.runtime.calibration import Calibrator
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info

ROWS, WIDTH, LAYERS, SAMPLES, STEPS = 4, 32, 4, 12, 3


def layers(net, value):
    """Products whose errors reach the end in unlike measure."""
    for layer in range(LAYERS):
        weight = net.keep(net.array(WIDTH, WIDTH, fan_in=WIDTH) * np.float32(0.5 + layer))
        value = net.add("Tanh", net.add("MatMul", value, weight))
    return value


def drawn(net, outputs, inputs=("x",)):
    """The model, with outputs by name of a type and shape."""
    shapes = {name: shape for name, (_, shape) in outputs.items()}
    model = net.model("drawn", [value_info(name, [ROWS, WIDTH]) for name in inputs], shapes)
    for value in model.graph.graph.outputs:
        value.type = ir.TensorType(outputs[value.name][0])
    onnx.checker.check_model(to_bytes(model), full_check=True)
    return model


def widths(model, state):
    """Of the weights, in the order they run."""
    return [change.storage.bits for change in changes(model, state)]


def changes(model, state, recipe="weights,mixed=4.5,rounding=gptq"):
    """What is done to the weights, in the order they run."""
    random = np.random.default_rng(0)
    fed = [name for name in model.inputs() if name not in state.values()]
    calls = random.standard_normal((SAMPLES, STEPS, ROWS, WIDTH)).astype(np.float32)
    begin = {into: np.zeros((ROWS, WIDTH), np.float32) for into in state.values()}
    samples = [
        [dict.fromkeys(fed, one) | (begin if step == 0 else {}) for step, one in enumerate(steps)]
        for steps in calls
    ]
    calibrator = Calibrator(samples, EXACT, state=state)
    return compress(model, parse_recipe(recipe), calibrator).changes


def classifier(last):
    """Scores, and what the model gives of them."""
    net = Sketch(17)
    scores = layers(net, "x")
    if last == "ArgMax":
        result = net.add("ArgMax", scores, axis=1, keepdims=0)
        return drawn(net, {result: (ir.DataType.INT64, [ROWS])}), scores
    if last == "Cast":
        ranks = net.add("ArgMax", scores, axis=1, keepdims=0)
        result = net.add("Cast", ranks, to=ir.DataType.INT32)
        return drawn(net, {result: (ir.DataType.INT32, [ROWS])}), scores
    if last == "Greater":
        result = net.add("Greater", scores, net.keep(np.zeros(1, np.float32)))
        return drawn(net, {result: (ir.DataType.BOOL, [ROWS, WIDTH])}), scores
    if last == "If":
        two = [Sketch(17, prefix=name) for name in ("then", "else")]
        bodies = []
        for body in two:
            found = body.add("ArgMax", scores, axis=1, keepdims=0)
            graph = body.body(found, [ROWS])
            graph.output[0].type.tensor_type.elem_type = ir.DataType.INT64
            bodies.append(graph)
        always = net.keep(np.array(True))
        result = net.add("If", always, then_branch=bodies[0], else_branch=bodies[1])
        return drawn(net, {result: (ir.DataType.INT64, [ROWS])}), scores
    assert last == "none"
    return drawn(net, {scores: (ir.DataType.FLOAT, [ROWS, WIDTH])}), scores


@pytest.mark.parametrize("last", ["ArgMax", "Cast", "Greater", "If"])
def test_whole_numbers_are_judged_by_the_scores_that_they_are_made_of(last):
    model, scores = classifier(last)
    plain, _ = classifier("none")

    assert sensitivity_outputs(model.graph, ()) == [scores]
    assert widths(model, {}) == widths(plain, {})


def remembering(*, again):
    """A model that gives its state alone, or the same once more as an output."""
    net = Sketch(17)
    after = layers(net, net.add("Add", "x", "state"))
    outputs = {after: (ir.DataType.FLOAT, [ROWS, WIDTH])}
    if again:
        outputs[net.add("Identity", after)] = outputs[after]
    return drawn(net, outputs, ("x", "state")), {after: "state"}


def test_a_model_that_gives_its_state_alone_is_judged_by_it():
    alone, both = remembering(again=False), remembering(again=True)

    found = widths(*alone)

    assert found == widths(*both)
    assert len(set(found)) > 1


def test_real_outputs_that_are_not_fed_again_are_compared_alone():
    net = Sketch(17)
    state = layers(net, "x")
    real = net.add("Relu", state)
    rank = net.add("ArgMax", state, axis=1, keepdims=0)
    model = drawn(
        net,
        {
            state: (ir.DataType.FLOAT, [ROWS, WIDTH]),
            real: (ir.DataType.FLOAT, [ROWS, WIDTH]),
            rank: (ir.DataType.INT64, [ROWS]),
        },
    )

    assert sensitivity_outputs(model.graph, {state}) == [real]


def test_a_model_whose_outputs_follow_from_no_real_value_is_refused_in_words():
    net = Sketch(17)
    result = net.add("Shape", layers(net, "x"))
    model = drawn(net, {result: (ir.DataType.INT64, [2])})

    with pytest.raises(RecipeError, match="leave mixed= out, so that all weights get one width"):
        widths(model, {})


@pytest.mark.parametrize("method", ["weights", "palette"])
def test_a_weight_that_moves_nothing_that_is_compared_is_said_to_have_the_mean_width(method):
    net = Sketch(17)
    real = layers(net, "x")
    rank = net.add("ArgMax", net.add("MatMul", "x", net.weight(WIDTH, WIDTH)), axis=1, keepdims=0)
    model = drawn(
        net,
        {
            real: (ir.DataType.FLOAT, [ROWS, WIDTH]),
            rank: (ir.DataType.INT64, [ROWS]),
        },
    )

    *moving, still = changes(model, {}, f"{method},mixed=4.3")

    assert [note.code for note in still.storage.notes] == ["no-sensitivity"]
    assert still.storage.bits == 4
    assert len(moving) == LAYERS
    assert not any(change.storage.notes for change in moving)
