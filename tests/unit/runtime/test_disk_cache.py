"""Samples that are made once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from packlight.runtime.disk_cache import SampleCache


class Source:
    """Samples of two calls, and how often each was made."""

    def __init__(self, dtype=np.float32):
        self.made = []
        self.dtype = dtype

    def __getitem__(self, index):
        self.made.append(index)
        image = np.full((2, 3), index).astype(self.dtype)
        return [
            {"image": image, "size": np.array(index)},
            {"image": image + image, "size": np.array(0)},
        ]


def test_a_sample_is_made_once_and_comes_back_as_it_was():
    source = Source()
    cache = SampleCache(source)

    first = [cache[i] for i in (2, 0, 1)]
    again = [cache[i] for i in (2, 0, 1)]

    assert source.made == [2, 0, 1]
    for one, other in zip(first, again, strict=True):
        for before, after in zip(one, other, strict=True):
            assert list(before) == list(after)
            for name, array in before.items():
                np.testing.assert_array_equal(after[name], array, strict=True)


def test_samples_beyond_the_room_are_made_anew():
    source = Source()
    cache = SampleCache(source, max_bytes=100)

    for index in (0, 1, 0, 1):
        cache[index]

    assert source.made == [0, 1, 1]


def test_what_a_file_cannot_hold_is_made_anew():
    source = Source(object)
    cache = SampleCache(source)

    assert cache[3][0]["image"][0, 0] == cache[3][0]["image"][0, 0] == 3
    assert source.made == [3, 3]


FULL = """
import resource, signal
import numpy as np
from packlight.runtime.disk_cache import SampleCache

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
cache = SampleCache([[{"x": np.full(20_000, number, np.uint8)}] for number in range(6)])
for _ in range(2):
    print(all((cache[number][0]["x"] == number).all() for number in range(6)), len(cache.stored))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sizes of files are limited as on Linux")
def test_on_a_full_disk_the_rest_is_made_anew_and_nothing_is_lost():
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["True", "2", "True", "2"]
    assert done.stderr == ""


def test_several_threads_may_read_one_cache():
    cache = SampleCache(Source())
    wanted = [cache[index] for index in range(8)]

    def read(_):
        return all(
            np.array_equal(one["image"], other["image"])
            for index in range(8)
            for one, other in zip(cache[index], wanted[index], strict=True)
        )

    with ThreadPoolExecutor(4) as readers:
        assert all(readers.map(read, range(200)))


@pytest.mark.parametrize(
    "array",
    [
        np.array(3.5),
        np.zeros((0, 3), np.float32),
        np.array(["one", "three"]),
        np.arange(12, dtype=np.int64).reshape(3, 4).T,
        np.array([True, False]),
        np.ones(5, np.float16)[::2],
    ],
)
def test_arrays_of_every_kind_come_back_as_they_were(array):
    class One:
        def __getitem__(self, index):
            return [{"x": array}]

    cache = SampleCache(One())
    np.testing.assert_array_equal(cache[0][0]["x"], array)

    np.testing.assert_array_equal(cache[0][0]["x"], array, strict=True)
