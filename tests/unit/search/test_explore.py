"""Searches without recipes on a small network: what is chosen, said and kept."""

import numpy as np
import pytest

import packlight
from packlight.metrics import METRICS
from packlight.search.mixes import decibels
from packlight.search.steering import split_task
from packlight.store import Store
from packlight.task import ArraySamples, Task
from packlight.testing.networks import NETWORKS


def samples(count, seed):
    rows = np.random.default_rng(seed).standard_normal((count, 32), dtype=np.float32)
    return ArraySamples({"x": rows}, {"x": np.dtype(np.float32)})


@pytest.fixture(scope="module")
def model():
    return NETWORKS["perceptron-21"]()


@pytest.fixture(scope="module")
def task():
    return Task("near", samples(150, 0), METRICS["agreement"], calibration=samples(40, 1))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return tmp_path_factory.mktemp("search") / "P"


@pytest.fixture(scope="module")
def study(model, task, project):
    return search(model, task, project, ["size<=0.6x", "drop<=20%"])


def search(model, task, project, budget, **options):
    return packlight.fit(model, task, budget, project, seconds=0.02, **options)


def test_a_mix_of_forms_is_chosen_and_its_file_says_how(study, model, task):
    best = study.best
    assert best.name.startswith("mix of ")
    assert best.recipe.is_by_site
    text = (study.project / "best.toml").read_text()
    assert text == str(best.recipe)

    again = packlight.compress(model, study.project / "best.toml", task=task)
    assert again.model.digest == best.model().digest


def test_predictions_stand_beside_measurements_and_sizes_are_exact(study):
    checks = study.outcome.exploration.checks
    assert checks
    for check in checks:
        assert check.size == check.made_size
        assert abs(check.snr - check.measured_snr) < 6


def test_every_choice_has_a_reason(study):
    sites = study.outcome.exploration.sites
    chosen = {name for step in study.best.recipe.steps for name in step.sites}
    assert {site.operator for site in sites if site.form != "keep"} == chosen
    assert sum(site.share for site in sites) == pytest.approx(1)


def test_samples_that_steer_do_not_decide(study, task):
    exploration = study.outcome.exploration
    assert exploration.steering + exploration.judging == len(task.samples)
    assert study.outcome.samples == exploration.judging
    split = split_task(task)
    assert not set(split.steering.fingerprints) & set(split.judging.fingerprints)


def test_the_same_search_again_measures_nothing_and_chooses_the_same(study, model, task, project):
    with Store.open(project) as store:
        before = len(store.all("steering", packlight.Evaluation))
    again = search(model, task, project, ["size<=0.6x", "drop<=20%"])
    with Store.open(project) as store:
        assert len(store.all("steering", packlight.Evaluation)) == before
    assert [r.id for r in again.results] == [r.id for r in study.results]
    assert again.outcome.variants == study.outcome.variants


def test_an_impossible_size_ends_early_and_says_what_would_be_possible(model, task, project):
    study = search(model, task, project, ["size<=0.05x"])
    assert study.best is None
    assert len(study) == 2
    (advice,) = study.outcome.exploration.advice
    assert "smallest file" in advice
    assert study.misses[0].name == study.results[1].name


def test_a_floor_beyond_the_original_ends_early(model, task, project):
    study = search(model, task, project, ["drop<=-5%"])
    assert study.best is None
    assert len(study) == 1
    (advice,) = study.outcome.exploration.advice
    assert "beyond the original" in advice


def test_a_time_that_no_integers_reach_ends_before_any_mix(model, task, project):
    study = search(model, task, project, ["latency<=0.001x"])
    assert study.best is None
    assert not study.outcome.exploration.checks
    (advice,) = study.outcome.exploration.advice
    assert "out of reach" in advice


def test_a_size_and_a_floor_that_contradict_end_after_one_mix(model, task, project):
    study = search(model, task, project, ["size<=0.35x", "snr>=45"])
    assert study.best is None
    exploration = study.outcome.exploration
    assert len(exploration.checks) == 1
    (advice,) = exploration.advice
    assert "contradict" in advice
    assert "may keep them" in advice
    assert [result.name for result in study.results[1:]] == [exploration.checks[0].name]
    assert study.misses


def test_where_no_floor_is_set_quality_is_sought_within_the_limit(study, model, task, project):
    richer = search(model, task, project, ["size<=0.6x"])
    assert richer.outcome.exploration.goal == "quality"
    assert richer.best.metrics["snr"].value > study.best.metrics["snr"].value
    assert richer.best.metrics["size"].value <= 0.6 * richer.original.metrics["size"].value


def test_few_samples_are_said_to_be_few(model, tmp_path):
    few = Task("few", samples(20, 0), METRICS["agreement"], calibration=samples(20, 1))
    study = search(model, few, tmp_path / "P", ["size<=0.6x"])
    assert study.outcome.exploration.shared
    assert any("too few" in text for text in study.warnings)


def test_decibels_of_a_relative_error():
    assert decibels(0.01) == pytest.approx(20)


def test_training_waits_for_time_that_is_allowed(model, task, project):
    study = search(model, task, project, ["size<=0.25x", "snr>=45"])
    (record,) = (s for s in study.outcome.exploration.stages if s.name == "trained")
    assert record.took == record.expected == 0


@pytest.mark.slow
def test_what_misses_its_budget_learns_as_long_as_time_allows(model, task, tmp_path):
    pytest.importorskip("torch", reason="an extra: pip install 'packlight[torch]'")
    budget = ["size<=0.25x", "snr>=45"]
    study = search(model, task, tmp_path / "P", budget, time=400)
    (record,) = (s for s in study.outcome.exploration.stages if s.name == "trained")
    assert record.took > 0
    mix, learned = study.results[-2:]
    assert learned.name == f"{mix.name}, distilled"
    assert learned.recipe.steps[:-1] == mix.recipe.steps
    assert learned.recipe.steps[-1].config.minutes <= 400 / 60
    assert learned.metrics["size"] == mix.metrics["size"]
    assert learned.metrics["snr"].value >= mix.metrics["snr"].value - 0.5
    assert study.outcome.exploration.advice, "it still misses, so what would have to change stays"

    again = search(model, task, tmp_path / "P", budget, time=400)
    assert again.outcome.variants == study.outcome.variants
