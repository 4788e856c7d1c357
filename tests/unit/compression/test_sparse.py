"""Sparse weights: what is stored, what the runtime makes of it, what is refused."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from packlight.compression import compress
from packlight.compression.grids.kmeans import cluster
from packlight.errors import RecipeError
from packlight.model import Model, nodes, save, to_bytes
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session
from packlight.testing import NETWORKS
from packlight.testing.cases import apply_recipe, sample_calls, stored_parts
from packlight.testing.sketch import Sketch, value_info

ROWS, COLUMNS = 61, 43
"""Neither their product nor what stays of it is a multiple of 8."""


def unpack_codes(packed, bits, count):
    planes = np.unpackbits(packed, axis=1, bitorder="little").reshape(-1, bits)
    return np.packbits(planes, axis=1, bitorder="little")[:count, 0]


def product(rows=ROWS, columns=COLUMNS, transposed=False):
    """x -> x W, as a Gemm; and W as (inputs, outputs)."""
    net = Sketch(17)
    weight = net.array(rows, columns, fan_in=rows)
    stored = weight.T if transposed else weight
    y = net.add("Gemm", "x", net.keep(np.ascontiguousarray(stored)), transB=int(transposed))
    return net.model("product", [value_info("x", ["n", rows])], {y: ["n", columns]}), weight


def restored(model, rows=ROWS):
    """The weight as the runtime sees it: the rows of the identity times it."""
    session = open_session(model, SessionOptions(arithmetic="exact"))
    (found,) = session.run({"x": np.eye(rows, dtype=np.float32)}).values()
    return found


def smallest_to_zero(weight, share):
    """In plain NumPy; the weights differ, so that the order of equals does not matter."""
    kept = weight.copy()
    flat = np.abs(weight).ravel()
    kept[np.abs(weight) < np.sort(flat)[round(share * flat.size)]] = 0
    return kept


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.93])
def test_the_runtime_restores_all_but_the_smallest_bit_for_bit(share, transposed):
    model, weight = product(transposed=transposed)

    made = compress(model, parse_recipe(f"sparse,share={share}")).model

    found = restored(made)
    np.testing.assert_array_equal(found, smallest_to_zero(weight, share), strict=True)
    assert np.count_nonzero(found == 0) == round(share * weight.size)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("kept", "run"), [(2, 4), (1, 3), (4, 8)])
def test_of_every_run_of_inputs_the_largest_stay(kept, run, transposed):
    model, weight = product(transposed=transposed)

    made = compress(model, parse_recipe(f"sparse,share={1 - kept / run},run={run}")).model

    wanted = np.zeros_like(weight)
    for start in range(0, ROWS, run):
        part = weight[start : start + run]
        for column in range(COLUMNS):
            stay = np.argsort(-np.abs(part[:, column]))[:kept]
            wanted[start + stay, column] = part[stay, column]
    np.testing.assert_array_equal(restored(made), wanted, strict=True)


@pytest.mark.parametrize("bits", range(3, 9))
def test_codes_of_a_grid_are_those_of_the_nearest_points_bit_for_bit(bits):
    model, weight = product()

    made = compress(model, parse_recipe(f"sparse:{bits},share=0.7")).model

    kept, scale = smallest_to_zero(weight, 0.7), stored_array(made, "scale")
    top = 2 ** (bits - 1) - 1
    codes = np.clip(np.rint(kept / scale), -top, top).astype(np.float32)
    np.testing.assert_array_equal(restored(made), codes * scale, strict=True)
    assert scale.shape == (1, COLUMNS)


@pytest.mark.parametrize("bits", [3, 4, 5, 8])
def test_a_palette_is_the_best_of_what_stays_bit_for_bit(bits):
    model, weight = product(100, 60)

    made = compress(model, parse_recipe(f"sparse:{bits},share=0.7,values=palette")).model

    kept = smallest_to_zero(weight, 0.7)
    centres = cluster(kept[kept != 0], None, 2**bits).astype(np.float32)
    gaps = np.abs(kept[..., None].astype(np.float64) - centres)
    wanted = np.where(kept == 0, np.float32(0), centres[gaps.argmin(axis=-1)])
    np.testing.assert_array_equal(restored(made, 100), wanted, strict=True)


@pytest.mark.parametrize("transposed", [False, True])
def test_scales_beside_a_palette_belong_to_output_channels(transposed):
    model, weight = product(100, 60, transposed)

    made = compress(model, parse_recipe("sparse:3,share=0.7,scaled=true")).model

    table, scale = stored_array(made, "table"), stored_array(made, "scale").reshape(1, -1)
    found, zero = restored(made, 100), smallest_to_zero(weight, 0.7) == 0
    entries = table[:, None, None] * scale
    assert (found == 0)[zero].all()
    assert (found == entries).any(axis=0)[~zero].all()


def stored_array(model, part):
    """What is stored under a name that ends so."""
    stored = model.graph.graph.initializers.items()
    (found,) = [value.const_value.numpy() for name, value in stored if name.endswith("." + part)]
    return found


@pytest.mark.parametrize(
    ("recipe", "value_bits"),
    [("sparse", 32), ("sparse:8", 8), ("sparse:4", 4), ("sparse:6,values=palette", 6)],
)
def test_the_file_holds_a_bit_for_each_number_and_the_values_that_stay(
    recipe, value_bits, tmp_path
):
    model, weight = product(100, 60)

    made = compress(model, parse_recipe(f"{recipe},share=0.75"))

    (change,) = made.changes
    mask, values = weight.size / 8, weight.size / 4 * value_bits / 8
    assert change.after >= mask + values
    save(made.model, tmp_path / "m.onnx")
    arrays = onnx.load(tmp_path / "m.onnx").graph.initializer
    shared = ("packlight.zero8", "packlight.zero4", "weight_0.restored.shape")
    assert change.after == sum(len(one.raw_data) for one in arrays if one.name not in shared)
    assert (tmp_path / "m.onnx").stat().st_size < change.after + 2900


RECIPES = [
    "sparse",
    "sparse,run=4",
    "sparse:8,share=0.7",
    "sparse:5,share=0.8",
    "sparse:8,share=0.8,scaled=true",
]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("network", ["gru-21", "residual-17", "branches-16"])
def test_the_runtime_computes_the_weights_once_when_the_session_starts(network, recipe, tmp_path):
    model = NETWORKS[network]()
    made = compress(model, parse_recipe(f"{recipe},inputs=1"))
    assert made.changes

    before, after = (optimized(one, tmp_path) for one in (model, made.model))

    assert after == before


def optimized(model, folder):
    """Operators that are left when the runtime has folded what it can."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
    graph = ir.load(folder / "optimized.onnx")
    return sorted(node.op_type for node in nodes(graph))


