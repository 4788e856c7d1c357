"""What pages show comes from records, and says what they say."""

import json

import pytest

import packlight
from packlight.errors import InputError
from packlight.studio.answers import PAGES, predict, readable_code
from packlight.studio.encoding import to_text
from packlight.studio.offline import address, offline_text
from packlight.studio.views.diff import matched_rows

INT8 = "static+weights:8"


def page(space, name, **query):
    return PAGES[name](space, query)


def test_overview_has_every_variant_with_the_numbers_of_the_search(space, made):
    shown = page(space, "overview")
    study = packlight.open_project(made.project)

    assert [row.name for row in shown.variants] == [result.name for result in study.results]
    for row, result in zip(shown.variants, study.results, strict=True):
        for name, measurement in result.metrics.items():
            number = row.numbers[name]
            assert (number.value, number.low, number.high) == (
                measurement.value, measurement.low, measurement.high,
            )  # fmt: skip
    assert [row.best for row in shown.variants].count(True) == 1
    assert shown.headline


def test_fronts_hold_what_no_other_variant_beats(space):
    shown = page(space, "overview")
    front = shown.fronts["size|drop"]
    points = {
        row.id: (row.numbers["size"].value, row.numbers["drop"].value) for row in shown.variants
    }

    for key, point in points.items():
        beaten = any(
            rival != point and rival[0] <= point[0] and rival[1] <= point[1]
            for rival in points.values()
        )
        assert (key in front) == (not beaten)


def test_the_lineage_leads_from_the_original_to_every_variant(space):
    shown = page(space, "overview")
    nodes = {node.key: node for node in shown.lineage}

    assert {node.variant for node in shown.lineage} >= {row.id for row in shown.variants}
    for node in shown.lineage:
        assert node.key == "" or node.parent in nodes
        assert node.key == "" or nodes[node.parent].x == node.x - 1


def test_operators_add_up_to_the_totals_of_the_profile(space, made):
    shown = page(space, "operators")
    totals = packlight.profile(str(made.model)).totals

    assert sum(value or 0 for value in shown.numbers["macs"]) == totals["macs"].value
    assert sum(shown.numbers["time_share"]) == pytest.approx(1)
    assert shown.starts[0] == 0
    assert len(shown.names) == len(set(shown.names))


def test_the_graph_owns_every_operator_once(space):
    shown = page(space, "graph")

    assert len(shown.owners) == len(page(space, "operators").names)
    assert sum(shown.counts) == len(shown.owners)


def test_code_is_shown_below_the_named_folders_alone(space, made, tmp_path):
    operators = page(space, "operators")
    row = operators.ops.index("Conv")
    shown = page(space, "code", operator=str(row))

    assert shown.lines[shown.line - shown.first].strip() == "return self.stages(x)"
    outside = tmp_path / "secret.py"
    outside.write_text("key = 1\n")
    (made.code / "link.py").unlink(missing_ok=True)
    (made.code / "link.py").symlink_to(outside)
    for file in (
        str(outside),
        "../secret.py",
        str(made.code / "link.py"),
        "/etc/passwd",
        "a\0b.py",
    ):
        assert readable_code(file, (made.code,)) is None
    assert readable_code("net.py", (made.code,)) == (made.code / "net.py").resolve()


def test_choices_predict_the_size_that_compressing_gives(space, made, tmp_path):
    found = predict(space, {"choices": ["stage3=weights:8"]})
    packlight.compress(str(made.model), found.recipe, out=tmp_path / "small.onnx")

    size = found.predicted["size"]
    simplified = predict(space, {"choices": []}).predicted["size"].value
    assert size.low <= (tmp_path / "small.onnx").stat().st_size
    assert size.value < simplified
    assert found.receipt[0].saved == pytest.approx(simplified - size.value, rel=0.02)


def test_a_later_choice_overrides_an_earlier_one(space):
    both = predict(space, {"choices": ["stage3=weights:8", "stage3=keep"]})

    assert both.changed == 0
    assert both.recipe == ""


def test_a_choice_of_nothing_is_refused_with_what_to_do(space):
    with pytest.raises(InputError, match="matches no operator"):
        predict(space, {"choices": ["nowhere=weights:8"]})
    with pytest.raises(InputError, match="a choice is OPERATOR=STEP"):
        predict(space, {"choices": ["nonsense"]})


def test_groups_and_samples_tell_the_same_story(space):
    worst = next(row for row in page(space, "overview").variants if "per=tensor" in row.name)
    shown = page(space, "compare", variants=worst.id)
    by_class = [row for row in shown.groups if row.column == "class"]
    lost = sum(row.dots[0].lost for row in by_class)
    samples = page(space, "samples", variant=worst.id, outcome="lost")

    assert lost == samples.total == samples.counts["lost"] > 0
    group = max(by_class, key=lambda row: row.dots[0].lost)
    inside = page(
        space, "samples", variant=worst.id, outcome="lost", column="class", group=group.name
    )
    assert inside.total == group.dots[0].lost
    for card in inside.cards:
        assert card.groups["class"] == group.name == card.before
        assert card.before != card.after
        assert card.picture.source.startswith("data:image/png;base64,")


def test_diff_matches_by_name_and_tells_what_was_removed(space):
    shown = page(space, "diff")
    first = {row.first for row in shown.rows if row.first >= 0}
    second = {row.second for row in shown.rows if row.second >= 0}

    assert first == set(range(len(shown.first.names)))
    assert second == set(range(len(shown.second.names)))
    removed = [row for row in shown.rows if row.status == "removed"]
    assert {shown.first.ops[row.first] for row in removed} == {"BatchNormalization"}
    same = page(space, "diff", first=shown.first.model, second=shown.first.model)
    assert set(same.counts) == {"same"}
    assert matched_rows(shown.first, shown.first) == list(same.rows)


@pytest.mark.parametrize("name", ["overview", "operators", "graph", "what-if", "compare", "diff"])
def test_pages_are_json_that_a_browser_reads(space, name):
    text = to_text(page(space, name))

    assert json.loads(text, parse_constant=pytest.fail)


def test_infinite_ends_of_intervals_become_texts():
    number = packlight.Measurement(1.0, "1", 0.0, float("inf"), "measured", 3)

    assert json.loads(to_text((number,)))[0]["high"] == "inf"


def test_the_offline_file_holds_the_pages_and_asks_for_nothing(made):
    text = offline_text(made.settings)

    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text.split('id="answers"')[0]
    assert address("overview", {}) in text
    assert "default-src 'none'" in text
    assert text.count("<script") == text.count("</script>") == 3


def test_a_notebook_shows_the_pages_in_a_frame(made):
    html = packlight.open_project(made.project).studio(str(made.task))._repr_html_()

    assert html.startswith("<iframe")
    assert 'sandbox="allow-scripts"' in html
    assert "&lt;script" in html
