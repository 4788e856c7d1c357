"""A study in pictures, in MLflow and in a notebook's progress bar."""

import numpy as np
import pytest

import packlight
from packlight import zoo
from packlight.errors import InputError

RECIPES = ["weights:8", "weights:2,per=tensor"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    task = zoo.task("fashion")
    few = packlight.Task(
        name="few", samples=task.samples[:80], targets=np.asarray(task.targets)[:80].tolist(),
        metric=task.metric,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("study")
    return packlight.fit(
        "zoo:fashion", few, ["size<=0.4x", "drop<=10%"], folder / "P", out=folder / "small.onnx",
        recipes=RECIPES, seconds=0.05, allow_slower=True,
    )  # fmt: skip


@pytest.mark.slow
def test_the_plot_shows_every_variant_where_its_numbers_are(study):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    axes = study.plot()
    texts = {text.get_text(): text.xy for text in axes.texts}
    assert set(texts) == {result.name for result in study.results}
    for result in study.results:
        size, drop = texts[result.name]
        assert size == pytest.approx(result.metrics["size"].value / 1e6)
        assert drop == pytest.approx(result.metrics["drop"].value * 100)
    labels = [line.get_label() for line in axes.lines]
    assert {"size<=0.4x", "drop<=10%"} <= set(labels)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("size (MB)", "drop (points)")


def test_a_plot_of_what_was_not_measured_is_refused(study):
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="no variant has both 'energy' and 'drop'; measured are"):
        study.plot("energy")


def test_every_variant_has_a_contrast(study):
    assert set(study.contrasts) == set(RECIPES)
    for name, contrast in study.contrasts.items():
        assert contrast.drop == study[name].metrics["drop"]
    assert packlight.open_project(study.project).contrasts == study.contrasts


def test_mlflow_gets_a_run_for_the_search_and_one_for_each_variant(study, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    try:
        run = study.log_mlflow("packlight", models=True)
        client = mlflow.MlflowClient()
        parent = client.get_run(run)
        runs = client.search_runs([parent.info.experiment_id])
        children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == run]
        assert {child.info.run_name for child in children} == {r.name for r in study.results}
        for child in children:
            result = study[child.info.run_name]
            assert child.data.metrics["size"] == result.metrics["size"].value
            assert child.data.metrics["drop_high"] == result.metrics["drop"].high
            assert child.data.tags["verdict"] == result.verdict
        artifacts = {item.path for item in client.list_artifacts(run)}
        assert {"report.html", "model"} <= artifacts
    finally:
        mlflow.set_tracking_uri("")


def test_the_chosen_variant_is_copied_where_it_was_asked_for(study):
    copy = study.project.parent / "small.onnx"
    assert copy.read_bytes() == study.best.file.read_bytes()
