"""LSTMs that multiply in integers, by ONNX Runtime's own operator."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from packlight.compression import compress
from packlight.model import nodes, to_bytes
from packlight.presentation.changes import describe_refusal
from packlight.profiling import profile
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session, saturation
from packlight.testing import make_case
from packlight.testing.cases import EXACT
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info

STEPS, BATCH, INPUTS, HIDDEN = 9, 3, 20, 24
WAYS = {"forward": 1, "reverse": 1, "bidirectional": 2}
RUNTIME = SessionOptions(threads=1)


def lstm(way="forward", *, states=False, bias=True, opset=17, gates=4, kind="LSTM", **attributes):
    """A recurrent operator with all its outputs."""
    net = Sketch(opset)
    ways = WAYS[way]
    inputs = ["x", net.weight(ways, gates * HIDDEN, INPUTS, fan_in=INPUTS)]
    inputs.append(net.weight(ways, gates * HIDDEN, HIDDEN, fan_in=HIDDEN))
    inputs.append(net.keep(net.array(ways, 2 * gates * HIDDEN)) if bias else "")
    given = [value_info("x", [STEPS, BATCH, INPUTS])]
    results = {"all": [STEPS, ways, BATCH, HIDDEN], "last": [ways, BATCH, HIDDEN]}
    if kind == "LSTM":
        results["cell"] = [ways, BATCH, HIDDEN]
    if states:
        given += [value_info(name, [ways, BATCH, HIDDEN]) for name in ("h", "c")]
        inputs += ["", "h", "c"]
    net.nodes.append(
        helper.make_node(
            kind, inputs, list(results), name="rec", hidden_size=HIDDEN, direction=way, **attributes
        )
    )
    return net.model("recurrent", given, results)


def kinds(model):
    return [node.op_type for node in nodes(model.graph)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [{"states": True}, {"bias": False}])
@pytest.mark.parametrize("recipe", ["dynamic", "dynamic:7,per=tensor", "dynamic,rounding=gptq"])
def test_an_lstm_becomes_one_integer_operator_that_the_runtime_computes_as_stated(
    way, options, recipe
):
    case = make_case(lstm(way, **options), parse_recipe(recipe))
    made = case.result.model

    assert kinds(made) == ["DynamicQuantizeLSTM"]
    assert [change.operator for change in case.result.changes] == ["rec", "rec"]
    kept = {refusal.code for refusal in case.result.refusals}
    assert kept <= {"no-kernel"}, "biases and states of 256 numbers and more stay, and are named"
    exact, runtime, float_session = (
        open_session(made, EXACT), open_session(made, RUNTIME), open_session(case.model, EXACT)
    )  # fmt: skip
    assert exact.inexact == ()
    for feeds in case.calls:
        stated = exact.run(feeds)
        computed = runtime.run(feeds)
        expected = float_session.run(feeds)
        for name, value in stated.items():
            np.testing.assert_allclose(computed[name], value, atol=2e-6)
            assert signal_to_noise(expected[name], value) > 25


def quantized(value):
    """Codes of DynamicQuantizeLinear as the real numbers that they stand for."""
    low, high = min(0.0, float(value.min())), max(0.0, float(value.max()))
    scale = np.float32((np.float32(high) - np.float32(low)) / np.float32(255)) or np.float32(1)
    zero = np.clip(np.rint(np.float32(0) - np.float32(low) / scale), 0, 255)
    codes = np.clip(np.rint(value / scale) + zero, 0, 255)
    return (codes - zero) * np.float64(scale)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def test_the_reference_is_the_recurrence_with_codes_at_every_step():
    case = make_case(lstm(), parse_recipe("dynamic"))
    stored = {
        name: value.const_value.numpy().astype(np.float64)
        for name, value in case.result.model.graph.graph.initializers.items()
    }
    codes = {name: array for name, array in stored.items() if name.endswith(".codes")}
    scales = {name: stored[name.removesuffix("codes") + "scale"] for name in codes}
    bias = next(array for array in stored.values() if array.shape == (1, 8 * HIDDEN))
    weights = {array.shape[1]: array[0] * scales[name][0] for name, array in codes.items()}
    x = case.calls[0]["x"]
    inputs = quantized(x) @ weights[INPUTS] + bias[0, : 4 * HIDDEN] + bias[0, 4 * HIDDEN :]
    state = cell = np.zeros((BATCH, HIDDEN))
    for step in range(STEPS):
        gates = inputs[step] + quantized(state.astype(np.float32)) @ weights[HIDDEN]
        inlet, outlet, forget, candidate = np.split(gates, 4, axis=1)
        cell = sigmoid(forget) * cell + sigmoid(inlet) * np.tanh(candidate)
        state = sigmoid(outlet) * np.tanh(cell)

    found = open_session(case.result.model, EXACT).run(case.calls[0])

    np.testing.assert_allclose(found["last"][0], state, atol=1e-5)
    np.testing.assert_allclose(found["cell"][0], cell, atol=1e-5)


def test_weights_take_a_quarter_and_saturate_nowhere():
    case = make_case(lstm(), parse_recipe("dynamic"))

    assert len(to_bytes(case.result.model)) < 0.45 * len(to_bytes(case.model))
    found = saturation(case.result.model, [[feeds] for feeds in case.calls])
    assert found
    assert all(one.safe for one in found)


@pytest.mark.parametrize(
    ("model", "recipe", "code", "words"),
    [
        (lstm, "dynamic,runtime=onnx", "no-kernel", "ONNX has no recurrent"),
        (lambda: lstm(kind="GRU", gates=3), "dynamic", "no-kernel", "times the time"),
        (lambda: lstm(kind="RNN", gates=1), "dynamic", "no-kernel", "neither ONNX nor"),
    ],
)
def test_what_stays_in_float_says_why(model, recipe, code, words):
    case = make_case(model(), parse_recipe(recipe))

    (refusal,) = case.result.refusals
    assert refusal.code == code
    assert words in describe_refusal(refusal)
    assert case.result.changes == ()
    assert to_bytes(case.result.model) == case.content


def test_a_batch_first_lstm_is_refused_before_anything_changes():
    net = Sketch(17)
    weights = [net.weight(1, 4 * HIDDEN, width, fan_in=width) for width in (INPUTS, HIDDEN)]
    net.nodes.append(
        helper.make_node(
            "LSTM", ["x", *weights], ["", "last"], name="rec", hidden_size=HIDDEN, layout=1
        )
    )
    model = net.model(
        "first", [value_info("x", [BATCH, STEPS, INPUTS])], {"last": [BATCH, 1, HIDDEN]}
    )

    made = compress(model, parse_recipe("dynamic"))

    assert [refusal.code for refusal in made.refusals] == ["unsupported-attributes"]
    assert kinds(made.model) == ["LSTM"]


def test_an_operator_with_one_unusable_weight_stays_whole():
    model = lstm()
    for value in model.graph.graph.initializers.values():
        array = value.const_value.numpy().copy()
        if array.shape == (1, 4 * HIDDEN, HIDDEN):
            array[0, 0, 0] = np.nan
            value.const_value = ir.Tensor(array, name=value.name)

    made = compress(model, parse_recipe("dynamic"))

    assert [refusal.code for refusal in made.refusals] == ["not-finite"]
    assert kinds(made.model) == ["LSTM"]


def test_lengths_of_sequences_have_no_exact_reference_and_that_is_said():
    net = Sketch(17)
    weights = [net.weight(1, 4 * HIDDEN, width, fan_in=width) for width in (INPUTS, HIDDEN)]
    net.nodes.append(
        helper.make_node(
            "LSTM", ["x", *weights, "", "lengths"], ["", "last"], name="rec", hidden_size=HIDDEN
        )
    )
    given = [
        value_info("x", [STEPS, BATCH, INPUTS]),
        value_info("lengths", [BATCH], TensorProto.INT32),
    ]
    model = net.model("lengths", given, {"last": [1, BATCH, HIDDEN]})

    made = compress(model, parse_recipe("dynamic")).model

    assert open_session(made, EXACT).inexact == ("DynamicQuantizeLSTM rec",)
    lengths = np.array([9, 4, 1], np.int32)
    x = np.random.default_rng(0).standard_normal((STEPS, BATCH, INPUTS)).astype(np.float32)
    one, other = (open_session(m, RUNTIME).run({"x": x, "lengths": lengths}) for m in (model, made))
    assert signal_to_noise(one["last"], other["last"]) > 25


def test_profile_and_layers_read_the_file():
    case = make_case(lstm("bidirectional"), parse_recipe("dynamic"))

    before, after = (profile(model, {}) for model in (case.model, case.result.model))

    (operator,) = after.operators
    assert operator.macs == before.operators[0].macs > 0
    assert operator.parameters == before.operators[0].parameters
