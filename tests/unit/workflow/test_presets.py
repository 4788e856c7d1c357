"""Presets: names that stand for recipes, everywhere a recipe is read."""

import pytest

from packlight.compress import METHODS
from packlight.compress.compress import uses_data
from packlight.errors import RecipeError
from packlight.workflow.presets import PRESETS
from packlight.workflow.recipes import read_recipe, recipe_name


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_recipe_that_it_stands_for(name):
    assert read_recipe(name) == read_recipe(PRESETS[name])
    assert recipe_name(name) == name
    assert name not in METHODS


@pytest.mark.parametrize("name", PRESETS)
def test_only_the_quick_ones_need_no_data(name):
    assert uses_data(read_recipe(name)) != name.startswith("quick")


def test_the_help_of_the_command_line_names_every_preset():
    from packlight.cli.options import RECIPE_HELP

    assert all(name in RECIPE_HELP for name in PRESETS)


def test_a_name_that_is_no_preset_is_told_what_there_is():
    with pytest.raises(RecipeError, match="there is no method 'best5'"):
        read_recipe("best5")
