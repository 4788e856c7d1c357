"""Ranges beside data that they were not made for."""

import numpy as np

from packlight.compression import compress
from packlight.evaluation import misfits
from packlight.evaluation.range_misfit import sentence
from packlight.metrics import METRICS
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime.calibration import Calibrator
from packlight.task import Task
from packlight.testing import NETWORKS

OPTIONS = SessionOptions()


def pictures(scale, seed, count=12):
    random = np.random.default_rng(seed)
    return [
        [{"x": (scale * random.standard_normal((2, 3, 8, 8))).astype(np.float32)}]
        for _ in range(count)
    ]


def judged_on(scale, recipe="static,range=percentile,percentile=99.0"):
    calibration = pictures(1.0, 0)
    model = NETWORKS["residual-17"]()
    made = compress(model, parse_recipe(recipe), Calibrator(calibration, OPTIONS)).model
    task = Task("t", pictures(scale, 1), METRICS["snr"], calibration=calibration)
    return misfits(made, task, OPTIONS)


def test_data_like_the_calibration_samples_fits_although_rare_values_were_cut_off():
    assert judged_on(1.0) == ()


def test_larger_data_does_not_fit_and_the_worst_value_is_told_with_its_shares():
    found = judged_on(4.0)

    shares = [one.share for one in found]
    assert shares == sorted(shares, reverse=True)
    assert "x" in {one.value for one in found}
    (own,) = [one for one in found if one.value == "x"]
    outside = np.mean([np.abs(s[0]["x"]) > 2.33 for s in pictures(4.0, 1)])
    assert abs(own.share - outside) < 0.05
    assert own.calibrated < 0.03
    assert f"{found[0].share:.1%} of '{found[0].value}'" in sentence(found)


def test_a_float_model_has_no_ranges():
    task = Task("t", pictures(1.0, 1), METRICS["snr"], calibration=pictures(1.0, 0))

    assert misfits(NETWORKS["residual-17"](), task, OPTIONS) == ()
    assert sentence(()) == ""
