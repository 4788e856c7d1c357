"""Integer arithmetic with fixed ranges: grids, biases, what stays in float and why."""

from itertools import pairwise

import numpy as np
import onnx_ir as ir
import pytest

from packlight.compression import compress
from packlight.compression.calibration_data import uses_data
from packlight.compression.qdq.integer_weights import excess, hold_pairs, in_pairs
from packlight.errors import RecipeError
from packlight.model import initializers, nodes, to_bytes
from packlight.presentation.changes import describe_refusal
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session, saturation
from packlight.runtime.calibration import Calibrator
from packlight.runtime.kernel_sums import may_saturate
from packlight.testing import NETWORKS, make_case, sample_calls
from packlight.testing.cases import EXACT
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info

STATIC = parse_recipe("static")


def running(samples):
    """Runs some samples."""
    return Calibrator(samples, EXACT)


def stored(model):
    return {value.name: value.const_value.numpy() for value in initializers(model.graph)}


def by_kind(model, op):
    return [node for node in nodes(model.graph) if node.op_type == op]


def convolution(weight, bias):
    net = Sketch(17)
    value = net.add("Conv", "x", net.keep(weight), net.keep(bias, "bias"))
    dims = ["n", weight.shape[1], 6, 6]
    return net.model("convolution", [value_info("x", dims)], {value: ["n", len(weight), 4, 4]})


@pytest.mark.parametrize("name", ["gemms-13", "residual-17", "depthwise-13", "branches-16"])
def test_activations_are_uint8_weights_int8_and_biases_int32(name):
    made = make_case(NETWORKS[name](), STATIC).result

    arrays = stored(made.model)
    for node in by_kind(made.model, "QuantizeLinear"):
        assert arrays[node.inputs[2].name].dtype == np.uint8
        assert arrays[node.inputs[1].name] > 0
    codes = {key: array.dtype for key, array in arrays.items() if key.endswith(".codes")}
    assert codes
    assert {str(kind) for key, kind in codes.items() if ".bias." in key} <= {"int32"}
    assert {str(kind) for key, kind in codes.items() if ".bias." not in key} == {"int8"}


def test_an_output_that_is_listed_twice_is_the_restored_one_both_times():
    net = Sketch(17)
    value = net.add("Conv", "x", net.keep(np.ones((4, 3, 3, 3), np.float32)))
    dims = [[value_info("x", ["n", 3, 6, 6])], {value: ["n", 4, 4, 4]}]
    model = net.model("twice", *dims)
    model.graph.graph.outputs.append(model.graph.graph.outputs[0])

    made = make_case(model, STATIC).result

    outputs = list(made.model.graph.graph.outputs)
    assert [output.name for output in outputs] == [value, value]
    assert outputs[0] is outputs[1]
    assert outputs[0].producer().op_type == "DequantizeLinear"


def test_the_step_of_a_bias_is_the_product_of_both_scales():
    made = make_case(NETWORKS["residual-17"](), STATIC).result
    arrays = stored(made.model)
    checked = 0

    for node in by_kind(made.model, "Conv") + by_kind(made.model, "Gemm"):
        if len(node.inputs) < 3:
            continue
        scales = [arrays[value.producer().inputs[1].name] for value in node.inputs]
        np.testing.assert_array_equal(scales[2], scales[0] * scales[1])
        assert arrays[node.inputs[2].producer().inputs[0].name].dtype == np.int32
        checked += 1

    assert checked == 3


@pytest.mark.parametrize(("bits", "top"), [(7, 63), (8, 127)])
def test_weights_stay_within_their_bits(bits, top):
    plain = "rounding=nearest,portable=false"
    made = make_case(
        NETWORKS["residual-17"](), parse_recipe(f"static:{bits},search=minmax,{plain}")
    ).result

    codes = [a for key, a in stored(made.model).items() if key.endswith(".codes") and a.ndim > 1]
    assert len(codes) == 3
    assert all(np.abs(array.astype(int)).max() == top for array in codes)


