import numpy as np
import onnx
import pytest

from packlight.errors import ModelError
from packlight.model import load, to_bytes
from packlight.records import SessionOptions
from packlight.runtime import open_session
from packlight.testing.cases import sample_calls
from packlight.testing.networks import NETWORKS


def shuffled(name, folder):
    """A network whose operators stand in another order, as a file."""
    proto = onnx.load_from_string(to_bytes(NETWORKS[name]()))
    places = np.random.default_rng(1).permutation(len(proto.graph.node))
    nodes = [proto.graph.node[place] for place in places]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    path = folder / "shuffled.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("name", ["attention-17", "branches-16", "around-17", "gru-21"])
def test_operators_out_of_order_are_put_in_order(name, tmp_path):
    original, found = NETWORKS[name](), load(shuffled(name, tmp_path))
    call = sample_calls(original, 1)[0]

    wanted = open_session(original, SessionOptions()).run(call)
    given = open_session(found, SessionOptions()).run(call)

    assert all(np.array_equal(wanted[key], given[key]) for key in wanted)


def test_a_graph_that_is_in_order_stays_as_it_is(tmp_path):
    path = tmp_path / "plain.onnx"
    path.write_bytes(to_bytes(NETWORKS["attention-17"]()))

    names = [node.name for node in load(path).graph.graph]

    assert names == [node.name for node in NETWORKS["attention-17"]().graph.graph]


def test_a_cycle_is_refused(tmp_path):
    proto = onnx.load_from_string(to_bytes(NETWORKS["perceptron-21"]()))
    proto.graph.node[0].input[0] = proto.graph.node[-2].output[0]
    path = tmp_path / "cycle.onnx"
    path.write_bytes(proto.SerializeToString())

    with pytest.raises(ModelError, match="not a valid ONNX model"):
        load(path)
