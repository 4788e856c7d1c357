"""Groups of convolutions: every output channel of every group has a scale of its own."""

import numpy as np
import pytest

from packlight.compression import compress
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.runtime.calibration import Calibrator
from packlight.testing import sample_calls
from packlight.testing.cases import EXACT
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info

FORMS = {
    "four groups": ("ConvTranspose", 4, (32, 8, 3, 3)),
    "depthwise": ("ConvTranspose", 16, (16, 1, 4, 4)),
    "depthwise, three outputs each": ("ConvTranspose", 16, (16, 3, 3, 3)),
    "one output each": ("ConvTranspose", 4, (64, 1, 5)),
    "one axis": ("ConvTranspose", 2, (24, 8, 9)),
    "three axes": ("ConvTranspose", 2, (12, 4, 3, 3, 3)),
    "convolution": ("Conv", 4, (32, 8, 3, 3)),
}
"""Operator, groups and shape of the weight."""

PER_CHANNEL = {
    "weights:8": 40.0,
    "weights:8,symmetric=false": 40.0,
    "weights:8,range=moments": 40.0,
    "weights:8,rounding=gptq": 40.0,
    "weights:4": 16.0,
    "weights:4,rounding=gptq,bias=false": 16.0,
    "weights:5,scales=16": 22.0,
    "equalize,by=weights+weights:8": 40.0,
    "palette:6,scaled=true": 24.0,
    "palette:6,scaled=true,rounding=gptq,weighted=true": 24.0,
}
"""Recipes, and the least dB in every group."""


def groups_of_falling_size(form):
    """A convolution whose groups have weights of size 1, 0.1, 0.01, 0.001, 1, ..."""
    op, groups, shape = FORMS[form]
    net = Sketch(17)
    weight = net.array(*shape, fan_in=np.prod(shape[1:]))
    weight.reshape(groups, -1)[...] *= (10.0 ** -(np.arange(groups) % 4))[:, None]
    channels = shape[0] if op == "ConvTranspose" else shape[1] * groups
    value = net.add(op, "x", net.keep(weight), group=groups)
    places = [6] * (len(shape) - 2)
    if op == "Conv":
        places = [9] * (len(shape) - 2)
    outputs = shape[1] * groups if op == "ConvTranspose" else shape[0]
    dims = ["n", outputs, *(f"d{axis}" for axis in range(len(places)))]
    return net.model("groups", [value_info("x", ["n", channels, *places])], {value: dims}), groups


def compressed(model, recipe):
    calls = [[feeds] for feeds in sample_calls(model)]
    return compress(model, parse_recipe(recipe), Calibrator(calls))


def decibels_by_group(model, other, groups):
    feeds = sample_calls(model, seed=1)[0]
    before, after = (next(iter(open_session(m, EXACT).run(feeds).values())) for m in (model, other))
    pairs = zip(np.split(before, groups, 1), np.split(after, groups, 1), strict=True)
    return [signal_to_noise(*pair) for pair in pairs]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("recipe", PER_CHANNEL)
def test_small_groups_are_as_faithful_as_large_ones(recipe, form):
    model, groups = groups_of_falling_size(form)

    made = compressed(model, recipe)

    assert any(change.method in ("weights", "palette") for change in made.changes)
    assert min(decibels_by_group(model, made.model, groups)) > PER_CHANNEL[recipe]


def test_zeros_among_the_smallest_leave_large_groups_their_scales():
    model, groups = groups_of_falling_size("four groups")

    made = compressed(model, "sparse:8,share=0.2,values=grid,inputs=1")

    assert len(made.changes) == 1
    assert min(decibels_by_group(model, made.model, groups)[:2]) > 40


def test_a_weight_whose_scales_lie_along_two_axes_stays_float_in_integers():
    model, _ = groups_of_falling_size("four groups")

    for runtime in ("xnnpack", "qnn"):
        made = compressed(model, f"static,runtime={runtime}")
        (refusal,) = made.refusals
        assert (refusal.code, made.changes) == ("unsupported-axes", ())
        assert refusal.remedy


@pytest.mark.parametrize("form", ["depthwise", "four groups"])
def test_integers_with_one_scale_axis_or_one_scale_open(form):
    model, groups = groups_of_falling_size(form)
    granularity = {"depthwise": "channel", "four groups": "tensor"}[form]

    made = compressed(model, f"static,runtime=xnnpack,per={granularity}")

    assert len(made.changes) == 1
    assert decibels_by_group(model, made.model, groups)[0] > 30


def test_readers_that_group_a_weight_differently_are_refused():
    net = Sketch(17)
    weight = net.weight(16, 4, 3, 3)
    first = net.add("ConvTranspose", "x", weight, group=4)
    second = net.add("ConvTranspose", "x", weight, group=2)
    dims = {first: ["n", 16, 8, 8], second: ["n", 8, 8, 8]}
    model = net.model("two", [value_info("x", ["n", 16, 6, 6])], dims)

    made = compressed(model, "weights:8")

    assert [refusal.code for refusal in made.refusals] == ["shared"]
