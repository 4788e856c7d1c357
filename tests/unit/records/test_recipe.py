"""Recipes as text, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.errors import RecipeError
from packlight.records import Recipe, Step, parse_recipe

NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(lambda name: name != "where")
VALUES = (
    st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["channel", "block", "best"])
)
STEPS = st.builds(
    Step,
    NAMES.filter(lambda name: name != "original"),
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.text(max_size=12),
)


@given(st.lists(STEPS, max_size=4).map(tuple), st.integers(0, 99))
def test_a_recipe_reads_back_from_its_text(steps, seed):
    recipe = Recipe(steps, seed)

    back = parse_recipe(recipe.text(), seed)

    assert back == recipe
    for step, original in zip(back.steps, recipe.steps, strict=True):
        for key, value in original.config.items():
            assert type(step.config[key]) is type(value)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("original", ()),
        ("float16", (Step("float16"),)),
        (
            "tidy+weights:4,block=32",
            (Step("tidy"), Step("weights", {"bits": 4, "block": 32})),
        ),
        (
            "static,range=percentile,percentile=99.9,where=conv",
            (Step("static", {"range": "percentile", "percentile": 99.9}, "conv"),),
        ),
        (" weights : 8 , per = tensor ", (Step("weights", {"bits": 8, "per": "tensor"}),)),
        ("weights:8,where=^(a=b|c:d)$", (Step("weights", {"bits": 8}, "^(a=b|c:d)$"),)),
        ("weights,where=a%2B%2C", (Step("weights", {}, "a+,"),)),
        ("weights,where=01", (Step("weights", {}, "01"),)),
        ("x,on=true,off=false", (Step("x", {"on": True, "off": False}),)),
    ],
)
def test_a_shorthand_reads_as_steps(text, steps):
    assert parse_recipe(text) == Recipe(steps)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a step starts with a method"),
        ("weights+", "a step starts with a method"),
        ("4bits", "a step starts with a method"),
        ("weights,block", "an option is 'name=value'"),
        ("weights,=4", "an option is 'name=value'"),
        ("weights:8,bits=4", "an option is given once; step .* has 'bits' twice"),
        ("weights,block=8,block=16", "an option is given once"),
    ],
)
def test_what_is_no_recipe_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(RecipeError, match=sentence):
        parse_recipe(text)
