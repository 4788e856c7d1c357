"""This machine, really measured: a device that reads back, plans and predicts."""

import dataclasses

import numpy as np
import pytest

import packlight
from packlight.backends.onnxruntime.kernel_call import KINDS
from packlight.benchmarking.device import round_drift
from packlight.benchmarking.timing import Row
from packlight.devices import read_device, write_device
from packlight.errors import DeviceError
from packlight.planning.cost.predict import Predictor, workload_of
from packlight.profiling import profile
from packlight.runtime import machine


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("measured")


@pytest.fixture(scope="module")
def here(place):
    return packlight.measure_device(place / "t.jsonl", quick=True, name="here", date="2024-05-06")


@pytest.fixture(scope="module")
def fashion():
    return packlight.load("zoo:fashion")


def test_it_is_a_device_that_reads_back(here, place):
    write_device(here, place / "here.toml")
    assert read_device(place / "here.toml") == here
    write_device(here, place / "here.json")
    assert packlight.load_device(place / "here.json") == here


def test_every_figure_says_that_it_was_measured_and_when(here):
    assert here.kind == "measured"
    assert machine().processor in here.processor
    for citation in here.sources.values():
        assert citation.how == "measured"
        for word in ("2024-05-06", machine().onnxruntime, "1 thread,", "packlight devices measure"):
            assert word in citation.text


def test_every_kind_of_kernel_has_a_curve(here):
    assert {name.partition(":")[0] for name in here.curves} >= set(KINDS) - {"small"}
    for name, curve in here.curves.items():
        assert curve.features == KINDS[name.partition(":")[0]].features


def test_plans_take_it(here, fashion):
    found = profile(fashion, {"image": (1, 1, 28, 28)})
    predictor = Predictor(workload_of(fashion.graph, found), here, "cpu")
    latency = predictor.latency(predictor.original)["latency"]
    assert 0 < latency.low < latency.value < latency.high


def test_latency_is_predicted_with_an_interval(here, fashion):
    found = profile(fashion, {"image": (1, 1, 28, 28)})
    said = packlight.predict_latency(fashion, found, here)
    assert said.how == "estimated"
    assert 0 < said.low < said.value < said.high
    whole = sum(one.macs or 0 for one in found.operators)
    assert said.value > whole / here.units["cpu"].peak["float32"]


def test_a_described_device_is_predicted_less_surely(here, fashion):
    found = profile(fashion, {"image": (1, 1, 28, 28)})
    stated = packlight.load_device("x86-laptop-vnni")
    alone = packlight.predict_latency(fashion, found, stated, 1)
    every = packlight.predict_latency(fashion, found, stated, 4)
    assert every.value < alone.value
    bare = dataclasses.replace(
        here, curves={}, sources={k: v for k, v in here.sources.items() if k != "curves"}
    )
    unsure = packlight.predict_latency(fashion, found, bare)
    assert unsure.low < unsure.value < unsure.high


def test_another_number_of_threads_is_refused(here, fashion):
    found = profile(fashion, {"image": (1, 1, 28, 28)})
    with pytest.raises(DeviceError, match="was measured with 1 threads; for 2, measure it again"):
        packlight.predict_latency(fashion, found, here, 2)


def test_a_device_without_a_cpu_is_refused(fashion):
    found = profile(fashion, {"image": (1, 1, 28, 28)})
    browser = packlight.load_device("raspberry-pi-5")
    other = dataclasses.replace(
        browser,
        units={"gpu": browser.units["cpu"]},
        sources={key.replace("units.cpu", "units.gpu"): s for key, s in browser.sources.items()},
    )
    with pytest.raises(DeviceError, match=r"predicted for a CPU; 'raspberry-pi-5' has gpu"):
        packlight.predict_latency(fashion, found, other)


def test_a_name_must_be_one(tmp_path):
    with pytest.raises(DeviceError, match="small letters, digits and dashes; got 'My PC'"):
        packlight.measure_device(tmp_path / "t.jsonl", name="My PC")
    assert not list(tmp_path.iterdir())


def test_drift_is_what_all_models_share_from_round_to_round():
    random = np.random.default_rng(0)
    shared = np.array([0.0, 0.1, -0.1, 0.2, 0.05])
    rows = [
        [
            Row(
                "c",
                str(model),
                at,
                float(np.exp(model / 10 + common + random.normal(0, 0.01))),
                9,
                1,
            )
            for at, common in enumerate(shared)
        ]
        for model in range(200)
    ]
    short = [rows[0][:2]]

    assert round_drift(rows + short) == pytest.approx(shared.std(ddof=1), rel=0.03)
    assert round_drift(short) > 0
    assert round_drift([row[:1] for row in rows]) == 0.0
