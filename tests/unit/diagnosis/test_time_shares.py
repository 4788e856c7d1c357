"""Where a variant's time goes, by type of operator and arithmetic."""

import pytest

from packlight.diagnosis.time_shares import integer_step, time_shares
from packlight.presentation.diagnosis import float_note, headline, share_rows
from packlight.records import Measurement, OperatorCost, Profile
from packlight.records.diagnosis import DiagnosisSummary


def cost(name, op, seconds=0.0, into=""):
    latency = None
    if seconds:
        latency = Measurement(seconds, "s", 0.9 * seconds, 1.1 * seconds, "measured", 9)
    return OperatorCost(name, op, 10, 0, 1, 4, 4, 8, 8, 16, latency=latency, into=into)


BEFORE = Profile(
    "m", (cost("a", "Conv", 4e-3), cost("b", "Conv", 2e-3), cost("c", "Softmax", 1e-3)), {}
)
AFTER = Profile(
    "s",
    (
        cost("q", "QuantizeLinear", 0.5e-3),
        cost("d", "DequantizeLinear", into="a"),
        cost("a", "Conv", 1e-3),
        cost("b", "Conv", 2e-3),
        cost("c", "Softmax", 1e-3),
        cost("m", "com.microsoft.MatMulIntegerToFloat", 0.5e-3),
    ),
    {},
)


@pytest.fixture
def shares():
    return {(s.op, s.arithmetic): s for s in time_shares(BEFORE, AFTER, {})}


def test_every_second_of_the_variant_is_in_one_share(shares):
    assert sum(s.time.value for s in shares.values()) == pytest.approx(5e-3)
    assert sum(s.share for s in shares.values()) == pytest.approx(1)
    assert len({name for s in shares.values() for name in s.operators}) == 5


def test_a_kernel_with_pairs_fused_into_it_computes_in_integers(shares):
    assert shares["Conv", "int8"].operators == ("a",)
    assert shares["Conv", "float"].operators == ("b",)
    assert ("com.microsoft.MatMulIntegerToFloat", "int8") in shares


def test_the_time_before_is_that_of_the_same_operators(shares):
    assert shares["Conv", "int8"].before == pytest.approx(4e-3)
    assert shares["Conv", "float"].before == pytest.approx(2e-3)
    assert shares["QuantizeLinear", "float"].before is None


def test_operators_are_matched_where_their_names_differ():
    renamed = Profile("m", (cost("first", "Conv", 4e-3),), {})
    after = Profile("s", (cost("a", "Conv", 1e-3),), {})
    assert time_shares(renamed, after, {"a": "first"})[0].before == pytest.approx(4e-3)


def test_a_step_is_named_only_for_float_operators_with_an_integer_kernel(shares):
    assert shares["Conv", "float"].step == "static"
    assert shares["Conv", "int8"].step == ""
    assert integer_step("Einsum") == ""


def test_the_summary_says_what_it_costs_and_what_stayed_in_float():
    ratio = Measurement(0.71, "1", 0.69, 0.73, "measured", 9)
    snr = Measurement(34.9, "dB", 34.9, 34.9, "measured", 32)
    summary = DiagnosisSummary("s", "m", 250, 1000, ratio, snr, time_shares(BEFORE, AFTER, {}))
    assert headline(summary) == (
        "s against m: 0.25x the size (250 B), 0.71x [0.69, 0.73] the latency, 34.9 dB signal to "
        "noise over 32 samples."
    )
    assert share_rows(summary)[0][:4] == ["Conv", "float", "1", "2 ms"]
    assert "60 % of the time" in float_note(summary)
    assert "static can compute in integers, as b, c." in float_note(summary)
