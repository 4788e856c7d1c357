"""What operators of old opsets mean is what they mean in newer ones."""

import numpy as np
import onnx_ir as ir
import pytest

from packlight.model import Model, nodes, raise_opset, to_bytes
from packlight.runtime import open_session
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info

IMAGE, LINES = (1, 2, 9, 7), (2, 3, 4)


def scaled(*scales):
    return np.array(scales, np.float32)


FORMS = {
    "Upsample 7 linear": (
        7,
        "Upsample",
        IMAGE,
        [],
        {"mode": "linear", "scales": [1.0, 1.0, 2.0, 3.0]},
    ),
    "Upsample 7 nearest": (7, "Upsample", IMAGE, [], {"scales": [1.0, 1.0, 2.5, 1.3]}),
    "Upsample 9 linear": (9, "Upsample", IMAGE, [scaled(1, 1, 2, 2)], {"mode": "linear"}),
    "Upsample 9 nearest": (9, "Upsample", IMAGE, [scaled(1, 1, 2.5, 1.3)], {}),
    "Upsample 9 whole": (9, "Upsample", IMAGE, [scaled(1, 1, 3, 2)], {}),
    "Resize 10 linear up": (10, "Resize", IMAGE, [scaled(1, 1, 2, 1.5)], {"mode": "linear"}),
    "Resize 10 linear down": (10, "Resize", IMAGE, [scaled(1, 1, 0.4, 0.7)], {"mode": "linear"}),
    "Resize 10 nearest up": (10, "Resize", IMAGE, [scaled(1, 1, 1.7, 2)], {}),
    "Resize 10 nearest down": (10, "Resize", IMAGE, [scaled(1, 1, 0.6, 0.3)], {}),
    "Resize 10 nearest both": (10, "Resize", IMAGE, [scaled(1, 1, 1.7, 0.6)], {}),
    **{
        f"{op} {opset} {axis}": (opset, op, LINES, [], axis)
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for opset in (7, 11, 12)
        for axis in ({}, {"axis": 0}, {"axis": 1}, {"axis": 2})
    },
    "Hardmax from behind": (11, "Hardmax", LINES, [], {"axis": -2}),
    "Hardmax of the last": (11, "Hardmax", LINES, [], {"axis": -1}),
    "Flatten": (7, "Flatten", LINES, [], {"axis": 2}),
    "Slice": (7, "Slice", LINES, [], {"starts": [1], "ends": [9], "axes": [1]}),
    "Pad": (7, "Pad", LINES, [], {"pads": [0, 1, 0, 0, 0, 2], "value": 2.0}),
    "Clip": (7, "Clip", LINES, [], {"min": -1.0, "max": 0.5}),
    "Dropout": (7, "Dropout", LINES, [], {"ratio": 0.5}),
    "Split": (7, "Split", LINES, [], {"axis": 2, "split": [4]}),
    "Squeeze": (7, "Squeeze", (2, 1, 3), [], {"axes": [1]}),
    "Unsqueeze": (7, "Unsqueeze", LINES, [], {"axes": [0, 2]}),
    "ReduceSum": (7, "ReduceSum", LINES, [], {"axes": [1], "keepdims": 0}),
    "ReduceMax": (7, "ReduceMax", LINES, [], {"axes": [1], "keepdims": 0}),
    "AveragePool": (7, "AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 1, 0, 0]}),
    "MaxPool": (7, "MaxPool", IMAGE, [], {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER"}),
    "BatchNormalization": (7, "BatchNormalization", IMAGE, [np.float32([1, 2])] * 4, {}),
    "DepthToSpace": (7, "DepthToSpace", (1, 8, 2, 3), [], {"blocksize": 2}),
}
"""By name: opset, operator, shape of what it reads, stored values that it reads, attributes."""


def drawn(opset, op, shape, stored, attributes):
    net = Sketch(opset)
    value = net.add(op, "x", *map(net.keep, stored), **attributes)
    model = net.model(op, [value_info("x", shape)], {value: []})
    model.graph.graph.outputs[0].shape = None
    return model


def assert_same(model, newer, feeds):
    expected, found = (open_session(one, EXACT).run(feeds) for one in (model, newer))
    assert expected
    for key, array in expected.items():
        assert found[key].shape == array.shape
        np.testing.assert_allclose(found[key], array, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize("form", FORMS)
def test_an_operator_means_in_a_newer_opset_what_it_meant(form, opset):
    model = drawn(*FORMS[form])
    values = np.random.default_rng(0).standard_normal(FORMS[form][2]).astype(np.float32)

    newer = Model(raise_opset(model.clone(), opset), "newer")

    assert newer.opset() == opset
    assert_same(model, newer, {"x": values})


@pytest.mark.parametrize("scales", [(0.3, 0.7), (1.7, 2.5), (0.6, 3.0), (1.0, 1.0)])
def test_an_old_resize_means_the_same_by_scales_of_a_call(scales):
    net = Sketch(10)
    value = net.add("Resize", "x", "scales")
    inputs = [value_info("x", IMAGE), value_info("scales", [4])]
    model = net.model("resize", inputs, {value: [1, 2, "h", "w"]})
    values = np.random.default_rng(0).standard_normal(IMAGE).astype(np.float32)

    newer = Model(raise_opset(model.clone(), 13), "newer")

    assert_same(model, newer, {"x": values, "scales": scaled(1, 1, *scales)})


def test_operators_in_bodies_keep_their_meaning():
    arms = []
    for prefix, mode, axis in (("then.", "linear", 0), ("else.", "nearest", 1)):
        net = Sketch(9, prefix=prefix)
        large = net.add("Upsample", "x", net.keep(scaled(1, 1, 1.5, 2)), mode=mode)
        arms.append(net.body(net.add("Hardmax", large, axis=axis), [1, 2, "h", "w"]))
    net = Sketch(9)
    value = net.add("If", "yes", then_branch=arms[0], else_branch=arms[1])
    inputs = [value_info("x", IMAGE), value_info("yes", [], kind=ir.DataType.BOOL)]
    model = net.model("arms", inputs, {value: [1, 2, "h", "w"]})
    values = np.random.default_rng(0).standard_normal(IMAGE).astype(np.float32)

    newer = Model(raise_opset(model.clone(), 13), "newer")

    for yes in (True, False):
        assert_same(model, newer, {"x": values, "yes": np.array(yes)})


def test_what_repeats_whole_numbers_stays_one_plain_operator():
    model = drawn(*FORMS["Upsample 9 whole"])

    newer = raise_opset(model.clone(), 13)

    (resize,) = [node for node in nodes(newer) if node.op_type == "Resize"]
    assert list(resize.attributes) == ["mode"]
    assert to_bytes(Model(newer, "m")) == to_bytes(Model(raise_opset(model.clone(), 13), "m"))
