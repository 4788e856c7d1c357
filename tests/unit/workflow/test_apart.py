"""What a child process finds of a file is what is found of the model here."""

import pytest

from packlight import plan, profile
from packlight.errors import DeviceError, InputError, ModelError
from packlight.model import load, save
from packlight.records import to_json
from packlight.testing.networks import NETWORKS

DEVICE = "pixel-8"


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "net.onnx"
    save(NETWORKS["residual-17"](), path)
    return path


def test_a_plan_of_a_file_is_the_plan_of_the_model(saved):
    apart, here = plan(saved, device=DEVICE), plan(load(saved), device=DEVICE)

    assert to_json(apart) == to_json(here)


def test_a_profile_of_a_file_is_the_profile_of_the_model(saved):
    apart = profile(saved, device=DEVICE, download=True)
    here = profile(load(saved), device=DEVICE, download=True)

    assert to_json(apart) == to_json(here)


def test_errors_keep_their_kind_and_their_sentence(saved):
    with pytest.raises(DeviceError, match=r"there is no device 'pixel-9'.*pixel-8"):
        plan(saved, device="pixel-9")
    with pytest.raises(InputError, match="a metric is one of"):
        plan(saved, ["speed<=1%"])
    with pytest.raises(ModelError, match="there is no file"):
        plan(saved.with_name("none.onnx"))


def test_a_device_that_is_a_value_is_taken_as_it_is(saved):
    from packlight.devices import device

    found = plan(saved, device=device(DEVICE))

    assert found.device == "pixel-8, cpu"
