"""A plan whose parts are found in processes of their own is the plan that one process finds."""

import pytest

from packlight.api.plan import PlanRequest, plan
from packlight.api.plan_in_process import plan_for, recipes
from packlight.model import load, save, stored_size
from packlight.planning.size.files import Files
from packlight.planning.size.parts import Simplified
from packlight.records import Budget
from packlight.testing import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_both_ways_find_the_same(name, tmp_path):
    path = tmp_path / "model.onnx"
    save(NETWORKS[name](), path)
    request = PlanRequest(str(path), Budget(), "pixel-8", "", {}, ())

    assert plan(str(path), device="pixel-8") == plan_for(
        load(path), stored_size(path), request, None
    )


@pytest.mark.parametrize(("name", "newer"), [("around-17", True), ("perceptron-21", False)])
def test_only_recipes_that_raise_the_opset_wait_for_it(name, newer):
    files = Files(Simplified(NETWORKS[name]()))

    found = [files.is_newer(recipe) for recipe in recipes()]

    assert any(found) == newer
    assert not any(files.is_newer(one) and files.is_whole(one) for one in recipes())
