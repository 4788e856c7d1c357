"""Each cause of lost time planted in five networks, with given times."""

from functools import cache

import pytest
from planted_times import NETS, SLOW

from packlight.diagnosis import diagnose


@cache
def findings(cause, net):
    return diagnose(SLOW[cause](NETS[net]()).subject())


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("cause", SLOW)
def test_a_planted_cause_of_lost_time_is_the_first_of_its_kind_and_among_three(cause, net):
    found = findings(cause, net)
    timed = [one.cause for one in found if one.harm == "time"]

    assert timed[:1] == [cause], timed
    assert cause in [one.cause for one in found[:3]]


@pytest.mark.parametrize("net", NETS)
def test_pairs_that_slow_a_model_down_are_grave_and_what_only_keeps_it_from_gaining_is_not(net):
    for cause in SLOW:
        (one,) = [one for one in findings(cause, net) if one.cause == cause]
        adds = cause in ("no-integer-kernel", "unfused-pairs", "weights-unpacked-at-every-run")
        assert (one.severity != "note") == adds
        assert 0.15 <= one.evidence["share_of_time"].value <= 1
        assert one.operators
