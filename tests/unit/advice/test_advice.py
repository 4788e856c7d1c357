import pytest
from planted import DEFECTS

from packlight.advice import advice_for_plan, advice_for_results, lessons, lessons_on, with_lessons
from packlight.errors import InputError
from packlight.records import Finding, Measurement, Plan, VariantResult, counted

BASE = VariantResult("base", "", "original", "", "", metrics={"size": counted(1000, "B")})


def result(name="variant", recipe="", labels=(), **metrics):
    return VariantResult("v", "base", name, recipe, "", metrics=metrics, labels=labels)


def near(value, unit="1"):
    return Measurement(value, unit, value * 0.95, value * 1.05, "measured", 100)


def told(one, detectable=0.0):
    return {advice.lesson: advice for advice in advice_for_results(BASE, [one], detectable)}


def test_every_lesson_has_a_source_and_a_topic_and_no_two_share_an_id():
    ids = [one.id for one in lessons()]

    assert len(set(ids)) == len(ids) >= 20
    assert all(one.source and one.topics and one.text.endswith(".") for one in lessons())


def test_every_planted_cause_has_a_lesson():
    for cause, _ in DEFECTS.values():
        finding = with_lessons(Finding(cause, "note", "quality", "something"))
        known = {one.id for one in lessons()}
        assert set(finding.lessons) <= known
        assert finding.lessons


def test_lessons_are_found_by_topic_and_by_words_of_their_text():
    assert {"granularity"} <= {one.id for one in lessons_on("scales")}
    assert {"leave-norms"} <= {one.id for one in lessons_on("LayerNorm")}
    with pytest.raises(InputError, match="topics are"):
        lessons_on("zeppelin")


@pytest.mark.parametrize(
    ("one", "lesson", "number"),
    [
        (result(drop=near(0.001), flips=near(0.05)), "one-number-hides", 0.05),
        (result(drop=near(0.01), worst_group_drop=near(0.2)), "groups-suffer", 0.2),
        (result(size=counted(300, "B"), latency_ratio=near(1.01)), "size-is-not-speed", 1.01),
        (result(size=counted(300, "B"), latency_ratio=near(1.6)), "fallbacks", 1.6),
        (result(recipe="simplify+weights:3", drop=near(0.2)), "below-four-bits", 0.2),
        (result(labels=("runtime differs",), snr_runtime=near(8, "dB")), "hardware-decides", 8),
    ],
)
def test_a_result_calls_for_a_lesson_with_its_number(one, lesson, number):
    found = told(one)

    assert found[lesson].number.value == number
    assert found[lesson].source


def test_a_good_result_calls_for_none():
    good = result(
        size=counted(300, "B"), latency_ratio=near(0.5), drop=near(0.001), flips=near(0.001)
    )

    assert told(good) == {}


def test_few_samples_call_for_an_evaluation_first():
    assert told(result(drop=near(0.01)), detectable=0.08)["evaluate-before"].number.value == 0.08


def test_a_plan_in_which_nothing_fits_calls_for_a_smaller_problem_and_says_how_much():
    plan = Plan("net", "board", ("size<=1kB",), {}, (), "no", (), {"size<=1kB": 0.2})

    found = advice_for_plan(plan)

    assert [one.lesson for one in found] == ["smaller-problem-first", "start-early"]
    assert found[0].number.value == 0.2
