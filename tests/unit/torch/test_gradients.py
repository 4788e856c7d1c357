"""Gradients of modules made of ONNX operators, against finite differences in float64."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from packlight.testing.networks import NETWORKS
from packlight.testing.sketch import Sketch, value_info

torch = pytest.importorskip("torch")

from packlight.torch.interpreter import to_module  # noqa: E402

IMAGE = (2, 4, 5, 6)
MATRIX = (3, 6)


def make_inputs(shape, seed=0, low=0.1):
    """Numbers of both signs, none of them near 0 and no two equal, so away from every kink."""
    random = np.random.default_rng(seed)
    steps = random.permutation(int(np.prod(shape))) + random.uniform(0.2, 0.8, int(np.prod(shape)))
    numbers = low + 1.3 * steps / steps.size
    signs = random.choice([-1, 1], steps.size)
    return torch.from_numpy((numbers * signs).reshape(shape))


def check_gradients(module, inputs):
    """Compare gradients of inputs and of parameters with finite differences."""
    module = module.double()
    parameters = dict(module.named_parameters())
    names = list(parameters)
    values = [parameters[name].detach().clone().requires_grad_() for name in names]

    def run(*arguments):
        chosen = dict(zip(names, arguments[len(inputs) :], strict=True))
        results = torch.func.functional_call(module, chosen, arguments[: len(inputs)])
        return tuple(result for result in results if result.is_floating_point())

    leaves = [value.clone().requires_grad_(value.is_floating_point()) for value in inputs]
    # in random directions, for every input and parameter
    assert torch.autograd.gradcheck(
        run, (*leaves, *values), eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True
    )


SMOOTH = (
    "Abs",
    "Acos",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Celu",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "LogSoftmax",
    "Mish",
    "Neg",
    "Relu",
    "Selu",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Identity",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Flatten",
    "Transpose",
    "LpNormalization",
    "MeanVarianceNormalization",
    "Swish",
)
POSITIVE = ("Log", "Sqrt", "Reciprocal", "Acosh", "ReduceLogSum")
PAIRS = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "MatMul", "Sum", "Mean", "PRelu")


def one_operator(op, *stored, opset=24, outputs=1, shape=IMAGE, **attributes):
    """A module of one operator; its first input is ``x``, the others are stored."""
    net = Sketch(opset)
    names = ["" if array is None else net.keep(array) for array in stored]
    results = [f"y{index}" for index in range(outputs)]
    net.nodes.append(helper.make_node(op, ["x", *names], results, **attributes))
    inputs = [value_info("x", shape)]
    return to_module(net.model(op, inputs, {name: ["n"] for name in results}))


@pytest.mark.parametrize("op", SMOOTH)
def test_gradients_of_operators_on_one_tensor_equal_finite_differences(op):
    check_gradients(one_operator(op, shape=IMAGE), [make_inputs((2, 3, 2, 3), low=0.1) * 0.65])


@pytest.mark.parametrize("op", POSITIVE)
def test_gradients_of_operators_on_positive_numbers_equal_finite_differences(op):
    check_gradients(one_operator(op, shape=IMAGE), [make_inputs((2, 3, 4)).abs() + 1.05])


@pytest.mark.parametrize("op", PAIRS)
def test_gradients_of_operators_on_two_tensors_equal_finite_differences(op):
    weight = make_inputs((4, 4), seed=1).numpy().astype(np.float32)
    x = make_inputs((3, 4))
    if op == "Pow":
        x = x.abs() + 0.5
        weight = weight[:1]

    rows = weight if op == "MatMul" else weight[:1]
    check_gradients(one_operator(op, rows, shape=(3, 4)), [x])


def array(*shape, seed=3):
    return make_inputs(shape, seed=seed).numpy().astype(np.float32)


def ints(*numbers):
    return np.array(numbers, np.int64)


OPERATORS = {
    "Conv": (
        ("Conv", array(4, 2, 3, 3), array(4)),
        {"group": 2, "strides": [2, 1], "pads": [1, 0, 0, 2], "dilations": [1, 2]},
    ),
    "Conv same": (("Conv", array(2, 4, 2, 3)), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "ConvTranspose": (
        ("ConvTranspose", array(4, 2, 3, 3), array(4)),
        {"group": 2, "strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 0]},
    ),
    "AveragePool": (
        ("AveragePool",),
        {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 0, 1, 0]},
    ),
    "MaxPool": (("MaxPool",), {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
    "LpPool": (("LpPool",), {"kernel_shape": [2, 2]}),
    "BatchNormalization": (
        ("BatchNormalization", array(4), array(4), array(4), np.abs(array(4))),
        {},
    ),
    "LayerNormalization": (("LayerNormalization", array(6), array(6)), {}),
    "InstanceNormalization": (("InstanceNormalization", array(4), array(4)), {}),
    "GroupNormalization": (("GroupNormalization", array(4), array(4)), {"num_groups": 2}),
    "RMSNormalization": (("RMSNormalization", array(6)), {}),
    "LRN": (("LRN",), {"size": 3}),
    "Resize linear": (("Resize", None, np.array([1, 1, 1.5, 0.7], np.float32)), {"mode": "linear"}),
    "Resize cubic": (("Resize", None, None, ints(2, 4, 7, 8)), {"mode": "cubic"}),
    "Resize nearest": (("Resize", None, np.array([1, 1, 2, 2], np.float32)), {}),
    "Pad reflect": (("Pad", ints(0, 0, 2, 1, 0, 0, 1, 2)), {"mode": "reflect"}),
    "Pad constant": (("Pad", ints(0, 0, 1, 1, 0, 0, -1, 2)), {}),
    "Slice": (("Slice", ints(4, 0), ints(0, 5), ints(2, 3), ints(-2, 2)), {}),
    "Gather": (("Gather", np.array([[0, -1], [1, 1]])), {"axis": 1}),
    "GatherElements": (("GatherElements", np.zeros((1, 2, 3, 4), np.int64)), {"axis": 1}),
    "GatherND": (("GatherND", np.array([[0, 1], [1, 3]])), {}),
    "ScatterElements": (
        ("ScatterElements", np.array([[[[2, 0]]]]), array(1, 1, 1, 2)),
        {"axis": 2, "reduction": "add"},
    ),
    "ScatterND": (("ScatterND", np.array([[0, 1], [1, 3]]), array(2, 5, 6)), {}),
    "Expand": (("Expand", ints(3, 2, 4, 5, 6)), {}),
    "Tile": (("Tile", ints(1, 2, 1, 2)), {}),
    "CumSum": (("CumSum", np.array(2)), {"reverse": 1, "exclusive": 1}),
    "TopK": (("TopK", ints(3)), {"outputs": 2}),
    "Split": (("Split",), {"axis": 3, "outputs": 3, "num_outputs": 3}),
    "DepthToSpace": (("DepthToSpace",), {"blocksize": 2, "mode": "CRD"}),
    "Trilu": (("Trilu",), {}),
    "Clip": (("Clip", np.float32(-0.6), np.float32(0.7)), {}),
    "Einsum": (("Einsum", array(6, 2)), {"equation": "abcd,de->abce"}),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_gradients_of_operators_with_weights_equal_finite_differences(name):
    arguments, attributes = OPERATORS[name]

    check_gradients(one_operator(*arguments, **attributes), [make_inputs(IMAGE)])


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_gradients_through_time_equal_finite_differences(op, gates):
    parts = [array(2, gates * 3, 4), array(2, gates * 3, 3), array(2, 2 * gates * 3)]
    module = one_operator(op, *parts, hidden_size=3, direction="bidirectional", shape=(3, 2, 4))

    check_gradients(module, [make_inputs((3, 2, 4))])


@pytest.mark.parametrize("name", ["gemms-13", "attention-17", "fused-17"])
def test_gradients_of_networks_equal_finite_differences(name):
    """In a random direction; a check of every weight takes long."""
    model = NETWORKS[name]()
    module = to_module(model).double()
    shapes = [[size if isinstance(size, int) else 2 for size in value.shape]
              for value in model.inputs().values()]  # fmt: skip
    inputs = tuple(make_inputs(shape, seed=5) for shape in shapes)
    weights = {key: value.detach() for key, value in module.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    direction = {
        key: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for key, value in weights.items()
    }

    def loss(step):
        moved = {key: value + step * direction[key] for key, value in weights.items()}
        return torch.func.functional_call(module, moved, inputs)[0].square().sum()

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(step), step)
    difference = (loss(1e-6) - loss(-1e-6)) / 2e-6

    assert abs(slope - difference) <= 1e-5 * abs(difference)


def test_gradients_flow_through_branches_and_loops():
    for choice in (True, False):
        model = NETWORKS["branches-16"]()
        module = to_module(model)
        x = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)

        module(x=x, choice=torch.tensor(choice))[0].square().sum().backward()

        assert x.grad.abs().max() > 0

    net = Sketch(21)
    weight = net.weight(4, 4)
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", weight], ["product"]),
            helper.make_node("Tanh", ["product"], ["following"]),
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Identity", ["following"], ["row"]),
        ],
        "body",
        [value_info("i", [], TensorProto.INT64), value_info("going", [], TensorProto.BOOL),
         value_info("state", [3, 4])],
        [value_info("still", [], TensorProto.BOOL), value_info("following", [3, 4]),
         value_info("row", [3, 4])],
    )  # fmt: skip
    count = net.keep(np.array(3, np.int64), "count")
    net.nodes.append(helper.make_node("Loop", [count, "", "x"], ["last", "rows"], body=body))
    outputs = {"last": [3, 4], "rows": [3, 3, 4]}
    loop = to_module(net.model("loop", [value_info("x", [3, 4])], outputs))

    check_gradients(loop, [make_inputs((3, 4))])
