"""Refusals are told by reason: one line each, and none is lost."""

import typing
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from packlight.presentation.refusals import REASONS, group_refusals
from packlight.records import Refusal
from packlight.records.reason_code import ReasonCode

CODES = typing.get_args(ReasonCode)
REFUSALS = st.lists(
    st.builds(
        Refusal,
        operator=st.sampled_from(["", "conv", "head"]),
        code=st.sampled_from(CODES[:5]),
        reason=st.sampled_from(["it has 3 numbers", "it has 4 numbers"]),
        remedy=st.sampled_from(["", "use blocks"]),
        method=st.sampled_from(["weights", "static"]),
    ),
    max_size=30,
)


def test_every_code_has_words_of_its_own():
    assert set(REASONS) == set(CODES)
    assert len(set(REASONS.values())) == len(CODES)


@given(REFUSALS)
def test_each_refusal_is_in_the_one_group_of_its_method_and_code(refusals):
    groups = group_refusals(refusals)
    kinds = [(group.method, group.code) for group in groups]
    assert len(set(kinds)) == len(kinds)
    assert Counter(r for group in groups for r in group.refusals) == Counter(refusals)
    sizes = [len(group.refusals) for group in groups]
    assert sizes == sorted(sizes, reverse=True)
    for group in groups:
        assert {(r.method, r.code) for r in group.refusals} == {(group.method, group.code)}


def test_small_tensors_of_many_names_are_one_line():
    small = [
        Refusal(f"conv{n}", "too-small", f"its 'b{n}' has {n} numbers: too few to gain", "", "f")
        for n in range(14)
    ]
    (group,) = group_refusals(small)
    assert group.sentence() == "f skipped 14: too small to gain"


def test_a_reason_and_a_remedy_that_all_share_are_told_as_they_are():
    alike = [Refusal(name, "shared", "two read it", "store it twice", "w") for name in "ab"]
    (group,) = group_refusals(alike)
    assert group.sentence() == "w skipped 2: two read it; store it twice"
    (group,) = group_refusals([*alike, Refusal("c", "shared", "two read it", "leave it", "w")])
    assert group.sentence() == "w skipped 3: two read it"
    assert list(map(group.details, group.refusals)) == ["store it twice"] * 2 + ["leave it"]
    (group,) = group_refusals([Refusal("", "no-site", "it has no LSTM", "", "w")])
    assert group.sentence() == "w skipped the model: it has no LSTM"
