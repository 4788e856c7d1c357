"""Chains of channels: what is scaled computes the same bits, and what cannot be scaled is refused.

The oracle is ONNX Runtime on the model as it was: powers of two round nothing.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from packlight.model import nodes
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session
from packlight.testing import make_case
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info

WIDTH = 32
BY_WEIGHTS = parse_recipe("equalize,by=weights")
IMAGE = value_info("x", ["n", 8, 6, 6])
ROWS = value_info("x", ["n", 5, 24])


def uneven(net, *shape, fan_in=0):
    """Random weights whose channels differ in size along every axis."""
    array = net.array(*shape, fan_in=fan_in)
    for axis, size in enumerate(shape):
        spread = np.exp2(net.random.uniform(-3, 3, size)).astype(np.float32)
        array = array * spread.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return net.keep(array)


def row(net, *shape):
    return net.keep(net.random.uniform(0.5, 2, shape).astype(np.float32))


def conv(net, value, width=WIDTH, **attributes):
    return net.add("Conv", value, uneven(net, WIDTH, width, 3, 3), row(net, WIDTH),
                   pads=[1, 1, 1, 1], **attributes)  # fmt: skip


def conv_transpose(net, value):
    weight = uneven(net, 8, WIDTH // 4, 3, 3)
    return net.add("ConvTranspose", value, weight, row(net, WIDTH), group=4, pads=[1, 1, 1, 1])


def conv_and_norm(net, value):
    return net.norm(conv(net, value, 8), WIDTH)


def instance_norm(net, value):
    value = net.add("Conv", value, uneven(net, WIDTH, 8, 1, 1))
    scale = net.keep(np.exp2(net.random.uniform(-3, 3, WIDTH)).astype(np.float32))
    return net.add("InstanceNormalization", value, scale, row(net, WIDTH))


def factors(net, value):
    value = net.add("Sigmoid", conv(net, value, 8))
    return net.add("Mul", uneven(net, 1, WIDTH, 1, 1), value)


IMAGE_STARTS = {
    "conv": lambda net, value: conv(net, value, 8),
    "conv without bias": lambda net, value: net.add("Conv", value, uneven(net, WIDTH, 8, 1, 1)),
    "conv transpose": conv_transpose,
    "batch norm": conv_and_norm,
    "instance norm": instance_norm,
    "factors": factors,
}


def gate(net, value):
    """Squeeze and excitation: a factor computed from the channels themselves."""
    small = net.add("GlobalAveragePool", value)
    small = net.add("Relu", net.add("Conv", small, uneven(net, 8, WIDTH, 1, 1)))
    small = net.add("HardSigmoid", net.add("Conv", small, uneven(net, WIDTH, 8, 1, 1)))
    return net.add("Mul", value, small)


def shortcut(net, value):
    inner = net.add("Relu", conv(net, value))
    return net.add("Relu", net.add("Add", conv(net, inner), value))


def split_and_back(net, value):
    """Channels as heads, moved and moved back."""
    heads = net.add("Reshape", value, net.keep(np.array([0, 4, WIDTH // 4, 36])))
    turned = net.add("Transpose", heads, perm=[0, 3, 1, 2])
    flat = net.add("Reshape", turned, net.keep(np.array([0, 36, WIDTH])))
    back = net.add("Transpose", flat, perm=[0, 2, 1])
    return net.add("Reshape", back, net.keep(np.array([0, WIDTH, 6, 6])))


def padded(net, value):
    wide = net.add("Pad", value, net.keep(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    ends = [net.keep(np.array(numbers)) for numbers in ([1, 1], [7, 7], [2, 3])]
    return net.add("Slice", wide, *ends)


def depthwise(net, value):
    return net.add("Conv", value, uneven(net, WIDTH, 1, 3, 3), group=WIDTH, pads=[1, 1, 1, 1])


PASSES = {
    "relu": lambda net, value: net.add("Relu", value),
    "leaky": lambda net, value: net.add("LeakyRelu", value, alpha=0.3),
    "prelu": lambda net, value: net.add("PRelu", value, row(net, WIDTH, 1, 1)),
    "clip at zero": lambda net, value: net.add("Clip", value, net.keep(np.float32(0))),
    "pool": lambda net, value: net.add("MaxPool", value, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "average": lambda net, value: net.add("AveragePool", value, kernel_shape=[3, 3],
                                          pads=[1, 1, 1, 1], count_include_pad=1),
    "add": lambda net, value: net.add("Add", row(net, WIDTH, 1, 1), value),
    "add one": lambda net, value: net.add("Sub", value, net.keep(np.float32(0.5))),
    "times": lambda net, value: net.add("Mul", value, net.keep(np.float32(0.7))),
    "over": lambda net, value: net.add("Div", value, row(net, 1, WIDTH, 1, 1)),
    "gate": gate,
    "shortcut": shortcut,
    "heads": split_and_back,
    "padded": padded,
    "depthwise": depthwise,
    "identity": lambda net, value: net.add("Identity", value),
}  # fmt: skip


def flattened(net, value):
    value = net.add("Flatten", net.add("AveragePool", value, kernel_shape=[3, 3], strides=[3, 3]))
    return net.add("Gemm", value, uneven(net, 10, WIDTH * 4, fan_in=128), row(net, 10), transB=1)


def pooled(net, value):
    value = net.add("ReduceMean", value, axes=[2, 3], keepdims=0)
    return net.add("MatMul", value, uneven(net, WIDTH, 10))


def grouped(net, value):
    return net.add("Conv", value, uneven(net, 8, WIDTH // 4, 3, 3), group=4)


def two_readers(net, value):
    parts = net.add("Shape", value), conv(net, value), grouped(net, value)
    total = net.add("ReduceMean", net.add("GlobalAveragePool", parts[2]), axes=[1])
    shape = net.add("Cast", parts[0], to=TensorProto.FLOAT)
    rank = net.add("Reshape", shape, net.keep(np.array([1, 4, 1, 1])))
    rank = net.add("ReduceMax", rank, axes=[1])
    return net.add("Tanh", net.add("Add", net.add("Add", parts[1], total), rank))


ENDS = {
    "conv": conv,
    "grouped": grouped,
    "transposed": lambda net, value: net.add("ConvTranspose", value, uneven(net, WIDTH, 8, 2, 2)),
    "flattened": flattened,
    "pooled": pooled,
    "two readers": two_readers,
}


def same_bits(model, made, calls):
    """Both models give the same bits, in exact and in fast arithmetic."""
    for options in (EXACT, SessionOptions(threads=1)):
        old, new = open_session(model, options), open_session(made, options)
        for feeds in calls[:2]:
            for name, expected in old.run(feeds).items():
                np.testing.assert_array_equal(new.run(feeds)[name], expected)


def check_same_bits(model):
    case = make_case(model, BY_WEIGHTS)
    assert case.result.changes, case.result.refusals
    same_bits(case.model, case.result.model, case.calls)
    return case


def image_chain(start, passes, end, opset):
    """A network of named parts."""
    net = Sketch(opset if end not in ("pooled", "two readers") else 17)
    value = IMAGE_STARTS[start](net, "x")
    for name in passes:
        value = PASSES[name](net, value)
    value = ENDS[end](net, value)
    rank = 2 if end in ("flattened", "pooled") else 4
    return net.model("chain", [IMAGE], {value: [f"d{axis}" for axis in range(rank)]})


SINGLE = [
    *((start, [], "conv") for start in IMAGE_STARTS),
    *(("conv", [name], "conv") for name in PASSES),
    *(("conv", [], end) for end in ENDS),
]


@pytest.mark.parametrize(("start", "passes", "end"), SINGLE)
def test_every_part_lets_scales_through(start, passes, end):
    model = image_chain(start, passes, end, 17)

    case = check_same_bits(model)

    weights = [node for node in nodes(model.graph) if node.op_type in KINDS]
    assert {refusal.operator for refusal in case.result.refusals} <= {weights[0].name}
    assert weights[-1].name in {change.operator for change in case.result.changes}


KINDS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


@settings(max_examples=50)
@given(
    st.sampled_from(sorted(IMAGE_STARTS)),
    st.lists(st.sampled_from(sorted(PASSES)), max_size=3),
    st.sampled_from(sorted(ENDS)),
    st.sampled_from([13, 17]),
)
def test_chains_of_images_give_the_same_bits(start, passes, end, opset):
    check_same_bits(image_chain(start, passes, end, opset))


def layer_norm(net, value):
    scale = net.keep(np.exp2(net.random.uniform(-3, 3, 24)).astype(np.float32))
    return net.add("LayerNormalization", value, scale, row(net, 24))


def own_layer_norm(net, value):
    """LayerNormalization as older exporters write it."""
    centred = net.add("Sub", value, net.add("ReduceMean", value, axes=[-1]))
    squares = net.add("ReduceMean", net.add("Mul", centred, centred), axes=[-1])
    value = net.add("Div", centred, net.add("Sqrt", net.add("Add", squares, row(net, 1))))
    return net.add("Add", net.add("Mul", value, uneven(net, 24)), row(net, 24))


ROW_STARTS = {
    "product": lambda net, value: net.add("MatMul", value, uneven(net, 24, 24)),
    "product and bias": lambda net, value: net.add(
        "Add", net.add("MatMul", value, uneven(net, 24, 24)), row(net, 24)
    ),
    "norm": layer_norm,
    "own norm": own_layer_norm,
}


def attention(net, value):
    """Two heads; what is read through them goes on to the last product."""
    parts = []
    for _ in range(3):
        part = net.add("MatMul", value, uneven(net, 24, 24, fan_in=24))
        part = net.add("Reshape", part, net.keep(np.array([0, 5, 2, 12])))
        parts.append(net.add("Transpose", part, perm=[0, 2, 1, 3]))
    scores = net.add("MatMul", parts[0], net.add("Transpose", parts[1], perm=[0, 1, 3, 2]))
    mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), parts[2])
    mixed = net.add("Transpose", mixed, perm=[0, 2, 1, 3])
    mixed = net.add("Reshape", mixed, net.keep(np.array([0, 5, 24])))
    return net.add("MatMul", mixed, uneven(net, 24, 24))


def fused_attention(net, value):
    """Queries, keys and values from one product, cut apart."""
    whole = net.add("MatMul", value, uneven(net, 24, 72, fan_in=24))
    parts = []
    for place in range(3):
        ends = [net.keep(np.array([n])) for n in (24 * place, 24 * place + 24, 2)]
        parts.append(net.add("Slice", whole, *ends))
    scores = net.add("MatMul", parts[0], net.add("Transpose", parts[1], perm=[0, 2, 1]))
    mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), parts[2])
    return net.add("MatMul", mixed, uneven(net, 24, 24))


def recurrent(net, value):
    value = net.add("Transpose", value, perm=[1, 0, 2])
    weights = uneven(net, 1, 48, 24), net.weight(1, 48, 12, fan_in=12)
    value = net.add("LSTM", value, *weights, hidden_size=12)
    return net.add("Squeeze", value, net.keep(np.array([0])))


def on_the_left(net, value):
    """The weight is the left factor, so that channels are the axis before the last."""
    value = net.add("Relu", net.add("MatMul", value, uneven(net, 24, 30)))
    turned = net.add("Transpose", value, perm=[0, 2, 1])
    turned = net.add("MatMul", uneven(net, 20, 30), turned)
    return net.add("MatMul", uneven(net, 24, 20), net.add("Abs", turned))


ROW_ENDS = {
    "product": lambda net, value: net.add("MatMul", value, uneven(net, 24, 24)),
    "gemm": lambda net, value: net.add(
        "Gemm", net.add("Reshape", value, net.keep(np.array([-1, 24]))), uneven(net, 24, 24)
    ),
    "attention": attention,
    "fused attention": fused_attention,
    "recurrent": recurrent,
    "on the left": on_the_left,
}


@pytest.mark.parametrize("end", ROW_ENDS)
@pytest.mark.parametrize("start", ROW_STARTS)
def test_chains_of_rows_give_the_same_bits(start, end):
    net = Sketch(17)
    value = ROW_ENDS[end](net, ROW_STARTS[start](net, "x"))
    rank = 2 if end in ("gemm", "recurrent") else 3
    check_same_bits(net.model("rows", [ROWS], {value: [f"d{axis}" for axis in range(rank)]}))


def test_a_table_of_vectors_is_scaled_against_the_product_that_reads_it():
    net = Sketch(17)
    value = net.add("MatMul", net.add("Gather", uneven(net, 32, 16), "x"), uneven(net, 16, 24))
    model = net.model("table", [value_info("x", ["n"], TensorProto.INT64)], {value: ["n", 24]})

    case = check_same_bits(model)

    (change,) = case.result.changes
    assert change.storage.against == ("gather_1",)


def test_of_channels_that_are_cut_apart_only_those_that_can_be_are_scaled():
    net = Sketch(17)
    value = fused_attention(net, "x")
    model = net.model("fused", [ROWS], {value: ["n", 5, 24]})

    case = check_same_bits(model)

    (old, new) = (next(n for n in nodes(m.graph) if n.op_type == "MatMul")
                  for m in (model, case.result.model))  # fmt: skip
    before, after = (node.inputs[1].const_value.numpy() for node in (old, new))
    np.testing.assert_array_equal(after[:, :48], before[:, :48])
    assert (after[:, 48:] != before[:, 48:]).any(axis=0).sum() > 12


def test_numbers_that_others_read_too_are_copied():
    net = Sketch(17)
    bias = row(net, WIDTH)
    first = net.add("Conv", "x", uneven(net, WIDTH, 8, 1, 1), bias)
    second = net.add("Tanh", net.add("Conv", "x", net.weight(WIDTH, 8, 1, 1), bias))
    value = net.add("Add", net.add("Tanh", conv(net, first)), second)

    case = check_same_bits(net.model("shared", [IMAGE], {value: ["n", WIDTH, 6, 6]}))

    assert len(case.result.model.graph.graph.initializers) == 6


def test_weights_in_constants_are_replaced_and_leave_nothing_behind():
    net = Sketch(17)
    first = net.add("MatMul", "x", net.constant(np.exp2(net.array(24, 24, fan_in=1) * 2)))
    value = net.add("MatMul", net.add("Relu", first), net.constant(net.array(24, 24)))

    case = check_same_bits(net.model("constants", [ROWS], {value: ["n", 5, 24]}))

    assert [node.op_type for node in nodes(case.result.model.graph)] == ["MatMul", "Relu", "MatMul"]


def refused(net, value, inputs=(IMAGE,), dims=4):
    """What is said of the last operator with a weight."""
    outputs = {value: [f"d{axis}" for axis in range(dims)]} if isinstance(value, str) else value
    case = make_case(net.model("refused", list(inputs), outputs), BY_WEIGHTS)
    same_bits(case.model, case.result.model, case.calls)
    assert not case.result.changes
    return case.result.refusals[-1]


BARRIERS = {
    "a Relu6":
        lambda net, value: net.add("Clip", value, *(net.keep(np.float32(b)) for b in (0, 6))),
    "a sigmoid": lambda net, value: net.add("Sigmoid", value),
    "a square": lambda net, value: net.add("Mul", value, value),
    "a sum of all channels":
        lambda net, value: net.add("Expand", net.add("ReduceMean", value, axes=[1]),
                                   net.keep(np.array([1, WIDTH, 1, 1]))),
    "the input":
        lambda net, value: net.add("Add", value, net.add("Concat", *["x"] * 4, axis=1)),
    "channels in another order":
        lambda net, value: net.add("Add", value, net.add("Concat", *[
            net.add("Slice", value, *(net.keep(np.array([n])) for n in ends))
            for ends in ((16, 32, 1), (0, 16, 1))], axis=1)),
    "a pad of ones":
        lambda net, value: net.add("Pad", value, net.keep(np.array([0, 0, 1, 1, 0, 0, 1, 1])),
                                   net.keep(np.float32(1))),
}  # fmt: skip


@pytest.mark.parametrize("barrier", BARRIERS)
def test_what_does_not_pass_scales_is_refused_with_its_reason(barrier):
    net = Sketch(17)
    value = BARRIERS[barrier](net, conv(net, "x", 8))
    value = net.add("Conv", value, uneven(net, WIDTH, WIDTH, 3, 3))

    refusal = refused(net, value)

    assert refusal.code == "not-proportional"
    assert bool(refusal.remedy) == (barrier == "a Relu6")


def test_channels_that_are_an_output_too_stay():
    net = Sketch(17)
    first = conv(net, "x", 8)
    value = conv(net, first)

    refusal = refused(net, {value: ["n", WIDTH, 6, 6], first: ["n", WIDTH, 6, 6]})

    assert refusal.code == "model-output"


def test_a_weight_that_two_operators_read_stays():
    net = Sketch(17)
    weight = uneven(net, 24, 24)
    first = net.add("MatMul", "x", weight)
    value = net.add("MatMul", net.add("Relu", first), weight)

    assert refused(net, value, [ROWS], 3).code == "shared"


def test_a_producer_with_a_weight_that_is_an_output_stays():
    net = Sketch(17)
    weight = uneven(net, 24, 24)
    value = net.add("MatMul", net.add("MatMul", "x", weight), uneven(net, 24, 24))

    refusal = refused(net, {value: ["n", 5, 24], weight: [24, 24]}, [ROWS])

    assert refusal.code == "model-output"


def test_a_shortcut_around_a_norm_keeps_its_scale():
    net = Sketch(17)
    value = net.add("MatMul", "x", uneven(net, 24, 24))
    value = net.add("Add", value, net.add("MatMul", layer_norm(net, value), uneven(net, 24, 24)))
    value = net.add("Tanh", net.add("MatMul", value, uneven(net, 24, 24)))

    case = make_case(net.model("prenorm", [ROWS], {value: ["n", 5, 24]}), BY_WEIGHTS)

    assert len(case.result.changes) == 1
    assert case.result.refusals[-1].code == "not-proportional"
    same_bits(case.model, case.result.model, case.calls)


def scaled_shortcut(net, value):
    scaled = net.add("Mul", net.add("Relu", value), row(net, WIDTH, 1, 1))
    return conv(net, net.add("Add", value, scaled))


def shifted_channels(net, value):
    pads = net.keep(np.array([0, -1, 0, 0, 0, 1, 0, 0]))
    return conv(net, net.add("Pad", value, pads))


def times_a_vector(net, value):
    """A stack of matrices on the left of the means of channels, of one image."""
    means = net.add("ReduceMean", value, axes=[0, 2, 3], keepdims=0)
    return net.add("MatMul", uneven(net, 3, 10, WIDTH), means)


@pytest.mark.parametrize("end", [scaled_shortcut, shifted_channels, times_a_vector])
def test_what_would_be_scaled_twice_or_for_other_channels_stays_as_it_is(end):
    net = Sketch(17)
    value = end(net, conv(net, "x", 8))
    rank = 2 if end is times_a_vector else 4
    model = net.model("kept", [IMAGE], {value: [f"d{axis}" for axis in range(rank)]})

    case = make_case(model, BY_WEIGHTS)

    assert not case.result.changes
    same_bits(case.model, case.result.model, case.calls)
