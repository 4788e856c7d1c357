"""Weights stored in different forms by one recipe: one pass, in the order in which they run."""

import numpy as np
import pytest

from packlight.compression import compress
from packlight.errors import RecipeError
from packlight.model import file_size
from packlight.planning.size.files import Files, Simplified
from packlight.records import parse_recipe
from packlight.runtime.calibration import Calibrator
from packlight.testing.networks import NETWORKS

LEARNED = "rounding=gptq,weighted=true"


@pytest.fixture(scope="module")
def model():
    return NETWORKS["perceptron-21"]()


@pytest.fixture(scope="module")
def names(model):
    plain = compress(model, parse_recipe("simplify+weights:8"))
    return [change.operator for change in plain.changes if change.method == "weights"]


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(1)
    return [({"x": row[None]},) for row in rng.standard_normal((48, 32), dtype=np.float32)]


def test_every_weight_has_the_form_that_its_step_names(model, names, samples):
    first, *rest = names
    text = f"simplify+weights:5,rounding=gptq,sites={'|'.join(rest)}+palette:3,sites={first}"
    made = compress(model, parse_recipe(text), Calibrator(samples))

    forms = {change.operator: (change.method, change.storage.bits)
             for change in made.changes if change.operator in names}  # fmt: skip
    assert forms == {first: ("palette", 3), **dict.fromkeys(rest, ("weights", 5))}


def test_the_order_of_steps_does_not_matter(model, names, samples):
    steps = [f"palette:2,{LEARNED},sites={names[0]}", f"weights:4,rounding=gptq,sites={names[-1]}"]
    there, back = (
        compress(model, parse_recipe("+".join(order)), Calibrator(samples)).model.digest
        for order in (steps, steps[::-1])
    )
    assert there == back


def test_all_in_one_form_is_what_the_form_gives_without_names(model, names, samples):
    digests = {
        compress(model, parse_recipe(text), Calibrator(samples)).model.digest
        for text in (f"palette:4,{LEARNED}", f"palette:4,{LEARNED},sites={'|'.join(names)}")
    }
    assert len(digests) == 1


def test_size_is_known_before_to_the_byte(model, names, samples):
    text = f"simplify+palette:2,{LEARNED},sites={names[0]}+weights:3,sites={names[-1]}"
    recipe = parse_recipe(text)
    planned = Files(Simplified(model)).count(recipe)
    made = compress(model, recipe, Calibrator(samples))

    assert planned.size.value == planned.size.low == file_size(made.model.graph)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("weights:4,sites={0}|nowhere", "sites= names 'nowhere'"),
        ("weights:4,sites={0}+palette:2,sites={0}", "by one step; '.*' is by 2"),
    ],
)
def test_an_operator_that_is_not_there_or_named_twice_is_an_error(model, names, text, told):
    with pytest.raises(RecipeError, match=told):
        compress(model, parse_recipe(text.format(*names)))
