import numpy as np
import onnx
import onnx_ir as ir
import pytest

from packlight.model import load, release, to_bytes
from packlight.records import SessionOptions
from packlight.runtime import open_session
from packlight.runtime.session import share_weights
from packlight.testing.networks import NETWORKS

OPTIONS = SessionOptions()
SHAPE = (64, 64)


@pytest.fixture
def weight():
    return np.random.default_rng(0).standard_normal(SHAPE, np.float32)


@pytest.fixture(params=["inside", "outside"])
def product(request, tmp_path, weight):
    """y = x @ w, with the weight in the file or beside it."""
    ends = [onnx.helper.make_tensor_value_info(name, 1, [None, SHAPE[0]]) for name in ("x", "y")]
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    stored = [onnx.numpy_helper.from_array(weight, "w")]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], stored)
    opsets = [onnx.helper.make_opsetid("", 21)]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=request.param == "outside", location="m.data")
    return path


def test_what_is_apart_holds_no_large_weights(product, weight):
    rest, shared = share_weights(load(product))

    np.testing.assert_array_equal(shared["w"], weight)
    assert len(to_bytes(rest)) < weight.nbytes / 8


def test_a_weight_in_memory_is_not_copied(product, weight):
    model = load(product)
    model.graph.graph.initializers["w"].const_value = ir.Tensor(weight, name="w")

    assert np.shares_memory(share_weights(model)[1]["w"], weight)


def test_a_session_goes_on_when_the_model_lets_its_weight_go(product, weight):
    model = load(product)
    session = open_session(model, OPTIONS)
    x = np.eye(SHAPE[0], dtype=np.float32)

    release(model.graph.graph.initializers["w"].const_value)
    del model
    product.with_name("m.data").unlink(missing_ok=True)

    np.testing.assert_array_equal(session.run({"x": x})["y"], weight)


def test_the_model_that_is_opened_stays_as_it_is(product):
    model = load(product)
    content = to_bytes(model)

    open_session(model, OPTIONS)

    assert to_bytes(model) == content


def test_weights_that_are_computed_when_they_are_read_are_computed_for_the_session(product, weight):
    model = load(product)
    lazy = ir.LazyTensor(lambda: ir.Tensor(weight, name="w"), dtype=ir.DataType.FLOAT,
                         shape=ir.Shape(SHAPE), name="w")  # fmt: skip
    model.graph.graph.initializers["w"].const_value = lazy

    _, shared = share_weights(model)

    np.testing.assert_array_equal(shared["w"], weight)
    assert model.graph.graph.initializers["w"].const_value is lazy


def test_weights_that_nobody_reads_or_that_are_given_out_stay_inside(product):
    model = load(product)
    graph = model.graph.graph
    unread = ir.Value(name="unread", const_value=ir.Tensor(np.ones(SHAPE, np.float32)))
    graph.register_initializer(unread)
    graph.outputs.append(graph.initializers["w"])

    assert not share_weights(model)[1]
    assert len(open_session(model, OPTIONS).run({"x": np.ones(SHAPE, np.float32)})) == len(
        graph.outputs
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_shared_and_what_is_not_make_the_whole(name):
    model = NETWORKS[name]()
    rest, shared = share_weights(model)

    for known, array in shared.items():
        rest.graph.graph.initializers[known].const_value = ir.Tensor(array, name=known)

    assert rest.digest == model.digest
