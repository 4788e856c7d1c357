"""The trade-off plot of notebooks."""

from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.report.plot import CANVASES, trade_off
from packlight.report.plot_axes import Axis, Box, place_labels, ticks
from packlight.report.plot_scene import scene


@pytest.fixture(params=["fits", "misses", "undecided"])
def outcome(request):
    return request.getfixturevalue(request.param)


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
