"""Work done ahead in another thread."""

import threading

import pytest

from packlight.runtime.calibration.calibrator import prefetched


def test_values_come_in_order_each_computed_while_the_one_before_is_used():
    begun = [threading.Event() for _ in range(5)]

    def work():
        for place, event in enumerate(begun):
            event.set()
            yield place

    for place in (found := prefetched(work())):
        if place + 1 < len(begun):
            assert begun[place + 1].wait(timeout=30), "the next is under way"
        assert not any(event.is_set() for event in begun[place + 2 :]), "and none after it"
    assert list(found) == []


def test_what_goes_wrong_is_raised_after_what_came_before_it():
    def work():
        yield "first"
        raise ValueError("second")

    found = prefetched(work())

    assert next(found) == "first"
    with pytest.raises(ValueError, match="second"):
        next(found)


def test_whoever_stops_early_ends_the_work():
    ended = threading.Event()

    def work():
        try:
            yield from range(10**9)
        finally:
            ended.set()

    found = prefetched(work())
    assert next(found) == 0
    found.close()
    del found

    assert ended.wait(timeout=30)
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]
