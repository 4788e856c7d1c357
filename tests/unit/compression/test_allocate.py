"""What a weight's width costs where errors come back through a state."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from packlight.compression import compress
from packlight.compression.bit_allocation.allocate import cheapest_widths, sites_by_width
from packlight.compression.bit_allocation.sensitivity import measure_sensitivity
from packlight.compression.methods.weights import STORAGE
from packlight.model import Model
from packlight.records import WeightOnly, parse_recipe
from packlight.runtime import open_session
from packlight.runtime.calibration import Calibrator
from packlight.testing.cases import EXACT
from packlight.testing.sketch import Sketch, value_info

WIDTH, STEPS, SAMPLES = 16, 5, 8


def remembering():
    """A product of the input and one of the state, which is what both gave at the call before."""
    net = Sketch(17)
    fed = net.add("MatMul", "x", net.weight(WIDTH, WIDTH))
    kept = net.add("MatMul", "state", net.weight(WIDTH, WIDTH))
    after = net.add("Tanh", net.add("Add", fed, kept))
    y = net.add("MatMul", after, net.weight(WIDTH, WIDTH))
    ends = [value_info(name, ["n", WIDTH]) for name in ("x", "state")]
    return net.model("remembering", ends, {y: ["n", WIDTH], after: ["n", WIDTH]}), {after: "state"}


def recurrent():
    """An LSTM whose weights of the input are too few to gain."""
    net, few = Sketch(17), 3
    weights = net.weight(1, 4 * WIDTH, few, fan_in=few), net.weight(1, 4 * WIDTH, WIDTH)
    y = net.add("LSTM", "x", *weights, hidden_size=WIDTH)
    return net.model("recurrent", [value_info("x", ["t", 1, few])], {y: [1, 1, WIDTH]}), {}


def samples_for(model, state):
    random = np.random.default_rng(0)
    steps = STEPS if state else 1
    return [
        [
            {
                name: random.standard_normal(
                    [size if isinstance(size, int) else STEPS for size in value.shape]
                ).astype(np.float32)
                for name, value in model.inputs().items()
            }
            for _ in range(steps)
        ]
        for _ in range(SAMPLES)
    ]


def surveyed(graph, samples, state, config):
    """Operators, and what each width of their weights is said to cost."""

    def at(weight, bits):
        return STORAGE.decide(replace(config, bits=bits), weight)

    found = list(STORAGE.sites(graph, config))
    places = [site for site in found if hasattr(site, "weight")]
    calibrator = Calibrator(samples, EXACT, state=state)
    options = sites_by_width(places, STORAGE.widths, at)
    fit = partial(STORAGE.fit, config)
    costs = list(measure_sensitivity(graph, options, calibrator, fit, config))
    return {site.operator: cost for site, cost in zip(places, costs, strict=True)}


def outputs(model, samples, state):
    session = open_session(model, EXACT)
    runs = [session.run_steps(steps, state) for steps in samples]
    name = next(name for name in model.outputs() if name not in state)
    return np.array([run[name] for run in runs], np.float64)


@pytest.mark.parametrize("make", [remembering, recurrent])
@pytest.mark.parametrize("bits", [3, 5])
def test_where_there_is_a_state_a_width_costs_what_the_rounded_model_loses(make, bits):
    model, state = make()
    samples = samples_for(model, state)
    costs = surveyed(model.clone(), samples, state, WeightOnly(mixed=4.0))
    before = outputs(model, samples, state)

    assert costs
    for operator, cost in costs.items():
        recipe = parse_recipe(f"weights:{bits},where=^{operator}$")
        after = outputs(compress(model, recipe).model, samples, state)
        assert cost[bits] == pytest.approx(
            np.sum((after - before) ** 2) / np.sum(before**2), rel=1e-4
        )


def test_where_there_is_a_state_no_width_is_far_below_the_mean():
    model, state = remembering()
    samples = samples_for(model, state)

    for mean, least in ((2.4, 2), (3.5, 3), (4.2, 3), (6.1, 5)):
        costs = surveyed(model.clone(), samples, state, WeightOnly(mixed=mean))
        assert {min(cost) for cost in costs.values()} == {least}


def test_the_graph_is_as_it_was_after_every_width_was_tried():
    model, state = remembering()
    samples = samples_for(model, state)
    graph = model.clone()

    surveyed(graph, samples, state, WeightOnly(mixed=4.0, rounding="gptq"))

    assert Model(graph, model.name).digest == model.digest


def least_sum(predicted, bits):
    """Of errors, where every weight has one number: by dynamic programming over the bits spent."""
    best = {0: 0.0}
    for cost in predicted:
        after = {}
        for spent, total in best.items():
            for width, error in cost.items():
                if spent + width <= bits:
                    now = spent + width
                    after[now] = min(after.get(now, np.inf), total + error)
        best = after
    return min(best.values())


@pytest.mark.parametrize("mean", [3, 5, 6, 7])
@pytest.mark.parametrize("outlier", [0.0, 1e3, 1e12, 1e300])
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e-300])
def test_widths_are_the_best_however_far_apart_costs_are(mean, outlier, scale):
    random, count = np.random.default_rng(0), 30
    reach = 10.0 ** random.uniform(-3, 1, count) * scale
    predicted = [
        {bits: float(one * 4.0**-bits * random.uniform(0.7, 1.4)) for bits in range(2, 9)}
        for one in reach
    ]
    predicted[0][2] += outlier
    predicted[1][3] += outlier / 1e3

    found = cheapest_widths(predicted, np.full(count, 1000), mean)

    total = sum(cost[bits] for cost, bits in zip(predicted, found, strict=True))
    assert sum(found) <= mean * count
    assert total <= least_sum(predicted, mean * count) * 1.001


@pytest.mark.parametrize("cost", [0.0, 5e-324])
def test_widths_keep_the_mean_where_errors_are_none_or_the_smallest_there_are(cost):
    predicted = [{2: cost, 8: 0.0}, {2: cost, 8: cost}, {2: 1e3 * bool(cost), 8: 0.0}]

    found = cheapest_widths(predicted, np.array([10, 10, 10]), 6)

    assert sum(found) <= 18
    assert not cost or found == [8, 2, 8]
