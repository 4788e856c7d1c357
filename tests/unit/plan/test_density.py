"""Downloads before their codes are there."""

from packlight.plan.density import FLOATS, download
from packlight.records.measurement import counted


def test_a_download_lies_within_its_interval_and_below_the_file():
    """Weights in Constants count among the operators, which then are more than the file has."""
    found = download(counted(1000, "B"), 900.0, 1800.0, FLOATS)

    assert found.low <= found.value <= found.high <= 1000
