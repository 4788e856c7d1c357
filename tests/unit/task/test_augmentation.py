"""Changed copies of calibration samples: by kind of input, within range, the same for a seed."""

import numpy as np
import pytest

from packlight.task.augmentation import (
    COPIES,
    augmented_inputs,
    augmented_samples,
    resized,
    shuffled_places,
)

EACH = 1 + COPIES


def drawn(seed=0):
    return np.random.default_rng(seed)


def images(layout=(1, 3, 16, 12), dtype=np.float32, count=4):
    shapes = [drawn(index).uniform(0, 255, layout) for index in range(count)]
    return [({"x": image.astype(dtype)},) for image in shapes]


def sounds(calls=1, count=3):
    waves = [np.sin(np.arange(512) / (5 + index))[None] for index in range(count)]
    return [
        [{"x": wave.astype(np.float32), "h": np.zeros((1, 4), np.float32)}] * calls
        for wave in waves
    ]


def texts(lengths=(12, 20, 9)):
    return [
        ({
            "ids": drawn(index).integers(5, 90, (1, length)),
            "mask": np.ones((1, length), np.int64),
            "places": np.arange(length)[None],
        },)
        for index, length in enumerate(lengths)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "samples", [images(), images((1, 16, 12, 1), np.uint8), sounds(), sounds(calls=5), texts()]
)
def test_copies_follow_each_sample_and_are_the_same_for_a_seed(samples):
    augmented = augmented_samples(samples, {"out": "h"}, 3)
    again = augmented_samples(samples, {"out": "h"}, 3)

    assert len(augmented) == len(samples) * EACH
    for source, sample in enumerate(samples):
        assert augmented[source * EACH] is sample
    for first, second in zip(augmented, again, strict=True):
        for feeds, same in zip(first, second, strict=True):
            for name in feeds:
                np.testing.assert_array_equal(feeds[name], same[name])
    changed = augmented[1][0]
    assert any(not np.array_equal(changed[name], samples[0][0][name]) for name in changed)


@pytest.mark.parametrize("layout", [(1, 3, 16, 12), (1, 16, 12, 3), (1, 1, 28, 28)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_images_keep_shape_type_and_range(layout, dtype):
    samples = images(layout, dtype)

    for steps in augmented_samples(samples, {}):
        assert steps[0]["x"].shape == layout
        assert steps[0]["x"].dtype == dtype
        assert 0 <= steps[0]["x"].min() <= steps[0]["x"].max() <= 255


def test_state_and_tables_stay_as_they_are():
    copy = augmented_samples(sounds(calls=3), {"out": "h"})[1]
    table = [({"x": drawn(0).standard_normal((1, 300))},)]

    assert all(not feeds["h"].any() for feeds in copy)
    assert augmented_inputs(table, {}).kinds == {}
    assert augmented_samples(table, {}) is table


def test_texts_keep_their_ends_and_inputs_agree_in_length():
    samples = texts()
    for source, sample in enumerate(samples):
        for copy in range(1, EACH):
            feeds = augmented_samples(samples, {})[source * EACH + copy][0]
            length = feeds["ids"].shape[1]
            original = sample[0]["ids"]

            assert feeds["mask"].shape == (1, length)
            assert feeds["places"].tolist() == [list(range(length))]
            assert length <= original.shape[1]
            assert feeds["ids"][0, 0] == original[0, 0]
            assert feeds["ids"][0, -1] == original[0, -1]


def test_texts_of_one_length_keep_it_and_lose_no_token():
    places = shuffled_places(30, drawn(), may_cut=False)

    assert sorted(places) == list(range(30))
    assert (places[0], places[-1]) == (0, 29)


def test_resizing_by_a_whole_factor_averages_neighbors():
    image = drawn().uniform(size=(1, 2, 8, 8))

    halved = resized(image, 4, 4)

    np.testing.assert_allclose(halved, image.reshape(1, 2, 4, 2, 4, 2).mean(axis=(3, 5)))
