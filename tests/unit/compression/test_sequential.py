"""Rounding in order: what weights are shown, what biases take up, what widths are chosen."""

import tracemalloc
from itertools import pairwise

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper
from scipy.signal import correlate

from packlight.compression import compress
from packlight.compression.bit_allocation.allocate import cheapest_widths
from packlight.compression.reconstruction.hessian import HessianObserver, observe_hessians
from packlight.compression.reconstruction.shrinkage import compensated_weight, shrunk_hessian
from packlight.compression.sites.weight_matrix import input_matrices, role_layout
from packlight.compression.sites.weight_roles import weight_roles
from packlight.compression.sites.weight_sites import Weight, WeightSite, weight_sites
from packlight.errors import RecipeError
from packlight.model import nodes, to_bytes
from packlight.records import parse_recipe
from packlight.runtime import open_session, stream
from packlight.runtime.calibration import Calibrator
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info


def running(calls):
    """Runs single calls."""
    return Calibrator([[feeds] for feeds in calls], EXACT)


def outputs(model, calls):
    session = open_session(model, EXACT)
    return [next(iter(session.run(feeds).values())) for feeds in calls]


def deep(width=32, layers=6):
    """Products with biases and activations between them."""
    net = Sketch(17)
    value = "x"
    for _ in range(layers):
        value = net.add("MatMul", value, net.keep(net.array(width, width, fan_in=width)))
        value = net.add("Add", value, net.keep(net.array(width)))
        value = net.add("Relu", value)
    return net.model("deep", [value_info("x", ["n", width])], {value: ["n", width]})


def correlated(count, width=32, seed=3):
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((width, width)) / np.sqrt(width)
    rows = random.standard_normal((count, 16, width)) @ mixing + 0.5
    return [{"x": part.astype(np.float32)} for part in rows]


def error(recipe, model, calls, test):
    made = compress(model, parse_recipe(recipe), running(calls)).model
    pairs = zip(outputs(model, test), outputs(made, test), strict=True)
    return sum(float(np.sum((a - b) ** 2, dtype=np.float64)) for a, b in pairs)


def test_feedback_in_order_beats_nearest_on_samples_it_has_not_seen():
    model, calls = deep(), correlated(60)

    plain = error("weights:4", model, calls, calls[:20])
    fed = error("weights:4,rounding=gptq", model, calls[20:], calls[:20])

    assert fed < 0.5 * plain


def test_biases_take_up_the_means_of_what_rounding_does():
    model, calls = deep(layers=1), correlated(40)
    made = compress(model, parse_recipe("weights:2,rounding=gptq,where=matmul"), running(calls))

    (add,) = [node for node in nodes(made.model.graph) if node.op_type == "Add"]
    (was,) = [node for node in nodes(model.graph) if node.op_type == "Add"]
    name, before = add.outputs[0].name, was.outputs[0].name
    new = np.mean(
        [v[name] for v in stream(made.model, [name], [[c] for c in calls], {}, EXACT)], (0, 1)
    )
    old = np.mean(
        [v[before] for v in stream(model, [before], [[c] for c in calls], {}, EXACT)], (0, 1)
    )

    np.testing.assert_allclose(new, old, atol=1e-4)


def test_without_bias_correction_biases_stay():
    model, calls = deep(layers=1), correlated(10)

    made = compress(model, parse_recipe("weights:2,rounding=gptq,bias=false"), running(calls))

    kept = {name for name in made.model.graph.graph.initializers if not name.startswith("weight_0")}
    for name in kept & set(model.graph.graph.initializers):
        np.testing.assert_array_equal(
            made.model.graph.graph.initializers[name].const_value.numpy(),
            model.graph.graph.initializers[name].const_value.numpy(),
        )


def first_role(model):
    """Of the first stored weight."""
    return next(s for s in weight_sites(model.graph) if isinstance(s, Weight)).roles[0]


WEIGHTED = ["residual-17", "depthwise-13", "upsampling-17", "gemms-13", "perceptron-21", "lstm-13"]


@pytest.mark.parametrize("network", WEIGHTED)
def test_a_weight_times_its_inputs_is_what_the_operator_gives(network):
    """Layout and inputs together: rows times inputs are the outputs, in some order."""
    model = NETWORKS[network]()
    calls = sample_calls(model)[:2]
    checked = 0
    for site in weight_sites(model.graph):
        if isinstance(site, Weight) and site.roles[0].node.op_type in ("Conv", "Gemm", "MatMul"):
            checked += agrees(model, site, calls)
    if network != "lstm-13":
        assert checked


