"""ONNX models as PyTorch modules: the same numbers as ONNX Runtime's, and what is refused."""

import threading

import numpy as np
import onnx
import pytest
from generator import make_graph
from onnx import TensorProto, helper

from packlight.errors import InputError
from packlight.model import Model, load, to_bytes
from packlight.model.map_types import from_proto
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session
from packlight.testing.cases import apply_recipe, sample_calls
from packlight.testing.networks import NETWORKS
from packlight.testing.sketch import Sketch, value_info
from packlight.zoo import model_path, task

torch = pytest.importorskip("torch")

from packlight.torch import interpreter  # noqa: E402
from packlight.torch.interpreter import (  # noqa: E402
    parameter_name,
    stored_name,
    to_module,
    unsupported_operators,
)
from packlight.torch.values import as_array  # noqa: E402

EXACT = SessionOptions(arithmetic="exact")
CLOSE = 1e-4
HALF_CLOSE = 2e-3
"""For 16-bit numbers, which two runtimes round at other moments."""


def worst_difference(model, calls):
    """Largest difference to ONNX Runtime, in shares of each output's largest number."""
    module = to_module(model)
    session = open_session(model, EXACT)
    worst = 0.0
    for call in calls:
        results = [as_array(result) for result in module(**call)]
        expected = session.run(call)
        assert list(expected) == list(module.output_names)
        for reference, result in zip(expected.values(), results, strict=True):
            assert (reference.shape, reference.dtype) == (result.shape, result.dtype)
            scale = np.abs(reference.astype(np.float64)).max(initial=0) + 1e-30
            difference = np.abs(reference.astype(np.float64) - result.astype(np.float64))
            worst = max(worst, difference.max(initial=0) / scale)
    return worst


def limit_for(model):
    dtypes = [value.dtype for node in model.graph.graph for value in node.outputs]
    half = any(dtype is not None and dtype.name == "FLOAT16" for dtype in dtypes)
    casts = any(
        node.op_type == "Cast" and node.attributes["to"].value == TensorProto.FLOAT16
        for node in model.graph.graph
    )
    return HALF_CLOSE if half or casts else CLOSE


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_computes_what_onnxruntime_does(name):
    model = NETWORKS[name]()

    assert worst_difference(model, sample_calls(model, 3)) <= limit_for(model)


STORED = ["weights:8", "weights:4,block=32", "weights:3", "palette:4", "palette:3", "sparse"]
SLOW_RECIPES = [*STORED, "simplify", "float16", "palette,mixed=3", "dynamic"]
ROUNDED = ("static", "dynamic")


@pytest.mark.parametrize(
    "recipe",
    ["", "static", *(pytest.param(recipe, marks=pytest.mark.slow) for recipe in SLOW_RECIPES)],
)
def test_fashion_and_its_variants_compute_what_onnxruntime_does(recipe):
    model = load(model_path("fashion"))
    data = task("fashion")
    calls = [call for sample in list(data.samples)[:8] for call in sample]
    if recipe:
        samples = [call for sample in list(data.calibration)[:8] for call in sample]
        model = apply_recipe(model, parse_recipe(recipe), samples).model

    differences = sorted(worst_difference(model, [call]) for call in calls)

    # where activations are rounded, the last bit of a sum can move one to the next integer
    assert differences[len(calls) // 2] <= CLOSE
    assert differences[-1] <= (CLOSE if recipe not in ROUNDED else 0.05)


@pytest.mark.parametrize("recipe", [*STORED, "dynamic"])
def test_every_encoding_of_weights_computes_what_onnxruntime_does(recipe):
    model = NETWORKS["tables-17"]()
    result = apply_recipe(model, parse_recipe(recipe), sample_calls(model))

    assert result.changes
    assert worst_difference(result.model, sample_calls(model, 2)) <= CLOSE


def check_random_graph(seed, folder):
    graph = make_graph(seed)
    model = load(graph.write(folder))
    half = any(
        node.op_type == "Cast"
        and any(attribute.i == TensorProto.FLOAT16 for attribute in node.attribute)
        for node in graph.proto.graph.node
    )

    assert unsupported_operators(model) == []
    assert worst_difference(model, [graph.feeds(0)]) <= (HALF_CLOSE if half else CLOSE), seed


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_compute_what_onnxruntime_does(seed, tmp_path):
    check_random_graph(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(20, 220, 50))
def test_many_random_graphs_compute_what_onnxruntime_does(start, tmp_path):
    for seed in range(start, start + 50):
        check_random_graph(seed, tmp_path)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_size_runs_where_the_model_leaves_it_open(batch):
    model = NETWORKS["attention-17"]()
    call = {"x": np.random.default_rng(batch).standard_normal((batch, 8, 4, 4), np.float32)}

    assert worst_difference(model, [call]) <= CLOSE


def test_the_same_input_gives_the_same_bytes():
    model = NETWORKS["residual-17"]()
    (call,) = sample_calls(model, 1)
    first, again = to_module(model), to_module(model)

    results = [module(**call)[0].detach().numpy().tobytes() for module in (first, first, again)]

    assert len(set(results)) == 1


@pytest.mark.parametrize("name", ["called-17", "residual-17", "lstm-13"])
def test_neither_the_model_nor_the_inputs_nor_the_threads_change(name):
    model = NETWORKS[name]()
    content = to_bytes(model)
    (call,) = sample_calls(model, 1)
    before = {key: array.copy() for key, array in call.items()}
    threads = torch.get_num_threads(), threading.active_count()

    module = to_module(model)
    module(**call)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)

    assert to_bytes(model) == content
    assert all(np.array_equal(array, before[key]) for key, array in call.items())
    assert (torch.get_num_threads(), threading.active_count()) == threads


