"""Weights and calibration samples at the edges of what numbers can be: handled or refused."""

import numpy as np
import onnx_ir as ir
import pytest

from packlight.compression import compress
from packlight.compression.grids.kmeans import cluster
from packlight.compression.reconstruction.gptq import Lattice
from packlight.compression.reconstruction.hessian import HessianObserver
from packlight.compression.reconstruction.shrinkage import shrunk_hessian
from packlight.compression.reconstruction.sparse_rows import refine_sparse_codes
from packlight.compression.reconstruction.zero_masks import Sparsity
from packlight.compression.sites.weight_sites import Weight, weight_sites
from packlight.model import file_size, nodes, to_bytes
from packlight.records import parse_recipe
from packlight.runtime import open_session, stream
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.cases import EXACT, apply_recipe
from packlight.testing.sketch import Sketch, value_info

ROUNDED = [
    "weights:4,symmetric=false,scales=16,block=16",
    "weights:5,range=moments",
    "palette:4",
    "palette:3,group=6,weighted=true,scaled=true,entry=8",
    "sparse,run=4",
    "sparse:8,share=0.75",
    "sparse:6,share=0.8,scaled=true,weighted=true",
]
"""Recipes of the methods that round, each to nearest and by gptq."""

MIXED = ["weights,mixed=4.5,rounding=nearest", "palette,mixed=5.0,rounding=gptq"]
HOW = ["nearest", "gptq"]
EQUALIZE = ["equalize", "equalize,by=weights", "equalize,scales=any"]
EVERY = [*(f"{recipe},rounding={how}" for recipe in ROUNDED for how in HOW), *MIXED, *EQUALIZE]
INPUTS, HIDDEN = 64, 48


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def single(weight):
    """One product."""
    net = Sketch(21)
    value = net.add("MatMul", "x", net.keep(weight))
    rows, columns = weight.shape
    return net.model("single", [value_info("x", ["n", rows])], {value: ["n", columns]})


def pair(first, second):
    """Two products with a bias each and a Relu between them."""
    net = Sketch(21)
    value = net.add("Add", net.add("MatMul", "x", net.keep(first)), net.keep(drawn(HIDDEN)))
    value = net.add("Gemm", net.add("Relu", value), net.keep(second), net.keep(drawn(24, seed=3)))
    return net.model("pair", [value_info("x", ["n", INPUTS])], {value: ["n", 24]})


def sound():
    return pair(drawn(INPUTS, HIDDEN), drawn(HIDDEN, 24, seed=1))


def samples(change=lambda rows, _: rows, count=6):
    """Calls of standard normal inputs, changed."""
    rows = [drawn(3, INPUTS, seed=seed) for seed in range(count)]
    return [{"x": np.asarray(change(x, n), np.float32)} for n, x in enumerate(rows)]


def outputs(model, calls):
    session = open_session(model, EXACT)
    return np.concatenate([next(iter(session.run(feeds).values())) for feeds in calls])


def read_by(model, reader, calls):
    """The weight that an operator reads, as the runtime computes it."""
    (node,) = [node for node in nodes(model.graph) if node.name == reader]
    name = node.inputs[1].name
    (found,) = stream(model, [name], [[calls[0]]], {}, EXACT)
    return found[name]


SIGNS = np.where(drawn(INPUTS, HIDDEN) > 0, 1, -1)
ODD = {
    "zero": SIGNS * 0.0,
    "denormal": drawn(INPUTS, HIDDEN) * 1e-41,
    "least": SIGNS * 1e-45,
    "largest": SIGNS * 2.0**126,
    "of every size": drawn(INPUTS, HIDDEN) * np.geomspace(1e-30, 1e30, HIDDEN),
    "one number": np.eye(1, INPUTS * HIDDEN, 100).reshape(INPUTS, HIDDEN),
}


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize("odd", ODD)
def test_odd_weights_stay_near_what_they_were(odd, recipe):
    weight = ODD[odd].astype(np.float32)
    model, calls = pair(weight, drawn(HIDDEN, 24, seed=1)), samples()

    made = apply_recipe(model, parse_recipe(recipe), calls)

    found = read_by(made.model, "matmul_1", calls).astype(np.float64)
    assert file_size(made.model.graph) == len(to_bytes(made.model))
    assert np.isfinite(found).all()
    if not recipe.startswith("equalize"):
        widest = float(np.abs(weight).max())
        assert np.abs(found - weight).max() <= (2 if "gptq" in recipe else 1) * widest + 1e-43
    if odd == "zero":
        np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("recipe", [r for r in ROUNDED if not r.startswith("sparse")])
