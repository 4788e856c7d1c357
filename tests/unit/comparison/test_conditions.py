"""What was judged under other conditions is not ranked, and it is said which differ."""

from dataclasses import replace

import pytest

from packlight.comparison import compare, differences
from packlight.records import Evaluation, SessionOptions, VariantResult, counted

BASE = Evaluation("a", "a", "d1", "test", SessionOptions(), {}, seed=0, machine="m1", code="c1")
OTHERWISE = [
    ({"data": "d2"}, "data: d1 and d2"),
    ({"split": "val"}, "split: test and val"),
    ({"code": "c2"}, "task code (preprocessing): c1 and c2"),
    ({"seed": 1}, "seed: 0 and 1"),
    ({"session": SessionOptions(threads=4)}, "threads: 1 and 4"),
    ({"session": SessionOptions(arithmetic="exact")}, "arithmetic: runtime and exact"),
    ({"session": SessionOptions(matmul_accuracy=1)}, "accuracy level: 4 and 1"),
    ({"machine": "m2"}, "machine: m1 and m2"),
    ({"reference": "z"}, "reference: none and z"),
]


@pytest.mark.parametrize(("changed", "told"), OTHERWISE)
def test_each_condition_that_differs_is_named(changed, told):
    assert differences(BASE, replace(BASE, variant="b", **changed)) == (told,)


def test_numbers_may_differ():
    assert differences(BASE, replace(BASE, variant="b", metrics={"top1": counted(1.0)})) == ()


def result(key, drop):
    return VariantResult(
        key, "", key, key, "", metrics={"drop": counted(drop), "top1": counted(1 - drop)}
    )


def test_a_model_judged_elsewhere_has_no_deltas_and_is_not_on_the_front():
    base, near, far = result("a", 0.2), result("b", 0.1), result("c", 0.0)
    judged = {
        "a": BASE,
        "b": replace(BASE, variant="b"),
        "c": replace(BASE, variant="c", data="d2", machine="m2"),
    }

    found = compare(base, [near, far], {}, {}, evaluations=judged)

    assert found.unlike == {"c": ("data: d1 and d2", "machine: m1 and m2")}
    assert found.front == ("b",)
    assert set(found.deltas) == {"b"}
    assert compare(base, [near, far], {}, {}).front == ("c",)