def test_float_weights_are_parameters_and_statistics_are_not():
    module = to_module(NETWORKS["residual-17"]())
    parameters = dict(module.weights.named_parameters())
    buffers = dict(module.weights.named_buffers())
    shapes = sorted(tuple(parameter.shape) for parameter in parameters.values())

    assert (20, 16) in shapes
    assert (16, 3, 3, 3) in shapes
    assert shapes.count((16,)) == 5  # scale and bias of two normalizations, bias of a convolution
    assert [tuple(buffer.shape) for buffer in buffers.values()] == [(16,)] * 4


def test_codes_are_buffers_and_scales_parameters():
    model = NETWORKS["perceptron-21"]()
    recipe = parse_recipe("weights:4,block=16")
    module = to_module(apply_recipe(model, recipe, sample_calls(model)).model)

    codes = [buffer for buffer in module.buffers() if not buffer.is_floating_point()]

    assert {buffer.dtype for buffer in codes} <= {torch.int8, torch.uint8}
    assert sum(buffer.numel() for buffer in codes) >= 32 * 48 + 48 * 10
    assert all(parameter.is_floating_point() for parameter in module.parameters())


def test_frozen_weights_are_buffers_with_the_same_result():
    model = NETWORKS["perceptron-21"]()
    (call,) = sample_calls(model, 1)
    name = next(iter(model.graph.graph.initializers))

    module = to_module(model, freeze=[name])

    assert parameter_name(name) in dict(module.weights.named_buffers())
    assert torch.equal(module(**call)[0], to_module(model)(**call)[0])
    with pytest.raises(InputError, match="'nothing' is no stored tensor"):
        to_module(model, freeze=["nothing"])


@pytest.mark.parametrize(
    "name",
    ["conv.1.weight", "a%2Eb", "%", "a%b.c", "training", "forward", "重み.bias", "T_destination"],
)
def test_names_of_stored_tensors_survive_pytorch(name):
    net = Sketch(21)
    weight = net.weight(8, 4)
    value = net.add("MatMul", "x", weight)
    proto = onnx.ModelProto()
    proto.CopyFrom(
        onnx.load_from_string(
            to_bytes(net.model("named", [value_info("x", [2, 8])], {value: [2, 4]}))
        )
    )
    for node in proto.graph.node:
        node.input[:] = [name if entry == weight else entry for entry in node.input]
    proto.graph.initializer[0].name = name

    module = to_module(Model(from_proto(proto), "named"))

    assert [stored_name(key) for key, _ in module.weights.named_parameters()] == [name]


def small_model(nodes, inputs, outputs, *, stored=(), opset=21, domains=()):
    graph = helper.make_graph(nodes, "small", inputs, outputs, initializer=list(stored))
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, 1) for domain in domains]
    return Model(
        from_proto(helper.make_model(graph, opset_imports=imports, ir_version=10)), "small"
    )


