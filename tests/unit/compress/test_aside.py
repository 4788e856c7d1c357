"""Arrays that wait on disk come back as they were."""

import gc

import numpy as np
import pytest

from packlight.compress.aside import SMALL, Aside


@pytest.mark.parametrize("shape", [(3,), (0,), (), (70, 90), (3, 1, 5000)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8", "int64", "bool"])
def test_arrays_come_back_as_often_as_they_are_asked_for(shape, dtype):
    random = np.random.default_rng(0)
    array = np.asarray(random.integers(0, 2, shape), dtype)
    aside = Aside()
    backs = [aside.put(array), aside.put(~array if dtype == "bool" else array + 1)]

    for back in (backs[1], backs[0], backs[0]):
        assert back().dtype == array.dtype
        assert back().shape == array.shape
    assert np.array_equal(backs[0](), array)


def test_large_arrays_are_not_in_memory_and_keep_their_file_while_they_wait():
    array = np.full(SMALL, np.nan, np.float32)
    back = Aside().put(array)
    gc.collect()

    assert back() is not array
    assert np.array_equal(back(), array, equal_nan=True)
    assert back.func.__self__.file.tell() >= array.nbytes


def test_the_file_is_closed_once_nothing_waits():
    back = Aside().put(np.zeros(SMALL, np.float32))
    file = back.func.__self__.file
    del back
    gc.collect()

    assert file.closed


def test_on_a_full_disk_arrays_stay_in_memory(monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    array = np.arange(SMALL)

    assert Aside().put(array)() is array
