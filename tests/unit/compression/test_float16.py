"""Half precision: the nearest float16 of every weight, and what does not fit."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from packlight.compression import compress
from packlight.model import initializers, to_bytes
from packlight.records import parse_recipe
from packlight.runtime import open_session, stream
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.cases import EXACT, stored_parts
from packlight.testing.sketch import Sketch, value_info

RECIPE = parse_recipe("float16")


def bias(array):
    net = Sketch(17)
    value = net.add("Add", "x", net.keep(np.asarray(array, np.float32), "bias"))
    return net.model("bias", [value_info("x", [1])], {value: list(np.shape(array))})


def stored(made):
    (value,) = initializers(made.model.graph)
    return value.const_value


@given(arrays.arrays(np.float32, 150, elements=st.floats(-65504, 65504, width=32)))
def test_what_is_stored_is_the_nearest_half(array):
    array[0] = 1.5
    made = compress(bias(array), RECIPE)

    assert stored(made).dtype == ir.DataType.FLOAT16
    np.testing.assert_array_equal(stored(made).numpy(), array.astype(np.float16))


def test_nan_and_infinity_are_kept():
    array = np.full(150, 0.5, np.float32)
    array[:3] = [np.nan, np.inf, -np.inf]

    made = compress(bias(array), RECIPE)

    np.testing.assert_array_equal(
        stored(made).numpy()[:4], np.float16([np.nan, np.inf, -np.inf, 0.5])
    )


@pytest.mark.parametrize("large", [65505.0, 65520.0, -70000.0, 3e38])
def test_numbers_above_the_largest_half_are_refused(large):
    array = np.ones(150, np.float32)
    array[[4, 9]] = large
    model = bias(array)

    made = compress(model, RECIPE)

    (refusal,) = made.refusals
    assert refusal.code == "overflow"
    assert to_bytes(made.model) == to_bytes(model)


@pytest.mark.parametrize("small", [7e-6, 1e-8])
def test_numbers_that_are_all_too_small_for_halves_are_refused(small):
    array = np.full(150, small, np.float32)
    array[:2] = [np.nan, 0]

    made = compress(bias(array), RECIPE)

    (refusal,) = made.refusals
    assert refusal.code == "underflow"


def test_zeros_are_stored_in_halves():
    assert compress(bias(np.zeros(150, np.float32)), RECIPE).changes


@pytest.mark.parametrize("name", NETWORKS)
def test_operators_read_exactly_the_rounded_weights(name):
    model = NETWORKS[name]()
    made = compress(model, RECIPE)
    weights = {
        value.name: value.const_value.numpy().astype(np.float16).astype(np.float32)
        for value in initializers(model.graph)
        if stored_parts(made.model, value.name)
    }

    found = {}
    for values in (
        [] if not weights else stream(made.model, list(weights), [sample_calls(model)], {}, EXACT)
    ):
        found |= values  # an If gives those of the branch that it takes

    for key, array in weights.items():
        np.testing.assert_array_equal(found[key], array)


def test_the_opset_stays():
    for name, build in NETWORKS.items():
        assert compress(build(), RECIPE).model.opset() == build().opset(), name


def test_a_weight_that_is_an_output_stays_float32():
    model = NETWORKS["published-17"]()

    made = compress(model, RECIPE)

    call = sample_calls(model)[0]
    old, new = open_session(model, EXACT).run(call), open_session(made.model, EXACT).run(call)
    np.testing.assert_array_equal(new["weight_0"], old["weight_0"])
    assert "model-output" in {refusal.code for refusal in made.refusals}
