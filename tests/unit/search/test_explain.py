"""What a search tells of the variant that it is about: contrast, causes and lessons."""

import importlib

import numpy as np
import pytest

import packlight
from packlight.metrics import METRICS
from packlight.task import ArraySamples, Task
from packlight.testing.networks import NETWORKS

CAUSES = ("not-enough-bits", "channel-imbalance", "sensitive-operators")


@pytest.fixture(scope="module")
def model():
    return NETWORKS["perceptron-21"]()


@pytest.fixture(scope="module")
def task(model):
    """Classes as the model itself decides them."""
    inputs = np.random.default_rng(0).standard_normal((60, 32), dtype=np.float32)
    samples = ArraySamples({"x": inputs}, {"x": np.dtype(np.float32)})
    return Task("near", samples, METRICS["agreement"])


def searched(model, task, folder, recipe, budget="size<=0.9x"):
    study = packlight.fit(
        model, task, [budget], folder, recipes=[recipe], seconds=0.02, allow_slower=True
    )
    return study.outcome


def test_what_surely_lost_quality_is_explained_and_the_causes_are_kept(
    model, task, tmp_path, monkeypatch
):
    found = searched(model, task, tmp_path / "P", "weights:2,per=tensor")

    (beside,) = found.contrasts
    assert beside.variant == found.best
    assert beside.drop.low > 0
    assert found.findings[0].cause in CAUSES
    assert found.findings[0].evidence["snr"].unit == "dB"
    ids = [one.lesson for one in found.lessons]
    assert len(ids) == len(set(ids))

    explaining = importlib.import_module("packlight.search.explain")
    monkeypatch.delattr(explaining, "find_causes")
    assert searched(model, task, tmp_path / "P", "weights:2,per=tensor") == found


def test_what_lost_nothing_needs_no_causes(model, task, tmp_path):
    found = searched(model, task, tmp_path / "P", "float16")

    assert [one.variant for one in found.contrasts] == [found.best]
    assert found.findings == ()


def test_where_nothing_fits_the_nearest_is_told_of(model, task, tmp_path):
    found = searched(model, task, tmp_path / "P", "weights:8", "size<=0.001x")

    assert found.best is None
    assert found.contrasts[0].variant == found.misses[0].nearest
