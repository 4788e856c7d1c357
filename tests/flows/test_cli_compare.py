"""``compare`` and ``evaluate`` in a process: every number again, from the table of samples."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from packlight import zoo
from packlight.cli.compare import comparison_parts
from packlight.cli.evaluate import quality_parts
from packlight.cli.screen import say, screen
from packlight.comparison import contrast
from packlight.metrics import METRICS
from packlight.records import Comparison, Contrast, Evaluation, from_json, to_json
from packlight.task import SampleTable

FIDELITY = ("cosine", "kl", "snr")


@pytest.fixture(scope="module")
def worse(tmp_path_factory, run):
    """The zoo's model with weights of 3 bits, which harms some classes."""
    path = tmp_path_factory.mktemp("models") / "worse.onnx"
    done = run("compress", "zoo:fashion", "--recipe", "weights:3,per=tensor", "-o", path,
               cwd=path.parent)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """500 samples of the zoo's data, without the column that names the classes."""
    with np.load(zoo.data_path("fashion", ".npz"), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if not name.startswith("calibration")}
    arrays.pop("group_class")
    path = tmp_path_factory.mktemp("data") / "part.npz"
    np.savez(path, **{name: one if not one.ndim else one[:500] for name, one in arrays.items()})
    return path


@pytest.fixture(scope="module")
def judged(tmp_path_factory, run, worse, part):
    """What ``compare`` printed, and the rows of its table by model."""
    folder = tmp_path_factory.mktemp("compare")
    done = run("compare", "zoo:fashion", worse, "--task", part, "--quality", "--samples",
               "s.csv", "--json", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), models_of(folder / "s.csv")


