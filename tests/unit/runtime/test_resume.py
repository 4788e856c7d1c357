"""Looks that go on from where the one before ended, against looks that begin at the inputs."""

import numpy as np
import onnx_ir as ir
import pytest

from packlight.compression.sites.weight_roles import stored, weight_roles
from packlight.model import nodes
from packlight.runtime import stream
from packlight.runtime.calibration.calibrator import prefetched
from packlight.runtime.calibration.resume import (
    ResumableRuns,
    ValueSpec,
    cut_before,
    downstream_model,
)
from packlight.runtime.progress import silent
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info

ROOM = 2**24


class Samples:
    """Single calls, and how often they were asked for."""

    def __init__(self, model, count=3):
        self.calls = sample_calls(model, count)
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return ([feeds] for feeds in self.calls)


def fed_weights(model):
    """What each stored weight multiplies, and the weight, in the order they run."""
    found = [
        (role.node.inputs[0], value) for role, value in weight_roles(model.graph) if role.index == 1
    ]
    return [(str(fed.name), value) for fed, value in found if stored(value) is not None]


def halve(value):
    """Store another tensor in the place of a weight."""
    array = stored(value).numpy()
    half = ir.Tensor((array / 2).astype(array.dtype), name=value.name)
    if value.producer() is None:
        value.const_value = half
    else:
        value.producer().attributes["value"] = ir.AttrTensor("value", half)


def plainly(model, names, calls):
    return list(stream(model, names, ([feeds] for feeds in calls), {}, EXACT))


def same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            close = 2**-8 if value.dtype == np.float16 else 0  # kept in float32 within a run
            np.testing.assert_allclose(value, other[name], rtol=close, atol=close, strict=True)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_values_are_those_of_the_whole_model_while_weights_change_in_order(make):
    model = make()
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, ROOM)
    for name, value in fed_weights(model):
        same(list(runs.values(model, [name])), plainly(model, [name], samples.calls))
        halve(value)


def chain(layers=4, width=8):
    """A network of products in a row, with what each multiplies."""
    net, value = Sketch(17), "x"
    for _ in range(layers):
        made = net.add("MatMul", value, net.keep(net.array(width, width, fan_in=width)))
        value = net.add("Tanh", made)
    model = net.model("chain", [value_info("x", ["n", width])], {value: ["n", width]})
    return model, fed_weights(model)


def test_samples_are_asked_for_once_where_each_look_lies_further_on():
    model, weights = chain()
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, ROOM)

    for name, value in weights:
        list(runs.values(model, [name]))
        halve(value)

    # the first product reads the input itself, so nothing is kept before the second look
    assert samples.asked == 2


@pytest.mark.parametrize("room", [0, 100])
def test_where_there_is_no_room_every_look_begins_at_the_inputs(room):
    model, weights = chain()
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, room)

    for name, value in weights:
        same(list(runs.values(model, [name])), plainly(model, [name], samples.calls))
        halve(value)

    assert samples.asked == len(weights)


def test_a_change_before_the_line_makes_the_next_look_begin_at_the_inputs():
    model, weights = chain()
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, ROOM)
    (_, first), *_, (last, _) = weights

    before = list(runs.values(model, [last]))
    halve(first)
    after = list(runs.values(model, [last]))

    same(after, plainly(model, [last], samples.calls))
    assert not np.array_equal(before[0][last], after[0][last])


def test_a_look_further_back_begins_at_the_inputs():
    model, weights = chain()
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, ROOM)

    list(runs.values(model, [weights[-1][0]]))
    name = weights[1][0]

    same(list(runs.values(model, [name])), plainly(model, [name], samples.calls))


def test_two_models_at_once_each_go_on_from_their_own_line():
    model, weights = chain()
    other, others = chain()
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, ROOM)

    for (name, value), (_, same_there) in zip(weights, others, strict=True):
        both = (prefetched(runs.values(one, [name])) for one in (model, other))
        found, meant = zip(*zip(*both, strict=True), strict=True)
        same(found, plainly(model, [name], samples.calls))
        same(meant, plainly(other, [name], samples.calls))
        halve(value)
        assert same_there is not value

    # both begin at the inputs at the first two looks, for nothing is kept before the second
    assert samples.asked == 4


def test_what_is_kept_of_two_models_is_never_more_than_two_lines():
    model, weights = chain()
    other, _ = chain()
    runs = ResumableRuns(Samples(model), EXACT, silent, ROOM)

    for name, _ in weights:
        for one in (model, other):
            list(runs.values(one, [name]))
        assert len(runs.cuts) <= 2


def test_a_look_that_was_not_ended_leaves_nothing_behind():
    model, weights = chain()
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, ROOM)
    name = weights[-1][0]

    next(runs.values(model, [name]))

    same(list(runs.values(model, [name])), plainly(model, [name], samples.calls))
    assert samples.asked == 2


def test_behind_a_line_there_are_neither_operators_nor_weights_of_before():
    model, weights = chain()
    cut = cut_before(model.graph, [weights[-1][0]])
    forms = dict.fromkeys(cut.crossing, ValueSpec(ir.DataType.FLOAT, None))

    rest = downstream_model(model, cut, forms)

    assert [value.name for value in rest.graph.graph.inputs] == list(cut.crossing)
    assert len(list(nodes(rest.graph))) == len(list(nodes(model.graph))) - len(cut.upstream)
    assert list(nodes(model.graph)), "the model itself stays whole"