def agrees(model, site, calls):
    role = site.roles[0]
    node, form = role.node, role_layout(role, site.shape)
    value = node.inputs[1 - role.index] if node.op_type == "MatMul" else node.inputs[0]
    names = [value.name, node.outputs[0].name]
    rows = form.matrices(site.read().astype(np.float64))
    for values in stream(model, names, [[feeds] for feeds in calls], {}, EXACT):
        seen = input_matrices(role, values[names[0]].astype(np.float32), lambda _: 10**9)
        given = rows @ np.swapaxes(seen, 1, 2)
        given = given * (node.attributes.get_float("alpha", 1.0) if node.op_type == "Gemm" else 1)
        found = values[names[1]].astype(np.float64)
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            given = given + bias_of(node).reshape(len(given), -1, 1)
        np.testing.assert_allclose(np.sort(given, axis=None), np.sort(found, axis=None), atol=2e-3)
    return 1


def bias_of(node):
    scale = node.attributes.get_float("beta", 1.0) if node.op_type == "Gemm" else 1.0
    bias = ir.convenience.get_const_tensor(node.inputs[2]).numpy() * scale
    return bias.astype(np.float64)


def test_patches_of_a_convolution_are_those_that_correlation_sees():
    model = NETWORKS["residual-17"]()
    role = next(role for role, _ in weight_roles(model.graph) if role.node.op_type == "Conv")
    value = np.random.default_rng(0).standard_normal((1, 3, 9, 9)).astype(np.float32)
    shape = ir.convenience.get_const_tensor(role.node.inputs[1]).shape.numpy()
    weight = np.random.default_rng(1).standard_normal(shape)
    if shape[1] != value.shape[1]:
        value = np.random.default_rng(0).standard_normal((1, shape[1], 9, 9)).astype(np.float32)

    seen = input_matrices(role, value, lambda _: 10**9)[0]

    mine = (seen @ weight.reshape(len(weight), -1).T).T
    inner = correlate(value[0].astype(np.float64), weight[0], mode="valid")
    assert np.isin(np.round(inner, 5), np.round(mine[0], 5)).mean() > 0.9


def test_moments_do_not_depend_on_how_many_wait_to_be_added():
    model = deep()
    role, calls = first_role(model), correlated(50)
    seen = HessianObserver(role)
    for feeds in calls:
        seen.update(feeds["x"])

    rows = np.concatenate([feeds["x"] for feeds in calls]).astype(np.float64)
    np.testing.assert_allclose(
        seen.hessian(centered=False)[0], rows.T @ rows / len(rows), rtol=1e-5
    )
    centred = np.cov(rows.T, bias=True)
    np.testing.assert_allclose(seen.hessian(centered=True)[0], centred, atol=1e-5)


def test_what_was_missed_goes_with_what_was_fed_as_numpy_says_in_calls_of_any_length():
    role = first_role(deep(width=128, layers=1))
    fed, meant = (
        np.concatenate([c["x"] for c in correlated(40, width=128, seed=seed)]) for seed in (3, 4)
    )
    seen = HessianObserver(role)
    for start, end in pairwise([0, 16, 144, 240, 250, 370, 498, 570, 640]):  # calls of any length
        seen.update_pair(fed[start:end], meant[start:end])

    gap, rows = (meant - fed).astype(np.float64), fed.astype(np.float64)
    about_zero = gap.T @ rows / len(rows)
    about_means = (gap - gap.mean(0)).T @ (rows - rows.mean(0)) / len(rows)
    np.testing.assert_allclose(seen.mean_gap()[0], gap.mean(0), atol=1e-5)
    np.testing.assert_allclose(seen.gap_products(centered=False)[0], about_zero, atol=1e-4)
    np.testing.assert_allclose(seen.gap_products(centered=True)[0], about_means, atol=1e-4)


def test_what_is_made_up_for_does_not_overshoot_where_few_inputs_go_together():
    role = first_role(deep(width=128, layers=1))
    random = np.random.default_rng(5)
    fed = random.standard_normal((20, 1)) * random.standard_normal((1, 128)).astype(np.float32)
    seen = HessianObserver(role)
    for row in fed.astype(np.float32):
        seen.update_pair(row[None], 1.2 * row[None])
    weight = random.standard_normal((1, 8, 128))

    gained = (compensated_weight(weight, seen, centered=False) - weight)[0] @ fed.T
    wanted = weight[0] @ (0.2 * fed).T

    share = np.sum(gained * wanted) / np.sum(wanted**2)
    assert 0.3 < share <= 1