def models_of(path: Path) -> dict[str, dict[str, list[str]]]:
    """Columns of a table of samples, by model."""
    found: dict[str, dict[str, list[str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            columns = found.setdefault(row["model"], {})
            for name, cell in row.items():
                columns.setdefault(name, []).append(cell)
    return found


def numbers(columns, name):
    return np.array([float(cell) if cell else np.nan for cell in columns[name]])


def truths(columns):
    return np.array([cell == "True" for cell in columns["right"]])


def test_every_number_of_quality_is_in_the_table_of_samples(judged):
    printed, models = judged
    before, after = models["reference"], models["worse"]
    metrics = {k: m["value"] for k, m in printed["others"][0]["metrics"].items()}
    was, now = truths(before), truths(after)
    lost, won = was & ~now, ~was & now

    assert metrics["top1"] == pytest.approx(now.mean())
    assert metrics["drop"] == pytest.approx(was.mean() - now.mean())
    assert metrics["flips"] == pytest.approx(lost.mean())
    other = np.array(before["decision"]) != np.array(after["decision"])
    assert metrics["agreement"] == pytest.approx(1 - other.mean())
    assert metrics["cosine"] == pytest.approx(numbers(after, "cosine_0").mean())
    assert metrics["kl"] == pytest.approx(numbers(after, "kl_0").mean())
    assert metrics["snr"] == pytest.approx(level(after, "snr_0", "snr_1"))
    assert metrics["snr_exact"] == pytest.approx(level(after, "exact_signal", "exact_noise"))
    assert metrics["snr_runtime"] == pytest.approx(level(after, "exact_signal", "runtime_noise"))

    (found,) = printed["contrasts"]
    rates = {name: rate["value"] for name, rate in found["rates"].items()}
    assert rates == pytest.approx({
        "lost": lost.mean(), "won": won.mean(), "churn": other.mean(),
        "changed": (~was & ~now & other).mean(),
    })  # fmt: skip
    oracle = stats.binomtest(int(lost.sum()), int((lost | won).sum())).pvalue
    assert found["p"] == pytest.approx(oracle, rel=1e-6)
    for name in ("confidence", "nll", "brier"):
        for columns, side in ((before, "before"), (after, "after")):
            assert found["trust"][name][side]["value"] == pytest.approx(
                numbers(columns, name).mean()
            )
    for columns, right, side in ((before, was, "before"), (after, now, "after")):
        told = found["trust"]["calibration_error"][side]["value"]
        assert told == pytest.approx(calibration_error(numbers(columns, "confidence"), right))
    far = numbers(after, "divergence")
    assert [one["divergence"] for one in found["moved"]] == sorted(far, reverse=True)[:20]
    assert found["moved"][0]["sample"] == int(far.argmax())


def level(columns, signal, noise):
    sums = [np.nansum(numbers(columns, name)) for name in (signal, noise)]
    return 10 * np.log10(sums[0] / sums[1])


def calibration_error(sure, right, bins=15):
    order = np.argsort(sure, kind="stable")
    place = ((np.arange(len(order)) + 0.5) * bins / len(order)).astype(int)
    gaps = np.bincount(place, right[order] - sure[order])
    return np.abs(gaps).sum() / len(order)


def test_groups_and_their_tests_are_in_the_table_too(judged):
    printed, models = judged
    before, after = models["reference"], models["worse"]
    gap = truths(before).astype(float) - truths(after)
    (found,) = printed["contrasts"]

    assert {one["column"] for one in found["groups"]} == {"brightness", "target"}
    ps = []
    for one in found["groups"]:
        own = np.array([cell == one["name"] for cell in before[f"group_{one['column']}"]])
        assert one["n"] == own.sum()
        assert one["drop"]["value"] == pytest.approx(gap[own].mean())
        lost, won = int((gap[own] > 0).sum()), int((gap[own] < 0).sum())
        assert one["p"] == pytest.approx(stats.binomtest(lost, lost + won).pvalue, rel=1e-6)
        tests = [stats.ttest_ind(gap[own], gap[~own], equal_var=same) for same in (True, False)]
        assert one["extra"]["value"] == pytest.approx(gap[own].mean() - gap[~own].mean())
        assert one["extra_p"] == pytest.approx(max(test.pvalue for test in tests), rel=1e-5)
        ps.append(one["extra_p"])
    q = [one["extra_q"] for one in found["groups"]]
    np.testing.assert_allclose(q, stats.false_discovery_control(ps))
    worst = max(found["groups"], key=lambda one: one["drop"]["value"])
    assert (found["worst"]["column"], found["worst"]["name"]) == (worst["column"], worst["name"])


def sample_table(columns):
    """One model's table of single samples, from the file's columns."""
    inputs = {name: numbers(columns, name) for name in columns if name.startswith("input_")}
    far = {name: numbers(columns, name) for name in ("divergence",) if columns[name][0]}
    return SampleTable(
        np.stack([numbers(columns, "top1_0"), numbers(columns, "top1_1")], axis=1),
        np.array([int(cell) for cell in columns["decision"]]),
        truths(columns),
        np.arange(len(columns["sample"])),
        numbers(columns, "confidence"),
        samples={**inputs, **far},
        details={name: numbers(columns, name) for name in ("nll", "brier")},
    )


def test_the_whole_contrast_with_its_intervals_follows_from_the_table(judged):
    printed, models = judged
    told = from_json(Contrast, printed["contrasts"][0])
    columns = models["reference"]
    groups = {name.removeprefix("group_"): columns[name] for name in columns
              if name.startswith("group_")}  # fmt: skip

    again = contrast(
        METRICS["top1"], sample_table(columns), sample_table(models["worse"]), groups,
        variant=told.variant, reference=told.reference, distance=told.distance, seed=0,
    )  # fmt: skip

    alike(to_json(again), to_json(told))


def alike(one, other):
    """The same but for the last digits of numbers: sums run in another order in another process."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            alike(value, other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            alike(first, second)
    else:
        assert one == (pytest.approx(other, rel=1e-9) if isinstance(other, float) else other)


def test_quality_alone_measures_no_cost_but_the_size(judged):
    printed, _ = judged

    for one in (printed["base"], *printed["others"]):
        assert {"size", "download", "top1", "drop"} <= set(one["metrics"])
        assert not {"latency", "latency_ratio", "peak_memory"} & set(one["metrics"])


def test_people_are_told_for_whom_within_80_columns(judged, capsys):
    printed, _ = judged

    say(screen(), *comparison_parts(screen(), from_json(Comparison, printed)))

    told = capsys.readouterr().out
    for words in ("worse against fashion", "exact McNemar test", "right before, wrong now",
                  "Worst group: target = ", "calibration error", "Jensen-Shannon", "samples s.csv",
                  "Minimum detectable drop (80 % power): "):  # fmt: skip
        assert words in " ".join(told.split()), words
    assert max(map(len, told.splitlines())) <= 80


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, run, worse, part):
    """What ``evaluate`` printed beside a reference, and the rows of its table by model."""
    folder = tmp_path_factory.mktemp("evaluate")
    done = run("evaluate", worse, "--reference", "zoo:fashion", "--task", part, "--samples",
               "e.csv", "--json", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), models_of(folder / "e.csv")


def test_evaluate_beside_a_reference_tells_the_same_and_writes_the_same(judged, evaluated, capsys):
    printed, models = judged
    found, again = evaluated

    assert found["contrast"] == printed["contrasts"][0]
    assert found["samples"] == "e.csv"
    assert again == models
    say(screen(), *quality_parts(from_json(Evaluation, found)))
    told = capsys.readouterr().out
    assert "The model against its reference" in told
    assert max(map(len, told.splitlines())) <= 80


def test_a_table_that_cannot_be_written_is_refused_before_any_work(run, part, tmp_path):
    command = ("evaluate", "zoo:fashion", "--task", part, "--samples")
    for out, words in (("s.txt", "is OUT.csv or OUT.parquet"), ("no/s.csv", "'no' does not")):
        done = run(*command, out, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr


def test_saved_evaluations_are_ranked_where_nothing_but_the_model_differs(run, evaluated, tmp_path):
    found, _ = evaluated
    better = {**found["metrics"], "drop": {**found["metrics"]["drop"], "value": -0.5, "low": -0.6}}
    saved = {
        "here": found,
        "better": {**found, "variant": "other", "metrics": better},
        "there": {**found, "machine": "elsewhere", "seed": 7, "metrics": better},
    }
    for name, record in saved.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(record), "utf-8")
    files = [f"{name}.json" for name in saved]

    told = json.loads(run("compare", *files, "--json", cwd=tmp_path).stdout)
    shown = run("compare", *files, cwd=tmp_path)

    assert told["unlike"] == {
        "there": ["seed: 0 and 7", f"machine: {found['machine']} and elsewhere"]
    }
    assert told["front"] == ["better"]
    assert set(told["deltas"]) == {"better"}
    assert shown.returncode == 0
    assert "Not ranked: there differs in seed: 0 and 7" in " ".join(shown.stdout.split())
    assert "here.json" not in shown.stdout


def test_what_cannot_be_compared_is_said(run, worse, tmp_path):
    (tmp_path / "a.json").write_text('{"schema": "Plan/1"}', "utf-8")
    for command, words in (
        (("zoo:fashion", worse), "give --task"),
        (("a.json", "b.json"), "'a.json' holds no evaluation: this packlight reads Evaluation/2"),
    ):
        done = run("compare", *command, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
