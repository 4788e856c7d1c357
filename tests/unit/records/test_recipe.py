"""Recipes as text, both ways, and the configs that they hold."""

import dataclasses
import re
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.errors import RecipeError
from packlight.records import (
    DynamicInt8,
    Equalize,
    Float16,
    Palette,
    PerBlock,
    PerChannel,
    PerGroup,
    PerTensor,
    Recipe,
    Simplify,
    Sparse,
    StaticInt8,
    Step,
    WeightOnly,
    from_json,
    parse_recipe,
    recipe_of,
    to_json,
)
from packlight.records.configs import CONFIGS
from packlight.records.recipe_options import OTHER_NAMES, all_options, config_of

SIZES = st.integers(1, 10**6)
GRANULARITIES = {
    PerTensor: st.just(PerTensor()),
    PerChannel: st.just(PerChannel()),
    PerBlock: SIZES.map(PerBlock),
    PerGroup: SIZES.map(PerGroup),
}
NUMBERS = {
    "damping": st.floats(1e-6, 1e6),
    "mixed": st.floats(0, 8),
    "strength": st.floats(0, 1),
    "percentile": st.floats(50, 100, exclude_min=True),
    "inputs": SIZES,
    "minutes": st.floats(0.01, 100),
    "rate": st.floats(0.01, 100),
    "steps": SIZES,
    "batch": SIZES,
}
PATTERNS = st.text(max_size=9).map(
    lambda text: "".join(f"[{c}]" for c in text if c not in r"[]^\\")
)


def configs(cls):
    """Configs of a class with any options that it can have."""
    hints = typing.get_type_hints(cls)
    options = {}
    for field in dataclasses.fields(cls):
        kind = hints[field.name]
        if field.name == "granularity":
            options[field.name] = st.one_of(GRANULARITIES[one] for one in typing.get_args(kind))
        elif typing.get_origin(kind) is typing.Literal:
            options[field.name] = st.sampled_from(typing.get_args(kind))
        elif kind is bool:
            options[field.name] = st.booleans()
        elif kind is str:
            options[field.name] = PATTERNS | st.sampled_from(["true", "01", "1e5", "auto", "a|b"])
        else:
            options[field.name] = NUMBERS.get(field.name, st.nothing())
    if cls is Sparse:
        options["mixed"] = st.just(0)
        options["bits"] = st.sampled_from([2, 3, 4, 8])
        options["share"], options["run"] = st.sampled_from([0.25, 0.5]), st.sampled_from([0, 4])
    return st.fixed_dictionaries({}, optional=options).map(lambda chosen: cls(**chosen))


STEPS = st.one_of(
    st.builds(Step, configs(cls), st.just("") if cls.whole_model else PATTERNS)
    for cls in CONFIGS.values()
)


@given(st.lists(STEPS, max_size=4).map(tuple), st.integers(0, 99))
def test_a_recipe_reads_back_from_its_text_and_its_json(steps, seed):
    recipe = Recipe(steps, seed)

    assert parse_recipe(recipe.text(), seed) == recipe
    assert parse_recipe(recipe.text()).text() == recipe.text()
    assert from_json(Recipe, to_json(recipe)) == recipe
    for step in steps:
        assert config_of(step.method, all_options(step.config)) == step.config


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("original", ()),
        ("float16", (Step(Float16()),)),
        (
            "simplify+weights:4,block=32",
            (Step(Simplify()), Step(WeightOnly(bits=4, granularity=PerBlock(32)))),
        ),
        (
            "static,range=percentile,percentile=99.9,where=conv",
            (Step(StaticInt8(range="percentile", percentile=99.9), "conv"),),
        ),
        (" weights : 8 , per = tensor ", (Step(WeightOnly(granularity=PerTensor())),)),
        ("weights:8,where=^(a=b|c:d)$", (Step(WeightOnly(), "^(a=b|c:d)$"),)),
        ("weights,where=a%2B%2C", (Step(WeightOnly(), "a+,"),)),
        ("weights,where=01", (Step(WeightOnly(), "01"),)),
        ("static,skip=01", (Step(StaticInt8(skip="01")),)),
        ("weights,per=block", (Step(WeightOnly(granularity=PerBlock(32))),)),
        ("palette,group=8", (Step(Palette(granularity=PerGroup(8))),)),
        ("dynamic,per=tensor", (Step(DynamicInt8(granularity=PerTensor())),)),
        ("equalize:3,strength=1", (Step(Equalize(bits=3, strength=1.0)),)),
        ("sparse:4", (Step(Sparse(bits=4, values="grid")),)),
        ("sparse,scaled=true", (Step(Sparse(scaled=True, values="palette")),)),
        ("weights,rounding=gptq,target=present", (
            Step(WeightOnly(rounding="gptq", target="present")),)),
    ],
)  # fmt: skip
def test_a_shorthand_reads_as_steps(text, steps):
    assert parse_recipe(text) == Recipe(steps)


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        ([Simplify(), WeightOnly(bits=8)], "simplify+weights"),
        ([WeightOnly(bits=4, granularity=PerBlock(32))], "weights:4,block=32"),
        ([Palette(mixed=4, scales=16)], "palette,mixed=4,scales=16"),
        ([Sparse(bits=4)], "sparse:4,values=float"),
        ([Step(DynamicInt8(), "a+b, c")], "dynamic,where=a%2Bb%2C%20c"),
        ([], "original"),
    ],
)
def test_text_has_only_the_options_that_differ_from_their_defaults(recipe, text):
    assert recipe_of(recipe).text() == text