def test_inputs_as_they_were_meant_miss_nothing():
    role = first_role(deep())
    seen = HessianObserver(role)
    for feeds in correlated(5):
        seen.update_pair(feeds["x"], feeds["x"].copy())

    assert not seen.gap_products(centered=True).size
    assert not seen.mean_gap().any()


def test_the_only_weight_has_nothing_to_make_up_for():
    model, calls = deep(layers=1), correlated(20)

    one, other = (
        compress(
            model, parse_recipe(f"weights:3,rounding=gptq,target={target}"), running(calls)
        ).model
        for target in ("float", "present")
    )

    assert to_bytes(one) == to_bytes(other)


def test_weights_that_make_up_for_those_before_them_lose_less_on_samples_not_seen():
    model, calls = deep(), correlated(200)
    recipe = "weights:3,rounding=gptq,target="

    present = error(f"{recipe}present", model, calls[40:], calls[:40])
    original = error(f"{recipe}float", model, calls[40:], calls[:40])

    assert original < 0.8 * present


def test_inputs_that_are_not_finite_are_left_out():
    role = first_role(deep())
    seen = HessianObserver(role)
    seen.update(np.full((4, 32), np.nan, np.float32))
    assert seen.calls == 0


def test_damped_moments_are_positive_definite_even_for_inputs_that_are_never_there():
    role = first_role(deep())
    seen = HessianObserver(role)
    seen.update(np.zeros((4, 32), np.float32))
    assert np.linalg.eigvalsh(shrunk_hessian(seen, 0.1, centered=False)[0]).min() > 0


def test_widths_are_the_best_of_all_that_keep_the_mean():
    random = np.random.default_rng(0)
    sizes = random.integers(100, 1000, 5)
    predicted = [{b: float(random.random() * 4.0**-b) for b in (2, 4, 8)} for _ in sizes]

    found = cheapest_widths(predicted, sizes, 4.0)

    every = np.array(np.meshgrid(*[(2, 4, 8)] * 5)).reshape(5, -1).T
    fits = every[(every @ sizes) <= 4.0 * sizes.sum()]
    costs = [sum(predicted[i][b] for i, b in enumerate(row)) for row in fits]
    assert np.dot(found, sizes) <= 4.0 * sizes.sum()
    assert sum(predicted[i][b] for i, b in enumerate(found)) <= min(costs) * 1.001


def test_a_mean_below_the_least_width_takes_the_least():
    assert cheapest_widths([{2: 1.0, 4: 0.1}, {3: 1.0}], np.array([10, 10]), 1.0) == [2, 3]


def test_mixed_widths_spend_the_mean_and_beat_the_uniform_width():
    model, calls = deep(layers=4), correlated(40)
    recipe = "weights,mixed=4.5,rounding=gptq"

    made = compress(model, parse_recipe(recipe), running(calls))

    widths = [change.storage.bits for change in made.changes]
    assert np.mean(widths) <= 4.5
    assert len(set(widths)) > 1
    assert error(recipe, model, calls, calls) < error(
        "weights:4,rounding=gptq", model, calls, calls
    )


def test_calibration_samples_are_asked_for():
    for recipe in ("weights:4,rounding=gptq", "weights,mixed=3", "weights:4,range=moments"):
        with pytest.raises(RecipeError, match="looks at calibration samples"):
            compress(deep(), parse_recipe(recipe))


@pytest.mark.parametrize(
    ("option", "sentence"),
    [("damping=0.0", "damping= is a share above 0"), ("mixed=9.0", "a mean width up to 8 bits")],
)
def test_options_out_of_range_are_refused(option, sentence):
    with pytest.raises(RecipeError, match=sentence):
        compress(deep(), parse_recipe(f"weights:4,{option}"))


def test_the_same_samples_give_the_same_bytes():
    model, calls = deep(), correlated(20)
    made = [
        compress(model, parse_recipe("weights:4,rounding=gptq"), running(calls)) for _ in range(2)
    ]
    assert to_bytes(made[0].model) == to_bytes(made[1].model)


