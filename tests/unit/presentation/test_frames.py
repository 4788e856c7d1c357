"""Records as tables of pandas."""

import pytest

import packlight
from packlight import zoo
from packlight.presentation.frames import ROWS


@pytest.fixture(scope="module")
def pandas():
    return pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    path = tmp_path_factory.mktemp("pair") / "small.onnx"
    packlight.compress("zoo:fashion", "weights:3,per=tensor", path)
    return zoo.model_path("fashion"), path


def test_a_profile_has_a_row_for_each_operator(pandas):
    profile = packlight.profile("zoo:fashion")
    frame = profile.to_dataframe()
    assert list(frame["name"]) == [operator.name for operator in profile.operators]
    assert frame["macs"].sum() == profile.totals["macs"].value


@pytest.mark.slow
def test_a_comparison_its_flips_and_contrasts_have_the_numbers_of_their_records(pandas, pair):
    comparison = packlight.compare(pair[0], [pair[1]], "zoo:fashion", costs=False)
    frame = comparison.to_dataframe().set_index("name")
    result = comparison.others[0]
    assert frame.loc[result.name, "drop_high"] == result.metrics["drop"].high
    assert frame.loc[result.name, "lost"] == comparison.flips[0].lost
    flips = comparison.flips[0].to_dataframe()
    assert set(flips["column"]) == {group.column for group in comparison.contrasts[0].groups}
    groups = comparison.contrasts[0].to_dataframe()
    assert list(groups["drop"]) == [g.drop.value for g in comparison.contrasts[0].groups]


def test_a_check_and_findings_have_rows(pandas, pair):
    gate = packlight.check(*pair, ["size<=0.5x", "download<=1kB"])
    frame = gate.to_dataframe()
    assert list(frame["passed"]) == [True, False]
    findings = packlight.diagnose(*pair, "zoo:fashion", seconds=0, limit=4)
    assert len(findings.to_dataframe()) == len(findings)


def test_every_record_with_rows_says_so():
    assert all(hasattr(record, "to_dataframe") for record in ROWS)