def test_operators_that_are_put_in_between_looks_do_not_move_the_line():
    model, weights = chain()
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, ROOM)
    name, value = weights[-1]
    list(runs.values(model, [name]))

    graph = model.graph.graph
    twice = [ir.node("Neg", [value]), ir.node("Neg", [value])]
    twice[1].replace_input_with(0, twice[0].outputs[0])
    ir.convenience.replace_all_uses_with(value, twice[1].outputs[0])
    twice[0].replace_input_with(0, value)
    graph.insert_before(graph[0], twice)  # as pairs around weights are

    same(list(runs.values(model, [name])), plainly(model, [name], samples.calls))
    assert samples.asked == 1


def test_a_reader_that_is_put_in_before_the_line_makes_the_next_look_begin_at_the_inputs():
    model, weights = chain()
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, ROOM)
    last, _ = weights[-1]
    list(runs.values(model, [last]))

    value = next(node.inputs[0] for node in nodes(model.graph) if node.op_type == "Tanh")
    reader = ir.node("Neg", [value], name="late")
    reader.outputs[0].name = "late"
    reader.outputs[0].dtype = ir.DataType.FLOAT
    model.graph.graph.append(reader)
    model.graph.graph.outputs.append(reader.outputs[0])

    same(list(runs.values(model, [last])), plainly(model, [last], samples.calls))
    assert samples.asked == 2


def test_what_follows_from_constants_alone_is_computed_again_and_not_kept():
    net = Sketch(17)
    made = net.add("Mul", net.keep(net.array(4, 4)), net.keep(net.array(4, 4)))
    first = net.add("MatMul", "x", made)
    second = net.add("MatMul", first, made)
    model = net.model("two", [value_info("x", ["n", 4])], {second: ["n", 4]})

    cut = cut_before(model.graph, [first])
    rest = downstream_model(model, cut, {first: ValueSpec(ir.DataType.FLOAT, None)})

    assert cut.crossing == (first,)
    assert [node.op_type for node in nodes(rest.graph)] == ["Mul", "MatMul"]


def test_where_a_sequence_crosses_the_line_every_look_begins_at_the_inputs():
    net = Sketch(17)
    pieces = net.add("SplitToSequence", "x", axis=0)
    first = net.add("MatMul", "x", net.keep(net.array(4, 4)))
    second = net.add("MatMul", first, net.keep(net.array(4, 4)))
    piece = net.add("SequenceAt", pieces, net.keep(np.array(0)))
    model = net.model("pieces", [value_info("x", ["n", 4])],
                      {net.add("Add", second, piece): ["n", 4]})  # fmt: skip
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, ROOM)

    for name in (first, second):
        same(list(runs.values(model, [name])), plainly(model, [name], samples.calls))

    assert samples.asked == 2


def test_a_stored_shape_that_does_not_hold_stops_no_look():
    model, weights = chain()
    for node in nodes(model.graph):
        node.outputs[0].shape = ir.Shape([2, 8])  # as of another batch
    samples = Samples(model)
    samples.calls = [{"x": np.ones((rows, 8), np.float32)} for rows in (3, 5)]
    runs = ResumableRuns(samples, EXACT, silent, ROOM)

    for name, value in weights:
        same(list(runs.values(model, [name])), plainly(model, [name], samples.calls))
        halve(value)

    assert samples.asked == 2


@pytest.mark.parametrize(
    ("stored", "seen", "wanted"),
    [
        (["n", 1, 8], [(4, 1, 8), (2, 1, 8)], ["n", 1, 8]),
        ([2, 1, 8], [(4, 1, 8), (2, 1, 8)], [None, 1, 8]),
        ([2, 1, 8], [(4, 1, 8)], [None, 1, 8]),
        ([2, 8], [(4, 1, 8)], None),
        ([2, 8], [(2, 8), (2, 1, 8)], None),
        (None, [(2, 8)], None),
    ],
)
def test_a_stored_shape_is_believed_as_far_as_all_values_have_it(stored, seen, wanted):
    form = ValueSpec(ir.DataType.FLOAT, seen[0])
    for shape in seen:
        form = form.merged(shape)

    found = form.trusted_shape(None if stored is None else ir.Shape(stored))

    assert found == (None if wanted is None else ir.Shape(wanted))


def test_a_look_goes_on_behind_an_if_that_reads_what_was_computed_before_it():
    net = Sketch(17)
    before = net.add("Tanh", "x")
    bodies = {}
    for name in ("then_branch", "else_branch"):
        body = Sketch(17, prefix=f"{name}.")
        made = body.add("MatMul", before, body.weight(8, 8))
        bodies[name] = body.body(body.add("Relu", made), [2, 8])
    value = net.add("If", net.constant(np.array(True)), **bodies)
    names = []
    for _ in range(2):
        names.append(value)
        value = net.add("Tanh", net.add("MatMul", value, net.weight(8, 8)))
    model = net.model("branches", [value_info("x", [2, 8])], {value: [2, 8]})
    samples = Samples(model)
    runs = ResumableRuns(samples, EXACT, silent, ROOM)

    for name in names:
        same(list(runs.values(model, [name])), plainly(model, [name], samples.calls))
    assert samples.asked == 1
