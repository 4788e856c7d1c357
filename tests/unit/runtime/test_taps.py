"""Taps against onnx's own evaluator, which runs bodies of operators in plain Python."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from packlight.errors import ModelError, TaskError
from packlight.model import Model
from packlight.records import SessionOptions
from packlight.runtime import stream, tapped

OPTIONS = SessionOptions(matmul_accuracy=1)
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node


def info(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def proto_of(nodes, inputs, outputs, weights=(), opset=13):
    stored = [numpy_helper.from_array(array, name) for name, array in weights]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def model_of(proto):
    return Model(ir.from_proto(proto), "m")


def branching(opset=13):
    """Nested If: values of each level depend on x alone."""
    inner_then = helper.make_graph([node("Exp", ["h"], ["e"])], "it", [], [info("e")])
    inner_else = helper.make_graph([node("Neg", ["h"], ["n"])], "ie", [], [info("n")])
    outer_then = helper.make_graph(
        [
            node("Mul", ["x", "two"], ["h"]),
            node("If", ["d"], ["o"], then_branch=inner_then, else_branch=inner_else),
        ],
        "ot", [], [info("o")],
    )  # fmt: skip
    outer_else = helper.make_graph([node("Relu", ["x"], ["r"])], "oe", [], [info("r")])
    return proto_of(
        [
            node("If", ["c"], ["b"], then_branch=outer_then, else_branch=outer_else),
            node("Add", ["b", "x"], ["y"]),
        ],
        [info("x", FLOAT, [None, 3]), info("c", BOOL, []), info("d", BOOL, [])],
        [info("y")],
        [("two", np.float32(2))],
        opset,
    )


@pytest.mark.parametrize("c", [True, False])
@pytest.mark.parametrize("d", [True, False])
def test_values_on_branches_are_given_when_taken_and_absent_otherwise(c, d):
    proto = branching()
    x = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)
    feeds = {"x": x, "c": np.array(c), "d": np.array(d)}
    names = ["e", "n", "h", "r", "o", "b", "y", "x", "two"]

    (values,) = stream(model_of(proto), names, [[feeds]], {}, OPTIONS)

    (y,) = ReferenceEvaluator(proto).run(["y"], feeds)
    expected = {"b": y - x, "y": y, "x": x, "two": np.float32(2)}
    if c:
        expected |= {"h": 2 * x, "o": y - x, ("e" if d else "n"): np.exp(2 * x) if d else -2 * x}
    else:
        expected |= {"r": np.maximum(x, 0)}
    assert set(values) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        values["b"], ReferenceEvaluator(proto).run(None, feeds)[0] - x, rtol=1e-5, atol=1e-5
    )


def looping():
    """Five iterations: h = 1.5 h + x; an If inside takes turns; each h is scanned out as well."""
    even = helper.make_graph([node("Sin", ["h2"], ["s"])], "even", [], [info("s")])
    odd = helper.make_graph([node("Cos", ["h2"], ["t"])], "odd", [], [info("t")])
    body = helper.make_graph(
        [
            node("Mul", ["h", "rate"], ["m"]),
            node("Add", ["m", "x"], ["h2"]),
            node("Mod", ["i", "turns"], ["left"]),
            node("Equal", ["left", "zero"], ["is_even"]),
            node("If", ["is_even"], ["wave"], then_branch=even, else_branch=odd),
            node("Identity", ["h2"], ["h3"]),
            node("Identity", ["go"], ["go2"]),
        ],
        "body",
        [info("i", INT64, []), info("go", BOOL, []), info("h", FLOAT, [2])],
        [info("go2", BOOL, []), info("h2", FLOAT, [2]), info("wave"), info("h3")],
    )
    return proto_of(
        [
            node("Loop", ["trips", "yes", "x"], ["last", "waves", "all"], body=body),
            node("ReduceSum", ["waves"], ["y"], keepdims=0),
        ],
        [info("x", FLOAT, [2]), info("trips", INT64, [])],
        [info("y"), info("last"), info("all")],
        [
            ("rate", np.float32(1.5)),
            ("turns", np.int64(2)),
            ("zero", np.int64(0)),
            ("yes", np.array(True)),
        ],
    )


@pytest.mark.parametrize("trips", [5, 1])
def test_values_in_a_loop_are_stacked_over_its_iterations(trips):
    proto = looping()
    feeds = {"x": np.array([0.1, 0.2], np.float32), "trips": np.array(trips)}
    names = ["h2", "s", "t", "m", "waves", "last", "i"]

    (values,) = stream(model_of(proto), names, [[feeds]], {}, OPTIONS)

    y, last, steps = ReferenceEvaluator(proto).run(None, feeds)
    np.testing.assert_allclose(values["h2"], steps, rtol=1e-6)
    np.testing.assert_allclose(values["last"], last, rtol=1e-6)
    np.testing.assert_allclose(values["m"], steps - feeds["x"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values["s"], np.sin(steps[::2]), rtol=1e-5)
    assert ("t" in values) == (trips > 1)
    if trips > 1:
        np.testing.assert_allclose(values["t"], np.cos(steps[1::2]), rtol=1e-5)
    np.testing.assert_allclose(values["waves"].sum(), y, rtol=1e-5)
    np.testing.assert_array_equal(values["i"], np.arange(trips))


def test_a_loop_without_iterations_gives_no_value():
    feeds = {"x": np.ones(2, np.float32), "trips": np.array(0)}

    (values,) = stream(model_of(looping()), ["h2", "last"], [[feeds]], {}, OPTIONS)

    assert set(values) == {"last"}


def test_taps_leave_the_outputs_of_the_model_as_they_were():
    proto = looping()
    feeds = {"x": np.array([0.1, 0.2], np.float32), "trips": np.array(4)}
    watched, taps = tapped(model_of(proto), ["h2", "s", "y", "x"])

    from packlight.runtime import open_session

    outputs = open_session(watched, OPTIONS).run(feeds)

    names = ["y", "last", "all"]
    for name, expected in zip(names, ReferenceEvaluator(proto).run(names, feeds), strict=True):
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-5)
    assert set(outputs) - set(names) == {tap.output for places in taps.values() for tap in places}


def scanning():
    """A running sum over the first axis, with its square scanned out."""
    body = helper.make_graph(
        [node("Add", ["h", "row"], ["h2"]), node("Mul", ["h2", "h2"], ["square"])],
        "body",
        [info("h", FLOAT, [2]), info("row", FLOAT, [2])],
        [info("h2", FLOAT, [2]), info("square", FLOAT, [2])],
    )
    return proto_of(
        [
            node(
                "Scan", ["start", "x"], ["last", "squares"], body=body, num_scan_inputs=1,
                scan_output_axes=[0], scan_output_directions=[0],
            )
        ],
        [info("x", FLOAT, [None, 2])],
        [info("squares"), info("last")],
        [("start", np.zeros(2, np.float32))],
    )  # fmt: skip


def test_values_in_a_scan_are_stacked():
    x = np.arange(8, dtype=np.float32).reshape(4, 2)

    (values,) = stream(model_of(scanning()), ["h2", "squares"], [[{"x": x}]], {}, OPTIONS)

    np.testing.assert_array_equal(values["h2"], np.cumsum(x, axis=0))
    np.testing.assert_array_equal(values["squares"], np.cumsum(x, axis=0) ** 2)


def growing():
    """Iteration i gives i + 1 numbers."""
    body = helper.make_graph(
        [node("Concat", ["h", "x"], ["h2"], axis=0), node("Identity", ["go"], ["go2"])],
        "body",
        [info("i", INT64, []), info("go", BOOL, []), info("h", FLOAT, [None])],
        [info("go2", BOOL, []), info("h2", FLOAT, [None])],
    )
    return proto_of(
        [node("Loop", ["trips", "yes", "x"], ["y"], body=body)],
        [info("x", FLOAT, [None]), info("trips", INT64, [])],
        [info("y", FLOAT, [None])],
        [("yes", np.array(True))],
    )


def test_values_whose_shape_changes_between_iterations_are_refused():
    feeds = {"x": np.ones(1, np.float32), "trips": np.array(3)}

    with pytest.raises(ModelError, match="'h2' has another shape at each iteration"):
        list(stream(model_of(growing()), ["h2"], [[feeds]], {}, OPTIONS))


def test_branches_that_share_a_name_share_a_tap():
    sides = [
        helper.make_graph([node(op, ["x"], ["v"])], op, [], [info("v")]) for op in ("Exp", "Neg")
    ]
    proto = proto_of(
        [node("If", ["c"], ["y"], then_branch=sides[0], else_branch=sides[1])],
        [info("x", FLOAT, [2]), info("c", BOOL, [])],
        [info("y")],
    )
    x = np.array([1, 2], np.float32)
    feeds = [[{"x": x, "c": np.array(c)}] for c in (True, False)]

    taken, other = stream(model_of(proto), ["v"], feeds, {}, OPTIONS)

    np.testing.assert_allclose(taken["v"], np.exp(x), rtol=1e-6)
    np.testing.assert_allclose(other["v"], -x)


def test_one_dict_for_each_call_with_the_state_carried():
    proto = proto_of(
        [node("Add", ["x", "memory"], ["sum"]), node("Identity", ["sum"], ["next"])],
        [info("x", FLOAT, [1]), info("memory", FLOAT, [1])],
        [info("next", FLOAT, [1])],
    )
    one = np.ones(1, np.float32)
    samples = [[{"x": one, "memory": 0 * one}, {"x": one}, {"x": one}], [{"x": one, "memory": one}]]

    values = [
        float(found["sum"][0])
        for found in stream(model_of(proto), ["sum"], samples, {"next": "memory"}, OPTIONS)
    ]

    assert values == [1, 2, 3, 2]


def test_a_tensor_that_does_not_exist_is_refused():
    with pytest.raises(ModelError, match="'m' has no tensor 'nothing'"):
        tapped(model_of(branching()), ["nothing"])


def test_old_opsets_are_refused_inside_bodies_with_a_remedy_and_work_outside():
    model = model_of(branching(opset=11))
    x = np.ones((1, 3), np.float32)
    feeds = {"x": x, "c": np.array(False), "d": np.array(False)}

    with pytest.raises(ModelError, match="inside If can be followed from opset 13 on"):
        tapped(model, ["r"])
    (values,) = stream(model, ["b"], [[feeds]], {}, OPTIONS)

    np.testing.assert_array_equal(values["b"], x)


def test_a_branch_inside_a_scan_is_refused():
    sides = [
        helper.make_graph([node(op, ["row"], [op])], op, [], [info(op)]) for op in ("Exp", "Neg")
    ]
    body = helper.make_graph(
        [node("If", ["c"], ["v"], then_branch=sides[0], else_branch=sides[1])],
        "body", [info("row", FLOAT, [2])], [info("v", FLOAT, [2])],
    )  # fmt: skip
    proto = proto_of(
        [node("Scan", ["x"], ["y"], body=body, num_scan_inputs=1)],
        [info("x", FLOAT, [None, 2]), info("c", BOOL, [])],
        [info("y")],
    )

    with pytest.raises(ModelError, match="cannot be followed out of Scan"):
        tapped(model_of(proto), ["Exp"])


def test_tapping_leaves_the_model_untouched():
    model = model_of(looping())
    before = model.digest

    tapped(model, ["h2", "s", "waves"])

    assert Model(model.graph, "m").digest == before


def test_samples_that_do_not_fit_are_refused():
    with pytest.raises(TaskError, match="takes float32"):
        list(stream(model_of(scanning()), ["h2"], [[{"x": np.ones((2, 2))}]], {}, OPTIONS))
