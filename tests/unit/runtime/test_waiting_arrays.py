"""Arrays that wait on disk come back as they were."""

import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from packlight.runtime.disk_cache import SMALL, DiskCache


@pytest.mark.parametrize("shape", [(3,), (0,), (), (70, 90), (3, 1, 5000)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8", "int64", "bool"])
def test_arrays_come_back_as_often_as_they_are_asked_for(shape, dtype):
    random = np.random.default_rng(0)
    array = np.asarray(random.integers(0, 2, shape), dtype)
    cache = DiskCache()
    backs = [cache.put(array), cache.put(~array if dtype == "bool" else array + 1)]

    for back in (backs[1], backs[0], backs[0]):
        assert back().dtype == array.dtype
        assert back().shape == array.shape
    assert np.array_equal(backs[0](), array)


def test_large_arrays_are_not_in_memory_and_keep_their_file_while_they_wait():
    array = np.full(SMALL, np.nan, np.float32)
    back = DiskCache().put(array)
    gc.collect()

    assert back() is not array
    assert np.array_equal(back(), array, equal_nan=True)
    assert os.fstat(back.func.__self__.file.fileno()).st_size == array.nbytes


def test_the_file_is_closed_once_nothing_waits():
    back = DiskCache().put(np.zeros(SMALL, np.float32))
    file = back.func.__self__.file
    del back
    gc.collect()

    assert file.closed


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_layout_come_back(order):
    array = np.asarray(np.arange(90_000.0).reshape(300, 300), order=order)[::2, 1:]

    assert np.array_equal(DiskCache().put(array)(), array)


def test_numbers_that_numpy_alone_does_not_know_stay_in_memory():
    array = np.zeros(SMALL, ml_dtypes.bfloat16)

    assert DiskCache().put(array)() is array


FULL = """
import resource, signal
import numpy as np
from packlight.runtime.disk_cache import DiskCache

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
cache = DiskCache()
arrays = [np.full(20_000, number, np.uint8) for number in range(9)]
backs = [cache.put(array) for array in arrays]
print(sum(back() is array for back, array in zip(backs, arrays)))
print(all(np.array_equal(back(), array) for back, array in zip(backs, arrays)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sizes of files are limited as on Linux")
def test_on_a_full_disk_the_rest_stays_in_memory_and_nothing_is_lost():
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["4", "True"]
    assert done.stderr == ""


def test_several_threads_read_at_once():
    cache = DiskCache()
    arrays = [np.full(300_000, number) for number in range(6)]
    backs = [cache.put(array) for array in arrays]

    def right(_):
        return all(np.array_equal(b(), a) for b, a in zip(backs, arrays, strict=True))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(16)))


def test_without_a_folder_for_temporary_files_arrays_stay_in_memory(monkeypatch):
    def nowhere(*args, **kwargs):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryFile", nowhere)
    array = np.arange(SMALL)

    assert DiskCache().put(array)() is array
