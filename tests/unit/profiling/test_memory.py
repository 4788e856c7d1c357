"""Memory for activations against simulators of their own, and the arena's laws."""

from collections import Counter as Tally

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from packlight import zoo
from packlight.model import Model, load
from packlight.profiling import profile
from packlight.profiling.activation_arena import (
    arena_bytes,
    block_size,
    first_gap,
    offsets,
    placed,
    smallest_gap,
)
from packlight.profiling.liveness import Buffer, buffers, peak
from packlight.records import SessionOptions
from packlight.runtime import stream
from packlight.testing import NETWORKS, sample_calls

SHARE_STORAGE = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}
WITH_BODIES = {"branches-16", "around-17", "called-17", "trees-15"}
"""Networks with bodies, functions, or outputs without a size."""


def simulated_peak(graph, sizes, constant=()):
    """Allocate what each operator gives, then free what no later operator reads.

    Args:
        graph: in the order it runs.
        sizes: bytes by name.
        constant: names of values that need no memory at a run.
    """
    steps = [node for node in graph if not {v.name for v in node.outputs} & set(constant)]
    root = {}
    for node in steps:
        view = node.op_type in SHARE_STORAGE
        for value in node.outputs:
            source = node.inputs[0].name if view else value.name
            root[value.name] = root.get(source, source)

    def home(value):
        return root.get(value.name, value.name)

    reads = Tally(home(v) for node in steps for v in node.inputs if v is not None)
    kept = {home(value) for value in graph.outputs}
    alive = {
        v.name for v in graph.inputs if v.name not in constant and (reads[v.name] or v.name in kept)
    }
    worst = 0
    for node in steps:
        alive |= {v.name for v in node.outputs if v.name and home(v) == v.name}
        worst = max(worst, sum(sizes[name] for name in alive))
        reads.subtract(home(value) for value in node.inputs if value is not None)
        alive = {name for name in alive if reads[name] > 0 or name in kept}
    return worst


def measured_sizes(model, call):
    """Bytes of every value as a run shows them."""
    given = [v.name for node in model.graph.graph for v in node.outputs if v.name]
    options = SessionOptions(arithmetic="exact")
    (values,) = stream(model, [*model.inputs(), *given], [[call]], {}, options)
    return {name: value.nbytes for name, value in values.items()}


def stored_values(model):
    """Names of values that are stored, or computed from stored ones alone."""
    graph = model.graph.graph
    names = set(graph.initializers) - {value.name for value in graph.inputs}
    for node in graph:
        if all(value is None or value.name in names for value in node.inputs):
            names |= {value.name for value in node.outputs}
    return names | set(graph.initializers)


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - WITH_BODIES))
def test_the_peak_of_a_network_equals_that_of_a_simulator_on_the_sizes_of_a_run(name):
    model = NETWORKS[name]()
    (call,) = sample_calls(model, 1)
    stored = stored_values(model)
    wanted = simulated_peak(model.graph.graph, measured_sizes(model, call), stored)

    found = profile(model, {key: value.shape for key, value in call.items()})

    assert found.totals["peak_activation_bytes"].value == wanted
    assert wanted <= found.totals["arena_bytes"].value <= 1.1 * wanted
    assert found.peak_operator in {row.name for row in found.operators}


def test_the_peak_of_the_zoo_equals_that_of_a_simulator_on_the_sizes_of_a_run():
    model = load(zoo.model_path("fashion"))
    call = {"image": np.zeros((1, 1, 28, 28), np.float32)}
    wanted = simulated_peak(model.graph.graph, measured_sizes(model, call), stored_values(model))

    totals = profile(model, {}).totals

    assert totals["peak_activation_bytes"].value == wanted
    assert wanted <= totals["arena_bytes"].value <= 1.1 * wanted


def random_graph(seed):
    """A graph of operators that read what came before, with any sizes."""
    random = np.random.default_rng(seed)
    values = [ir.Value(name=f"in{i}") for i in range(random.integers(1, 4))]
    inputs, nodes = list(values), []
    for index in range(random.integers(1, 40)):
        op = random.choice(["Relu", "Reshape", "Identity", "Add", "Split"])
        read = [values[i] for i in random.integers(0, len(values), 2 if op == "Add" else 1)]
        node = ir.node(op, read, num_outputs=2 if op == "Split" else 1, name=f"n{index}")
        for place, value in enumerate(node.outputs):
            value.name = f"v{index}.{place}"
        values.extend(node.outputs)
        nodes.append(node)
    last = [values[i] for i in sorted({*random.integers(0, len(values), 2)})]
    graph = ir.Graph(inputs, last, nodes=nodes, name="random")
    return graph, {value: int(random.integers(1, 1000)) for value in values}


@pytest.mark.parametrize("seed", range(60))
def test_the_peak_of_any_graph_equals_that_of_a_simulator(seed):
    graph, sizes = random_graph(seed)

    assert peak(graph, sizes)[0] == simulated_peak(graph, {v.name: n for v, n in sizes.items()})


@pytest.mark.parametrize("seed", range(60))
def test_buffers_that_live_at_the_same_time_never_overlap_in_the_arena(seed):
    graph, sizes = random_graph(seed)
    found = buffers(graph, sizes, arena_bytes)
    starts = offsets(found)

    placed = list(zip(found, starts, strict=True))
    for index, (one, start) in enumerate(placed):
        assert start >= 0
        for other, place in placed[:index]:
            apart = one.last < other.first or other.last < one.first
            assert apart or start + one.size <= place or place + other.size <= start
    assert arena_bytes(graph, sizes) == block_size(found, starts) >= peak(graph, sizes)[0]