def test_the_file_is_about_a_quarter():
    net = Sketch(17)
    value = net.add("Relu", net.add("Conv", "x", net.weight(32, 16, 3, 3), net.weight(32)))
    value = net.add("Conv", value, net.weight(64, 32, 3, 3), net.weight(64))
    model = net.model("wide", [value_info("x", ["n", 16, 6, 6])], {value: ["n", 64, 2, 2]})

    made = make_case(model, STATIC).result

    assert len(to_bytes(made.model)) < 0.3 * len(to_bytes(model))
    assert sum(change.after for change in made.changes) < len(to_bytes(made.model))


def test_the_runtime_computes_in_integers(tmp_path):
    import onnxruntime

    made = make_case(NETWORKS["residual-17"](), STATIC).result
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(to_bytes(made.model), options, providers=["CPUExecutionProvider"])

    kinds = [node.op_type for node in ir.load(tmp_path / "optimized.onnx").graph]
    assert kinds.count("QLinearConv") == 2
    assert "Conv" not in kinds
    assert "BatchNormalization" in kinds or "QLinearAdd" in kinds


@pytest.mark.parametrize("step", [1e-12, 1e-30, 1e-45])
def test_a_bias_survives_weights_that_are_all_but_zero(step):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 8, 3, 3)).astype(np.float32) / 9
    weight[3] = step
    bias = np.zeros(8, np.float32)
    bias[3] = 1.0

    case = make_case(convolution(weight, bias), STATIC)

    (found,) = open_session(case.result.model, EXACT).run(case.calls[0]).values()
    (scale,) = [a for key, a in stored(case.result.model).items() if key == "conv_2.out.scale"]
    assert np.abs(found[:, 3] - 1).max() <= scale


def test_operators_that_share_a_weight_keep_their_own_biases():
    net = Sketch(17)
    weight = net.array(8, 8, 1, 1)
    weight[3] = 1e-12
    kept, biases = net.keep(weight), np.zeros((2, 8), np.float32)
    biases[0, 3], biases[1, 3] = 1.0, 0.001
    value = net.add("Relu", net.add("Conv", "x", kept, net.keep(biases[0])))
    value = net.add("Conv", value, kept, net.keep(biases[1]))
    model = net.model("shared", [value_info("x", ["n", 8, 6, 6])], {value: ["n", 8, 6, 6]})

    case = make_case(model, STATIC)

    (expected,) = open_session(model, EXACT).run(case.calls[0]).values()
    for options in (EXACT, SessionOptions()):
        (found,) = open_session(case.result.model, options).run(case.calls[0]).values()
        assert signal_to_noise(expected, found) > 25


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bias_that_is_not_finite_is_refused(bad):
    bias = np.zeros(8, np.float32)
    bias[2] = bad
    model = convolution(np.ones((8, 8, 3, 3), np.float32), bias)

    made = make_case(model, STATIC).result

    assert [refusal.operator for refusal in made.refusals] == ["conv_2"]
    assert made.refusals[0].code == "not-finite"
    assert to_bytes(made.model) == to_bytes(model)


@pytest.mark.parametrize("shape", [(24,), (1, 24), (1,), ()])
def test_biases_of_every_shape_that_gemm_takes_work(shape):
    net = Sketch(17)
    value = net.add(
        "Gemm", "x", net.weight(32, 24, fan_in=32), net.keep(np.full(shape, 0.5, np.float32))
    )
    model = net.model("gemm", [value_info("x", ["n", 32])], {value: ["n", 24]})

    case = make_case(model, STATIC)

    (expected,), (found,) = (
        open_session(m, EXACT).run(case.calls[0]).values() for m in (model, case.result.model)
    )
    assert np.abs(found - expected).max() < 0.1
    for options in (SessionOptions(), EXACT):
        open_session(case.result.model, options).run(case.calls[0])


@pytest.mark.parametrize(
    ("network", "operator", "code"),
    [
        ("lstm-13", "lstm_3", "no-kernel"),
        ("gru-21", "gru_3", "no-kernel"),
        ("upsampling-17", "convtranspose_4", "no-kernel"),
        ("embedding-21", "gather_1", "no-kernel"),
        ("gemms-13", "gemm_9", "unsupported-attributes"),
        ("attention-17", "matmul_13", "computed-weight"),
        ("published-17", "matmul_1", "model-output"),
        ("defaults-13", "matmul_1", "model-input"),
    ],
)
def test_what_has_no_integer_kernel_stays_in_float_with_a_reason(network, operator, code):
    made = make_case(NETWORKS[network](), STATIC).result

    refusals = [refusal for refusal in made.refusals if refusal.operator == operator]
    assert code in {refusal.code for refusal in refusals}, made.refusals
    assert all(refusal.reason for refusal in refusals)