X = value_info("x", [2, 8])
Y = value_info("y", ["rows", "columns"])


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ([helper.make_node("RandomNormalLike", ["x"], ["y"])], "RandomNormalLike"),
        ([helper.make_node("Wobble", ["x"], ["y"], domain="mine")], "mine.Wobble"),
        ([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)], "Cast with to=STRING"),
        (
            [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT8E5M2)],
            "Cast with to=FLOAT8E5M2",
        ),
        (
            [
                helper.make_node("Constant", [], ["on"], value_ints=[1]),
                helper.make_node("Cast", ["on"], ["flag"], to=TensorProto.BOOL),
                helper.make_node("Dropout", ["x", "", "flag"], ["y"]),
            ],
            "Dropout with training_mode",
        ),
        (
            [helper.make_node("LSTM", ["x", "x", "x"], ["", "y"], activations=["Wave"] * 3)],
            "LSTM with activation Wave",
        ),
    ],
)
def test_unknown_operators_are_refused_by_name_before_anything_is_built(nodes, named, monkeypatch):
    model = small_model(nodes, [X], [Y], domains=["mine"])
    monkeypatch.setattr(interpreter, "compile_graph", lambda *_: pytest.fail("built"))

    assert [problem for problem in unsupported_operators(model) if problem.startswith(named)]
    with pytest.raises(InputError, match=r"cannot compute in PyTorch: .*choose a format"):
        to_module(model)


def test_an_operator_in_a_body_or_a_function_is_refused_too():
    unknown = helper.make_node("RandomNormalLike", ["x"], ["inner"])
    body = helper.make_graph([unknown], "body", [], [value_info("inner", [2, 8])])
    node = helper.make_node("If", ["choice"], ["y"], then_branch=body, else_branch=body)
    choice = value_info("choice", [], TensorProto.BOOL)

    assert unsupported_operators(small_model([node], [X, choice], [Y])) == ["RandomNormalLike"]


@pytest.mark.parametrize(
    ("inputs", "named", "told"),
    [
        ((), {}, "'x' is missing"),
        ((np.zeros((2, 32), np.float32),), {"z": 1}, "there is no 'z'"),
        ((1, 2), {}, "2 came in order"),
    ],
)
def test_wrong_inputs_are_one_sentence(inputs, named, told):
    module = to_module(NETWORKS["perceptron-21"]())

    with pytest.raises(InputError, match=told):
        module(*inputs, **named)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_operators_take_states_lengths_and_clips(op, direction):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    count = 2 if direction == "bidirectional" else 1
    net = Sketch(17)
    width = 6
    parts = [
        net.weight(count, gates * width, 5, fan_in=2),
        net.weight(count, gates * width, width, fan_in=2),
        net.weight(count, 2 * gates * width),
        net.keep(np.array([7, 3, 5], np.int32), "lengths"),
        net.weight(count, 3, width),
    ]
    extra = {"GRU": {"linear_before_reset": 1}}.get(op, {})
    if op == "LSTM":
        parts += [net.weight(count, 3, width), net.weight(count, 3 * width)]
    outputs = ["y", "last", "cell"][: 3 if op == "LSTM" else 2]
    net.nodes.append(
        helper.make_node(
            op, ["x", *parts], outputs, hidden_size=width, direction=direction, clip=0.8, **extra
        )
    )
    dims = {"y": [7, count, 3, width], "last": [count, 3, width], "cell": [count, 3, width]}
    model = net.model("cells", [value_info("x", [7, 3, 5])], {name: dims[name] for name in outputs})

    assert worst_difference(model, sample_calls(model, 3)) <= CLOSE


def test_a_state_carried_from_call_to_call_gives_what_one_call_gives():
    width = 6
    net = Sketch(17)
    parts = [net.weight(1, 4 * width, 5), net.weight(1, 4 * width, width), net.weight(1, 8 * width)]
    inputs = ["x", *parts, "", "h", "c"]
    net.nodes.append(helper.make_node("LSTM", inputs, ["y", "hn", "cn"], hidden_size=width))
    state = [1, 2, width]
    model = net.model(
        "state",
        [value_info("x", ["steps", 2, 5]), value_info("h", state), value_info("c", state)],
        {"y": ["steps", 1, 2, width], "hn": state, "cn": state},
    )
    module = to_module(model)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((8, 2, 5), np.float32))
    zeros = torch.zeros(state)

    whole, hidden, cell = module(x, zeros, zeros)
    parts = []
    carried = (zeros, zeros)
    for chunk in torch.split(x, [3, 1, 4]):
        part, *carried = module(chunk, *carried)
        parts.append(part)

    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)
    assert torch.allclose(carried[0], hidden, atol=1e-6)
    assert torch.allclose(carried[1], cell, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["residual-17", "upsampling-17", "lstm-13", "attention-17", "tables-17", "tied-13"]
)
def test_a_module_without_branches_becomes_a_program_of_pytorch(name):
    model = NETWORKS[name]()
    (call,) = sample_calls(model, 1)
    module = to_module(model)
    inputs = tuple(torch.from_numpy(call[key]) for key in module.input_names)

    program = torch.export.export(module, inputs, strict=False).module()

    for result, expected in zip(program(*inputs), module(*inputs), strict=True):
        assert torch.equal(result, expected)
