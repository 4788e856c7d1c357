"""Subgraphs, functions of the model's own, and what is computed when the model is loaded."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from packlight.compression import compress
from packlight.model import Model, bodies, nodes
from packlight.profiling import profile
from packlight.records import parse_recipe
from packlight.testing import NETWORKS

HEAD = '<ir_version: 9, opset_import: ["" : 18, "own" : 1]>'


def model_of(text, **weights):
    """A model from ONNX text with stored values."""
    proto = parser.parse_model(f"{HEAD}\n{text}")
    for name, value in weights.items():
        array = value if isinstance(value, np.ndarray) else np.ones(value, np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(proto)
    found = ir.from_proto(proto)
    for index, node in enumerate(ir.traversal.RecursiveGraphIterator(found.graph)):
        node.name = node.name or f"{node.op_type}_{index}"
    return Model(found, "g")


def rows(found):
    """Rows by the name of the operator."""
    return {row.name: row for row in found.operators}


IF = """g (float[2,4] x{more}) => (float[2,3] y) {{
    {before}
    [choose] y = If (c) <
        then_branch = t () => (float[2,3] p) {{ [small] p = MatMul(x, w) }},
        else_branch = e () => (float[2,3] q) {{ [wide] h = MatMul(x, v) [back] q = MatMul(h, u) }}>
}}"""
WEIGHTS = {"w": (4, 3), "v": (4, 8), "u": (8, 3)}


def test_an_if_counts_its_costlier_branch_and_says_so():
    found = profile(model_of(IF.format(more=", bool c", before=""), **WEIGHTS), {})

    assert found.totals["macs"].value == 2 * 4 * 8 + 2 * 8 * 3
    assert found.notes == ("If 'choose' counts its else_branch, the costlier one",)
    assert {name: row.runs for name, row in rows(found).items()} == {
        "choose": 1, "small": 0, "wide": 1, "back": 1,
    }  # fmt: skip
    assert rows(found)["small"].macs == 0
    assert not rows(found)["small"].at_load
    assert found.totals["parameters"].value == 12 + 32 + 24


def test_an_if_whose_condition_follows_from_shapes_counts_the_branch_that_runs():
    before = "n = Size(x) c = Less(n, many)"
    model = model_of(IF.format(more="", before=before), many=np.array(100), **WEIGHTS)

    found = profile(model, {})

    assert found.totals["macs"].value == 2 * 4 * 3
    assert found.notes == ()


LOOP = """g (float[2,4] x{more}) => (float[2,4] y) {{
    [around] y = Loop (m, , x) <body = b (int64 i, bool go, float[2,4] s)
        => (bool on, float[2,4] t) {{
        on = Identity(go) [product] a = MatMul(s, w) [move] t = Tanh(a) }}>
}}"""


def test_a_loop_counts_as_often_as_it_is_told():
    found = profile(model_of(LOOP.format(more=""), m=np.array(7), w=(4, 4)), {})

    product = rows(found)["product"]
    assert found.totals["macs"].value == product.macs == 7 * 2 * 4 * 4
    assert found.totals["other_ops"].value == 7 * 8
    assert product.runs == 7
    assert product.activation_bytes_out == 7 * 32
    assert found.notes == ("Loop 'around' counts 7 times, its upper limit",)


@pytest.mark.parametrize("times", [None, np.array(2**63 - 1)])
def test_a_loop_whose_length_is_data_counts_once_and_says_so(times):
    stored = {} if times is None else {"m": times}
    text = LOOP.format(more=", int64 m" if times is None else "")

    found = profile(model_of(text, w=(4, 4), **stored), {})

    assert found.totals["macs"].value == 2 * 4 * 4
    assert found.notes == ("Loop 'around' counts once: its number of runs depends on data",)


def test_a_scan_counts_for_each_step_of_its_input():
    text = """g (float[2] s, float[5,2] x) => (float[2] z, float[5,3] y) {
        z, y = Scan <num_scan_inputs = 1, body = b (float[2] r, float[2] c)
            => (float[2] n, float[3] o) { n = Add(r, c) [product] o = MatMul(n, w) }> (s, x)
    }"""

    found = profile(model_of(text, w=(2, 3)), {})

    assert found.totals["macs"].value == 5 * 2 * 3
    assert found.totals["other_ops"].value == 5 * 2


def test_a_scan_whose_body_states_no_shapes_counts_all_the_same():
    text = """g (float[2] s, float[5,2] x) => (float[2] z, float[5,3] y) {
        z, y = Scan <num_scan_inputs = 1, body = b (float r, float c)
            => (float n, float o) { n = Add(r, c) [product] o = MatMul(n, w) }> (s, x)
    }"""
    model = model_of(text, w=(2, 3))
    for body in bodies(next(nodes(model.graph))):
        for value in (*body.inputs, *body.outputs):
            value.shape = None

    found = profile(model, {})

    assert found.unknown == ()
    assert found.totals["macs"].value == 5 * 2 * 3
    assert found.totals["other_ops"].value == 5 * 2


CALLS = """g (float[2,4] x) => (float[2,4] y) {
    [first] a = own.twice(x, w)
    [second] y = own.twice(a, w)
}
<domain: "own", opset_import: ["" : 18, "own" : 1]>
twice (x, w) => (z) { a = own.step(x, w) z = own.step(a, w) }
<domain: "own", opset_import: ["" : 18]>
step (x, w) => (z) { p = MatMul(x, w) z = Relu(p) }"""


def test_what_a_function_does_counts_at_its_call():
    found = profile(model_of(CALLS, w=(4, 4)), {})

    assert [row.op for row in found.operators] == ["own.twice", "own.twice"]
    assert [row.macs for row in found.operators] == [2 * 2 * 16] * 2
    assert [row.other_ops for row in found.operators] == [2 * 8] * 2
    first = found.operators[0]
    assert (first.activation_bytes_in, first.activation_bytes_out) == (32, 32)
    assert first.loaded_bytes == 64
    # While a product runs, what it reads and what it gives are alive: 32 bytes each.
    assert found.totals["peak_activation_bytes"].value == 64


def test_what_reads_only_stored_values_is_computed_when_the_model_is_loaded():
    text = """g (float[2,4] x) => (float[2,3] y) {
        [cast] f = Cast<to=1>(w) [scale] r = Mul(f, s) [turn] t = Transpose(r)
        [use] y = MatMul(x, t)
    }"""
    model = model_of(text, w=np.ones((3, 4), np.int8), s=np.asarray(0.5, np.float32))

    found = profile(model, {})

    at_load = {name for name, row in rows(found).items() if row.at_load}
    assert at_load == {"cast", "scale", "turn"}
    assert all(rows(found)[name].other_ops == rows(found)[name].runs == 0 for name in at_load)
    assert found.totals["weight_bytes"].value == 12 + 4
    # The product reads twelve restored floats at every run.
    assert rows(found)["use"].loaded_bytes == found.totals["loaded_bytes"].value == 48
    assert found.totals["peak_activation_bytes"].value == 32 + 24


def test_a_stored_dequantize_linear_runs_every_time():
    text = """g (float[2,4] x) => (float[2,3] y) {
        [back] f = DequantizeLinear(w, s) y = MatMul(x, f) }"""
    model = model_of(text, w=np.ones((4, 3), np.int8), s=np.asarray(0.5, np.float32))

    back = profile(model, {}).operators[0]

    assert (back.at_load, back.runs, back.other_ops) == (False, 1, 2 * 12)


def test_random_numbers_are_drawn_every_time():
    found = profile(model_of("g () => (float[8] y) { y = RandomNormal<shape=[8]>() }"), {})

    assert (found.operators[0].at_load, found.operators[0].other_ops) == (False, 8)


@pytest.mark.parametrize("recipe", ["weights:3", "palette:3", "weights:4,block=32,expand=load"])
def test_restoring_compressed_weights_costs_nothing_at_a_run(recipe):
    original = NETWORKS["perceptron-21"]()
    small = compress(original, parse_recipe(recipe)).model
    shapes = {"x": (2, 32)}

    before, after = profile(original, shapes), profile(small, shapes)

    assert after.unknown == ()
    assert after.totals["macs"] == before.totals["macs"]
    assert after.totals["other_ops"] == before.totals["other_ops"]
    assert after.totals["loaded_bytes"] == before.totals["loaded_bytes"]
    assert after.totals["peak_activation_bytes"] == before.totals["peak_activation_bytes"]
    assert after.totals["weight_bytes"].value < before.totals["weight_bytes"].value / 3
    assert any(row.at_load and row.op.startswith("packlight.") for row in after.operators) or (
        "expand" in recipe
    )
