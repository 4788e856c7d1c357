"""What a project remembers, and what it does not take for its own."""

import dataclasses

import numpy as np
import pytest

from packlight.metrics import METRICS
from packlight.model import save
from packlight.records import Cost
from packlight.search import bench as module
from packlight.search.bench import Bench
from packlight.search.fit import named_recipe as named
from packlight.sources.opening import Opened
from packlight.store import Store
from packlight.task import ArraySamples, Task
from packlight.testing.networks import NETWORKS


@pytest.fixture
def bench(tmp_path):
    model = NETWORKS["perceptron-21"]()
    path = tmp_path / "model.onnx"
    save(model, path)
    inputs = np.random.default_rng(0).standard_normal((8, 32), dtype=np.float32)
    samples = ArraySamples({"x": inputs}, {"x": np.dtype(np.float32)})
    with Store.open(tmp_path / "project") as store:
        yield Bench(store, Opened(model, path), Task("near", samples, METRICS["cosine"]))


def recorded(bench, kind, variant):
    """How often a measurement is made when it is asked for twice."""
    made = []

    def make():
        made.append(kind)
        return Cost(variant.id)

    for _ in range(2):
        bench.once(kind, variant, Cost, make)
    return len(made)


@pytest.mark.parametrize("kind", ["size", "quality", "latency", "memory"])
def test_a_measurement_is_made_once_and_again_where_the_file_is_another(bench, kind):
    variant = bench.original
    assert recorded(bench, kind, variant) == 1
    assert recorded(bench, kind, variant) == 0
    assert recorded(bench, kind, dataclasses.replace(variant, model="another")) == 1


def test_what_the_machine_decides_is_measured_again_on_another(bench, monkeypatch):
    kinds = ("size", "quality", "latency", "memory")
    assert [recorded(bench, kind, bench.original) for kind in kinds] == [1, 1, 1, 1]

    here = module.machine()
    other = dataclasses.replace(here, saturates=not here.saturates)
    monkeypatch.setattr(module, "machine", lambda: other)

    assert [recorded(bench, kind, bench.original) for kind in kinds] == [0, 1, 1, 1]


def test_a_variant_is_made_again_by_other_versions_under_the_same_id(bench, monkeypatch):
    first = bench.variant(*named("weights:8", 0))
    assert bench.variant(*named("weights:8", 0)) == first

    monkeypatch.setattr(module, "environment", lambda: {"packlight": "next"})
    again = bench.variant(*named("weights:8", 0))

    assert (again.id, again.model, again.file) == (first.id, first.model, first.file)
    assert again.environment == {"packlight": "next"}
