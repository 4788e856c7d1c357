"""Every command on mutated input ends with 0, 1 or 2, a sentence at most, and in bounds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="systems that fork")

FEW = 100
MANY = 5000
CHUNK = 500
CASES = Path(__file__).with_name("fuzz_cases.py")


def complaints(first, count):
    """Complaints of cases in a process of their own: one that has used OpenMP cannot fork."""
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, CASES, str(first), str(count)],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [line for line in done.stdout.splitlines() if line.startswith("seed ")]


@pytest.mark.parametrize("first", range(0, FEW, FEW // 4))
def test_no_mutated_input_ends_but_well(first):
    assert complaints(first, FEW // 4) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FEW, MANY, CHUNK))
def test_none_of_thousands_does(first):
    assert complaints(first, min(CHUNK, MANY - first)) == []
