import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.errors import InputError
from packlight.presentation.markup import text
from packlight.presentation.verdict import headline
from packlight.records import Outcome, Refusal, canonical, loads, parse_budget
from packlight.report import write_report
from packlight.report.page import page
from packlight.report.plot import CANVASES, trade_off
from packlight.report.plot_axes import Axis, Box, place_labels, ticks
from packlight.report.plot_scene import scene
from packlight.report.refusals import refusals
from packlight.report.tables import budgets, variants

VOID = {"meta", "link", "br", "wbr", "img"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00\u202e\ud800"


class Document(HTMLParser):
    """A page read as a browser reads it: elements with attributes, and the text in each."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts, self.stray = [], [], {}, []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.stray.append(tag)

    def handle_data(self, data):
        where = self.open[-1] if self.open else ""
        self.texts[where] = self.texts.get(where, "") + data

    def all_text(self):
        return " ".join(self.texts.values())

    def attributes(self, tag):
        return [found for name, found in self.elements if name == tag]


def every(outcome, change):
    return dataclasses.replace(outcome, variants=tuple(map(change, outcome.variants)))


@pytest.fixture(params=["fits", "misses", "undecided"])
def outcome(request):
    return request.getfixturevalue(request.param)


def test_the_page_is_well_formed_and_says_the_verdict_first(outcome):
    document = Document(page(outcome, "A title"))
    assert (document.open, document.stray) == ([], [])
    assert document.texts["title"].startswith("A title")
    body = document.texts["p"]
    assert body.index(headline(outcome)) < body.index("Numbers are those of the table")


def test_the_page_carries_the_outcome_itself(outcome):
    document = Document(page(outcome, "t"))
    assert document.texts["script"] == canonical(outcome).replace("<", "\\u003c")
    assert loads(Outcome, document.texts["script"]) == outcome


def test_the_page_asks_for_nothing_and_runs_nothing(outcome):
    source = page(outcome, "t")
    document = Document(source)
    assert [found.get("type") for found in document.attributes("script")] == ["application/json"]
    for tag, attributes in document.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        links = [
            attributes[name] for name in ("src", "href", "action", "data") if name in attributes
        ]
        assert links in ([], ["data:,"]), tag
    assert "@import" not in document.texts["style"]
    assert "url(" not in document.texts["style"]


def test_the_policy_allows_the_styles_by_their_digest_and_nothing_else(outcome):
    document = Document(page(outcome, "t"))
    (policy,) = [found["content"] for found in document.attributes("meta")
                 if found.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    digest = base64.b64encode(hashlib.sha256(document.texts["style"].encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def hostile(outcome):
    """The outcome with markup in every text that a user or a model decides."""

    def spoil(found):
        return dataclasses.replace(
            found,
            name=HOSTILE,
            recipe=HOSTILE,
            error=HOSTILE if found.error else "",
            labels=(HOSTILE,),
            refusals=tuple(
                Refusal(HOSTILE, "no-kernel", HOSTILE, HOSTILE, HOSTILE) for _ in found.refusals
            ),
            groups=tuple(
                dataclasses.replace(group, column=HOSTILE, name=HOSTILE) for group in found.groups
            ),
            metrics={HOSTILE if name == "top1" else name: m for name, m in found.metrics.items()},
        )

    machine = dataclasses.replace(outcome.machine, processor=HOSTILE, features=(HOSTILE,))
    spoiled = {"model": HOSTILE, "task": HOSTILE, "metric": HOSTILE, "warnings": (HOSTILE,)}
    return dataclasses.replace(every(outcome, spoil), machine=machine, **spoiled)


def test_no_name_becomes_markup(outcome, tmp_path):
    write_report(hostile(outcome), tmp_path / "r.html", HOSTILE)
    document = Document((tmp_path / "r.html").read_text("utf-8"))
    plain = Document(page(outcome, "t"))
    assert (document.open, document.stray) == ([], [])
    assert {tag for tag, _ in document.elements} <= {tag for tag, _ in plain.elements}
    assert len(document.attributes("script")) == 1
    assert document.attributes("img") == []
    assert not any("onerror" in attributes for _, attributes in document.elements)
    assert "<script>alert(1)</script>" in document.all_text()


@given(st.text())
def test_escaped_text_reads_back_as_it_was_but_for_what_cannot_be_printed(raw):
    document = Document(f"<p>{text(raw)}</p>")
    assert [tag for tag, _ in document.elements] == ["p"]
    shown = document.texts.get("p", "")
    assert len(shown) == len(raw)
    assert all(a in (b, "\ufffd") for a, b in zip(shown, raw, strict=True))


def test_every_variant_has_a_row_with_its_labels_and_the_failed_one_its_reason(fits):
    document = Document(variants(fits))
    rows = document.attributes("tr")[1:]
    assert len(rows) == len(fits.variants)
    assert [row.get("class") for row in rows].count("chosen") == 1
    for label in ("slower", "runtime differs", "original", "chosen", "front", "failed"):
        assert label in document.texts["span"]
    assert "no kernel for ConvInteger" in document.texts["td"]


def test_budgets_are_told_in_their_own_units_with_their_marks(undecided, misses):
    document = Document(budgets(undecided))
    assert "≤ 642 kB" in document.texts["td"]
    assert "yes" in document.texts["span"] + document.texts["td"]
    assert "unclear" in document.all_text()
    document = Document(budgets(misses))
    assert "Nearest" in document.texts["th"]
    assert "≤ 3 ms" in document.texts["td"]
    nothing = dataclasses.replace(misses, budget=parse_budget([]), misses=())
    assert "No budget was set" in budgets(nothing)


def test_a_page_without_budgets_judges_no_variant(fits):
    unjudged = every(fits, lambda r: dataclasses.replace(r, verdict="unjudged", meets={}))
    bare = dataclasses.replace(
        unjudged, budget=parse_budget([]), misses=(), best=None, verdict="unjudged", warnings=()
    )
    document = Document(page(bare, "t"))
    assert "No budget was set" in document.texts["p"]
    assert not any("pill" in found.get("class", "") for found in document.attributes("span"))


def test_refusals_are_counted_by_operator_and_variant(fits):
    assert "7 operators in 6 variants" in refusals(fits)
    assert "1 operator in 6 variants" in refusals(fits)
    assert refusals(fits).count("<tr>") == 3, "heads, and one row for each reason"
    assert "Nothing was refused" in refusals(
        every(fits, lambda r: dataclasses.replace(r, refusals=()))
    )


def test_refusals_that_differ_in_names_and_numbers_are_one_row_that_keeps_them(fits):
    small = [Refusal(f"op{n}", "too-small", f"'t{n}' has {n} numbers", "", "float16")
             for n in range(14)]  # fmt: skip
    other = Refusal("op3", "no-gain", "nothing", "", "float16")
    shown = refusals(every(fits, lambda r: dataclasses.replace(r, refusals=(*small, other))))
    document = Document(shown)
    rows = document.attributes("tr")[1:]
    assert len(rows) == 2
    assert "14 operators in 11 variants" in document.texts["summary"]
    assert "too small to gain" in document.texts["td"]
    assert all(refusal.reason in document.texts["small"] for refusal in small)


def test_a_recipe_that_is_not_the_name_is_folded(fits):
    folded = re.findall(r"<details><summary>recipe</summary>(.*?)</details>", variants(fits))
    long = [found for found in fits.variants if found.recipe not in ("original", found.name)]
    assert len(folded) == len(long) == 9
    assert all("expand=load" in text.replace("<wbr>", "") for text in folded)


def test_on_a_narrow_screen_each_number_of_a_card_says_what_it_is(fits):
    document = Document(variants(fits))
    cells = [cell for tag, cell in document.elements if tag == "td"]
    bare = [cell for cell in cells if "data-head" not in cell and cell.get("class") != "place"]
    assert [cell.get("colspan") for cell in bare] == ["9"], "the row of the failed variant"
    heads = [cell["data-head"] for cell in cells if "data-head" in cell]
    for head in ("Drop", "Time", "File size", "Budgets"):
        assert heads.count(head) == 10
    narrow = Document(page(fits, "t")).texts["style"].split("@media (max-width: 640px)")[1]
    assert ".variants thead" in narrow
    assert "content: attr(data-head)" in narrow


def test_only_a_warning_is_shown_as_one(fits):
    plain = dataclasses.replace(fits, warnings=(), notes=("12 images were held back.",))
    kinds = [found.get("class") for found in Document(page(plain, "t")).attributes("aside")]
    assert kinds == ["notes"]
    assert "12 images were held back." in Document(page(plain, "t")).texts["li"]
    kinds = [found.get("class") for found in Document(page(fits, "t")).attributes("aside")]
    assert kinds == ["warnings"]
    nothing = dataclasses.replace(fits, warnings=())
    assert Document(page(nothing, "t")).attributes("aside") == []


def test_every_column_of_every_table_of_the_page_has_a_heading(outcome):
    source = page(outcome, "t")
    heads = re.findall(r'<th scope="col">(.*?)</th>', source)
    assert heads
    assert "" not in heads


def test_a_long_list_of_operators_is_cut_and_says_so(fits):
    many = tuple(Refusal(f"op{n}", "no-gain", "no", "", "weights") for n in range(1000))
    cut = refusals(every(fits, lambda r: dataclasses.replace(r, refusals=many)))
    assert cut.count("<li>") == 201
    assert "800 more" in cut


def test_groups_show_drop_and_flips_of_the_chosen_variant_worst_first(fits):
    document = Document(page(fits, "t"))
    captions = document.texts["caption"]
    assert "Drop and flips by class" in captions
    assert "Drop and flips by brightness" in captions
    chosen = next(found for found in fits.variants if found.id == fits.best)
    worst = max((g for g in chosen.groups if g.column == "class"), key=lambda g: g.drop.value)
    told = page(fits, "t")
    assert all(
        told.index(f'<th scope="row">{worst.name}</th>') <= told.index(f'<th scope="row">{g.name}')
        for g in chosen.groups if g.column == "class"
    )  # fmt: skip


def test_a_page_without_numbers_or_groups_still_tells_its_verdict(fits):
    bare = every(fits, lambda r: dataclasses.replace(r, metrics={}, groups=()))
    document = Document(page(dataclasses.replace(bare, warnings=()), "t"))
    assert (document.open, document.stray) == ([], [])
    assert "meets every budget" in document.texts["p"]
    assert "No variant has both" in document.texts["p"]


@pytest.mark.parametrize("kind", CANVASES)
def test_the_plot_is_an_image_with_a_title_and_all_its_numbers_in_words(fits, kind):
    figure = ElementTree.fromstring(trade_off(fits))
    drawing = next(svg for svg in figure.iter("svg") if svg.get("class") == f"plot {kind}")
    assert drawing.get("role") == "img"
    names = {found.get("id"): found.text for found in drawing if found.tag in ("title", "desc")}
    assert drawing.get("aria-labelledby") in names
    assert "weights:8: 573 kB" in names[drawing.get("aria-describedby")]
    assert len(list(drawing.iter("g"))) == 10


@pytest.mark.parametrize("kind", CANVASES)
def test_every_mark_is_on_the_canvas_and_the_outlier_is_marked_as_such(outcome, kind):
    shown = scene(outcome, CANVASES[kind])
    frame = shown.canvas.frame()
    for point in shown.points:
        x, y = shown.pixel(point)
        assert frame.left <= x <= frame.right
        assert frame.top <= y <= frame.bottom
    assert [point.number for point in shown.points if shown.mark(point) == "beyond"] == [9]


@pytest.mark.parametrize("kind", CANVASES)
def test_numbers_on_the_plot_do_not_overlap(outcome, kind):
    figure = ElementTree.fromstring(trade_off(outcome))
    drawing = next(svg for svg in figure.iter("svg") if svg.get("class") == f"plot {kind}")
    spots = [
        (float(found.get("x")), float(found.get("y")), 3.4 * len(found.text))
        for found in drawing.iter("text")
        if (found.get("class") or "").startswith("label")
    ]
    assert len(spots) == 10
    for (x, y, half), (u, v, other) in combinations(spots, 2):
        assert abs(x - u) >= half + other or abs(y - v) >= 10


@given(st.lists(st.tuples(st.floats(10, 390), st.floats(10, 290)), max_size=25))
def test_labels_stay_in_the_frame_and_apart_where_there_is_room(points):
    frame = Box(0, 0, 400, 300)
    placed = place_labels(points, [12.0] * len(points), [], frame)
    assert all(label.box.outside(frame) < 1e-6 for label in placed)
    assert sum(a.box.overlap(b.box) for a, b in combinations(placed, 2)) == 0


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 12))
def test_ticks_are_round_few_and_inside(low, width, most):
    found = ticks(low, low + width, most)
    assert len(found) <= most + 1
    assert all(low - width * 1e-6 <= tick <= low + width * (1 + 1e-6) for tick in found)


def test_an_axis_keeps_values_inside():
    axis = Axis(0, 10, 100, 0)
    assert [axis.at(value) for value in (-5, 0, 5, 10, 50)] == [100, 100, 50, 0, 0]


def test_the_file_is_replaced_whole_and_a_bad_place_is_refused(fits, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(fits, path, "t")
    assert path.read_text("utf-8").endswith("</html>\n")
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(InputError, match="folder must exist"):
        write_report(fits, tmp_path / "missing" / "report.html", "t")


def test_the_data_cannot_end_its_own_element(fits):
    spoiled = dataclasses.replace(fits, model="</script><!--<script>")
    source = page(spoiled, "t")
    (embedded,) = re.findall(r'<script type="application/json" id="outcome">(.*?)</script>', source)
    assert json.loads(embedded)["model"] == "</script><!--<script>"
