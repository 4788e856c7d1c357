"""Weights that fit calibration samples better than others are found, and what more would give."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from packlight.diagnosis import Subject, diagnose
from packlight.diagnosis.overfit import LearningCurve, curve_evidence, learning_curve
from packlight.metrics import METRICS
from packlight.records import Measurement, SessionOptions, parse_recipe
from packlight.task import Selection, Task
from packlight.testing.cases import apply_recipe
from packlight.testing.sketch import Sketch, value_info

EXACT = SessionOptions(arithmetic="exact")
RECIPE = "weights:3,rounding=gptq,damping=1e-6"
WIDTH, LATENT, SOURCES, EACH = 48, 10, 12, 4


def network():
    net = Sketch(17, 0)
    value = net.add("Relu", net.add("MatMul", "x", net.weight(WIDTH, 64, fan_in=WIDTH)))
    value = net.add("MatMul", value, net.weight(64, 32, fan_in=64))
    return net.model("overfit", [value_info("x", [1, WIDTH])], {value: [1, 32]})


MIXING = np.random.default_rng(7).standard_normal((LATENT, WIDTH)) / LATENT**0.5


def sample(source, number):
    """Numbers that those of a source have nearly in common, and all depend on a few others."""
    random = np.random.default_rng([source, number])
    latent = np.random.default_rng(source).standard_normal((1, LATENT))
    latent = latent + 0.05 * random.standard_normal((1, LATENT))
    common = latent @ MIXING
    return ({"x": (common + 0.1 * random.standard_normal((1, WIDTH))).astype(np.float32)},)


@cache
def task():
    calibration = [sample(source, number) for number in range(EACH) for source in range(SOURCES)]
    groups = {"photo": [f"photo {source}" for _ in range(EACH) for source in range(SOURCES)]}
    others = [sample(1000 + source, 0) for source in range(40)]
    return Task("t", others, METRICS["snr"], calibration=calibration, calibration_groups=groups)


@cache
def findings(recipe, known=True):
    reference = network()
    calls = [steps[0] for steps in task().calibration]
    variant = apply_recipe(reference, parse_recipe(recipe), calls).model
    subject = Subject(reference, variant, task(), EXACT, recipe=parse_recipe(recipe))
    if not known:
        subject = dataclasses.replace(subject, recipe=None)
    return diagnose(subject)


def overfit(causes):
    return next((cause for cause in causes if cause.cause == "calibration-overfit"), None)


def test_weights_fitted_to_few_sources_are_reported_with_both_numbers():
    finding = overfit(findings(RECIPE))

    assert finding.severity in ("serious", "warning")
    levels = {name: measurement.value for name, measurement in finding.evidence.items()}
    on_task = levels["snr_on_the_task's_samples"]
    assert levels["snr_on_calibration_samples"] > on_task + 3
    assert levels["snr_expected_on_others"] == pytest.approx(on_task, abs=1.5)
    assert levels["gain_of_twice_as_many"] > 0.5


def test_without_the_recipe_the_tasks_samples_show_it():
    finding = overfit(findings(RECIPE, known=False))

    assert "snr_expected_on_others" not in finding.evidence


def test_rounding_to_nearest_overfits_nothing():
    assert overfit(findings("weights:3")) is None


def test_held_out_quality_grows_with_the_samples_and_needs_six_sources():
    curve = learning_curve(network(), parse_recipe(RECIPE), task(), EXACT)

    assert curve.samples == (8, 16, 32)
    levels = [measurement.value for measurement in curve.snr]
    assert levels == sorted(levels)
    assert (curve.sources, curve.source, curve.total) == (12, "photo", 48)
    five = dataclasses.replace(
        task(), calibration=Selection(task().calibration, range(5)), calibration_groups={}
    )
    assert learning_curve(network(), parse_recipe(RECIPE), five, EXACT) is None


def decibels(value):
    return Measurement(value, "dB", value, value, "estimated", 3)


def test_each_doubling_gains_less_than_the_one_before():
    curve = LearningCurve((10, 20, 40), tuple(map(decibels, (1.0, 5.0, 8.0))), 40, 40)

    assert curve.snr_at(40) == pytest.approx(8.0)
    assert curve.snr_at(80) == pytest.approx(8.0 + 3 * 0.75)
    assert curve.snr_at(160) == pytest.approx(8.0 + 3 * 0.75 + 3 * 0.75**2)
    assert curve_evidence(curve)["gain_of_twice_as_many"].value == pytest.approx(2.25)


def test_a_curve_that_falls_promises_nothing():
    curve = LearningCurve((10, 20, 40), tuple(map(decibels, (5.0, 5.0, 4.0))), 60, 60)

    assert curve.snr_at(1000) == 4.0
    assert curve.expected.value == 4.0
