"""Each cause planted in five networks, and pairs in which nothing is wrong."""

from functools import cache

import pytest
from planted import DEFECTS, HEALTHY, NETS

from packlight.diagnosis import Subject, diagnose
from packlight.model import file_size


@cache
def findings(name, net):
    cause, make = DEFECTS[name] if name in DEFECTS else ("", HEALTHY[name])
    made = make(NETS[net]())
    sizes = tuple(file_size(model.graph) for model in (made.reference, made.variant))
    found = diagnose(Subject(made.reference, made.variant, made.task, limit=6, sizes=sizes))
    return cause, found


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_cause_is_among_the_first_three_findings(name, net):
    cause, found = findings(name, net)

    assert cause in [one.cause for one in found[:3]]


def test_a_planted_cause_is_the_first_finding_in_nine_of_ten():
    pairs = [findings(name, net) for name in DEFECTS for net in NETS]
    first = [bool(found) and found[0].cause == cause for cause, found in pairs]

    assert len({cause for cause, _ in pairs}) >= 12
    assert sum(first) >= 0.9 * len(first)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_pair_has_no_finding_above_a_note(name, net):
    _, found = findings(name, net)

    assert {one.severity for one in found} <= {"note"}
