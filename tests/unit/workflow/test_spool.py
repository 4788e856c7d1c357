"""Samples that are made once."""

import numpy as np

from packlight.workflow.spool import Spool


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
    spool = Spool(source)

    first = [spool[i] for i in (2, 0, 1)]
    again = [spool[i] for i in (2, 0, 1)]

    assert source.made == [2, 0, 1]
    for one, other in zip(first, again, strict=True):
        for before, after in zip(one, other, strict=True):
            assert list(before) == list(after)
            for name, array in before.items():
                np.testing.assert_array_equal(after[name], array, strict=True)


def test_samples_beyond_the_room_are_made_anew():
    source = Source()
    spool = Spool(source, most=100)

    for index in (0, 1, 0, 1):
        spool[index]

    assert source.made == [0, 1, 1]


def test_what_a_file_cannot_hold_is_made_anew():
    source = Source(object)
    spool = Spool(source)

    assert spool[3][0]["image"][0, 0] == spool[3][0]["image"][0, 0] == 3
    assert source.made == [3, 3]
