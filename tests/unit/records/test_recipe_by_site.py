"""Recipes whose steps name their operators: text, TOML and JSON, both ways."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.errors import RecipeError
from packlight.records import (
    Palette,
    Recipe,
    Simplify,
    Step,
    WeightOnly,
    from_json,
    parse_recipe,
    to_json,
)
from packlight.records.recipe_file import recipe_from_data

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.lists(NAMES, min_size=1, max_size=5), st.integers(0, 3))
def test_names_of_any_characters_read_back_from_text_toml_and_json(names, seed):
    recipe = Recipe((Step(Simplify()), Step(Palette(bits=3), tuple(names))), seed)

    assert parse_recipe(recipe.text(), seed) == recipe
    assert from_json(Recipe, to_json(recipe)) == recipe
    assert recipe_from_data(tomllib.loads(str(recipe))) == recipe
    assert str(recipe_from_data(tomllib.loads(str(recipe)))) == str(recipe)


def test_the_table_is_short_and_does_not_depend_on_the_order_of_names():
    first = Recipe((Step(WeightOnly(bits=4), ("b", "a")),))
    second = Recipe((Step(WeightOnly(bits=4), ("a", "b", "a")),))

    assert first == second
    assert first.text() == "weights:4,sites=a|b"
    assert str(first) == (
        '[[steps]]\nmethod = "weights"\nconfig = { bits = 4 }\nsites = [\n  "a", "b",\n]\n'
    )


def test_a_name_stands_for_itself_and_an_expression_for_what_it_matches():
    assert Step(Palette(), ("conv.1",)).applies_to("conv.1")
    assert not Step(Palette(), ("conv.1",)).applies_to("conv_1")
    assert Step(Palette(), "conv.1").applies_to("conv_1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("palette,where=a,sites=a", "where= or sites=, not both"),
        ("simplify,sites=a", "works on the whole model"),
        ("palette,sites=a|", "a list of names of operators"),
    ],
)
def test_names_that_cannot_be_used_are_refused(text, told):
    with pytest.raises(RecipeError, match=told):
        parse_recipe(text)


def test_a_file_has_where_or_sites():
    steps = [{"method": "palette", "where": "a", "sites": ["a"]}]
    with pytest.raises(RecipeError, match="'where' or 'sites', not both"):
        recipe_from_data({"steps": steps})
