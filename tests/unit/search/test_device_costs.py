"""Predictions for a device in ``fit``, beside those of ``plan``."""

import numpy as np
import pytest

import packlight
from packlight import zoo
from packlight.devices import load_device
from packlight.records import parse_budget, parse_recipe
from packlight.records.budget import ON_DEVICE
from packlight.search.device_costs import DeviceCosts

DEVICES = ("iphone-15-pro", "raspberry-pi-5", "stm32h743")


@pytest.fixture(scope="module")
def model():
    return packlight.load("zoo:fashion")


@pytest.fixture(scope="module")
def costs(model):
    """Predictions by device."""
    size = zoo.model_path("fashion").stat().st_size
    task = zoo.task("fashion")
    return {name: DeviceCosts(model, size, task, load_device(name), "cpu") for name in DEVICES}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("route", ["8-bit weights", "palettes of 4 bits"])
def test_fit_predicts_what_plan_predicts(costs, device, route):
    plan = packlight.plan("zoo:fashion", ["size<=1MB"], device)
    option = next(option for option in plan.options if option.name == route)
    predicted = costs[device].predict(parse_recipe(option.recipe))
    assert predicted == {
        ON_DEVICE[name]: m for name, m in option.predicted.items() if name in ON_DEVICE
    }


def test_a_recipe_that_the_device_cannot_run_is_refused_and_others_are_not(costs):
    micro = costs["stm32h743"]
    assert micro.refusal(parse_recipe("palette:4")).code == "unsupported-storage"
    assert micro.refusal(parse_recipe("simplify+weights:8")).code == "not-expanded"
    assert micro.refusal(parse_recipe("simplify+static")) is None
    assert costs["iphone-15-pro"].refusal(parse_recipe("palette:4")) is None


def test_budgets_on_costs_of_running_are_about_the_device(costs):
    budget = parse_budget(["size<=1MB", "latency<=8ms", "latency<=0.9x", "drop<=1%"])
    limits = costs["stm32h743"].limits(budget)
    metrics = {limit.text: (limit.judged_by, limit.relative) for limit in limits.all()}
    assert metrics["latency<=8ms"] == ("device_latency", False)
    assert metrics["latency<=0.9x"] == ("device_latency_ratio", False)
    assert metrics["size<=1MB"] == ("size", False)
    assert metrics["drop<=1%"] == ("drop", False)
    own = [text for text, (metric, _) in metrics.items() if metric == "device_peak_memory"]
    assert own, "the memory that the device leaves to an application"


def test_a_search_for_a_device_predicts_each_variant_and_says_what_it_left_out(tmp_path):
    task = zoo.task("fashion")
    few = packlight.Task(
        name="few", samples=task.samples[:60], targets=np.asarray(task.targets)[:60].tolist(),
        metric=task.metric, calibration=task.calibration[:8],
    )  # fmt: skip
    study = packlight.fit(
        "zoo:fashion", few, ["latency<=1s"], tmp_path / "P", device="stm32h743",
        recipes=["simplify+static", "palette:4"], seconds=0.05, allow_slower=True,
    )  # fmt: skip
    assert [result.name for result in study.results] == ["fashion", "simplify+static"]
    assert any("palette:4" in note and "left out" in note for note in study.notes)
    assert study.warnings == ()
    latencies = [result.metrics["device_latency"] for result in study.results]
    assert latencies[1].value < latencies[0].value
    assert all(m.how == "estimated" for m in latencies)
    assert study.outcome.device == "stm32h7, cpu"