@pytest.mark.parametrize("recipe", RECIPES)
def test_by_gptq_as_many_stay_and_the_outputs_are_nearer(recipe):
    model, calls = correlated(), sample_calls(correlated(), 64)

    by_size, by_gptq = (
        apply_recipe(model, parse_recipe(recipe + how), calls).model
        for how in ("", ",rounding=gptq,bias=false")
    )

    goal = responses(model, calls)
    first, second = (np.square(responses(one, calls) - goal).mean() for one in (by_size, by_gptq))
    assert second < 0.6 * first
    assert stored_array(by_size, "values").shape == stored_array(by_gptq, "values").shape
    np.testing.assert_array_equal(responses(by_gptq, calls), by_hand(model, by_gptq, calls))


def correlated():
    """A product whose 100 inputs are mixtures of 12."""
    net = Sketch(17)
    mixed = net.add("Gemm", "x", net.keep(net.array(12, 100), "mix"))
    y = net.add("Gemm", mixed, net.weight(100, 60, fan_in=100))
    return net.model("correlated", [value_info("x", [8, 12])], {y: [8, 60]})


def responses(model, calls):
    session = open_session(model, SessionOptions(arithmetic="exact"))
    return np.concatenate([next(iter(session.run(feeds).values())) for feeds in calls])


