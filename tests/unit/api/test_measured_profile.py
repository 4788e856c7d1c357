"""The time of each operator on this machine: every network, and files that packlight makes."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

import packlight
from packlight import SessionOptions, zoo
from packlight.errors import InputError
from packlight.metrics import METRICS
from packlight.model import Model, load, name_operators, nodes
from packlight.task import Task
from packlight.testing import NETWORKS

BRIEF = 0.02
RECIPES = ("simplify+static", "simplify+weights:4", "palette:4", "weights:8,expand=run")


def checked(model, found):
    """Every operator once, each with a time, what it is fused into, or why it has none."""
    assert [one.name for one in found.operators] == [str(node.name) for node in nodes(model.graph)]
    own = {one.name for one in found.operators if one.placement in ("kernel", "not run")}
    for one in found.operators:
        assert (one.latency is not None) == (one.placement == "kernel")
        assert (one.placement == "fused") == bool(one.into)
        assert one.placement in ("kernel", "fused", "at load", "removed", "not run")
        assert one.into in own | {""}
    times = [one.latency for one in found.operators if one.latency]
    assert all(0 <= m.low <= m.value <= m.high for m in times)
    whole = found.totals["latency"]
    assert sum(m.value for m in times) == pytest.approx(whole.value)
    rough = found.totals["profiling_ratio"].value > 1.2
    assert {m.how for m in times} == {"estimated" if rough else "measured"}
    assert 0 <= found.totals["between_kernels"].value < 1
    assert not any("could not be placed" in note for note in found.notes)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_operator_of_every_network_has_its_time_or_its_reason(network):
    model = network()
    inputs = {
        name: tuple(size if isinstance(size, int) else 2 for size in value.shape)
        for name, value in model.inputs().items()
    }

    checked(model, packlight.profile(model, inputs=inputs, measure=True, seconds=BRIEF))


def test_the_convolutions_of_the_zoo_take_most_of_its_time():
    found = packlight.profile("zoo:fashion", measure=True, seconds=BRIEF)

    checked(load(zoo.model_path("fashion")), found)
    times = {one.name: one.latency.value for one in found.operators if one.latency}
    convolutions = {one.name for one in found.operators if one.op == "Conv"}
    assert sum(times[name] for name in convolutions) > 0.5 * found.totals["latency"].value
    fused = {one.op for one in found.operators if one.placement == "fused"}
    assert fused == {"BatchNormalization", "Relu", "Add"}
    assert {one.into for one in found.operators if one.placement == "fused"} <= convolutions


@pytest.mark.parametrize("recipe", RECIPES)
def test_files_of_every_kind_are_measured(recipe):
    task = zoo.task("fashion")
    model = packlight.compress("zoo:fashion", recipe, task=few(task)).model

    found = packlight.profile(model, task, measure=True, seconds=BRIEF)

    checked(model, found)
    calls = [one for one in found.operators if one.op.startswith("packlight.")]
    if "run" not in recipe:
        assert {one.placement for one in calls} <= {"at load"}
    if "static" in recipe:
        codes = [one for one in found.operators if one.op == "DequantizeLinear"]
        assert {one.placement for one in codes} <= {"fused", "kernel"}
        assert sum(one.placement == "fused" for one in codes) > 0.9 * len(codes)


def few(task):
    """The task with few samples to calibrate with."""
    return Task("few", task.samples[:8], METRICS["cosine"], calibration=task.samples[:8])


LOOP = """
<ir_version: 9, opset_import: ["" : 17]>
g (float[64,64] x) => (float[64,64] y) {
  [start] a = Relu(x)
  [loop] y = Loop(trips, yes, a) <body = b (int64 i, bool go, float[64,64] s)
      => (bool on, float[64,64] t) {
    [on] on = Identity(go) [dense] m = MatMul(s, w) [cut] t = Tanh(m) }>
}
"""


def test_what_runs_inside_a_loop_is_not_counted_for_the_loop_again():
    proto = parser.parse_model(" ".join(LOOP.split()))
    random = np.random.default_rng(0)
    for name, array in {
        "w": random.random((64, 64), np.float32), "trips": np.array(30), "yes": np.array(True),
    }.items():  # fmt: skip
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    graph = ir.from_proto(proto)
    name_operators(graph)

    found = packlight.profile(Model(graph, "loop"), measure=True, seconds=BRIEF)

    checked(Model(graph, "loop"), found)
    times = {one.name: one.latency.value for one in found.operators if one.latency}
    assert times["dense"] + times["cut"] > times["loop"]
    assert times["dense"] > times["start"]


def test_the_branch_that_does_not_run_says_so():
    model = NETWORKS["branches-16"]()
    feeds = {"x": np.zeros((1, 4, 16), np.float32), "choice": np.array(True)}

    found = packlight.profile(model, Task("t", [[feeds]], METRICS["cosine"]), measure=True,
                              seconds=BRIEF)  # fmt: skip

    what = {one.op: one.placement for one in found.operators if one.op in ("LSTM", "If")}
    assert what == {"LSTM": "not run", "If": "kernel"}


def test_a_state_is_carried_from_step_to_step():
    proto = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[4] x, float[4] s) => (float[4] t) '
        "{ [sum] a = Add(x, s) [root] t = Sqrt(a) }"
    )
    model = Model(ir.from_proto(proto), "g")
    x = np.ones(4, np.float32)
    task = Task("t", [[{"x": x, "s": x}, {"x": x}, {"x": x}]], METRICS["cosine"], state={"t": "s"})

    checked(model, packlight.profile(model, task, measure=True, seconds=BRIEF))


def test_a_model_of_which_the_runtime_runs_nothing_is_refused_in_a_sentence():
    proto = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[4,8] x) => (int64[2] y) '
        "{ [sizes] y = Shape(x) }"
    )
    model = Model(ir.from_proto(proto), "g")

    assert not any(one.at_load for one in packlight.profile(model).operators)
    with pytest.raises(InputError, match="there is no latency to measure"):
        packlight.profile(model, measure=True, seconds=BRIEF)


def test_exact_arithmetic_has_no_times():
    with pytest.raises(InputError, match="'exact' cannot be measured"):
        packlight.profile("zoo:fashion", measure=True, options=SessionOptions(arithmetic="exact"))


def test_an_open_shape_and_a_model_that_fails_are_refused_in_a_sentence():
    def small(text):
        return Model(ir.from_proto(parser.parse_model(
            f'<ir_version: 9, opset_import: ["" : 17]> {text}')), "small")  # fmt: skip

    with pytest.raises(InputError, match="input 'x' is open: give --input x=SIZES, or a task"):
        packlight.profile(small("g (float[n,k] x) => (float[n,k] y) { y = Relu(x) }"), measure=True)
    with pytest.raises(InputError, match="'small' fails when it runs"):
        packlight.profile(
            small("g (float[1] x, int64[9] s) => (float[9] y) { y = Gather(x, s) }"), measure=True
        )
    with pytest.raises(InputError, match="input 'x' holds STRING, which cannot be drawn"):
        packlight.profile(
            small("g (string[2] x) => (string[2] y) { y = Identity(x) }"), measure=True
        )
