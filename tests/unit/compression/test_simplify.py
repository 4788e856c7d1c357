"""Simplifying: smaller, the same numbers, and compressed weights stay compressed."""

import sys

import numpy as np
import onnx_ir as ir
import pytest

from packlight.compression import compress
from packlight.model import load, nodes, release, save, to_bytes
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing import NETWORKS, make_case, sample_calls
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info

COMPRESSED = [
    "float16",
    "weights:8",
    "weights:4,block=16",
    "weights:4,block=10,expand=load",
    "static",
]


@pytest.mark.parametrize("recipe", COMPRESSED)
@pytest.mark.parametrize("name", NETWORKS)
def test_simplify_never_undoes_what_a_step_before_compressed(name, recipe):
    first = make_case(NETWORKS[name](), parse_recipe(f"simplify+{recipe}"))
    small = len(to_bytes(first.result.model))

    simplified = compress(first.result.model, parse_recipe("simplify"))

    assert len(to_bytes(simplified.model)) <= small * 1.01
    old, new = (open_session(m, EXACT) for m in (first.result.model, simplified.model))
    expected, found = old.run(first.calls[0]), new.run(first.calls[0])
    for key, array in expected.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_simplifying_again_changes_nothing(name):
    once = compress(NETWORKS[name](), parse_recipe("simplify"))

    again = compress(once.model, parse_recipe("simplify"))

    assert to_bytes(again.model) == to_bytes(once.model)
    assert not again.changes


@pytest.mark.parametrize("name", NETWORKS)
def test_simplify_never_enlarges(name):
    model = NETWORKS[name]()

    assert len(to_bytes(compress(model, parse_recipe("simplify")).model)) <= len(to_bytes(model))


def test_weights_behind_operators_become_weights():
    first = compress(NETWORKS["aliased-17"](), parse_recipe("weights:8"))
    simplified = compress(NETWORKS["aliased-17"](), parse_recipe("simplify+weights:8"))

    assert [change.operator for change in first.changes] == ["matmul_2", "transpose_4"]
    assert [change.operator for change in simplified.changes if change.method == "weights"] == [
        "matmul_2", "matmul_6"
    ]  # fmt: skip


def test_equal_weights_are_stored_once_and_unread_ones_not_at_all():
    net = Sketch(17)
    array = net.array(32, 32)
    value = net.add("MatMul", "x", net.keep(array))
    value = net.add("MatMul", value, net.keep(array))
    net.add("Relu", net.keep(array))
    net.keep(net.array(64, 64))
    model = net.model("twice", [value_info("x", ["n", 32])], {value: ["n", 32]})

    made = compress(model, parse_recipe("simplify"))

    assert len(made.model.graph.graph.initializers) == 1
    assert [node.op_type for node in nodes(made.model.graph)] == ["MatMul", "MatMul"]
    call = sample_calls(model)[0]
    (expected,), (found,) = (open_session(m, EXACT).run(call).values() for m in (model, made.model))
    np.testing.assert_array_equal(found, expected)


def test_a_large_result_of_a_small_constant_is_not_stored():
    net = Sketch(17)
    large = net.add("ConstantOfShape", net.keep(np.array([300, 300])))
    value = net.add("Add", "x", large)
    model = net.model("grown", [value_info("x", [1])], {value: [300, 300]})

    made = compress(model, parse_recipe("simplify"))

    assert len(to_bytes(made.model)) < 1000


def test_a_constant_expression_is_computed():
    net = Sketch(17)
    scale = net.add("Sqrt", net.add("Add", net.weight(16), net.keep(np.float32([9.0]))))
    value = net.add("Mul", "x", scale)
    model = net.model("folded", [value_info("x", ["n", 16])], {value: ["n", 16]})

    made = compress(model, parse_recipe("simplify"))

    assert [node.op_type for node in nodes(made.model.graph)] == ["Mul"]
    assert {change.operator for change in made.changes} == {"add_2", "sqrt_3"}


def test_what_is_random_is_not_computed_beforehand():
    net = Sketch(17)
    noise = net.add("RandomNormal", shape=[16])
    value = net.add("Add", "x", noise)
    model = net.model("noisy", [value_info("x", ["n", 16])], {value: ["n", 16]})

    made = compress(model, parse_recipe("simplify"))

    assert [node.op_type for node in nodes(made.model.graph)] == ["RandomNormal", "Add"]


BEHIND = {
    "Transpose": ([], {"perm": [1, 0]}),
    "Reshape": ([[64, 96]], {}),
    "Slice": ([[0, 0], [96, 48]], {}),
}
"""Operators that NumPy computes without a copy: constants that they read, and attributes."""


@pytest.mark.parametrize("op", BEHIND)
def test_a_large_weight_outside_the_file_is_simplified_behind_an_operator(
    op, tmp_path, monkeypatch
):
    net, (constants, attributes) = Sketch(17), BEHIND[op]
    stored = net.weight(96, 64)
    given = [net.keep(np.array(array)) for array in constants]
    weight = net.add(op, stored, *given, **attributes)
    values = [net.add("MatMul", "x", weight), net.add("Gather", stored, net.keep(np.array([3])))]
    rows = 96 if op == "Slice" else 64
    model = net.model("behind", [value_info("x", ["n", rows])], {key: ["n", "m"] for key in values})
    monkeypatch.setattr(sys.modules["packlight.model.save"], "INLINE_LIMIT", 1000)
    save(model, tmp_path / "m.onnx")
    monkeypatch.undo()
    outside = load(tmp_path / "m.onnx")

    made = compress(outside, parse_recipe("simplify")).model

    assert to_bytes(made) == to_bytes(compress(model, parse_recipe("simplify")).model)
    assert outside.digest == model.digest


def test_memory_maps_are_let_go_while_an_array_shows_them(tmp_path):
    (tmp_path / "w.bin").write_bytes(np.arange(8, dtype=np.float32).tobytes())
    tensor = ir.ExternalTensor(
        "w.bin", 0, 32, ir.DataType.FLOAT, shape=ir.Shape([8]), name="w", base_dir=tmp_path
    )
    shown = tensor.numpy()[2:4]

    release(tensor)

    assert tensor.raw is None
    np.testing.assert_array_equal(shown, [2, 3])
    np.testing.assert_array_equal(tensor.numpy(), np.arange(8))


def test_what_the_optimizer_leaves_alone_is_not_logged(caplog):
    net = Sketch(18)
    stored = net.weight(300)
    model = net.model("stored", [value_info("x", [300])], {net.add("Add", "x", stored): [300]})
    model.graph.graph.outputs.append(model.graph.graph.initializers[stored])

    compress(model, parse_recipe("simplify"))

    assert not caplog.records
