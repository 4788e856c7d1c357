"""What changed, why, and what is known: as the pages of the studio tell it."""

import dataclasses

import pytest

from packlight.presentation.contrasts import headline, worst_sentence
from packlight.records import (
    Advice,
    Contrast,
    Finding,
    GroupContrast,
    Measurement,
    Moved,
    Shift,
    Slice,
    SourceLine,
    WorstGroup,
    counted,
)
from packlight.studio.views.compare import compare_page, contrast_column
from packlight.studio.views.overview import overview_page, variant_row


def measured(value, half=0.01, unit="1", n=5000):
    return Measurement(value, unit, value - half, value + half, "measured", n)


def group(name, drop, standing, n=500):
    return GroupContrast("class", name, n, measured(drop, n=n), 0.01, 0.02, measured(drop - 0.1),
                         0.001, 0.004, 0.05, standing)  # fmt: skip


def contrast_of(variant, name="Shirt"):
    return Contrast(
        variant=variant, reference="0" * 12, metric="top1", form="classes", n=5000,
        drop=measured(0.1234), p=1e-9, test="exact McNemar test", detectable=0.0068,
        level={"top1": Shift(measured(0.93), measured(0.807), measured(-0.1234))},
        rates={"lost": measured(0.15), "won": measured(0.027), "churn": measured(0.2)},
        rates_p=0.2, rates_test="exact McNemar test",
        groups=(group(name, 0.41, "harder"), group("Bag", 0.01, "lighter"),
                group("Coat", 0.1, "alike"), group("Rare", 0.9, "too small", n=7)),
        worst=WorstGroup("class", name, measured(0.41, 0.05)),
        slices=(Slice(f"class = {name} and input_mean > 0.4", 120, measured(0.5), measured(0.4),
                      0.0001, 0.0004, 0.5),),
        trust={"calibration_error": Shift(measured(0.033), measured(0.153), measured(0.12))},
        distance="Jensen-Shannon",
        moved=(Moved(17, 0.62, "6", "0", "lost"), Moved(4021, 0.5, name, name, "same")),
        notes=("1 of 4 groups have fewer than 30 samples and are not judged",),
    )  # fmt: skip


@pytest.fixture
def told(fits):
    """An outcome with all that a page can tell."""
    finding = Finding(
        "not-enough-bits", "serious", "quality", "the grids of 'conv1' are too coarse",
        operator="conv1", evidence={"snr": measured(5.8, unit="dB"), "bits": counted(3)},
        next_step="give it more bits", source=SourceLine("net.py", 12, "blocks.0"),
    )  # fmt: skip
    lesson = Advice("groups-suffer", "Damage is spread unevenly.", "Somebody et al.",
                    "the worst group loses most", measured(0.41))  # fmt: skip
    return dataclasses.replace(
        fits, contrasts=(contrast_of(fits.best),), findings=(finding,), lessons=(lesson,)
    )


def compared(outcome):
    """The page that compares the chosen variant with the original."""
    contrasts = {contrast.variant: contrast for contrast in outcome.contrasts}
    results = [outcome.variants[0], *(r for r in outcome.variants if r.id in contrasts)]
    rows = [variant_row(result, outcome.metric) for result in results]
    return compare_page(outcome, rows, contrasts, {}, "")


def test_a_contrast_is_told_with_its_test_and_its_worst_group(told):
    (contrast,) = told.contrasts
    column = contrast_column(contrast, "top1", None)

    assert headline(contrast) in column.sentences
    assert column.worst_text == worst_sentence(contrast)
    tables = {table.title: table for table in column.tables}
    assert tables["Metric"].rows[0][0] == "top1"
    (segment,) = tables["Samples that lose more"].rows
    assert segment[0] == contrast.slices[0].rule
    assert segment[1] == "120"
    assert all(len(row) == len(table.heads) for table in column.tables for row in table.rows)
    assert column.notes == contrast.notes


def test_groups_come_worst_first_and_those_too_small_last(told):
    page = compared(told)
    names = [row.name for row in page.groups]

    assert names == ["Shirt", "Coat", "Bag", "Rare"]
    standings = {row.name: row.dots[0].standing for row in page.groups}
    assert standings["Shirt"] == "harder"
    assert standings["Rare"] == "too small"
    assert page.columns == ("class",)


def test_findings_have_their_evidence_and_their_place(told):
    (finding,) = overview_page(told).findings

    assert finding.evidence["where"] == "net.py:12 blocks.0"
    assert finding.evidence["snr"].startswith("5.8")
    assert finding.next_step == "give it more bits"


def test_lessons_have_a_reason_with_its_number_and_a_source(told):
    (lesson,) = overview_page(told).lessons

    assert lesson.title.startswith("the worst group loses most (")
    assert lesson.source == "Somebody et al."
