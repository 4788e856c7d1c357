"""Every storage of weights in every format: kept and counted in the file, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from packlight.backends.formats import WIDEST_CODE
from packlight.errors import ExportError
from packlight.exporting.bookkeeping import lost_encodings
from packlight.exporting.formats import WriteOptions
from packlight.exporting.front_end import prepare
from packlight.exporting.keeping import keep_encodings
from packlight.exporting.parity import required_decibels
from packlight.records.export import ExportedWeight, FloatForm, GridForm, SparseForm
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime import open_session

RECIPES = (
    "simplify",
    "float16",
    "weights:8",
    "weights:8,per=tensor",
    "weights:8,symmetric=false",
    "weights:8,block=16",
    "weights:6",
    "weights:4",
    "weights:4,block=32",
    "weights:4,block=16,symmetric=false",
    "weights:3",
    "palette:1",
    "palette:2",
    "palette:3",
    "palette:4",
    "palette:4,group=8",
    "palette:4,scaled=true",
    "palette:6",
    "palette:8",
    "sparse,share=0.75",
    "sparse,share=0.75,values=grid",
    "sparse,share=0.75,values=grid,bits=4",
    "sparse,share=0.75,values=palette,bits=4",
    "static",
    "static,per=tensor",
)


def is_kept(weight: ExportedWeight) -> bool:
    """Whether a weight has its encoding; floats may have another precision."""
    if isinstance(weight.source, FloatForm):
        return isinstance(weight.stored, FloatForm)
    if isinstance(weight.source, SparseForm) and isinstance(weight.source.values, FloatForm):
        return isinstance(weight.stored, SparseForm)
    return weight.stored == weight.source


def is_bias(weight: ExportedWeight) -> bool:
    """Whether a weight is stored in wide codes, which become floats where a format has none."""
    return isinstance(weight.source, GridForm) and weight.source.bits > WIDEST_CODE


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_storage_is_kept_in_the_file_or_refused_by_name(
    recipe, format_, variant, decibels, tmp_path
):
    model = variant(recipe)
    neutral = prepare(model, {}, {})
    kept = keep_encodings(neutral, format_.name, expand=False)
    if kept.refusals:
        facts = format_.capabilities
        assert {refusal.subject for refusal in kept.refusals} <= set(neutral.encoded)
        assert not any(facts.keeps(refusal.form, [refusal.operator]) for refusal in kept.refusals)
        return
    try:
        written = format_.write(neutral, tmp_path, WriteOptions(model))
    except ExportError as error:
        assert error.refusals
        return
    assert all(is_kept(weight) or is_bias(weight) for weight in written.weights)
    reread = format_.reread(tmp_path, neutral, written)
    assert lost_encodings(written.weights, reread.weights) == {}
    assert format_.open is not None
    runner = format_.open(tmp_path, neutral, written)
    assert decibels(recipe, runner.run) >= required_decibels(
        format_, is_rounded=neutral.has_quantized_activations()
    )
    runner.close()


@pytest.mark.parametrize("recipe", [r for r in RECIPES if not r.startswith(("static", "dynamic"))])
def test_decoded_weights_are_those_that_the_runtime_restores(recipe, variant, decibels):
    decoded = prepare(variant(recipe), {}, {}).float_model()
    assert decibels(recipe, open_session(decoded, DEFAULT_SESSION).run) > 120


def test_a_refusal_names_the_nearest_recipe_that_the_format_keeps(variant):
    neutral = prepare(variant("palette:3"), {}, {})
    nearest = {"coreai": "palette:4", "litert": "weights:4,block=32"}
    for name, recipe in nearest.items():
        refusals = keep_encodings(neutral, name, expand=False).refusals
        assert {refusal.subject for refusal in refusals} == set(neutral.encoded)
        assert {refusal.remedy for refusal in refusals} == {recipe}


def test_what_may_be_expanded_becomes_floats_of_the_same_numbers(variant):
    neutral = prepare(variant("palette:3"), {}, {})
    kept = keep_encodings(neutral, "coreai", expand=True)
    assert kept.refusals == ()
    assert kept.expanded == set(neutral.encoded)
    for name in kept.expanded:
        weight = kept.neutral.weights[name]
        assert weight.encoding.kind == "float"
        np.testing.assert_array_equal(weight.decode(), neutral.weights[name].decode())
