"""Compiled kernels need no folder for a cache, no whole cache, and no more threads than given."""

import os
import runpy
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba.core import caching
from threadpoolctl import threadpool_info

from packlight.compression import threads
from packlight.compression.bit_allocation import allocate
from packlight.compression.compiled import compiled
from packlight.compression.threads import limited_threads, load_kernels

SCRIPT = """
from packlight.compression.compiled import compiled

@compiled()
def double(x):
    return 2 * x

print(double(21), *double.stats.cache_hits.values(), *double.stats.cache_misses.values())
"""


def run(folder, **environment):
    """Run a script with a kernel in a process; what it printed: result, hits, misses."""
    path = folder / "kernel.py"
    path.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, path], check=False, capture_output=True, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.split()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "__pycache__"


def test_a_kernel_is_compiled_once(tmp_path, cache):
    assert run(tmp_path) == ["42", "1"]
    assert [path.suffix for path in sorted(cache.iterdir())] == [".nbc", ".nbi"]
    assert run(tmp_path) == ["42", "1"]


def test_a_kernel_runs_where_no_cache_can_be_written(monkeypatch):
    def nowhere(*_):
        raise RuntimeError("cannot cache function: no locator available for file")

    monkeypatch.setattr(caching.FunctionCache, "__init__", nowhere)

    @compiled()
    def triple(x):
        return 3 * x

    assert triple(14) == 42


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("content", [b"", b"\x80", b"hello, world\n", b"(dp0\n."])
def test_a_kernel_runs_where_its_cache_is_damaged(suffix, content, tmp_path, cache, capsys):
    script = tmp_path / "kernel.py"
    script.write_text(SCRIPT)
    runpy.run_path(str(script))
    assert capsys.readouterr().out.split() == ["42", "1"]
    (path,) = cache.glob(f"*{suffix}")
    path.write_bytes(content)

    runpy.run_path(str(script))

    assert capsys.readouterr().out.split() == ["42", "1"]


def test_a_kernel_runs_where_the_disk_is_full(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)

    @compiled()
    def quadruple(x):
        return 4 * x

    assert quadruple(10.5) == 42.0


def blas_threads():
    return {entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}


@pytest.mark.parametrize("number", [1, 2])
def test_so_many_threads_are_so_many(number):
    before = numba.get_num_threads()
    most = min(number, numba.config.NUMBA_NUM_THREADS)
    with limited_threads(number):
        load_kernels("grids.scales_kernels")
        assert numba.get_num_threads() == most
        assert max(blas_threads(), default=1) <= number
    load_kernels("grids.scales_kernels")
    assert numba.get_num_threads() == before == numba.config.NUMBA_NUM_THREADS
    assert threads.KernelThreads.most is None


def test_the_solver_prints_nothing_even_where_no_option_of_its_silences_it(capfd, monkeypatch):
    from scipy import optimize

    real = optimize.milp

    def talking(*arguments, **options):
        os.write(1, b"HighsMipSolverData::transform tmpSolver.run();\n")
        os.write(2, b"WARNING: of HiGHS\n")
        return real(*arguments, **options)

    monkeypatch.setattr(optimize, "milp", talking)
    costs = np.array([3.0, 1.0, 0.0, 5.0, 2.0, 0.0])
    membership = np.array([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    share = np.array([0.1, 0.3, 0.6, 0.1, 0.3, 0.6])

    chosen = allocate.solve(costs, 5.0, membership, share)

    assert costs[chosen].sum() == 1.0
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    os.write(1, b"heard again\n")
    assert capfd.readouterr().out == "heard again\n"


OPENMP = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="GNU OpenMP says there what it was told"
)


@OPENMP
@pytest.mark.parametrize(
    ("chosen", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")]
)
def test_threads_of_kernels_sleep_while_they_wait_unless_told_otherwise(chosen, policy):
    code = "import os, packlight.compression.compiled; print(os.environ.get('OMP_WAIT_POLICY'))"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
        env={**plain, "OMP_DISPLAY_ENV": "true", **chosen},
    )  # fmt: skip

    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr
    assert done.stdout.strip() == chosen.get("OMP_WAIT_POLICY", "None")
