"""The way from calibration samples to observers."""

import threading
import traceback

import numpy as np
import pytest

from packlight.errors import RecipeError
from packlight.model import nodes
from packlight.runtime import calibration, open_session
from packlight.runtime.calibration import Calibrator
from packlight.runtime.calibration.calibrator import prefetched
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.cases import EXACT


def test_values_come_in_order_each_computed_while_the_one_before_is_used():
    begun = [threading.Event() for _ in range(5)]

    def work():
        for place, event in enumerate(begun):
            event.set()
            yield place

    for place in (found := prefetched(work())):
        if place + 1 < len(begun):
            assert begun[place + 1].wait(timeout=30), "the next is under way"
        assert not any(event.is_set() for event in begun[place + 2 :]), "and none after it"
    assert list(found) == []


def test_what_goes_wrong_is_raised_after_what_came_before_it():
    def work():
        yield "first"
        raise ValueError("second")

    found = prefetched(work())

    assert next(found) == "first"
    with pytest.raises(ValueError, match="second"):
        next(found)


def test_whoever_stops_early_ends_the_work():
    ended = threading.Event()

    def work():
        try:
            yield from range(10**9)
        finally:
            ended.set()

    found = prefetched(work())
    assert next(found) == 0
    found.close()
    del found

    assert ended.wait(timeout=30)
    workers = [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]
    for worker in workers:
        worker.join(timeout=30)
    assert not any(worker.is_alive() for worker in workers)


class TracedSamples:
    """Single calls of a model, which were made, and the modules that ran meanwhile."""

    def __init__(self, model, count=3):
        self.calls = sample_calls(model, count)
        self.made = []
        self.modules = set()

    def __len__(self):
        return len(self.calls)

    def __getitem__(self, index):
        self.made.append(index)
        self.modules |= running_modules()
        return [self.calls[index]]


class TracedObserver:
    """Values of a tensor, and the modules that ran while they were observed."""

    def __init__(self):
        self.values = []
        self.modules = set()

    def update(self, value):
        self.modules |= running_modules()
        self.values.append(value)


def running_modules():
    """Modules of packlight that have a call on the stack of this thread."""
    names = {frame.f_globals["__name__"] for frame, _ in traceback.walk_stack(None)}
    return {name for name in names if name.startswith("packlight.")}


def perceptron():
    model = NETWORKS["perceptron-21"]()
    (output,) = model.outputs()
    return model, TracedSamples(model), output


@pytest.mark.parametrize("most", [0, 2])
def test_a_calibration_sample_passes_through_at_most_four_modules(most):
    model, samples, output = perceptron()
    calibrator = Calibrator(samples, EXACT)
    inner = next(node for node in nodes(model.graph) if node.op_type == "MatMul")

    modules = set()
    for name in (str(inner.inputs[0].name), output):  # the second pass resumes the first
        observer = TracedObserver()
        calibrator.observe(model.graph, {name: [observer]}, most)
        assert len(observer.values) == (most or len(samples))
        modules |= observer.modules

    assert {name.rpartition(".")[2] for name in modules} == {"calibrator"}
    assert "packlight.runtime.taps" in samples.modules
    assert len(modules | samples.modules) <= 4


def test_samples_are_made_once_and_observed_in_their_order_in_every_pass():
    model, samples, output = perceptron()
    calibrator = Calibrator(samples, EXACT)
    session = open_session(model, EXACT)

    for most in (0, 1, 3):
        observer = TracedObserver()
        calibrator.observe(model.graph, {output: [observer]}, most)
        for feeds, value in zip(samples.calls, observer.values, strict=not most):
            np.testing.assert_array_equal(session.run(feeds)[output], value)

    assert samples.made == [0, 1, 2]


def test_of_many_samples_some_are_observed_spread_evenly(monkeypatch):
    monkeypatch.setattr(calibration.calibrator, "MOST_OBSERVED", 2)
    model, samples, output = perceptron()
    observer = TracedObserver()
    Calibrator(samples, EXACT).observe(model.graph, {output: [observer]})

    assert len(observer.values) == 2
    assert samples.made == [0, 1]


def test_pairs_are_those_of_the_same_sample():
    model, samples, output = perceptron()

    class Pairs:
        count = 0

        def update_pair(self, value, reference):
            np.testing.assert_array_equal(value, reference)
            self.count += 1

    pairs = Pairs()
    Calibrator(samples, EXACT).observe_pair(model.graph, model.clone(), {output: [pairs]})

    assert pairs.count == len(samples)


def test_without_samples_the_method_is_named_that_needs_them():
    model, _, output = perceptron()
    calibrator = Calibrator().for_step("perceptron", "static", None)

    with pytest.raises(RecipeError, match="'static' looks at calibration samples and the task has"):
        calibrator.observe(model.graph, {output: [TracedObserver()]})
