"""Activations of 16 bits: where they are asked for, what they keep, and what is refused."""

import numpy as np
import pytest

from packlight.compression.grids.ranges import HistogramObserver, affine_grid, grid_snr, wide_grid
from packlight.errors import RecipeError
from packlight.model import initializers, nodes
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing import NETWORKS, make_case
from packlight.testing.cases import EXACT
from packlight.testing.laws import signal_to_noise


def made_with(options, network="residual-17"):
    recipe = parse_recipe(f"static,rounding=nearest,bias=false,portable=false,{options}")
    return make_case(NETWORKS[network](), recipe)


def zeros(model):
    """Zero points of activations by the name of the value."""
    stored = {value.name: value.const_value.numpy() for value in initializers(model.graph)}
    pairs = [node for node in nodes(model.graph) if node.op_type == "QuantizeLinear"]
    return {node.inputs[0].name: stored[node.inputs[2].name] for node in pairs}


def seen(values):
    histogram = HistogramObserver()
    histogram.update(np.asarray(values, np.float32))
    return histogram


def noise(case):
    old, new = open_session(case.model, EXACT), open_session(case.result.model, EXACT)
    calls = [(old.run(call), new.run(call)) for call in case.calls]
    pairs = [np.concatenate([np.ravel(a) for a in one.values()]) for two in calls for one in two]
    return signal_to_noise(np.concatenate(pairs[::2]), np.concatenate(pairs[1::2]))


def test_only_what_a_named_operator_reads_is_of_16_bits():
    plain = made_with("bits=8").result.model
    gemm = next(node for node in nodes(plain.graph) if node.op_type == "Gemm")
    read = gemm.inputs[0].producer().inputs[0].producer().inputs[0].name

    found = zeros(made_with(f"wide={gemm.name}").result.model)

    assert {name for name, zero in found.items() if zero.dtype == np.uint16} == {read}
    assert {zero.dtype for name, zero in found.items() if name != read} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("runtime", ["onnxruntime", "qnn", "coreml"])
def test_16_bits_lose_less_than_8(runtime):
    narrow = made_with(f"runtime={runtime}")
    wide = made_with(f"wide=.*,runtime={runtime}")

    kinds = {zero.dtype.itemsize for zero in zeros(wide.result.model).values()}
    assert 2 in kinds
    assert noise(wide) > noise(narrow)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_wide_grid_holds_all_that_was_seen(symmetric):
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32) * 7
    grid = wide_grid(seen(values), symmetric=symmetric)

    codes = np.clip(np.rint(values / np.float32(grid.scale)) + grid.zero_point, 0, 65535)
    np.testing.assert_allclose((codes - grid.zero_point) * grid.scale, values, atol=grid.scale)
    assert grid.bits == 16


def test_values_with_a_few_far_out_lose_most_to_8_bits():
    rng = np.random.default_rng(0)
    even = rng.standard_normal(100_000)
    outliers = np.concatenate([even, [1e3] * 3])

    levels = [
        grid_snr(seen(one), affine_grid(seen(one), "minmax", 100)) for one in (even, outliers)
    ]

    assert levels[0] > 35
    assert levels[1] < 25


def test_auto_leaves_alone_what_8_bits_hold_well():
    automatic, none = made_with("wide=auto"), made_with("range=mse")

    assert {zero.dtype for zero in zeros(none.result.model).values()} == {np.dtype(np.uint8)}
    assert any(zero.dtype == np.uint8 for zero in zeros(automatic.result.model).values())


def test_names_that_no_operator_has_are_refused():
    with pytest.raises(RecipeError, match="names no operator"):
        made_with("wide=nothing")


def test_a_name_that_is_no_regular_expression_is_refused():
    with pytest.raises(RecipeError, match="static,wide='\\(' is no regular expression"):
        made_with("wide=(")


def test_whole_numbers_that_8_bits_hold_exactly_lose_nothing():
    values = np.random.default_rng(0).integers(0, 2, 1000).astype(np.float32)

    assert grid_snr(seen(values), affine_grid(seen(values), "mse", 100)) == np.inf


def test_a_name_of_operators_in_float_alone_is_refused():
    with pytest.raises(RecipeError, match="names no operator that computes in integers"):
        made_with("wide=softmax.*", "attention-17")
