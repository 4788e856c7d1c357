"""What a file may leave out, and what is refused rather than lost."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime import InferenceSession
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from packlight.errors import ModelError
from packlight.model import load, nodes, to_bytes
from packlight.model.check import NEWEST_FORMAT
from packlight.records import SessionOptions
from packlight.runtime import open_session
from packlight.testing import NETWORKS


@pytest.fixture
def proto():
    return onnx.load_from_string(to_bytes(NETWORKS["perceptron-21"]()))


def written(folder, proto, name="m.onnx"):
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def results(model):
    rows = np.linspace(-1, 1, 64, dtype=np.float32)
    feeds = {}
    for name, value in model.inputs().items():
        dims = [dim if isinstance(dim, int) else 2 for dim in value.shape]
        feeds[name] = np.resize(rows, dims)
    return open_session(model, SessionOptions()).run(feeds)


@pytest.mark.parametrize("part", ["shape", "type"])
def test_an_output_need_not_say_what_follows_from_the_graph(part, proto, tmp_path):
    whole = load(written(tmp_path, proto, "whole.onnx"))
    for output in proto.graph.output:
        if part == "shape":
            output.type.tensor_type.ClearField("shape")
        else:
            output.ClearField("type")

    model = load(written(tmp_path, proto))

    assert to_bytes(model) == (tmp_path / "m.onnx").read_bytes()
    wanted, found = results(whole), results(model)
    assert all(np.array_equal(wanted[name], found[name]) for name in wanted)


def test_a_graph_without_outputs_is_refused(proto, tmp_path):
    del proto.graph.output[:]

    with pytest.raises(ModelError, match="must have an output"):
        load(written(tmp_path, proto))


def test_a_format_newer_than_onnx_runtime_reads_is_refused(proto, tmp_path):
    for version in (NEWEST_FORMAT, NEWEST_FORMAT + 1):
        proto.ir_version = version
        path = written(tmp_path, proto, f"{version}.onnx")
        if version == NEWEST_FORMAT:
            open_session(load(path), SessionOptions())
            continue
        with pytest.raises(Fail):
            InferenceSession(path, providers=["CPUExecutionProvider"])
        with pytest.raises(ModelError, match="IR version 14; ONNX Runtime reads versions up to 13"):
            load(path)


def test_a_damaged_graph_is_refused_where_its_outputs_have_no_shape(proto, tmp_path):
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    proto.graph.node[0].input[0] = "nowhere"

    with pytest.raises(ModelError, match="not a valid ONNX model"):
        load(written(tmp_path, proto))


def test_a_sparse_weight_is_refused_rather_than_lost(proto, tmp_path):
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [2.0])
    places = helper.make_tensor("i", TensorProto.INT64, [1], [3])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [9]))

    with pytest.raises(ModelError, match="sparse weights"):
        load(written(tmp_path, proto))


def test_external_data_of_a_function_is_refused_as_nobody_would_find_it(proto, tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(4))
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    constant = helper.make_node("Constant", [], ["b"], value=tensor)
    imports = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("own", "F", [], ["b"], [constant], imports))
    proto.opset_import.append(helper.make_opsetid("own", 1))

    with pytest.raises(ModelError, match="has external data, which is not supported"):
        load(written(tmp_path, proto))


def test_the_suffix_of_a_file_does_not_matter(proto, tmp_path):
    assert load(written(tmp_path, proto, "m.json")).digest == load(written(tmp_path, proto)).digest


def test_a_pipe_is_refused_and_not_read(tmp_path):
    os.mkfifo(tmp_path / "m.onnx")

    with pytest.raises(ModelError, match="a device or a pipe"):
        load(tmp_path / "m.onnx")


def test_names_of_operators_can_be_printed(proto, tmp_path):
    proto.graph.node[0].name = "a\n\x1b[2J\u202eb"

    first, *_ = nodes(load(written(tmp_path, proto)).graph)

    assert first.name == "a??[2J?b"


def test_a_name_that_is_no_text_is_refused(proto, tmp_path):
    proto.graph.node[0].name = "name-to-replace"
    path = written(tmp_path, proto)
    path.write_bytes(path.read_bytes().replace(b"name-to-replace", b"\xff" * 15))

    with pytest.raises(ModelError, match="names in a model are UTF-8"):
        load(path)
