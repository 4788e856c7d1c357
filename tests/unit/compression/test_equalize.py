"""Scales of channels: equal ranges, less rounding error, and what is said where there is none."""

import itertools

import numpy as np
import pytest

from packlight.compression import compress
from packlight.compression.methods.equalize import Squares
from packlight.errors import RecipeError
from packlight.model import nodes
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing import NETWORKS, make_case, sample_calls
from packlight.testing.cases import EXACT, apply_recipe
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info

ROWS = value_info("x", ["n", 40, 24])


def two_products(first, second, spread=None):
    """Products with a Relu between them; ``spread`` is how large the inputs of the first are."""
    net = Sketch(17)
    value = "x" if spread is None else net.add("Mul", "x", net.keep(spread))
    value = net.add("Relu", net.add("MatMul", value, net.keep(first)))
    value = net.add("MatMul", value, net.keep(second))
    return net.model("two", [ROWS], {value: ["n", 40, second.shape[1]]})


def weights(model):
    """What the products multiply by, in the order they run."""
    products = [node for node in nodes(model.graph) if node.op_type == "MatMul"]
    return [node.inputs[1].const_value.numpy() for node in products]


def kept(model, made, calls):
    """Signal to noise of the only output, in dB."""
    old, new = open_session(model, EXACT), open_session(made, EXACT)
    outputs = [[*session.run(feeds).values()] for feeds in calls for session in (old, new)]
    return signal_to_noise(np.stack(outputs[::2]), np.stack(outputs[1::2]))


def drawn(*shape, seed=0):
    random = np.random.default_rng(seed)
    spread = np.exp2(random.uniform(-3, 3, shape[-1]))
    return (random.standard_normal(shape) * spread).astype(np.float32)


@pytest.mark.parametrize(("scales", "factor"), [("any", 1.001), ("powers", 2.001)])
def test_ranges_before_and_behind_become_equal(scales, factor):
    model = two_products(drawn(24, 32), drawn(32, 16, seed=1))

    made = make_case(model, parse_recipe(f"equalize,by=weights,scales={scales}")).result

    first, second = weights(made.model)
    ratio = np.abs(first).max(axis=0) / np.abs(second).max(axis=1)
    assert ratio.max() <= factor
    assert ratio.min() >= 1 / factor


def test_ranges_become_equal_along_a_row_of_chains():
    net = Sketch(17)
    value = "x"
    for seed in range(4):
        value = net.add("Relu", net.add("MatMul", value, net.keep(drawn(24, 24, seed=seed))))
    model = net.model("row", [ROWS], {value: ["n", 40, 24]})

    made = make_case(model, parse_recipe("equalize,by=weights,scales=any")).result

    found = weights(made.model)
    for first, second in itertools.pairwise(found):
        ratio = np.abs(first).max(axis=0) / np.abs(second).max(axis=1)
        assert np.abs(np.log2(ratio)).max() < 0.2


def test_both_sides_of_a_sum_get_the_same_scales():
    net = Sketch(17)
    one, other = (net.add("MatMul", "x", net.keep(drawn(24, 24, seed=n))) for n in (0, 1))
    value = net.add("MatMul", net.add("Add", one, other), net.keep(drawn(24, 24, seed=2)))
    model = net.model("sum", [ROWS], {value: ["n", 40, 24]})

    made = make_case(model, parse_recipe("equalize,by=weights")).result

    old, new = weights(model), weights(made.model)
    scales = [a[:, 0] / b[:, 0] for a, b in zip(old[2:], new[2:], strict=True)]
    np.testing.assert_array_equal(new[0], old[0] * scales[0])
    np.testing.assert_array_equal(new[1], old[1] * scales[0])
    assert len(set(scales[0])) > 3


@pytest.mark.parametrize("scales", ["powers", "any"])
@pytest.mark.parametrize("bits", [3, 4])
def test_large_inputs_keep_more_of_their_weights(bits, scales):
    first = np.random.default_rng(3).standard_normal((24, 32)).astype(np.float32)
    first[:, :4] *= 64
    model = two_products(first, np.random.default_rng(4).standard_normal((32, 20)).astype("f"))
    rounding = f"weights:{bits},where=matmul_4"
    case = make_case(model, parse_recipe(rounding))
    helped = case.again(parse_recipe(f"equalize:{bits},scales={scales}+{rounding}"))

    plain, better = (kept(model, made.model, case.calls) for made in (case.result, helped))
    assert better >= plain + 1.5


def test_where_no_scale_helps_the_weight_stays_and_that_is_said():
    random = np.random.default_rng(5)
    signs = [random.choice([-1.0, 1.0], shape).astype("f") for shape in ((24, 32), (32, 20))]

    case = make_case(two_products(*signs), parse_recipe("equalize"))

    assert not case.result.changes
    assert case.result.refusals[-1].code == "no-gain"


def test_where_names_which_weights_get_scales():
    net = Sketch(17)
    value = "x"
    for seed in range(3):
        value = net.add("Relu", net.add("MatMul", value, net.keep(drawn(24, 24, seed=seed))))
    model = net.model("row", [ROWS], {value: ["n", 40, 24]})

    made = make_case(model, parse_recipe("equalize,by=weights,where=matmul_7")).result

    assert [change.operator for change in made.changes] == ["matmul_7"]
    np.testing.assert_array_equal(weights(made.model)[0], weights(model)[0])


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("by", ["inputs", "weights"])
def test_numbers_that_are_not_finite_are_refused(by, place):
    pair = [drawn(24, 32), drawn(32, 20, seed=1)]
    pair[place][3, 3] = np.nan

    made = make_case(two_products(*pair), parse_recipe(f"equalize,by={by}")).result

    assert not made.changes
    assert made.refusals[-1].code == "not-finite"


def test_channels_that_are_zero_keep_their_scale():
    pair = [drawn(24, 32), drawn(32, 20, seed=1)]
    pair[0][:, 5], pair[1][7] = 0, 0
    model = two_products(*pair)

    made = make_case(model, parse_recipe("equalize,by=weights")).result

    first, second = weights(made.model)
    np.testing.assert_array_equal(first[:, 7], pair[0][:, 7])
    np.testing.assert_array_equal(second[5], pair[1][5])


def test_scales_by_inputs_need_samples_and_those_by_weights_do_not():
    model = NETWORKS["upsampling-17"]()

    assert compress(model, parse_recipe("equalize,by=weights")).changes
    with pytest.raises(RecipeError, match="calibration samples"):
        compress(model, parse_recipe("equalize"))


def test_a_body_that_no_sample_reaches_is_refused():
    model = NETWORKS["branches-16"]()
    calls = tuple(feeds for feeds in sample_calls(model) if feeds["choice"])

    made = apply_recipe(model, parse_recipe("equalize"), calls)

    assert "no-samples" in {refusal.code for refusal in made.refusals}


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_mean_squares_are_those_of_all_calls_together(axis):
    random = np.random.default_rng(6)
    values = [random.standard_normal((n, 3, 4, 5)).astype(np.float32) for n in (1, 2)]
    seen = Squares(axis)
    for value in values:
        seen.update(value)

    whole = np.moveaxis(np.concatenate(values).astype(np.float64), axis, -1)
    np.testing.assert_allclose(
        seen.mean(whole.shape[-1]), np.square(whole).mean(axis=(0, 1, 2)), rtol=1e-12
    )
    assert not seen.mean(99).size
