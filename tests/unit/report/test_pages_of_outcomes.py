"""Outcomes of searches as the pages of the studio tell them."""

import dataclasses
import json

import pytest

from packlight.presentation.verdict import details, headline
from packlight.records import Refusal, counted, parse_budget
from packlight.records.exploration import (
    CurvePoint,
    Exploration,
    Prediction,
    SiteReason,
    StageRecord,
)
from packlight.studio.assets import inlined, offline_page
from packlight.studio.encoding import to_text
from packlight.studio.views.overview import frame_of, overview_page
from packlight.studio.views.search import MOST_NAMES, refusal_lines, search_part

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00\u202e\ud800"


def every(outcome, change):
    return dataclasses.replace(outcome, variants=tuple(map(change, outcome.variants)))


@pytest.fixture(params=["fits", "misses", "undecided"])
def outcome(request):
    return request.getfixturevalue(request.param)


def frame(outcome):
    return frame_of(outcome, "project", (), "")


def test_the_verdict_is_told_as_in_the_terminal(outcome):
    page = overview_page(outcome)

    assert page.headline == headline(outcome)
    assert page.details == tuple(details(outcome))
    assert page.cautions == outcome.warnings
    assert page.notes == outcome.notes


def test_every_variant_has_its_labels_its_recipe_and_the_failed_one_its_reason(fits):
    page = overview_page(fits)

    assert [row.id for row in page.variants] == [result.id for result in fits.variants]
    assert [row.best for row in page.variants].count(True) == 1
    for row, result in zip(page.variants, fits.variants, strict=True):
        assert row.labels == result.labels
        assert row.error == result.error
        assert set(row.numbers) == set(result.metrics)


def test_budgets_are_in_their_own_units_with_their_verdicts(undecided, misses):
    lines = {line.text: line for line in frame(undecided).budgets}
    assert lines["size<=0.3x"].bound_text == "642 kB"
    assert {line.meets for line in lines.values()} >= {"yes", "unclear"}
    lines = {line.text: line for line in frame(misses).budgets}
    assert lines["latency<=3ms"].bound_text == "3 ms"
    nothing = dataclasses.replace(misses, budget=parse_budget([]), misses=())
    assert frame(nothing).budgets == ()


def test_refusals_are_counted_by_operator_and_variant(fits):
    lines = refusal_lines(fits)

    assert [(line.operators, line.variants) for line in lines] == [(7, 6), (1, 6)]
    assert lines[0].remedy == "choose block=9 or per=channel"
    assert refusal_lines(every(fits, lambda r: dataclasses.replace(r, refusals=()))) == ()


def test_refusals_that_differ_in_names_and_numbers_are_one_line_that_keeps_them(fits):
    small = [
        Refusal(f"op{n}", "too-small", f"'t{n}' has {n} numbers", "", "float16") for n in range(14)
    ]
    (line,) = refusal_lines(every(fits, lambda r: dataclasses.replace(r, refusals=tuple(small))))

    assert line.reason == "too small to gain"
    assert line.details == tuple(f"{r.operator}: {r.reason}" for r in small)


def test_a_long_list_of_operators_is_cut_and_counted(fits):
    many = tuple(Refusal(f"op{n}", "no-gain", "no", "", "weights") for n in range(1000))
    (line,) = refusal_lines(every(fits, lambda r: dataclasses.replace(r, refusals=many)))

    assert (line.operators, len(line.details)) == (1000, MOST_NAMES)


def test_a_search_tells_its_curve_its_choices_and_its_checks(fits):
    assert search_part(fits) is None
    exploration = Exploration(
        goal="size",
        steering=100,
        judging=400,
        shared=False,
        curve=(CurvePoint(1000, 10.0), CurvePoint(2000, 20.0)),
        sites=(SiteReason("conv", "palette:4", 500, 2000, 300, 0.1, "palette:5", 210, 0.021),),
        checks=(Prediction("mix", 1500, 1510, 15.0, 14.0, 0.01),),
        stages=(StageRecord("probe", "always", 1.0, 2.0),),
    )
    part = search_part(dataclasses.replace(fits, exploration=exploration))

    assert part.sizes == (1000, 2000)
    assert part.decibels == (10.0, 20.0)
    assert part.measured_decibels == (14.0,)
    assert [table.title for table in part.tables] == [
        "Choices by operator", "Predicted and measured signal to noise",
    ]  # fmt: skip
    assert all(len(row) == len(table.heads) for table in part.tables for row in table.rows)
    assert part.stages[0].startswith("probe: always")


def test_a_page_without_numbers_still_tells_its_verdict(fits):
    bare = every(fits, lambda r: dataclasses.replace(r, metrics={}, groups=()))
    page = overview_page(dataclasses.replace(bare, warnings=()))

    assert page.headline == headline(bare)
    assert page.metrics == ()


def test_no_name_ends_the_element_that_holds_it_or_turns_the_text_around_it(fits):
    spoiled = dataclasses.replace(fits, model=HOSTILE, task=HOSTILE, warnings=(HOSTILE,))
    answers = {"/api/overview": to_text(overview_page(spoiled)), "/api/x": to_text((HOSTILE,))}
    text = offline_page(HOSTILE, answers, json.dumps({"model": HOSTILE}))

    assert text.count("</script>") == text.count("<script") == 4
    assert "<img" not in text
    assert not {"\u202e", "\ud800"} & set(text)
    assert json.loads(inlined(answers["/api/x"]))[0].startswith("</script><script>")


def test_numbers_of_a_variant_say_how_they_were_got(fits):
    numbers = overview_page(fits).variants[1].numbers

    assert numbers["size"].how == "counted"
    assert numbers["size"].interval == ""
    assert numbers["download"].how == "estimated"
    assert counted(1.0).how == "counted"
