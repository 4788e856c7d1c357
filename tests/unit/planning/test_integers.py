"""Sizes of integer models that are foretold, against the files."""

import numpy as np
import pytest

from packlight.compression import compress
from packlight.model import to_bytes
from packlight.planning.size.files import Files
from packlight.planning.size.parts import Simplified
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime.calibration import Calibrator
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.cases import apply_recipe
from packlight.testing.sketch import Sketch, value_info

WAYS = ["static", "static,wide=.*", "static,first=float,last=float", "static,runtime=qnn",
        "static,runtime=litert,per=tensor", "static:7,range=percentile"]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["residual-17", "around-17", "perceptron-21"])
def test_an_integer_model_is_as_large_as_foretold(name, way):
    model = NETWORKS[name]()
    calls = [[feeds] for feeds in sample_calls(model)]
    options = SessionOptions(arithmetic="exact", matmul_accuracy=1)

    told = Files(Simplified(model)).made(parse_recipe(way))
    made = compress(model, parse_recipe(f"simplify+{way}"), Calibrator(calls, options))

    assert told.size.low == told.size.high == len(to_bytes(made.model))
    changed = {change.operator for change in made.changes if change.method == "static"}
    assert {change.operator for change in told.changes} == changed


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e38, 1e5])
def test_a_weight_that_is_refused_for_its_numbers_is_foretold(number):
    net, value = Sketch(17), "x"
    for place in range(3):
        array = net.array(40, 40, fan_in=40)
        array[3, 5] = number if place == 2 else array[3, 5]
        value = net.add("Relu", net.add("MatMul", value, net.keep(array)))
    model = net.model("numbers", [value_info("x", [1, 40])], {value: [1, 40]})

    told = Files(Simplified(model)).made(parse_recipe("static"))
    made = apply_recipe(model, parse_recipe("simplify+static"), sample_calls(model))

    assert told.size.low == told.size.high == len(to_bytes(made.model))
    assert len([change for change in made.changes if change.before]) == 2 + (number == 1e5)
