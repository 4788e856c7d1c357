"""Downloads before their codes are there, beside files that were made and zipped."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from packlight.api.plan import PlanRequest
from packlight.api.plan_in_process import plan_for
from packlight.compression import compress
from packlight.compression.calibration_data import uses_data
from packlight.model import load, save
from packlight.records import Budget, parse_recipe
from packlight.store.files import deflated_size
from packlight.zoo import model_path

WIDE = 256


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape or (WIDE, WIDE)).astype(np.float32)


def few(seed):
    return np.random.default_rng(seed).choice(np.float32([-1.3, -0.2, 0.1, 0.7]), (WIDE, WIDE))


def pruned(seed):
    kept = np.random.default_rng(seed).random((WIDE, WIDE)) < 0.1
    return normal(seed) * kept.astype(np.float32)


WEIGHTS = {
    "normal": normal,
    "zeros": lambda _: np.zeros((WIDE, WIDE), np.float32),
    "ones": lambda _: np.ones((WIDE, WIDE), np.float32),
    "equal rows": lambda seed: np.tile(normal(seed, 1, WIDE), (WIDE, 1)),
    "equal columns": lambda seed: np.tile(normal(seed, WIDE, 1), (1, WIDE)),
    "rows that come again": lambda seed: np.tile(normal(seed, WIDE // 4, WIDE), (4, 1)),
    "few values": few,
    "pruned": pruned,
    "16-bit values": lambda seed: normal(seed).astype(np.float16).astype(np.float32),
    "a layer of zeros": lambda seed: normal(seed) * (seed == 0),
}


def layers(path, weights, *, constants=False):
    """A file of products one after the other."""
    nodes, stored, last = [], [], "x"
    for place, weight in enumerate(weights):
        tensor = numpy_helper.from_array(weight, f"w{place}")
        if constants:
            nodes.append(helper.make_node("Constant", [], [f"w{place}"], value=tensor))
        else:
            stored.append(tensor)
        nodes.append(helper.make_node("MatMul", [last, f"w{place}"], [f"y{place}"]))
        nodes.append(helper.make_node("Relu", [f"y{place}"], [last := f"r{place}"]))
    ends = [
        [helper.make_tensor_value_info(name, 1, [1, size])]
        for name, size in (("x", weights[0].shape[0]), (last, weights[-1].shape[1]))
    ]
    graph = helper.make_graph(nodes, "g", *ends, stored)
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def downloads(path, folder):
    """By route, the interval that was predicted of the download, and what it is."""
    model = load(path)
    request = PlanRequest("", Budget(), "pixel-8", "", {}, ())
    plan = plan_for(model, path.stat().st_size, request, None)
    found = {"as it is": (plan.original["download"], deflated_size(path))}
    for option in plan.options:
        recipe = parse_recipe(f"simplify+{option.recipe}") if option.recipe else None
        if recipe is not None and not uses_data(recipe):
            save(compress(model, recipe).model, folder / "made.onnx")
            found[option.name] = option.predicted["download"], deflated_size(folder / "made.onnx")
    return found


@pytest.mark.parametrize(
    ("kind", "constants"),
    [*((kind, False) for kind in WEIGHTS), ("normal", True), ("zeros", True)],
)
def test_the_interval_of_a_download_holds_what_the_file_zips_to(tmp_path, kind, constants):
    weights = [WEIGHTS[kind](seed) for seed in range(3)]
    found = downloads(layers(tmp_path / "m.onnx", weights, constants=constants), tmp_path)

    assert len(found) > 5
    for name, (predicted, true) in found.items():
        assert predicted.low <= true <= predicted.high, name


def test_intervals_are_narrow_where_weights_are_trained(tmp_path):
    found = downloads(model_path("fashion"), tmp_path)

    for name, (predicted, true) in found.items():
        assert predicted.low <= true <= predicted.high, name
        assert predicted.high - predicted.low < 0.125 * true, name


def test_weights_that_are_no_numbers_are_no_stop(tmp_path):
    weight = np.full((WIDE, WIDE), np.nan, np.float32)
    found = downloads(layers(tmp_path / "m.onnx", [weight]), tmp_path)

    assert found["as it is"][0].low <= found["as it is"][0].high
