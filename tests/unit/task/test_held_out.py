"""Held-out calibration samples share no source with those that weights are fitted to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.task.held_out import source_column, source_count, source_parts

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30)


@given(NAMES, st.integers(2, 6))
def test_every_sample_is_in_one_part_and_no_source_in_two(names, most):
    parts = source_parts(len(names), {"photo": names}, most)

    assert sorted(index for part in parts for index in part) == list(range(len(names)))
    if len(set(names)) > 1:
        sources = [{names[index] for index in part} for part in parts]
        assert sum(map(len, sources)) == len(set(names))
        assert len(parts) == min(most, len(set(names)))


@pytest.mark.parametrize("groups", [{}, {"camera": ["one"] * 7}])
def test_without_different_sources_parts_are_in_order_of_time(groups):
    assert source_parts(7, groups, 3) == ((0, 1), (2, 3), (4, 5, 6))


def test_the_column_with_most_groups_tells_sources_apart_but_not_one_of_a_name_each():
    groups = {"light": list("aabb"), "photo": list("abca"), "file": list("abcd")}

    assert source_column(4, groups) == "photo"
    assert source_count(4, groups) == 3
    assert source_column(4, {"file": list("abcd")}) == "file"
    assert source_count(4, {}) == 4
