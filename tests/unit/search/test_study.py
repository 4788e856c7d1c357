"""The result of a search as a value."""

import shutil
import sys

import pytest

import packlight
from packlight.errors import InputError
from packlight.store import Store

RECIPES = ["simplify+weights:8", "simplify+weights:2"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    project = tmp_path_factory.mktemp("study") / "project"
    budget = ["size<=0.5x", "drop<=1%"]
    return packlight.fit(
        "zoo:fashion", "zoo:fashion", budget, project, recipes=RECIPES, seconds=0.1
    )


def test_best_has_metrics_recipe_file_and_model(study):
    best = study.best

    assert best.name == "simplify+weights:8"
    assert best.metrics["size"].value == best.file.stat().st_size
    assert [step.method for step in best.recipe.steps] == ["simplify", "weights"]
    assert set(best.model().inputs()) == {"image"}
    assert best.meets == {"size<=0.5x": "yes", "drop<=1%": "yes"}


def test_the_recipe_of_the_best_makes_the_same_file_again(study, tmp_path):
    again = tmp_path / "again.onnx"
    packlight.compress("zoo:fashion", study.best.recipe, again, task="zoo:fashion")

    assert again.read_bytes() == study.best.file.read_bytes()


def test_results_are_found_by_name_and_by_id(study):
    assert [result.name for result in study] == ["fashion", *RECIPES]
    assert len(study) == 3
    assert study[study.best.id].name == study.best.name
    assert study[RECIPES[1]].verdict == "misses"
    with pytest.raises(KeyError):
        study["no such variant"]


def test_a_project_opens_as_the_same_study_wherever_it_lies(study, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(study.project, moved)
    opened = packlight.open_project(moved)

    assert opened.outcome.variants == study.outcome.variants
    assert opened.best.file == moved / study.best.record.file
    assert opened.report == moved / "report.html"


def test_a_folder_without_a_finished_search_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is none at"):
        packlight.open_project(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is empty"):
        packlight.open_project(tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_search_that_was_stopped_is_refused_with_how_to_go_on(tmp_path):
    Store.open(tmp_path / "stopped").close()
    with pytest.raises(InputError, match="has been measured yet"):
        packlight.open_project(tmp_path / "stopped")


def test_a_study_prints_as_its_table_and_shows_its_plot(study):
    text = repr(study)
    html = study._repr_html_()

    assert all(name in text for name in ("fashion", *RECIPES))
    assert len(text) < 2000
    assert "<table>" in html and "<iframe" in html and "&lt;svg" in html
    assert html.count("<script") == 0


def test_a_dataframe_has_a_row_for_each_variant(study):
    pytest.importorskip("pandas")
    frame = study.to_dataframe()

    assert list(frame["name"]) == ["fashion", *RECIPES]
    assert frame["size"][1] == study.best.metrics["size"].value
    assert frame["drop_low"][1] == study.best.metrics["drop"].low


def test_without_pandas_a_dataframe_is_refused_with_what_to_install(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        study.to_dataframe()
