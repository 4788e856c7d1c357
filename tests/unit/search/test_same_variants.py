"""A recipe that makes a model which is measured already says so, and is not measured again."""

import numpy as np
import pytest

from packlight import fit
from packlight.search.bench import Bench
from packlight.testing.networks import NETWORKS


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(0).normal(size=(24, 32)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, calibration_x=x + 1)
    return tmp_path / "data.npz"


def test_the_same_model_is_named_and_measured_once(data, tmp_path, monkeypatch):
    measured = []
    measure = Bench.measure_latency

    def counted(bench, variant):
        measured.append(variant.name)
        return measure(bench, variant)

    monkeypatch.setattr(Bench, "measure_latency", counted)
    recipes = ["weights:8", "simplify+weights:8", "weights:4"]
    study = fit(
        NETWORKS["perceptron-21"](), data, ["size<=0.9x"], recipes=recipes,
        project=tmp_path / "project", seconds=0.02, allow_slower=True,
    )  # fmt: skip
    first, second, third = study.results[1:]
    assert second.record.same_as == first.id
    assert "same as weights:8" in second.labels
    assert second.metrics == first.metrics
    assert not (first.record.same_as or third.record.same_as)
    assert "simplify+weights:8" not in measured
    assert {"weights:8", "weights:4"} <= set(measured)
    assert study.best is not None
    assert not study.best.record.same_as
