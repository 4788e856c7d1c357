"""What consoles and notebooks show of records."""

import pytest

import packlight
from packlight.presentation.overview import OVERVIEWS, as_html, as_text
from packlight.records import Finding, Findings, Measurement

FINDING = Finding(
    "too-few-bits",
    "serious",
    "quality",
    "weights <have> too few bits",
    operator="conv_1",
    evidence={"snr": Measurement(9.0, "dB", 8.0, 10.0, "measured", 4)},
    next_step="use 4 bits",
)


@pytest.fixture(scope="module")
def model():
    return packlight.load("zoo:fashion")


@pytest.fixture(scope="module")
def shown(model):
    return {
        "model": model,
        "profile": packlight.profile("zoo:fashion"),
        "plan": packlight.plan("zoo:fashion", device="pixel-8", budget=["size<=1MB"]),
        "evaluation": packlight.evaluate("zoo:fashion", "zoo:fashion"),
        "compressed": packlight.compress(model, "float16"),
        "device": packlight.load_device("pixel-8"),
        "findings": Findings([FINDING] * 20),
        "finding": FINDING,
    }


def test_every_public_object_prints_short(shown):
    for name, record in shown.items():
        assert 10 < len(repr(record)) < 4000, name


def test_tables_of_text_and_html_have_the_same_cells(shown):
    for record in shown.values():
        if type(record) in OVERVIEWS:
            table = OVERVIEWS[type(record)](record)
            assert all(len(row) == len(table.heads) for row in table.rows)
            assert as_html(record).count("<td") == sum(map(len, table.rows))
            assert all(cell.strip() in as_text(record) for row in table.rows for cell in row)


def test_texts_of_a_model_cannot_become_markup():
    assert "<have>" not in FINDING._repr_html_()
    assert "&lt;have&gt;" in FINDING._repr_html_()


def test_rows_beyond_the_limit_are_counted(shown):
    assert "and 8 more findings" in repr(shown["findings"])


def test_findings_are_a_tuple(shown):
    assert isinstance(shown["findings"], tuple)
    assert shown["findings"][0] == FINDING
