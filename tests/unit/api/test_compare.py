"""What comparing measures of models from anywhere, and in which order."""

import numpy as np
import pytest

import packlight
from packlight.metrics import METRICS
from packlight.records import counted
from packlight.task import ArraySamples, Task
from packlight.testing.networks import NETWORKS


@pytest.fixture(scope="module")
def model():
    return NETWORKS["perceptron-21"]()


@pytest.fixture(scope="module")
def task():
    inputs = np.random.default_rng(0).standard_normal((8, 32), dtype=np.float32)
    return Task("near", ArraySamples({"x": inputs}, {"x": np.dtype(np.float32)}), METRICS["cosine"])


def test_the_latency_of_the_base_is_that_of_the_race_with_the_first_other(model, task):
    others = [packlight.compress(model, recipe).model for recipe in ("weights:8", "weights:4")]
    steps = []

    found = packlight.compare(
        model, others, task, seconds=0.05, progress=lambda what, *_: steps.append(what)
    )

    base, first, second = (one.metrics for one in (found.base, *found.others))
    assert base["latency"] == first["latency_reference"] != second["latency_reference"]
    assert base["latency_ratio"] == counted(1.0)
    assert all(one["peak_memory"].n == base["peak_memory"].n for one in (first, second))
    timed = [place for place, step in enumerate(steps) if step.endswith(": latency")]
    judged = [place for place, step in enumerate(steps) if step.endswith(": quality and memory")]
    assert max(timed[:2]) < min(judged), "nothing runs beside what is timed"


def test_a_model_beside_itself_alone_is_measured_all_the_same(model, task):
    found = packlight.compare(model, [model], task, seconds=0.05)

    assert {"latency", "latency_ratio", "peak_memory"} <= set(found.base.metrics)
    assert found.others[0].metrics == found.base.metrics
