"""Layered drawings: layers, order and folded modules."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from packlight.records import OperatorCost, Profile
from packlight.studio.graph import foldable_modules, graph_page, modules_of
from packlight.studio.layout import COLUMN, ROW, draw

GRAPHS = st.integers(1, 40).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=80),
    )
)


@given(GRAPHS)
def test_every_forward_edge_leads_down_and_no_two_nodes_overlap(graph):
    count, edges = graph
    drawing = draw(count, edges)

    for source, target in edges:
        if source < target:
            assert drawing.y[source] < drawing.y[target]
    for layer in set(drawing.y.tolist()):
        places = np.sort(drawing.x[drawing.y == layer])
        assert np.all(np.diff(places) >= COLUMN * 0.999)
    assert drawing.x.min() >= 0
    assert drawing.x.max() <= drawing.width
    assert drawing.y.max() <= drawing.height


def test_a_chain_is_a_straight_column():
    drawing = draw(5, [(i, i + 1) for i in range(4)])

    assert len(set(drawing.x.tolist())) == 1
    assert np.diff(drawing.y).tolist() == [ROW] * 4


def test_a_node_that_reads_nothing_stands_before_its_reader():
    drawing = draw(5, [(0, 1), (1, 2), (2, 4), (3, 4)])

    assert drawing.y[3] == drawing.y[2]


def operator(name, at_load=False):
    return OperatorCost(name, "Conv", 1, 0, 1, 4, 4, 4, 4, 8, at_load=at_load)


def profile_of(*operators):
    return Profile("m", tuple(operators), {})


def test_a_folded_module_is_one_box_and_an_open_one_shows_its_operators():
    profile = profile_of(*map(operator, ["stem", "a/b/x", "a/b/y", "a/z", "head"]))
    edges = [(0, 1), (1, 2), (2, 3), (3, 4)]
    modules = modules_of(profile, edges)

    folded = graph_page(profile, modules, edges, ())
    assert folded.labels == ("stem", "a", "head")
    assert folded.counts == (1, 3, 1)
    assert (folded.sources, folded.targets) == ((0, 1), (1, 2))
    opened = graph_page(profile, modules, edges, ["a"])
    assert opened.labels == ("stem", "a.b", "a/z", "head")
    assert graph_page(profile, modules, edges, ["*"]).labels == tuple(
        o.name for o in profile.operators
    )
    assert foldable_modules(modules) == ("a", "a.b")


def test_an_operator_that_unpacks_a_weight_belongs_where_it_is_read():
    profile = profile_of(
        operator("w0", at_load=True), operator("w1", at_load=True), operator("a/x")
    )

    assert modules_of(profile, [(0, 1), (1, 2)]) == ("a", "a", "a")


def test_ten_thousand_operators_are_drawn_whole():
    count = 10_000
    edges = [(i, i + 1) for i in range(count - 1)] + [(i, i + 7) for i in range(0, count - 7, 3)]
    drawing = draw(count, edges)

    assert drawing.height == count * ROW
    assert len(drawing.x) == count
