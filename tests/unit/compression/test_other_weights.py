"""Weights in other types, in functions, in other operators and in tables are stored too."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from float16_twins import halved, transformer
from onnx import TensorProto, helper, numpy_helper

from packlight.compression import compress
from packlight.compression.unchanged_weights import OTHER_STEP
from packlight.errors import ModelError
from packlight.model import Model, load, name_operators, to_bytes
from packlight.planning.already_quantized import quantized_count
from packlight.profiling import profile
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.cases import EXACT, apply_recipe
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info

OPERATORS = [helper.make_opsetid("", 17)]


def weights(*shape, seed=0, kind=np.float32):
    random = np.random.default_rng(seed)
    return (random.standard_normal(shape) / np.sqrt(shape[0])).astype(kind)


def model_of(nodes, inputs, outputs, arrays, *, functions=(), imports=OPERATORS):
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    proto = helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=8)
    drawn = ir.from_proto(proto)
    name_operators(drawn)
    return Model(drawn, "model")


def share(model, recipe):
    """Bytes of the result, as a share of those before."""
    calls = sample_calls(model)
    made = apply_recipe(model, parse_recipe(recipe), calls)
    return len(to_bytes(made.model)) / len(to_bytes(model)), made


def decibels(model, made, calls):
    sessions = [open_session(one, EXACT) for one in (model, made)]
    pairs = [[next(iter(s.run(feeds).values())) for s in sessions] for feeds in calls]
    return signal_to_noise(*(np.stack([pair[side] for pair in pairs]) for side in (0, 1)))


def blocks(opset=17):
    """Four calls of one function with different weights, and a Constant of its own in it."""
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("pkg", 1)]
    inner = numpy_helper.from_array(weights(64, 64, seed=9))
    nodes = [
        helper.make_node("MatMul", ["h", "w"], ["m"]),
        helper.make_node("Constant", [], ["wi"], value=inner),
        helper.make_node("MatMul", ["m", "wi"], ["k"]),
        helper.make_node("Tanh", ["k"], ["y"]),
    ]
    function = helper.make_function(
        "pkg", "Block", ["h", "w"], ["y"], nodes, [helper.make_opsetid("", opset)]
    )
    arrays = {f"w{i}": weights(64, 64, seed=i) for i in range(4)}
    names = ["x", "h0", "h1", "h2", "y"]
    calls = [
        helper.make_node("Block", [names[i], f"w{i}"], [names[i + 1]], f"block{i}", domain="pkg")
        for i in range(4)
    ]
    ends = [[value_info(name, [2, 64])] for name in ("x", "y")]
    imports[0] = helper.make_opsetid("", 17)
    return model_of(calls, *ends, arrays, functions=[function], imports=imports)


def test_calls_of_functions_are_inlined_and_what_they_share_is_stored_once():
    model = blocks()

    part, made = share(model, "weights:8")

    assert part < 0.31
    assert len(made.changes) == 5
    assert {change.operator.split("/")[0] for change in made.changes} >= {"block0", "block3"}
    assert decibels(model, made.model, sample_calls(model)) > 30


def test_a_function_of_another_opset_is_called_as_before_and_its_weights_are_stored():
    model = blocks(opset=16)

    part, made = share(model, "weights:8")

    assert {change.operator for change in made.changes} == {f"block{i}" for i in range(4)}
    assert part < 0.5  # the Constant stays


def test_a_function_is_inlined_only_where_something_changes():
    model = blocks()
    assert to_bytes(compress(model, parse_recipe("simplify")).model) == to_bytes(model)


@pytest.mark.parametrize(("recipe", "most"), [("weights:8", 0.3), ("palette:4", 0.17)])
def test_weights_of_fused_operators_become_codes(recipe, most):
    model = NETWORKS["fused-17"]()
    _, made = share(model, recipe)

    kinds = {change.operator.split("_")[0] for change in made.changes}
    assert kinds == {"attention", "fusedmatmul", "fusedgemm", "fusedconv"}
    before = sum(change.before for change in made.changes)
    assert sum(change.after for change in made.changes) <= most * before


def test_products_of_fused_operators_count_behind_a_transposed_weight():
    node = helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", transB=1)
    imports = [*OPERATORS, helper.make_opsetid("com.microsoft", 1)]
    ends = [[value_info("x", [6, 64])], [value_info("y", [6, 96])]]
    model = model_of([node], *ends, {"w": weights(96, 64)}, imports=imports)

    assert profile(model, {}).totals["macs"].value == 36_864


@pytest.mark.parametrize("kind", [np.float16, np.float64])
@pytest.mark.parametrize(("recipe", "least"), [("weights:8", 35), ("weights:4,block=32", 12)])
def test_weights_of_other_types_become_codes_of_the_same_bits(kind, recipe, least):
    arrays = {"w": weights(96, 96, kind=kind), "v": weights(96, 96, seed=1, kind=kind)}
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=helper.np_dtype_to_tensor_dtype(np.dtype(kind))),
        helper.make_node("MatMul", ["c", "w"], ["h"]),
        helper.make_node("Gemm", ["h", "v"], ["g"]),
        helper.make_node("Cast", ["g"], ["y"], to=TensorProto.FLOAT),
    ]
    ends = [[value_info(name, [2, 96])] for name in ("x", "y")]
    model = model_of(nodes, *ends, arrays)

    part, made = share(model, recipe)

    bits = int(recipe[8])
    assert part <= (bits + 2) / (8 * np.dtype(kind).itemsize)
    assert not made.refusals
    assert decibels(model, made.model, sample_calls(model)) > least


def test_methods_that_compute_ask_for_float32():
    made = apply_recipe(
        NETWORKS["half-15"](), parse_recipe("static"), sample_calls(NETWORKS["half-15"]())
    )

    refusals = [refusal for refusal in made.refusals if refusal.code == "not-float32"]
    assert refusals
    assert {refusal.remedy for refusal in refusals} == {"convert the model to float32 first"}


@pytest.mark.parametrize(
    ("recipe", "most"), [("quick8", 0.54), ("quick4", 0.34), ("best8", 0.53), ("best4", 0.3)]
)
def test_a_model_in_half_precision_keeps_what_its_float32_twin_keeps(recipe, most):
    model = transformer()
    twin_graph = ir.from_proto(halved(onnx.load_from_string(to_bytes(model))))
    name_operators(twin_graph)
    twin = Model(twin_graph, "twin")
    calls = sample_calls(model, 24)
    kept = []
    for one in (model, twin):
        made = apply_recipe(one, parse_recipe(recipe), calls[:16]).model
        kept.append(decibels(one, made, calls[16:]))

    assert kept[1] >= kept[0] - 0.5
    part, _ = share(twin, recipe)
    assert part <= most


def test_tables_that_are_added_gathered_or_cut_become_codes():
    model = NETWORKS["tables-17"]()
    _, made = share(model, "weights:8")

    kinds = {change.operator.split("_")[0] for change in made.changes}
    assert kinds >= {"gather", "slice", "mul", "transpose", "matmul"}
    assert {refusal.code for refusal in made.refusals} == {"regular", "vector"}


def test_positions_on_a_grid_stay_as_they_are():
    net = Sketch(17)
    rows, columns = np.meshgrid(np.arange(40), np.arange(40), indexing="ij")
    anchors = np.stack([rows, columns]).reshape(1, 2, -1).astype(np.float32)
    value = net.add("Add", "x", net.keep(anchors))
    model = net.model("anchors", [value_info("x", [1, 2, 1600])], {value: [1, 2, 1600]})

    made = compress(model, parse_recipe("weights:8"))

    assert not made.changes
    (refusal,) = made.refusals
    assert refusal.code == "regular"


def linear(imports):
    node = helper.make_node(
        "LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", targets=20,
        coefficients=weights(600).tolist(),
    )  # fmt: skip
    ends = [[value_info("x", ["n", 30])], [value_info("y", ["n", 20])]]
    return model_of([node], *ends, {}, imports=imports)


def test_a_file_without_standard_operators_says_what_it_imports(tmp_path):
    model = linear([helper.make_opsetid("ai.onnx.ml", 3)])
    path = tmp_path / "linear.onnx"
    path.write_bytes(to_bytes(model))

    opened = load(path)
    made = compress(opened, parse_recipe("simplify+weights:4,block=32"))

    assert "ai.onnx.ml 3" in repr(opened)
    assert "opset 0" not in repr(opened)
    (refusal,) = made.refusals
    assert (refusal.code, bool(refusal.remedy)) == ("attribute", True)


def test_standard_operators_need_their_opset(tmp_path):
    ends = [[value_info("x", [2])], [value_info("y", [2])]]
    relu = helper.make_node("Relu", ["x"], ["y"])
    model = model_of([relu], *ends, {}, imports=[helper.make_opsetid("ai.onnx.ml", 3)])
    path = tmp_path / "relu.onnx"
    path.write_bytes(to_bytes(model))

    with pytest.raises(ModelError, match="Relu of the standard ones"):
        load(path)


def test_trees_are_refused_by_name():
    made = compress(NETWORKS["trees-15"](), parse_recipe("weights:8"))

    codes = {refusal.operator.split("_")[0]: refusal.code for refusal in made.refusals}
    assert codes["treeensembleregressor"] == "attribute"
    assert codes["linearregressor"] == "attribute"


@pytest.mark.parametrize("recipe", ["static", "dynamic"])
def test_integer_methods_name_the_tables_that_they_leave(recipe):
    model = NETWORKS["tables-17"]()
    calls = sample_calls(model)

    made = apply_recipe(model, parse_recipe(recipe), calls)
    more = apply_recipe(model, parse_recipe(f"{recipe}+weights:8"), calls)

    left = [refusal for refusal in made.refusals if refusal.code == "no-kernel"]
    assert {refusal.operator.split("_")[0] for refusal in left} >= {"slice", "mul", "transpose"}
    assert {refusal.remedy for refusal in left} == {OTHER_STEP}
    assert sum(change.method == "weights" for change in more.changes) == 4


def test_integer_models_say_so():
    model = NETWORKS["perceptron-21"]()
    integer = apply_recipe(model, parse_recipe("static"), sample_calls(model)).model

    assert quantized_count(model) == 0
    assert quantized_count(integer) == 2