@pytest.mark.parametrize("shared", [True, False])
def test_a_bias_that_takes_up_means_is_not_called_as_a_constant_is(shared):
    net = Sketch(17)
    for name in ("first.bias", "second.bias"):
        tensor = numpy_helper.from_array(net.array(16), "")
        net.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
    weights = net.weight(16, 4, 3, 3), net.weight(16, 16, 3, 3)
    biases = "first.bias", "first.bias" if shared else "second.bias"
    convs = [
        helper.make_node("Conv", [source, weight, bias], [result], name=name)
        for source, weight, bias, result, name in zip(
            ("x", "h"), weights, biases, ("h", "y"), ("first", "second"), strict=True
        )
    ]
    net.nodes += convs
    model = net.model("constants", [value_info("x", [1, 4, 8, 8])], {"y": [1, 16, 4, 4]})
    random = np.random.default_rng(5)
    calls = [{"x": random.random((1, 4, 8, 8)).astype(np.float32)} for _ in range(24)]

    made, plain = (
        compress(model, parse_recipe(f"weights:4,rounding=gptq{option}"), running(calls)).model
        for option in ("", ",bias=false")
    )

    onnx.checker.check_model(to_bytes(made))
    assert [node.inputs[2].name for node in nodes(made.graph) if node.op_type == "Conv"] == [
        "first.bias_shifted", "second.bias_shifted"
    ]  # fmt: skip
    assert shift(model, made, calls) < 0.2 * shift(model, plain, calls)


@pytest.mark.parametrize("kind", ["Conv", "Add"])
@pytest.mark.parametrize("recipe", ["weights:3,rounding=gptq", "static"])
def test_a_bias_that_is_also_an_output_of_the_model_keeps_its_values(kind, recipe):
    net, width = Sketch(17), 16
    bias = net.keep(net.array(width), "bias")
    if kind == "Conv":
        y = net.add("Conv", "x", net.weight(width, width, 3, 3), bias)
        shape, result = [1, width, 8, 8], [1, width, 6, 6]
    else:
        y = net.add("Add", net.add("MatMul", "x", net.weight(width, width)), bias)
        shape, result = [8, width], [8, width]
    model = net.model("told", [value_info("x", shape)], {y: result, bias: [width]})
    random = np.random.default_rng(5)
    calls = [{"x": random.random(shape).astype(np.float32) + 1} for _ in range(24)]

    made = compress(model, parse_recipe(recipe), running(calls)).model

    before, after = (open_session(one, EXACT).run(calls[0])[bias] for one in (model, made))
    assert np.array_equal(before, after)
    readers = [node for node in nodes(made.graph) if node.op_type == kind]
    assert all(value is None or value.name != bias for value in readers[-1].inputs)


def shift(model, made, calls):
    """Root of the mean square by which means of channels change."""
    pairs = zip(outputs(model, calls), outputs(made, calls), strict=True)
    lost = np.mean([(a - b).mean(axis=(0, 2, 3)) for a, b in pairs], axis=0)
    return np.sqrt(np.mean(lost**2))


def half_and_half(step, between=""):
    """A recipe that rounds the first half of ``deep`` in one step, and the second in another."""
    first, second = (f"{step},where=matmul_({few})$" for few in ("1|6|11", "16|21|26"))
    return f"{first}{between}+{second}"


def test_two_steps_aim_at_the_model_before_the_first_and_give_what_one_step_gives():
    model, calls = deep(), correlated(60)
    step = "weights:3,rounding=gptq"

    one, two, present = (
        compress(model, parse_recipe(recipe), running(calls)).model
        for recipe in (step, half_and_half(step), half_and_half(f"{step},target=present"))
    )

    assert to_bytes(one) == to_bytes(two)
    assert to_bytes(one) != to_bytes(present)


def test_the_second_of_two_steps_makes_up_for_what_the_first_lost():
    model, calls = deep(), correlated(200)
    rough, fine = "weights:2,rounding=gptq,where=matmul_1$", "weights:8,rounding=gptq"

    present, original = (
        error(f"{rough}+{fine},target={target}", model, calls[40:], calls[:40])
        for target in ("present", "float")
    )

    assert original < 0.8 * present


def test_steps_to_nearest_are_made_up_for_too():
    model, calls = deep(), correlated(200)
    recipe = "weights:2,where=matmul_1$+weights:8,rounding=gptq,target="

    present, original = (
        error(f"{recipe}{target}", model, calls[40:], calls[:40]) for target in ("present", "float")
    )

    assert original < 0.8 * present


