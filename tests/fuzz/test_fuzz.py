"""Every command on mutated input ends with 0, 1 or 2, a sentence at most, and in bounds."""

import os

import pytest
from forked_command import isolation_by_forks
from fuzz_cases import complaints, load_commands

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="systems that fork")

FEW = 200
MANY = 5000
CHUNK = 500


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    with isolation_by_forks():
        load_commands()
        yield


@pytest.mark.parametrize("first", range(0, FEW, FEW // 4))
def test_no_mutated_input_ends_but_well(first):
    assert [*complaints(range(first, first + FEW // 4))] == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FEW, MANY, CHUNK))
def test_none_of_thousands_does(first):
    assert [*complaints(range(first, min(first + CHUNK, MANY)))] == []