def test_operators_in_bodies_compute_in_integers():
    made = make_case(NETWORKS["branches-16"](), STATIC).result

    assert {"then.conv_0", "else.conv_1", "matmul_4"} <= {c.operator for c in made.changes}
    for body in made.model.graph.graph.subgraphs():
        (conv,) = [node for node in body if node.op_type == "Conv"]
        assert all(value.producer().op_type == "DequantizeLinear" for value in conv.inputs)


@pytest.mark.parametrize(("taken", "other"), [(True, "else.conv_1"), (False, "then.conv_0")])
def test_a_body_that_no_sample_reaches_is_refused_and_stays_as_it_was(taken, other):
    model = NETWORKS["branches-16"]()
    calls = [{**call, "choice": np.array(taken)} for call in sample_calls(model)]
    runs = running([[call] for call in calls])

    made = compress(model, parse_recipe("static,where=conv"), runs)

    (refusal,) = [refusal for refusal in made.refusals if refusal.operator == other]
    assert refusal.code == "no-samples"
    assert refusal.remedy
    assert other not in {change.operator for change in made.changes}
    old, new = open_session(model, EXACT), open_session(made.model, EXACT)
    untried = {**calls[0], "choice": np.array(not taken)}
    (expected,), (found,) = old.run(untried).values(), new.run(untried).values()
    assert signal_to_noise(expected, found) > 15


def test_without_samples_the_method_says_what_it_needs():
    with pytest.raises(
        RecipeError, match="'static' looks at calibration samples and the task has none"
    ):
        compress(NETWORKS["perceptron-21"](), STATIC)


@pytest.mark.parametrize(
    ("recipe", "needs"),
    [
        ("static", True),
        ("simplify+static", True),
        ("simplify+weights:8+float16", False),
        ("original", False),
    ],
)
def test_only_recipes_that_look_at_samples_ask_for_them(recipe, needs):
    assert uses_data(parse_recipe(recipe)) is needs


def test_a_percentile_gives_finer_steps_than_the_widest_values():
    def steps(recipe):
        arrays = stored(make_case(NETWORKS["residual-17"](), parse_recipe(recipe)).result.model)
        return arrays["x.scale"]

    assert steps("static,range=percentile,percentile=90.0") < steps("static")


@pytest.mark.parametrize("percentile", [50.0, 100.5, 0.1])
def test_a_percentile_out_of_range_is_refused(percentile):
    with pytest.raises(RecipeError, match="above 50 and at most 100"):
        compress(NETWORKS["perceptron-21"](), parse_recipe(f"static,percentile={percentile}"))


def test_ranges_are_seen_behind_the_steps_before():
    model = NETWORKS["residual-17"]()

    plain, after = (
        make_case(model, parse_recipe(r)).result
        for r in ("static", "weights:4,block=16,where=gemm+static")
    )

    assert stored(plain.model)["x.scale"] == stored(after.model)["x.scale"]
    assert any(refusal.method == "static" for refusal in after.refusals)
    assert {change.method for change in after.changes} == {"weights", "static"}


def test_a_value_without_any_spread_gets_a_grid_too():
    model = convolution(np.ones((8, 8, 3, 3), np.float32), np.ones(8, np.float32))
    calls = [{"x": np.zeros((1, 8, 6, 6), np.float32)}]
    runs = running([calls])

    made = compress(model, STATIC, runs)

    (found,) = open_session(made.model, EXACT).run(calls[0]).values()
    np.testing.assert_allclose(found, 1, atol=0.01)


def carried_by_float(made):
    return {refusal.operator: refusal.code for refusal in made.refusals}


