"""Regions in integers follow from times; what is offered follows from the race."""

import pytest

from packlight.api.compress import compress
from packlight.api.quantize_where_faster import (
    conversions,
    integer_operators,
    product_times,
    quantize_where_faster,
)
from packlight.metrics import METRICS
from packlight.planning.cost.integer_cut import OperatorTimes
from packlight.records import DynamicInt8, StaticInt8
from packlight.records.session import DEFAULT_SESSION
from packlight.task import Task
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.sketch import Sketch, value_info


def names_of(model, *kinds):
    return [str(node.name) for node in model.graph.graph if node.op_type in kinds]


def free(model):
    return {str(value.name): (0.0, 0.0) for node in model.graph.graph for value in node.outputs}


def residual():
    model = NETWORKS["residual-17"]()
    for place, node in enumerate(model.graph.graph):
        node.name = node.name or f"{node.op_type}_{place}"
    return model


def test_all_that_gains_is_in_integers_and_the_rest_is_not():
    model = residual()
    convs = names_of(model, "Conv")
    costs = {convs[0]: OperatorTimes(2.0, 1.0), convs[1]: OperatorTimes(1.0, 2.0)}

    assert integer_operators(model, costs, free(model)) == {convs[0]}


def test_a_sum_is_in_integers_only_behind_operators_that_are():
    model = NETWORKS["depthwise-13"]()
    convs, pools = names_of(model, "Conv"), names_of(model, "MaxPool")
    gain = {name: OperatorTimes(1.0, 0.5) for name in (*convs, *pools)}
    loss = gain | {convs[1]: OperatorTimes(1.0, 9.0)}

    assert integer_operators(model, gain, free(model)) == {*convs, *pools}
    assert integer_operators(model, loss, free(model)) == {convs[0], convs[2]}


def test_borders_that_cost_more_than_integers_gain_keep_all_in_float():
    model = residual()
    costs = {name: OperatorTimes(1.0, 0.5) for name in names_of(model, "Conv")}
    dear = dict.fromkeys((*free(model), "x"), (0.6, 0.6))

    assert integer_operators(model, costs, dear) == frozenset()


def test_products_that_share_codes_share_what_making_them_costs():
    model = NETWORKS["attention-17"]()
    made = compress(model, "dynamic")
    able = [change.operator for change in made.variant.changes]
    codes = {str(node.name): 1.0 for node in made.model.graph.graph}

    spent = product_times(able, made.model, dict.fromkeys(able, 3.0), codes)

    parts = [node for node in made.model.graph.graph if node.op_type != "DynamicQuantizeLinear"]
    own = sum(any(str(p.name).startswith(name) for name in able) for p in parts)
    ranges = names_of(made.model, "DynamicQuantizeLinear")
    assert sum(one.integers for one in spent.values()) == pytest.approx(own + len(ranges))
    assert {one.floats for one in spent.values()} == {3.0}


def test_conversions_take_no_negative_time():
    assert min(conversions(DEFAULT_SESSION, 0.1, 0)) >= 0


@pytest.mark.parametrize(
    "config", [StaticInt8(), pytest.param(DynamicInt8(), marks=pytest.mark.slow)]
)
def test_what_is_not_surely_faster_is_declined_with_the_reason(config):
    model = NETWORKS["perceptron-21"]()
    samples = [[feeds] for feeds in sample_calls(model)]
    task = Task(name="t", samples=samples, metric=METRICS["snr"], calibration=samples)

    judged = quantize_where_faster(model, task, config, seconds=0.2)

    changed = {change.operator for change in judged.compressed.variant.changes}
    assert judged.offered == (bool(changed) and judged.ratio.high < 1)
    assert not changed & set(judged.floats)
    if not judged.offered:
        assert judged.code in ("no-gain", "not-faster")
        assert judged.reason


def test_a_model_without_operators_for_integers_is_declined_for_that():
    net = Sketch(17)
    value = net.add("Erf", net.add("Exp", "x"))
    model = net.model("functions", [value_info("x", ["n", 4])], {value: ["n", 4]})
    samples = [[feeds] for feeds in sample_calls(model, 1)]
    task = Task(name="t", samples=samples, metric=METRICS["snr"], calibration=samples)

    judged = quantize_where_faster(model, task, DynamicInt8(), seconds=0.1)

    assert not judged.offered
    assert judged.code == "no-operators"


def tiny():
    """A product of four numbers: two conversions take longer than it."""
    net = Sketch(17)
    value = net.add("Gemm", "x", net.weight(4, 4), net.weight(4))
    return net.model("tiny", [value_info("x", ["n", 4])], {value: ["n", 4]})


def mostly_unfused():
    """Thin products between functions of many numbers that have no kernel on codes."""
    net, value = Sketch(17), "x"
    for _ in range(3):
        value = net.add("Erf", net.add("Exp", net.add("Sin", value)))
        value = net.add("MatMul", value, net.weight(4, 4))
    return net.model("unfused", [value_info("x", [1, 16384, 4])], {value: [1, 16384, 4]})


@pytest.mark.parametrize(
    "config", [StaticInt8(), pytest.param(DynamicInt8(), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("build", [tiny, mostly_unfused])
def test_models_where_integers_cannot_win_are_declined(build, config):
    model = build()
    samples = [[feeds] for feeds in sample_calls(model, 2)]
    task = Task(name="t", samples=samples, metric=METRICS["snr"], calibration=samples)

    judged = quantize_where_faster(model, task, config, seconds=0.1)

    assert not judged.offered
    assert judged.code in ("no-gain", "not-faster")
    assert judged.reason