@pytest.mark.parametrize("value", [0.3, -(2.0**126), 1e-38])
def test_a_constant_weight_stays_what_it_is(value, recipe, how):
    weight = np.full((INPUTS, HIDDEN), value, np.float32)
    made = apply_recipe(single(weight), parse_recipe(f"{recipe},rounding={how}"), samples())

    found = read_by(made.model, "matmul_1", samples())

    assert made.changes
    np.testing.assert_allclose(found, weight, rtol=1e-2 if "scales=16" in recipe else 1e-5)


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize(("bad", "code"), [(np.nan, "not-finite"), (-3e38, "overflow")])
def test_weights_that_no_grid_can_hold_are_refused_and_stay(bad, code, recipe):
    weight = drawn(INPUTS, HIDDEN)
    weight[3, 7] = bad
    model = single(weight)

    made = apply_recipe(model, parse_recipe(recipe), samples())

    assert not made.changes
    assert to_bytes(made.model) == to_bytes(model)
    if not recipe.startswith("equalize"):  # a single product has nothing before it to scale
        assert made.refusals[0].code == code


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize("shape", [(1, 1), (0, 5), (5, 0)])
def test_empty_weights_and_those_of_one_number_are_refused_and_stay(shape, recipe):
    model = single(np.ones(shape, np.float32))

    made = apply_recipe(model, parse_recipe(recipe), [{"x": np.ones((2, shape[0]), np.float32)}])

    (refusal,) = made.refusals
    assert refusal.code == "too-small"
    assert to_bytes(made.model) == to_bytes(model)


@pytest.mark.parametrize("recipe", EVERY)
def test_a_weight_that_operators_sum_over_different_axes_of_is_refused(recipe):
    model = NETWORKS["shared-17"]()

    made = apply_recipe(model, parse_recipe(recipe), sample_calls(model))

    kept = made.model.graph.graph.initializers["weight_1"].const_value.numpy()
    np.testing.assert_array_equal(
        kept, model.graph.graph.initializers["weight_1"].const_value.numpy()
    )
    codes = {refusal.operator: refusal.code for refusal in made.refusals}
    assert codes["gemm_6"] == "shared"


@pytest.mark.parametrize("recipe", [f"{recipe},rounding=gptq" for recipe in ROUNDED])
def test_a_weight_that_operators_share_is_rounded_once_with_error_feedback(recipe):
    model = NETWORKS["shared-17"]()

    made = apply_recipe(model, parse_recipe(f"{recipe},where=matmul"), sample_calls(model))

    (change,) = made.changes
    assert change.storage.rounding == "gptq"
    assert change.storage.notes == ()


def published(through):
    """A weight that is also an output, as it is or by another name."""
    net = Sketch(17)
    weight = net.weight(INPUTS, HIDDEN)
    value = net.add("MatMul", net.add("Relu", net.add("MatMul", "x", net.weight(64, 64))), weight)
    again = net.add("Identity", weight) if through else weight
    given = {value: ["n", HIDDEN], again: [INPUTS, HIDDEN]}
    return net.model("published", [value_info("x", ["n", 64])], given), again


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize("through", [False, True])
def test_a_weight_that_is_an_output_of_the_model_stays_what_it_is(through, recipe):
    model, name = published(through)
    calls = sample_calls(model)

    made = apply_recipe(model, parse_recipe(recipe), calls)

    before, after = (open_session(one, EXACT).run(calls[0])[name] for one in (model, made.model))
    np.testing.assert_array_equal(after, before)
    assert {"model-output", "shared"} & {refusal.code for refusal in made.refusals}


