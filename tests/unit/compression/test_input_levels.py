"""Levels of inputs: found where they are even, led to whole numbers, and held exactly by a grid."""

import numpy as np
import pytest

from packlight.compression import compress
from packlight.compression.grids.ranges import Affine, HistogramObserver, affine_grid
from packlight.compression.qdq.input_levels import Levels
from packlight.model import file_size, nodes
from packlight.records import parse_recipe
from packlight.runtime import open_session, stream
from packlight.runtime.calibration import Calibrator
from packlight.testing.cases import EXACT
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info

MEAN = np.array([0.485, 0.456, 0.406])[:, None, None]
SPREAD = np.array([0.229, 0.224, 0.225])[:, None, None]
RULES = ["mse", "minmax", "percentile", "kl"]


def photos(count=3, size=32, seed=0):
    """Normalised crops: every level occurs, in every channel another spacing."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 3, size, size))
    return ((pixels / 255 - MEAN) / SPREAD).astype(np.float32)


def convolution(weight=(8, 3, 3, 3), **attributes):
    net = Sketch(17)
    value = net.add(
        "Conv", "x", net.weight(*weight, fan_in=27), net.weight(weight[0]), **attributes
    )
    return net.model(
        "first", [value_info("x", ["n", 3, "h", "w"])], {value: ["n", weight[0], "a", "b"]}
    )


def made_with(model, samples, options):
    calls = [[{"x": image[None]}] for image in samples]
    source = Calibrator(calls, EXACT)
    return compress(model, parse_recipe(f"static,rounding=nearest,bias=false,{options}"), source)


def quality(model, made, samples):
    old, new = open_session(model, EXACT), open_session(made, EXACT)
    outputs = [
        [next(iter(session.run({"x": image[None]}).values())) for image in samples]
        for session in (old, new)
    ]
    return signal_to_noise(*(np.concatenate(one) for one in outputs))


def test_levels_are_found_in_each_channel_whatever_their_spacing():
    found = Levels()
    for image in photos(8):
        found.update(image[None])

    even = found.evenly()

    np.testing.assert_allclose(even.step, 1 / 255 / SPREAD.ravel(), rtol=1e-5)
    np.testing.assert_allclose(even.zero, ((128 / 255 - MEAN) / SPREAD).ravel(), atol=1e-5)


def test_levels_that_were_not_seen_are_left_room_at_both_ends():
    found = Levels()
    found.update(np.arange(100, 200, dtype=np.float32).reshape(1, 1, 10, 10))

    even = found.evenly()

    assert even.step == pytest.approx(1)
    assert 199 <= even.zero + 127 <= 199 + 100
    assert 0 <= even.zero - 128 <= 100


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).standard_normal((1, 1, 20, 20)),
        np.arange(300.0).reshape(1, 1, 10, 30),
        np.array([0.0, 1.0, 1.5, 300.0]).reshape(1, 1, 2, 2),
        np.array([0.0, 1.0, 2.3, 3.0]).reshape(1, 1, 2, 2),
        np.array([0.0, np.nan]).reshape(1, 1, 1, 2),
        np.arange(3.0),
    ],
)
def test_numbers_that_are_not_even_levels_are_none(values):
    found = Levels()
    found.update(values.astype(np.float32))

    assert found.evenly() is None


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("low", "high"), [(0, 255), (-7, 12), (3, 9), (-255, 0)])
def test_whole_numbers_lie_on_their_grid_exactly(rule, low, high):
    histogram = HistogramObserver()
    histogram.update(np.arange(low, high + 1, dtype=np.float32))

    assert affine_grid(histogram, rule, 99.99) == Affine(1.0, -min(low, 0))


def test_too_many_whole_numbers_get_a_wider_step():
    histogram = HistogramObserver()
    histogram.update(np.arange(0, 511, dtype=np.float32))

    assert affine_grid(histogram, "minmax", 100).scale == pytest.approx(2)


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 0, 2, 1], "strides": [2, 2]}])
def test_levels_pass_their_pair_without_rounding(attributes):
    model, samples = convolution(**attributes), photos()
    plain = made_with(model, samples, "portable=false").model
    led = made_with(model, samples, "portable=false,first=levels").model

    kinds = [node.op_type for node in nodes(led.graph)]
    pair = next(node for node in nodes(led.graph) if node.op_type == "QuantizeLinear")
    before, behind = pair.inputs[0].name, pair.outputs[0].consumers()[0].outputs[0].name
    other = photos(seed=1)
    calls = [[{"x": image[None]}] for image in other]
    for values in stream(led, [before, behind], calls, {}, EXACT):
        np.testing.assert_allclose(values[behind], np.rint(values[before]), atol=1e-6)
        inside = values[before][..., 1:-2, :-1] if attributes else values[before]
        np.testing.assert_allclose(inside, np.rint(inside), atol=1e-3)
    assert ("Pad" in kinds) == bool(attributes)
    assert quality(model, led, other) > quality(model, plain, other)


def test_what_is_padded_loses_no_more_than_what_is_not():
    model, samples = convolution(pads=[1, 1, 1, 1]), photos()
    led = made_with(model, samples, "portable=false,first=levels").model
    session = open_session(led, EXACT)
    expected = open_session(model, EXACT)
    for image in samples:
        (found,), (wanted,) = (one.run({"x": image[None]}).values() for one in (session, expected))
        inside = np.abs(found - wanted)[..., 1:-1, 1:-1].mean()
        border = np.abs(found - wanted)[..., 0, :].mean()
        assert border < 3 * inside


def test_inputs_without_levels_stay_as_they_are_with_the_reason():
    samples = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    model = convolution()

    made = made_with(model, samples, "first=levels")

    assert "Mul" not in [node.op_type for node in nodes(made.model.graph)]
    assert "uneven-levels" in {refusal.code for refusal in made.refusals}


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (convolution(auto_pad="SAME_UPPER"), "unsupported-attributes"),
        (convolution((9, 1, 3, 3), group=3), "unsupported-operator"),
    ],
)
def test_convolutions_that_cannot_take_levels_up_say_why(model, code):
    made = made_with(model, photos(), "first=levels")

    assert code in {refusal.code for refusal in made.refusals}


@pytest.mark.parametrize("rule", RULES)
def test_dull_photos_are_on_the_grid_of_their_levels_where_a_convolution_pads(rule):
    rng = np.random.default_rng(1)
    pixels = rng.integers(20, 220, (3, 3, 32, 32))
    dull = ((pixels / 255 - MEAN) / SPREAD).astype(np.float32)
    made = made_with(convolution(pads=[1, 1, 1, 1]), dull, f"first=levels,range={rule}")

    scales = [
        value.const_value.numpy()
        for name, value in made.model.graph.graph.initializers.items()
        if name.endswith("levels.add.given.scale")
    ]
    assert scales == [1.0]


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_the_size_that_is_foretold_is_that_of_the_file(pads):
    model = convolution(pads=pads)
    recipe = parse_recipe("static,rounding=nearest,bias=false,first=levels")

    told = compress(model, recipe, Calibrator(sizes_only=True))
    made = made_with(model, photos(), "first=levels")

    assert file_size(told.model.graph) == file_size(made.model.graph)
    assert told.refusals == made.refusals
