"""What the zoo holds, and what it says when asked for more."""

import pytest

from packlight import zoo
from packlight.errors import InputError
from packlight.model import load


def test_fashion_has_labelled_images_and_others_for_calibration():
    task = zoo.task("fashion")

    assert (len(task.samples), len(task.calibration)) == (5000, 1000)
    assert task.name == "zoo:fashion"
    assert task.metric.name == "top1"
    assert set(task.groups) == {"class", "brightness"}
    assert len(set(task.groups["class"])) == 10
    assert task.notes == ()


def test_its_model_takes_what_its_task_feeds():
    model = load(zoo.model_path("fashion"))

    (feeds,) = zoo.task("fashion").samples[0]

    assert set(feeds) == set(model.inputs())
    assert feeds["image"].shape == (1, 1, 28, 28)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"the zoo has zoo:fashion; there is no 'zoo:nothing'"):
        zoo.task("nothing")