def test_ends_and_named_operators_stay_in_float_and_say_why():
    made = make_case(
        NETWORKS["residual-17"](), parse_recipe("static,first=float,last=float,skip=add_.*")
    ).result

    codes = carried_by_float(made)

    (conv,) = [node for node in by_kind(made.model, "Conv") if "DequantizeLinear" in maker(node)]
    assert sorted(codes.values()) == [
        "first-operator",
        "last-operator",
        "skipped",
    ]
    assert str(conv.name) not in codes


def plain(sizes, pixels=8):
    """Convolutions of 3 x 3 one after another."""
    net = Sketch(17)
    value = "x"
    for before, after in pairwise(sizes):
        value = net.add("Conv", value, net.weight(after, before, 3, 3), pads=[1] * 4)
        value = net.add("Relu", value)
    shape = [1, sizes[0], pixels, pixels]
    return net.model("plain", [value_info("x", shape)], {value: [1, sizes[-1], pixels, pixels]})


@pytest.mark.parametrize(
    ("sizes", "recipe", "words"),
    [
        ((3, 16, 16), "static,first=float", ": 16% of the arithmetic that integers could do"),
        ((3, 16, 4), "static,first=float", ": 43% of the arithmetic that integers could do"),
        ((3, 16, 4), "static,last=float", ": 57% of the arithmetic that integers could do"),
        ((3, 16), "static,first=float", ": so does every operator that could compute in integers"),
    ],
)
def test_an_end_that_stays_in_float_says_what_that_costs(sizes, recipe, words):
    made = make_case(plain(sizes), parse_recipe(recipe)).result

    (refusal,) = made.refusals
    assert words in describe_refusal(refusal)


def maker(node):
    return node.inputs[1].producer().op_type if node.inputs[1].producer() else ""


def test_a_skip_that_is_no_regular_expression_is_refused():
    with pytest.raises(RecipeError, match="no regular expression"):
        make_case(NETWORKS["residual-17"](), parse_recipe("static,skip=("))


def test_parts_that_only_a_concat_reads_have_the_scale_of_the_whole():
    net = Sketch(17)
    parts = [
        net.add("Relu", net.add("Conv", "x", net.weight(8, 4, 1, 1), net.weight(8)))
        for _ in range(2)
    ]
    value = net.add("Conv", net.add("Concat", *parts, axis=1), net.weight(8, 16, 1, 1))
    model = net.model("concat", [value_info("x", ["n", 4, 6, 6])], {value: ["n", 8, 6, 6]})

    made = make_case(model, STATIC).result

    (concat,) = by_kind(made.model, "Concat")
    arrays = stored(made.model)
    values = [*concat.inputs, next(iter(concat.outputs[0].consumers())).outputs[0]]
    scales = {float(arrays[value.producer().inputs[1].name]) for value in values}
    assert len(scales) == 1


def test_portable_weights_keep_more_than_7_bits_and_never_saturate():
    random = np.random.default_rng(0)
    weight = (random.standard_normal((16, 16, 3, 3)) / 12).astype(np.float32)
    model = convolution(weight, random.standard_normal(16).astype(np.float32))
    kept = {}

    for recipe in ("static", "static,portable=false", "static:7,portable=false"):
        case = make_case(model, parse_recipe(recipe + ",rounding=nearest,bias=false"))
        (expected,) = open_session(model, EXACT).run(case.calls[0]).values()
        (found,) = open_session(case.result.model, EXACT).run(case.calls[0]).values()
        (one,) = saturation(case.result.model, [[call] for call in case.calls])
        kept[recipe] = signal_to_noise(expected, found), one.safe

    assert [safe for _, safe in kept.values()] == [True, False, True]
    assert kept["static:7,portable=false"][0] < kept["static"][0]


@pytest.mark.parametrize("seed", range(5))
def test_held_codes_are_the_nearest_that_are_safe(seed):
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (6, 9)).astype(np.float32)

    safe = hold_pairs(codes)

    np.testing.assert_array_equal(safe, np.rint(safe))
    assert not may_saturate(safe.T.astype(np.int8)).any()
    change = np.abs(in_pairs(safe) - in_pairs(codes)).sum(axis=-1)
    np.testing.assert_array_equal(change, np.abs(excess(in_pairs(codes))))
