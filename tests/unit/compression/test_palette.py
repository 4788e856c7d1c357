"""Palettes: the runtime against NumPy, bit for bit, and the bytes they take."""

import numpy as np
import onnx_ir as ir
import pytest

from packlight.compression import compress
from packlight.compression.grids.kmeans import cluster
from packlight.model import Model, to_bytes
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session

WEIGHT = np.random.default_rng(3).standard_normal((50, 37)).astype(np.float32)


def product(weight, transposed=False):
    """x -> x W, as a Gemm."""
    rows, columns = weight.shape
    x = ir.val("x", ir.DataType.FLOAT, ("n", columns if transposed else rows))
    w = ir.Value(name="w", const_value=ir.tensor(weight, name="w"))
    node = ir.node("Gemm", [x, w], attributes={"transB": int(transposed)}, name="gemm")
    y = node.outputs[0]
    y.name, y.type = "y", ir.TensorType(ir.DataType.FLOAT)
    y.shape = ir.Shape(["n", rows if transposed else columns])
    graph = ir.Graph(
        [x], [y], nodes=[node], initializers=[w], opset_imports={"": 17}, name="product"
    )
    return Model(ir.Model(graph, ir_version=8), "product")


def restored(model, size):
    """The weight as the runtime sees it: the rows of the identity times it."""
    session = open_session(model, SessionOptions(arithmetic="exact"))
    return session.run({"x": np.eye(size, dtype=np.float32)})["y"]


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_runtime_restores_the_nearest_centre_of_the_optimal_table(bits):
    made = compress(product(WEIGHT), parse_recipe(f"palette:{bits}")).model

    centres = cluster(WEIGHT, None, 2**bits).astype(np.float32)
    gaps = np.abs(WEIGHT[..., None].astype(np.float64) - centres)
    np.testing.assert_array_equal(restored(made, 50), centres[gaps.argmin(axis=-1)])


@pytest.mark.parametrize("transposed", [False, True])
def test_every_group_of_output_channels_has_a_table_of_its_own(transposed):
    made = compress(product(WEIGHT, transposed), parse_recipe("palette:2,group=8")).model

    found = restored(made, 37 if transposed else 50)

    by_output = found.T
    wanted = WEIGHT if transposed else WEIGHT.T
    for start in range(0, len(wanted), 8):
        centres = cluster(wanted[start : start + 8], None, 4).astype(np.float32)
        np.testing.assert_array_equal(np.unique(by_output[start : start + 8]), centres)


@pytest.mark.parametrize(("bits", "packed"), [(3, 50 * 37 * 3), (4, 50 * 37 * 4)])
def test_the_file_holds_the_indices_in_so_many_bits(bits, packed):
    made = compress(product(WEIGHT), parse_recipe(f"palette:{bits}"))

    (change,) = made.changes
    assert change.after == pytest.approx(packed / 8 + 4 * 2**bits, abs=8)
    assert len(to_bytes(made.model)) < change.after + 2500


def test_a_weight_too_small_for_its_tables_is_refused_with_a_remedy():
    weight = WEIGHT[:20, :20]

    made = compress(product(weight), parse_recipe("palette:8,group=1"))

    (refusal,) = made.refusals
    assert refusal.code == "not-smaller"
    assert refusal.remedy


@pytest.mark.parametrize("size", [1, 1e-2, 1e-5, 1e-8, 1e-20])
@pytest.mark.parametrize("recipe", ["palette:4,scaled=true", "palette:4,scaled=true,scales=16"])
def test_channels_of_zeros_cost_the_others_nothing(recipe, size):
    weight = (size * np.random.default_rng(0).standard_normal((50, 37))).astype(np.float32)
    dead = weight.copy()
    dead[:, [0, 9]] = 0

    whole, part = (
        restored(compress(product(array), parse_recipe(recipe)).model, 50)
        for array in (weight, dead)
    )

    error = {
        name: float(np.square((found - array).astype(np.float64) / size).sum())
        for name, found, array in (("whole", whole, weight), ("part", part, dead))
    }
    assert error["part"] <= error["whole"] * 1.05


@pytest.mark.parametrize("recipe", ["palette:4,scaled=true", "palette:2,scaled=true,group=4"])
def test_a_weight_of_zeros_stays_zero(recipe):
    made = compress(product(np.zeros_like(WEIGHT)), parse_recipe(recipe)).model

    assert not restored(made, 50).any()
