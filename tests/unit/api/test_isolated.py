"""What a child process finds of a file is what is found of the model here."""

import errno

import pytest
from onnx import TensorProto, helper

from packlight import plan, profile
from packlight.api.plan import PlanRequest
from packlight.errors import DeviceError, InputError, ModelError
from packlight.model import load, save
from packlight.records import Budget, to_json
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


def test_thousands_of_small_weights_in_one_large_file_take_no_room_each(tmp_path):
    """Mapping the file for each of them would take 3 TB of addresses."""
    path, count, size = tmp_path / "many.onnx", 3_000, 2**30
    with path.with_name("many.data").open("wb") as file:
        file.truncate(size)
    stored = []
    for index in range(count):
        tensor = TensorProto(name=f"b{index}", data_type=TensorProto.FLOAT, dims=[index % 7 + 64])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="many.data")
        tensor.external_data.add(key="offset", value=str(size - 4096 * (index + 1)))
        stored.append(tensor)
    names = [tensor.name for tensor in stored]
    nodes = [
        helper.make_node("Concat", names[start : start + 60], [f"y{start}"], axis=0)
        for start in range(0, count, 60)
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for node in nodes
        for name in node.output
    ]
    graph = helper.make_graph(nodes, "many", [], outputs, stored)
    imports = [helper.make_opsetid("", 21)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
    )

    assert plan(path, device=DEVICE).options


@pytest.fixture
def constant(tmp_path):
    """A model that gives the same whatever it is asked."""
    path = tmp_path / "constant.onnx"
    stored = helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    nodes = [helper.make_node("Identity", ["w"], ["y"])]
    graph = helper.make_graph(nodes, "constant", [], [output], [stored])
    imports = [helper.make_opsetid("", 21)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
    )
    return path


def test_a_model_of_which_nothing_runs_takes_no_time(constant):
    found = plan(constant, device=DEVICE)

    assert all(option.predicted["latency"].value == 0 for option in found.options if option.recipe)


def test_a_model_of_which_nothing_runs_has_no_time_to_measure(constant):
    with pytest.raises(InputError, match="computed when it is loaded"):
        profile(constant, measure=True)


def test_errors_keep_their_kind_and_their_sentence(saved):
    with pytest.raises(DeviceError, match=r"there is no device 'pixel-9'.*pixel-8"):
        plan(saved, device="pixel-9")
    with pytest.raises(InputError, match="a metric is one of"):
        plan(saved, ["speed<=1%"])
    with pytest.raises(ModelError, match="there is no file"):
        plan(saved.with_name("none.onnx"))


def test_a_device_that_is_a_value_is_taken_as_it_is(saved):
    from packlight.devices import load_device

    found = plan(saved, device=load_device(DEVICE))

    assert found.device == "pixel-8, cpu"


def test_memory_that_runs_out_is_the_file_that_asks_for_too_much(monkeypatch):
    from packlight.api import isolated_child

    def exhausting(opened, request):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(isolated_child, "VERBS", {"plan": lambda: (exhausting, PlanRequest)})
    request = to_json(PlanRequest("zoo:fashion", Budget(), DEVICE, "", {}, ()))

    said = isolated_child.run_or_explain("zoo:fashion", 10, {"verb": "plan", "request": request})

    assert said["error"] == "ModelError"
    assert "far more memory" in said["text"]