def test_a_step_of_another_kind_ends_the_run_and_the_next_aims_at_what_it_finds():
    model, calls = deep(), correlated(40)
    step = "weights:3,rounding=gptq"
    first, second = half_and_half(step).split("+")

    halves = compress(model, parse_recipe(f"{first}+simplify"), running(calls)).model
    apart = compress(halves, parse_recipe(second), running(calls)).model
    through = compress(model, parse_recipe(half_and_half(step, "+simplify")), running(calls)).model
    run = compress(model, parse_recipe(half_and_half(step)), running(calls)).model

    assert to_bytes(through) == to_bytes(apart)
    assert to_bytes(run) != to_bytes(apart)


def test_a_weight_before_one_that_made_up_already_aims_at_what_its_step_finds():
    model, calls = deep(), correlated(40)
    odd, step = "weights:3,rounding=gptq,where=matmul_(6|16|26)$", "weights:3,rounding=gptq"

    first = compress(model, parse_recipe(odd), running(calls)).model
    apart = compress(first, parse_recipe(step), running(calls)).model
    run = compress(model, parse_recipe(f"{odd}+{step}"), running(calls)).model

    assert to_bytes(run) == to_bytes(apart)


@pytest.mark.parametrize("rough", ["rounding=nearest", "rounding=gptq,target=present"])
def test_a_weight_before_one_that_made_up_for_nothing_aims_at_the_original(rough):
    model, calls = deep(), correlated(200)
    odd, fine = f"weights:3,{rough},where=matmul_(1|11|21)$", "weights:6,rounding=gptq"

    present, original = (
        error(f"{odd}+{fine},target={target}", model, calls[40:], calls[:40])
        for target in ("present", "float")
    )

    assert original < 0.8 * present


def test_what_the_original_has_no_value_for_counts_as_it_was_meant():
    model, calls = deep(layers=2), correlated(20)
    sites = [site for site in weight_sites(model.graph) if isinstance(site, Weight)]
    other = model.clone()
    for node in nodes(other):
        node.outputs[0].name = f"other.{node.outputs[0].name}"

    calibrator = running(calls)
    fed = [
        observe_hessians(
            model.graph, [WeightSite(site) for site in sites], calibrator, reference=original
        )
        for original in (other, None)
    ]

    for (with_other,), (alone,) in zip(*(found.values() for found in fed), strict=True):
        assert not with_other.mean_gap().any()
        np.testing.assert_array_equal(
            with_other.hessian(centered=False), alone.hessian(centered=False)
        )


@pytest.mark.parametrize(("layers", "looks"), [(2, 2), (8, 8), (16, 8), (20, 7)])
def test_with_a_state_there_are_no_more_looks_than_stages_and_each_runs_both_models(layers, looks):
    net = Sketch(17)
    value = net.add("Add", "x", "before")
    for _ in range(layers):
        value = net.add("MatMul", value, net.keep(net.array(32, 32, fan_in=32)))
        value = net.add("Tanh", value)
    after = net.add("Tanh", value)
    inputs = [value_info(name, [1, 32]) for name in ("x", "before")]
    model = net.model("carried", inputs, {value: [1, 32], after: [1, 32]})
    zero, random, begun = np.zeros((1, 32), np.float32), np.random.default_rng(0), []
    calls = [{"x": random.standard_normal((1, 32)).astype(np.float32)} for _ in range(6)]
    samples = [[{"before": zero, **calls[2 * i]}, calls[2 * i + 1]] for i in range(3)]

    def progress(what, done, total):
        del what, total
        begun.extend([done] if done == 0 else [])

    calibrator = Calibrator(samples, EXACT, progress, state={after: "before"})
    made = compress(model, parse_recipe("weights:4,rounding=gptq"), calibrator)

    assert len(made.changes) == layers
    assert len(begun) == 2 * looks


@pytest.mark.parametrize(("target", "most"), [("present", 4.5), ("float", 5.5)])
def test_memory_is_a_few_times_that_of_the_moments_of_one_weight(target, most):
    net, width = Sketch(17), 768
    value = "x"
    for sizes in ((32, width), (width, 32)) * 2:
        value = net.add("MatMul", value, net.keep(net.array(*sizes, fan_in=sizes[0])))
        value = net.add("Tanh", value)
    model = net.model("wide", [value_info("x", ["n", 32])], {value: ["n", 32]})
    recipe, calls = parse_recipe(f"weights:4,rounding=gptq,target={target}"), correlated(4)
    compress(model, recipe, running(calls))  # kernels are compiled

    tracemalloc.start()
    compress(model, recipe, running(calls))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < most * width**2 * 8