def test_a_buffer_goes_into_the_smallest_gap_that_has_room():
    # Three large ones leave gaps of 30 and 20; the one of 15 fits both and takes the smaller.
    found = [
        Buffer("a", 100, 0, 9), Buffer("gone", 30, 0, 0), Buffer("b", 90, 0, 9),
        Buffer("left", 20, 0, 0), Buffer("c", 80, 0, 9), Buffer("new", 15, 5, 5),
    ]  # fmt: skip
    starts = dict(zip([one.name for one in found], offsets(found), strict=True))

    assert starts["a"] == 0
    assert (starts["b"], starts["c"]) == (100, 190)
    assert (starts["gone"], starts["left"]) == (270, 300)
    assert starts["new"] == 270


def test_a_microcontroller_takes_the_first_gap_that_has_room():
    # Two that end early leave a gap of 30 at 100 and one of 20 behind; 15 takes the first.
    storage = [
        Buffer("a", 100, 0, 9), Buffer("gone", 30, 0, 0), Buffer("b", 29, 0, 9),
        Buffer("left", 20, 0, 0), Buffer("c", 19, 0, 9), Buffer("new", 15, 5, 5),
    ]  # fmt: skip
    order = range(len(storage))

    assert placed(storage, order, first_gap) == [0, 100, 130, 159, 179, 100]
    assert placed(storage, order, smallest_gap) == [0, 100, 130, 159, 179, 159]


IF = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[100] x, bool c) => (float[100] y) {
    a = Relu(x)
    b = If (c) <
        then_branch = t () => (float[100] p) { k = Relu(a) l = Concat<axis=0>(k, k) m = Relu(l)
                                               s = Gather<axis=0>(m, i) p = Relu(s) },
        else_branch = e () => (float[100] q) { q = Neg(a) }>
    y = Add(b, x)
}
"""


def test_a_body_needs_memory_while_its_operator_runs_and_its_result_counts_once():
    proto = parser.parse_model(IF)
    proto.graph.initializer.append(numpy_helper.from_array(np.arange(100), "i"))
    found = profile(Model(ir.from_proto(proto), "g"), {})

    # x, a and b, 400 bytes each, c, and in the branch l and m, 800 each.
    assert found.totals["peak_activation_bytes"].value == 3 * 400 + 1 + 2 * 800
    assert found.totals["arena_bytes"].value == 3 * 400 + 1 + 2 * 800
    assert found.peak_operator == next(row.name for row in found.operators if row.op == "If")


def test_the_peak_is_where_input_and_output_of_the_widest_operator_live():
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,10,10] x) => (float[1,100] y) {
        [first] a = Relu(x) [view] b = Flatten(a) [second] c = Relu(b) [last] y = Add(c, c) }"""

    found = profile(Model(ir.from_proto(parser.parse_model(text)), "g"), {})

    assert found.totals["peak_activation_bytes"].value == 400 + 400
    assert found.peak_operator == "first"


def of_onnxruntime(text):
    """A model with operators of ONNX Runtime's own, from the text of its graph."""
    head = '<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>'
    return Model(ir.from_proto(parser.parse_model(f"{head}\n{text}")), "m")


@pytest.mark.parametrize(
    ("text", "wanted", "where"),
    [
        (
            """m (float[1,256,32] q, float[1,256,32] k, float[1,256,32] v, float[1,4,256,256] ab)
            => (float[1,256,32] y) {
            [attend] y = com.microsoft.MultiHeadAttention <num_heads: int = 4> (q, k, v, "", "", ab)
            }""",
            4 * (4 * 256 * 32 + 4 * 256 * 256),
            "attend",
        ),
        (
            """m (float[1,64] x) => (float[1,64] z) {
            [shift] y = Add (x, x)
            [bend] z = com.microsoft.Gelu (y)
            }""",
            4 * (64 + 64),
            "shift",
        ),
        (
            """m (float[8,64] x, float[8,32] w) => (float[64,32] y) {
            [turned] y = com.microsoft.FusedMatMul <transA: int = 1> (x, w)
            }""",
            4 * (8 * 64 + 8 * 32 + 64 * 32),
            "turned",
        ),
        (
            """m (float[1,8,64] x, float[1,8,64] s, float[64] g) => (float[1,8,64] y) {
            [summed] y, , , t = com.microsoft.SkipLayerNormalization (x, s, g)
            [used] z = Neg (t)
            }""",
            4 * (4 * 8 * 64 + 64),
            "summed",
        ),
        (
            """m (float[1,8,64] q, float[1,8,64] k, float[1,8,64] v)
            => (float[1,8,64] y, float[1,4,8,16] p) {
            [cached] y, p = com.microsoft.MultiHeadAttention <num_heads: int = 4>
                (q, k, v, "", "", "", "", "")
            }""",
            4 * (5 * 8 * 64),
            "cached",
        ),
    ],
)
def test_operators_of_onnxruntimes_own_need_all_that_they_read_and_give(text, wanted, where):
    found = profile(of_onnxruntime(text), {})

    assert found.totals["peak_activation_bytes"].value == wanted
    assert found.totals["arena_bytes"].value == wanted
    assert found.peak_operator == where
