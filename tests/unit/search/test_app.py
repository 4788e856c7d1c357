"""Several models in one budget: one allocation over all, each with its own floors."""

import numpy as np
import pytest

import packlight
from packlight.errors import InputError, RecipeError
from packlight.records import counted, loads
from packlight.records.app import AppOutcome
from packlight.search.app import added
from packlight.search.joint import JointMixes
from packlight.sources.app import read_app
from packlight.testing.networks import NETWORKS

NAMES = ("perceptron-21", "gemms-13")
SIZE = 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two networks with data, and the file of an app that names them."""
    folder = tmp_path_factory.mktemp("app")
    rng = np.random.default_rng(0)
    tables = []
    for name in NAMES:
        packlight.save(NETWORKS[name](), folder / f"{name}.onnx")
        arrays = {
            "x": rng.standard_normal((90, 32), dtype=np.float32),
            "calibration_x": rng.standard_normal((30, 32), dtype=np.float32),
        }
        np.savez(folder / f"{name}.npz", **arrays)
        tables.append(
            f'[[model]]\nname = "{name}"\nmodel = "{name}.onnx"\ntask = "{name}.npz"\n'
            'budget = ["snr>=5"]\n'
        )
    (folder / "app.toml").write_text(f'budget = ["size<={SIZE}x"]\n' + "\n".join(tables))
    return folder


@pytest.fixture(scope="module")
def study(folder):
    return packlight.fit_app(folder / "app.toml", folder / "P", seconds=0.02)


def test_all_models_together_keep_the_shared_budget(study):
    assert study.verdict == "fits"
    sizes = [best.metrics["size"].value for best in study.best.values()]
    assert sum(sizes) == study.totals["size"].value
    assert sum(sizes) <= SIZE * study.outcome.originals["size"].value
    assert all(best.metrics["snr"].value >= 5 for best in study.best.values())


def test_each_model_has_a_project_with_the_same_choice(study, folder):
    for name, best in study.best.items():
        opened = packlight.open_project(folder / "P" / name)
        assert opened.best.id == best.id
        assert opened.report.is_file()
    stored = loads(AppOutcome, (folder / "P" / "app.json").read_text())
    assert stored == study.outcome


def test_the_same_search_again_chooses_the_same(study, folder):
    again = packlight.fit_app(folder / "app.toml", folder / "P", seconds=0.02)
    assert again.outcome == study.outcome


def test_one_allocation_is_no_worse_than_any_split_by_hand(study):
    del study
    models = [mixes_of(name) for name in NAMES]
    total = int(SIZE * sum(mixes.base for mixes in models))
    joint = JointMixes(models).within(total, {})
    assert sum(mix.size for mix in joint) <= total
    damage = sum(mix.damage for mix in joint)
    for share in np.linspace(0.1, 0.9, 9):
        split = [models[0].within(share * total), models[1].within((1 - share) * total)]
        if None not in split:
            assert damage <= 1.02 * sum(mix.damage for mix in split)


def test_a_model_may_be_given_less_damage_than_is_best_for_all():
    models = [mixes_of(name) for name in NAMES]
    total = int(SIZE * sum(mixes.base for mixes in models))
    free = JointMixes(models).within(total, {})
    capped = JointMixes(models).within(total, {0: free[0].damage / 2})
    assert capped[0].damage <= free[0].damage / 2 * (1 + 1e-6)
    assert capped[1].damage >= free[1].damage


def mixes_of(name):
    """Mixes whose damages are predicted on independent inputs."""
    from packlight.compression import compress
    from packlight.compression.bit_allocation.candidate_damage import predict_damage
    from packlight.planning.size.exact_size import SIMPLIFY, Simplified
    from packlight.planning.size.files import Files
    from packlight.runtime.calibration import Calibrator
    from packlight.search.forms import FORMS, form_config
    from packlight.search.mixes import Mixes

    model = NETWORKS[name]()
    rng = np.random.default_rng(1)
    rows = [[{"x": rng.standard_normal((1, 32), dtype=np.float32)}] for _ in range(24)]
    graph = compress(model, SIMPLIFY).model.graph
    damages = predict_damage(
        graph, [form_config(form) for form in FORMS], Calibrator(rows[:16]), Calibrator(rows[16:])
    )
    return Mixes(Files(Simplified(model)), FORMS, damages)


@pytest.mark.slow
def test_bytes_that_no_allocation_keeps_are_said(folder, tmp_path):
    text = (folder / "app.toml").read_text().replace(f"size<={SIZE}x", "size<=0.01x")
    (folder / "tight.toml").write_text(text)
    study = packlight.fit_app(folder / "tight.toml", tmp_path / "P", seconds=0.02)
    assert study.verdict == "misses"
    (advice,) = study.outcome.advice
    assert "smallest files" in advice
    assert "Missed: size<=0.01x" in repr(study)


def test_what_does_not_add_up_is_no_shared_budget(folder, tmp_path):
    text = (folder / "app.toml").read_text().replace(f"size<={SIZE}x", "drop<=1%")
    (folder / "wrong.toml").write_text(text)
    with pytest.raises(RecipeError, match="its own table"):
        packlight.fit_app(folder / "wrong.toml", tmp_path / "P")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("budget = []", "names no model"),
        ("budget = 3\n[[model]]\n", "list of texts"),
        ("sizes = []", "has no setting 'sizes'"),
        ("[[model]]\nname = 'a'", "has name, model, task"),
        ("[[model]]\nname = '../a'\nmodel = 'm'\ntask = 't'", "that of its folder"),
        ("[[model]]\nname = 'a'\nmodel = 'm'\ntask = 't'\n" * 2, "two 'a'"),
        ("budget = [", "not valid TOML"),
    ],
)
def test_a_file_that_says_something_else_is_refused(text, words, tmp_path):
    (tmp_path / "app.toml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_app(tmp_path / "app.toml")


def test_intervals_of_a_sum_are_added():
    total = added([counted(2, "B"), counted(3, "B")])
    assert (total.value, total.low, total.high) == (5, 5, 5)
    assert total.unit == "B"