CALIBRATION = {
    "nan": samples(lambda x, _: x * np.nan),
    "one nan": samples(lambda x, n: np.where(n == 1, np.nan, x)),
    "infinite": samples(lambda x, _: np.where(x > 0, np.inf, -np.inf)),
    "all zero": samples(lambda x, _: x * 0),
    "constant": samples(lambda x, _: x * 0 + 1000.1),
    "nearly constant": samples(lambda x, _: x * 1e-3 + 1e4, count=3),
    "squares overflow": samples(lambda x, _: x * np.float32(1e30)),
    "squares nearly overflow": samples(lambda x, _: x * np.float32(1e17)),
    "squares underflow": samples(lambda x, _: x * np.float32(1e-30)),
    "one sample": samples(count=1),
    "one sample of one row": [{"x": drawn(1, INPUTS)}],
}


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize("given", CALIBRATION)
def test_odd_calibration_samples_do_no_harm(given, recipe):
    model, calls = sound(), CALIBRATION[given]

    made = apply_recipe(model, parse_recipe(recipe), calls)

    assert made.changes or recipe.startswith("equalize")
    assert file_size(made.model.graph) == len(to_bytes(made.model))
    for value in made.model.graph.graph.initializers.values():
        array = value.const_value.numpy().astype(np.float64)
        assert np.isfinite(array).all(), value.name
    expected = outputs(model, calls)
    if np.isfinite(expected).all():
        found = outputs(made.model, calls)
        assert np.abs(found - expected).max() <= 1.5 * np.abs(expected).max()


@pytest.mark.parametrize("recipe", [recipe for recipe in EVERY if recipe not in EQUALIZE])
def test_a_sample_that_is_not_finite_counts_as_none(recipe):
    full = parse_recipe(recipe)
    good = samples()
    spoilt = [*good[:2], {"x": np.full((3, INPUTS), np.nan, np.float32)}, *good[2:]]

    with_it, without = (apply_recipe(sound(), full, calls) for calls in (spoilt, good))

    assert to_bytes(with_it.model) == to_bytes(without.model)


@pytest.mark.parametrize("given", ["nan", "infinite", "squares overflow"])
@pytest.mark.parametrize("recipe", ["weights:4", "palette:4", "sparse", "sparse:8,share=0.75"])
def test_without_a_usable_sample_gptq_rounds_to_nearest_and_says_so(recipe, given):
    calls = CALIBRATION[given]

    made = apply_recipe(sound(), parse_recipe(f"{recipe},rounding=gptq"), calls)

    plain = compress(sound(), parse_recipe(recipe))
    assert to_bytes(made.model) == to_bytes(plain.model)
    for change in made.changes:
        assert change.storage.rounding == "nearest"
        assert [note.code for note in change.storage.notes] == ["not-finite-inputs"]