def by_hand(model, sparse, calls):
    """What the model gives with its second weight put together from mask and values in NumPy."""
    mask = np.unpackbits(stored_array(sparse, "mask").ravel(), bitorder="little")[:6000]
    values = stored_array(sparse, "values")
    stored = stored_parts(sparse, "weight_2")
    if "table" in stored:
        values = stored_array(sparse, "table")[values]
    elif "scale" in stored and values.ndim == 2:
        codes = unpack_codes(values, 5, int(mask.sum())).astype(np.float32)
        values = np.where(codes < 16, codes, codes - 32)
    whole = np.zeros(6000, np.float32)
    whole[mask == 1] = values
    weight = whole.reshape(100, 60)
    if "scale" in stored:
        weight = weight * stored_array(sparse, "scale")
    again = Model(model.graph.clone(), model.name)
    again.graph.graph.initializers["weight_2"].const_value = ir.tensor(weight, name="weight_2")
    return responses(again, calls)


def test_depthwise_weights_are_left_alone_unless_told_otherwise():
    made = compress(NETWORKS["depthwise-13"](), parse_recipe("sparse"))

    assert "too-few-inputs" in [refusal.code for refusal in made.refusals]


def test_a_mask_that_does_not_pay_is_refused():
    (refusal,) = compress(product()[0], parse_recipe("sparse:2,share=0.5,values=grid")).refusals

    size = ROWS * COLUMNS
    remaining = size - round(size / 2)
    dense = 2 * -(-size // 8) + 4 * COLUMNS
    masked = -(-size // 8) + 2 * -(-remaining // 8) + 4 * COLUMNS
    assert masked >= dense
    assert refusal.code == "not-smaller"
    assert refusal.remedy


def test_a_share_that_leaves_nothing_is_refused():
    (refusal,) = compress(product()[0], parse_recipe("sparse,share=0.99999")).refusals

    assert refusal.code == "nothing-left"


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("sparse,share=1.0", "lies between 0 and 1"),
        ("sparse,share=0.0", "lies between 0 and 1"),
        ("sparse,run=1", "0 or at least 2"),
        ("sparse,run=3", "try share=0.667"),
        ("sparse,share=0.01,run=4", "try share=0.25"),
        ("sparse:1,values=grid", "2 to 8 bits"),
        ("sparse,inputs=0", "at least 1"),
        ("sparse,mixed=4.0", "leave it out"),
        ("sparse,values=coins", "float, grid, palette"),
    ],
)
def test_options_that_make_no_sense_are_told_with_what_would(recipe, said):
    with pytest.raises(RecipeError, match=said):
        compress(product()[0], parse_recipe(recipe))


def test_naming_bits_means_a_grid_and_naming_scales_a_palette():
    model = product()[0]

    steps = [
        compress(model, parse_recipe(text)).recipe.steps[0].config.values
        for text in ("sparse", "sparse:8", "sparse,scaled=true", "sparse:8,values=float")
    ]

    assert steps == ["float", "grid", "palette", "float"]


def test_a_constant_and_an_all_zero_weight_are_kept_exactly_where_they_stay():
    for value in (0.0, 0.25):
        model, weight = product()
        held = model.graph.graph.initializers["weight_0"]
        held.const_value = ir.tensor(np.full_like(weight, value), name="weight_0")

        for recipe in ("sparse", "sparse:8,share=0.7", "sparse:6,share=0.7,values=palette"):
            found = restored(compress(model, parse_recipe(recipe)).model)

            assert np.isin(found, [np.float32(0), np.float32(value)]).all()
