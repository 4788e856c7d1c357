"""What a weight's width costs where errors come back through a state."""

from dataclasses import replace

import numpy as np
import pytest

from packlight.compress import compress
from packlight.compress.allocation import by_width, survey
from packlight.compress.compress import Looking, Stream
from packlight.compress.weights import WIDTHS, Weights, decide, fitted, sites
from packlight.model import Model
from packlight.records import parse_recipe
from packlight.runtime import open_session, stream
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
        return decide(replace(config, bits=bits), weight)

    stream_of = Stream(
        lambda model, names, most: stream(model, names, samples[: most or None], state, EXACT),
        frozenset(state),
    )
    found = list(sites(graph, config))
    places = [site for site in found if hasattr(site, "weight")]
    look = Looking(stream_of, "surveyed", "weights")
    options = by_width(places, WIDTHS, at)
    costs = list(survey(graph, options, look, lambda *of: fitted(config, *of), config))
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
    costs = surveyed(model.clone(), samples, state, Weights(mixed=4.0))
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
        costs = surveyed(model.clone(), samples, state, Weights(mixed=mean))
        assert {min(cost) for cost in costs.values()} == {least}


def test_the_graph_is_as_it_was_after_every_width_was_tried():
    model, state = remembering()
    samples = samples_for(model, state)
    graph = model.clone()

    surveyed(graph, samples, state, Weights(mixed=4.0, rounding="gptq"))

    assert Model(graph, model.name).digest == model.digest