@pytest.mark.parametrize("recipe", ROUNDED)
def test_behind_inputs_that_never_change_biases_take_up_all_that_rounding_does(recipe):
    calls = CALIBRATION["constant"]

    made = apply_recipe(sound(), parse_recipe(f"{recipe},rounding=gptq"), calls)

    expected = outputs(sound(), calls)
    np.testing.assert_allclose(
        outputs(made.model, calls), expected, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.parametrize("recipe", EVERY)
def test_a_body_that_is_never_reached_is_rounded_without_samples_or_refused(recipe):
    model = NETWORKS["branches-16"]()
    reached = [feeds for feeds in sample_calls(model) if feeds["choice"]]
    others = [feeds for feeds in sample_calls(model) if not feeds["choice"]]

    made = apply_recipe(model, parse_recipe(recipe), reached)

    inside = [change for change in made.changes if change.operator == "else.lstm_6"]
    if recipe.startswith("equalize"):
        assert not inside or "by=weights" in recipe
    elif "gptq" in recipe and inside:
        for change in inside:
            assert "no-samples" in {note.code for note in change.storage.notes}
    expected, found = outputs(model, others), outputs(made.model, others)
    assert np.abs(found - expected).max() <= 1.5 * np.abs(expected).max()


def first_moments():
    weight = next(site for site in weight_sites(sound().graph) if isinstance(site, Weight))
    return HessianObserver(weight.roles[0])


def test_inputs_that_never_change_have_no_variance_at_all():
    seen = first_moments()
    for _ in range(40):
        seen.update(np.full((3, INPUTS), 1000.1, np.float32))

    np.testing.assert_array_equal(seen.hessian(centered=True), 0)
    np.testing.assert_allclose(seen.hessian(centered=False), np.float32(1000.1) ** 2, rtol=1e-6)
    np.testing.assert_allclose(seen.mean(), np.float32(1000.1), rtol=1e-12)
    np.testing.assert_array_equal(shrunk_hessian(seen, 0.1, centered=True)[0], np.eye(INPUTS))


def test_a_variance_far_smaller_than_the_mean_is_not_lost():
    seen, rows = first_moments(), drawn(600, INPUTS) + np.float32(1e4)
    for part in np.split(rows, 20):
        seen.update(part)

    wanted = np.cov(rows.astype(np.float64).T, bias=True)
    np.testing.assert_allclose(seen.hessian(centered=True)[0], wanted, atol=1e-4)


def biased(beta, bias):
    net = Sketch(17)
    value = net.add("Gemm", "x", net.keep(drawn(INPUTS, HIDDEN)), net.keep(bias), beta=beta)
    return net.model("biased", [value_info("x", [HIDDEN, INPUTS])], {value: [HIDDEN, HIDDEN]})


@pytest.mark.parametrize(("beta", "shape"), [(0.0, (HIDDEN,)), (1.0, (HIDDEN, 1))])
def test_a_bias_that_counts_for_nothing_or_lies_along_rows_takes_up_nothing(beta, shape):
    model, bias = biased(beta, drawn(*shape)), drawn(*shape)
    calls = [{"x": drawn(HIDDEN, INPUTS, seed=n) + 1} for n in range(4)]

    made = apply_recipe(model, parse_recipe("weights:3,rounding=gptq"), calls)

    assert made.changes
    (node,) = [node for node in nodes(made.model.graph) if node.op_type == "Gemm"]
    np.testing.assert_array_equal(ir.convenience.get_const_tensor(node.inputs[2]).numpy(), bias)


def test_a_row_without_zeros_keeps_all_its_weights_though_its_palette_has_no_small_value():
    moments, table = np.eye(4)[None], np.array([[5.0, 6.0]])
    weight = np.full((1, 2, 4), 0.1)
    weight[0, 0, 0] = 20
    codes = np.zeros((1, 2, 4))
    codes[0, 1] = np.nan
    scale = np.ones((1, 2, 1))
    lattice = Lattice(scale, 0 * scale, 4, 0, 1, table, np.zeros((1, 2), np.int64))

    found = refine_sparse_codes(weight, codes, moments, lattice, Sparsity(0.5))

    np.testing.assert_array_equal(np.isnan(found), np.isnan(codes))


@pytest.mark.parametrize("size", [1e-45, 1e-40, 1e-37, 1e30, 1e38])
def test_tables_of_many_numbers_of_any_size_are_finite_and_fit(size):
    values = (drawn(70_000) * np.float64(size)).clip(-3e38, 3e38).astype(np.float32)
    mass = np.abs(drawn(70_000, seed=1))

    for weights in (None, mass):
        centres = cluster(values, weights, 16)
        gaps = np.abs(values.astype(np.float64)[:, None] - centres).min(axis=1)
        assert np.isfinite(centres).all()
        assert gaps.mean() <= 0.2 * size


def test_channels_whose_numbers_would_leave_float32_keep_their_scale():
    first, second = drawn(24, 32), drawn(32, 20, seed=1)
    first[:, :8] *= 64
    first[0, :8] = 2.0**-125
    first[:, 20:] *= 64
    net = Sketch(17)
    value = net.add("MatMul", "x", net.keep(first))
    value = net.add("MatMul", net.add("Relu", value), net.keep(second))
    model = net.model("two", [value_info("x", ["n", 24])], {value: ["n", 20]})
    calls = [{"x": np.rint(drawn(3, 24, seed=n) * 8)} for n in range(4)]

    for scales in ("powers", "any"):
        made = apply_recipe(model, parse_recipe(f"equalize,by=weights,scales={scales}"), calls)
        assert made.changes
        after = made.model.graph.graph.initializers
        for name, weight in {"weight_0": first, "weight_3": second}.items():
            found = after[name].const_value.numpy()
            moved = np.abs(found[found != weight])
            assert moved.size
            assert np.all((moved >= np.finfo(np.float32).tiny) & np.isfinite(moved))
        np.testing.assert_array_equal(after["weight_0"].const_value.numpy()[:, :8], first[:, :8])
