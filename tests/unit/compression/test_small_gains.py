"""Weights whose codes would cost more than they save stay in 16 bits."""

from itertools import pairwise

import numpy as np
import pytest

from packlight.compression import compress
from packlight.compression.methods import stored_weights
from packlight.model import file_size
from packlight.presentation.changes import describe_change
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing.cases import EXACT, apply_recipe
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info

WIDTH = 352
TIME = 12


def attention(sharpness=25.0):
    """Two wide products, and a vector whose products are scores for a Softmax over time."""
    net = Sketch(17)
    value = net.add("Relu", net.add("MatMul", "x", net.weight(WIDTH, WIDTH)))
    scores = net.add("MatMul", value, net.keep(net.array(WIDTH, 1, fan_in=WIDTH) * sharpness))
    weights = net.add("Softmax", scores, axis=1)
    mean = net.add("MatMul", net.add("Transpose", weights, perm=[0, 2, 1]), "x")
    result = net.add("MatMul", mean, net.weight(WIDTH, WIDTH))
    return net.model("attention", [value_info("x", [1, TIME, WIDTH])], {result: [1, 1, WIDTH]})


def calls(count=12):
    random = np.random.default_rng(0)
    return [{"x": one} for one in random.standard_normal((count, 1, TIME, WIDTH), np.float32)]


def decibels(model, made):
    sessions = [open_session(one, EXACT) for one in (model, made)]
    pairs = [[next(iter(s.run(feeds).values())) for s in sessions] for feeds in calls()]
    expected, found = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
    return signal_to_noise(expected, found)


RECIPES = [
    "weights:8",
    "weights:8,rounding=gptq",
    "palette:5",
    "palette:6,scaled=true,rounding=gptq,weighted=true",
    "palette,mixed=6.0",
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_vector_of_scores_stays_in_16_bits_in_every_method(recipe):
    made = apply_recipe(attention(), parse_recipe(recipe), calls())

    by_operator = {change.operator: change for change in made.changes}
    (half,) = [change for change in made.changes if change.storage.kind == "float16"]
    assert len(by_operator) == 3
    assert (half.before, half.after) == (4 * WIDTH, 2 * WIDTH)
    assert half.method == recipe.split(":")[0].split(",")[0]
    assert "save too little" in describe_change(half)


@pytest.mark.parametrize("recipe", ["weights:8", "weights:4,rounding=gptq"])
def test_that_is_worth_more_than_its_bytes(recipe, monkeypatch):
    model = attention()

    made = apply_recipe(model, parse_recipe(recipe), calls()).model
    monkeypatch.setattr(stored_weights, "sites_of_small_gain", lambda *_: ())
    coded = apply_recipe(model, parse_recipe(recipe), calls()).model

    assert file_size(made.graph) < 1.005 * file_size(coded.graph)
    assert decibels(model, made) > decibels(model, coded) + 0.8


def layers(*widths):
    net = Sketch(17)
    value = "x"
    for before, after in pairwise(widths):
        value = net.add("Relu", net.add("MatMul", value, net.weight(before, after)))
    return net.model("layers", [value_info("x", ["n", widths[0]])], {value: ["n", widths[-1]]})


@pytest.mark.parametrize(
    ("widths", "halves"),
    [
        ((64, 64, 64, 64), 0),  # none saves less than the others
        ((512, 512, 16, 16, 512), 1),  # 256 numbers of 278,784
        ((512, 512, 16, 48, 512), 1),  # 768 numbers: 0.3 % of the bytes
        ((512, 512, 32, 96, 512), 0),  # 3,072 numbers: more than what may be spent
        ((64, 64, 16, 16, 64), 0),  # 256 numbers are much of a small file
    ],
)
def test_it_goes_by_gain_for_each_byte_and_not_by_size(widths, halves):
    made = compress(layers(*widths), parse_recipe("weights:8"))

    assert [change.storage.kind for change in made.changes].count("float16") == halves


def test_what_16_bits_cannot_hold_is_refused():
    model = attention(sharpness=3e6)

    made = compress(model, parse_recipe("weights:8"))

    (refusal,) = made.refusals
    assert refusal.code == "overflow"
    assert refusal.method == "weights"