def test_a_config_prints_as_the_code_that_makes_it():
    config = WeightOnly(bits=4, granularity=PerBlock(64), mixed=3)

    assert repr(config) == "WeightOnly(mixed=3.0, bits=4, granularity=PerBlock(size=64))"
    assert eval(repr(config)) == config
    assert hash(config) == hash(dataclasses.replace(config))


@pytest.mark.parametrize(
    ("granularity", "words"),
    [
        (PerTensor(), "per tensor"),
        (PerChannel(), "per channel"),
        (PerBlock(), "per block of 32"),
        (PerGroup(), "per group of 16 channels"),
    ],
)
def test_a_granularity_says_who_shares(granularity, words):
    assert str(granularity) == words


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: WeightOnly(bits=9), "weights,bits= is one of 2, 3, 4, 5, 6, 7, 8; got '9'"),
        (lambda: WeightOnly(bits=True), "weights,bits= is one of"),
        (lambda: WeightOnly(granularity=PerGroup()), r"is one of PerTensor\(\), PerChannel\(\)"),
        (lambda: WeightOnly(granularity="channel"), "weights,granularity= is one of"),
        (lambda: Palette(scaled=1), "palette,scaled= takes true or false; got '1'"),
        (lambda: StaticInt8(skip=1), "static,skip= takes text; got '1'"),
        (lambda: Equalize(strength="0.5"), "equalize,strength= takes a number; got '0.5'"),
        (lambda: PerBlock(0), "at least 1; got 0"),
        (lambda: PerBlock(2.0), "at least 1; got 2.0"),
        (lambda: PerGroup(True), "at least 1; got True"),
        (lambda: Step(Simplify(), "conv"), "works on the whole model; leave out where="),
        (lambda: Step(Float16(), "("), "where='\\(' is no regular expression"),
        (lambda: Step("weights"), "a step holds a method's config"),
        (lambda: recipe_of(["weights"]), "a step holds a method's config"),
        (lambda: WeightOnly(mixed=float("nan")), "mixed= is a mean width up to 8 bits; got nan"),
    ],
)
def test_what_no_method_can_have_is_refused_when_it_is_made(make, sentence):
    with pytest.raises(RecipeError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tidy", "'tidy' is now 'simplify'"),
        ("equalise:4,by=weights", "'equalise' is now 'equalize'"),
        ("weights,rounding=gptq,aim=original", "'aim=original' is now 'target=float'"),
        ("palette,aim=present", "'aim=present' is now 'target=present'"),
        ("static,aim=present", "'static' has no option 'aim'"),
        ("weights,per=tensor,block=8", "block=8 means per=block, and per=tensor has no size"),
    ],
)
def test_a_word_of_an_earlier_version_is_told_the_new_one(text, sentence):
    with pytest.raises(RecipeError, match=sentence):
        parse_recipe(text)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_name_that_others_use_is_told_the_steps_that_do_this_here(name):
    assert parse_recipe(OTHER_NAMES[name]).steps
    with pytest.raises(RecipeError, match=re.escape(f"is written '{OTHER_NAMES[name]}' here")):
        parse_recipe(name.upper())


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
