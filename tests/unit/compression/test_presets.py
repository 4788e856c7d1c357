"""Presets: names that stand for recipes, everywhere a recipe is read."""

import json
import re
from pathlib import Path

import pytest

from packlight.api.compress import compress
from packlight.compression import METHODS
from packlight.compression.calibration_data import uses_data
from packlight.compression.recipe_text import read_recipe, recipe_name
from packlight.errors import RecipeError
from packlight.model import to_bytes
from packlight.records import PerBlock, Simplify, WeightOnly, canonical
from packlight.records.codec import plain
from packlight.records.recipe_options import PRESETS


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


@pytest.mark.parametrize("text", ["best4+float16", "simplify+best4", "best4,where=conv"])
def test_a_preset_among_steps_is_told_to_stand_alone(text):
    with pytest.raises(RecipeError, match="'best4' is a preset, and presets stand alone"):
        read_recipe(text)


def test_a_preset_in_a_file_is_told_to_stand_alone(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('[[steps]]\nmethod = "best4"\n')

    with pytest.raises(RecipeError, match=re.escape(PRESETS["best4"])):
        read_recipe(str(path))


def test_a_name_that_is_nothing_is_told_all_presets():
    with pytest.raises(RecipeError, match=", ".join(PRESETS)):
        read_recipe("quick9")


def test_the_suffix_of_a_file_may_be_in_capitals(tmp_path):
    path = tmp_path / "A.TOML"
    path.write_text('[[steps]]\nmethod = "simplify"\n')

    assert read_recipe(str(path)) == read_recipe("simplify")
    assert recipe_name(str(path)) == "A"


@pytest.mark.parametrize("name", ["x.yaml", "./recipes/x.yml", "my recipe.txt"])
def test_another_suffix_is_told_those_of_recipe_files(name):
    with pytest.raises(RecipeError, match=r"a recipe file ends in \.toml or \.json; got"):
        read_recipe(name)


@pytest.mark.parametrize("text", ["weights:8,where=conv.one", "simplify+weights,damping=0.2"])
def test_a_dot_in_steps_makes_them_no_file(text):
    assert read_recipe(text).steps[-1].method == "weights"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('metod = "simplify"', "a step has no metod; it has method, config, where"),
        ('where = "conv"', "a step must have method"),
    ],
)
def test_a_step_of_another_form_is_told_in_plain_words(content, sentence, tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(f"[[steps]]\n{content}\n")

    with pytest.raises(RecipeError, match=sentence):
        read_recipe(str(path))


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"method": "tidy"}, "^'tidy' is now 'simplify'$"),
        ({"method": "equalise"}, "^'equalise' is now 'equalize'$"),
        (
            {"method": "weights", "config": {"aim": "original"}},
            "^'aim=original' is now 'target=float'$",
        ),
    ],
)
@pytest.mark.parametrize("ending", ["toml", "json"])
def test_a_file_with_a_word_of_an_earlier_version_is_told_the_new_one(
    step, sentence, ending, tmp_path
):
    path = tmp_path / f"a.{ending}"
    lines = [f'method = "{step["method"]}"']
    lines += [f'config.{name} = "{value}"' for name, value in step.get("config", {}).items()]
    texts = {"toml": "\n".join(["[[steps]]", *lines]), "json": json.dumps({"steps": [step]})}
    path.write_text(texts[ending])

    with pytest.raises(RecipeError, match=sentence):
        read_recipe(str(path))


def test_the_json_of_a_recipe_is_a_file_of_it(tmp_path):
    recipe = read_recipe("simplify+weights:4,block=16,where=conv", seed=3)
    path = tmp_path / "a.json"
    path.write_text(canonical(recipe))
    bare = tmp_path / "b.json"
    bare.write_text(json.dumps(plain(recipe)))

    assert read_recipe(path) == read_recipe(bare) == recipe
    assert recipe_name(path) == "a"


def test_a_recipe_is_text_a_file_a_value_or_configs_in_order():
    steps = [Simplify(), WeightOnly(bits=4, granularity=PerBlock(32))]
    by_configs = compress("zoo:fashion", steps)
    by_text = compress("zoo:fashion", "simplify+weights:4,block=32")

    assert by_configs.variant.id == by_text.variant.id
    assert by_configs.variant.name == "simplify+weights:4,block=32"
    assert to_bytes(by_configs.model) == to_bytes(by_text.model)
    assert read_recipe(steps, seed=2) == read_recipe("quick4", seed=2)


def test_a_path_that_is_no_recipe_file_is_told_so():
    with pytest.raises(RecipeError, match="a recipe file ends in"):
        read_recipe(Path("weights"))


@pytest.mark.parametrize("recipe", ["weights:4,rounding=gptq", "best4", "simplify+static"])
def test_a_recipe_that_learns_asks_for_a_task(recipe):
    with pytest.raises(RecipeError, match=f"'{re.escape(recipe)}' learns from .* --task"):
        compress("zoo:fashion", recipe)
