"""Regular expressions on names match as Python's do, in time that strangers cannot stretch."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.errors import RecipeError
from packlight.records.name_pattern import name_pattern

ATOMS = (
    "a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", r"\W", r"\s", r"\b", r"\B", "^", "$", "(a|b)",
    "(?:ab|c)", "(a*)", "(x{0,2})", "((ab){1,2})", "_", "1", r"\.", "[a-c_]", "(|a)",
)  # fmt: skip
PARTS = st.tuples(st.sampled_from(ATOMS), st.sampled_from(["", "", "*", "?", "+", "*?", "{2}"]))
PATTERNS = st.lists(PARTS, max_size=5).map(lambda parts: "".join(a + b for a, b in parts))
NAMES = st.text("ab1_c.x é/", max_size=9)


@given(st.sampled_from(["", "^(?!ab)", "^(?!.*b)", "(?i)"]), PATTERNS, PATTERNS, NAMES)
def test_a_name_matches_as_with_pythons_matcher(start, left, right, name):
    pattern = start + (f"({left})|{right}" if right else left)
    if start.startswith("^"):
        pattern = f"{start}({pattern.removeprefix(start)})"
    try:
        expected = re.compile(pattern)
    except re.error:
        with pytest.raises(RecipeError, match="no regular expression"):
            name_pattern(pattern)
        return
    found = name_pattern(pattern)
    assert found.search(name) == bool(expected.search(name))
    assert found.fullmatch(name) == bool(expected.fullmatch(name))


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*c", "(a?){40}a{40}c", "a*a*a*a*a*a*c", "(.*a){9}c", "((a*)*)*c"]
)
def test_what_makes_pythons_matcher_try_for_ever_takes_no_time(pattern):
    begun = time.process_time()
    assert not name_pattern(pattern).search("a" * 2000 + "b")
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(" * 20_000, "at most 2000 characters and 40 brackets"),
        ("(" * 50 + "a" + ")" * 50, "at most 2000 characters and 40 brackets"),
        ("a" * 2001, "at most 2000 characters"),
        ("(a{100}){100}", "repeats too much"),
        (r"(a)\1", "cannot be matched in bounded time"),
        ("(?=a)b", "cannot be matched in bounded time"),
        ("a(?!b)", "cannot be matched in bounded time"),
        ("(?<=a)b", "cannot be matched in bounded time"),
        ("[", "is no regular expression"),
        ("a{99999999999999999999}", "is no regular expression"),
    ],
)
def test_what_cannot_be_matched_in_time_is_a_sentence(pattern, sentence):
    with pytest.raises(RecipeError, match=sentence):
        name_pattern(pattern)
