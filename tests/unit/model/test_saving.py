"""Files are written piece by piece: the same bytes as protobuf's own, and few weights at a time."""

import gc
import tracemalloc

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from packlight.compression import compress
from packlight.model import file_size, initializers, load, save, to_bytes
from packlight.model.save import varint
from packlight.records import parse_recipe
from packlight.testing import NETWORKS

WIDTH = 512
WEIGHT = 4 * WIDTH**2
"""Bytes of one weight."""

RECIPES = ["weights:4,block=32", "weights:3", "weights:8", "palette:4", "palette:3,group=64"]


def chain(folder, layers):
    """Products of one width, every weight in a file beside the model."""
    rng = np.random.default_rng(3)
    names = [f"w{layer}" for layer in range(layers)]
    levels = rng.standard_normal(100).astype(np.float32)  # few, so that palettes are quick
    stored = [numpy_helper.from_array(rng.choice(levels, (WIDTH, WIDTH)), name) for name in names]
    nodes = [
        helper.make_node(("MatMul", "Gemm")[at % 2], [f"h{at}", name], [f"h{at + 1}"])
        for at, name in enumerate(names)
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, WIDTH])]
        for name in ("h0", f"h{layers}")
    ]
    proto = helper.make_model(
        helper.make_graph(nodes, "chain", *ends, stored),
        opset_imports=[helper.make_opsetid("", 21)], ir_version=10,
    )  # fmt: skip
    path = folder / f"chain{layers}.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, location=f"{path.name}.data")
    return path


def compressed(path, recipe, out):
    """A model read, compressed without holding codes, and written."""
    made = compress(load(path), parse_recipe(recipe), held=0).model
    save(made, out)
    return made


def traced_peak(path, recipe, out):
    """Bytes allocated at most, memory maps apart."""
    gc.collect()
    tracemalloc.start()
    try:
        compressed(path, recipe, out)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "recipe", [RECIPES[0], *(pytest.param(r, marks=pytest.mark.slow) for r in RECIPES[1:])]
)
def test_memory_grows_with_the_widest_weight_and_not_with_the_depth(tmp_path, recipe):
    shallow, deep = chain(tmp_path, 4), chain(tmp_path, 40)
    compressed(shallow, recipe, tmp_path / "warm.onnx")  # imports and compiles

    few = traced_peak(shallow, recipe, tmp_path / "few.onnx")
    many = traced_peak(deep, recipe, tmp_path / "many.onnx")

    assert few > WEIGHT
    assert many < few + 2 * WEIGHT  # of 36 weights more; codes of all would take 9 times as much


@pytest.mark.parametrize("recipe", RECIPES)
def test_weights_are_read_one_at_a_time_and_twice_at_most(tmp_path, recipe, monkeypatch):
    """Once to look at every number, once to compute what is written; nothing for the digest."""
    path = chain(tmp_path, 40)
    model = load(path)
    tensors = [value.const_value for value in initializers(model.graph)]
    assert all(isinstance(tensor, ir.ExternalTensor) for tensor in tensors)
    reads, mapped = [], []
    numpy = ir.ExternalTensor.numpy

    def read(tensor):
        array = numpy(tensor)
        reads.append(tensor.name)
        mapped.append(sum(each.raw is not None for each in tensors))
        return array

    monkeypatch.setattr(ir.ExternalTensor, "numpy", read)
    made = compress(model, parse_recipe(recipe), held=0).model
    save(made, tmp_path / "small.onnx")
    digest = made.digest

    assert len(reads) == 2 * 40
    assert max(mapped) == 1
    assert not any(tensor.raw for tensor in tensors)
    assert load(tmp_path / "small.onnx").digest == digest


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("recipe", ["", "weights:4", "weights:3", "palette:4"])
def test_the_pieces_are_what_protobuf_writes(name, recipe):
    """protobuf reads them and writes them again, in its own order, to the same bytes."""
    model = NETWORKS[name]()
    if recipe:
        model = compress(model, parse_recipe(recipe)).model

    content = to_bytes(model)

    proto = onnx.load_from_string(content)
    assert proto.SerializeToString(deterministic=True) == content
    assert len(content) == file_size(model.graph)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for key, value in model.graph.graph.initializers.items():
        np.testing.assert_array_equal(stored[key], value.const_value.numpy())


@given(st.integers(0, 2**63 - 1))
def test_numbers_are_written_as_protobuf_writes_them(number):
    field = TensorProto(dims=[number]).SerializeToString()

    assert field.endswith(varint(number))
    assert len(field) in (1 + len(varint(number)), 2 + len(varint(number)))


def test_a_name_may_be_as_long_as_a_file_system_allows(tmp_path):
    path = tmp_path / f"{'m' * 248}.onnx"

    assert save(NETWORKS["perceptron-21"](), path) == path.stat().st_size


def test_a_weight_that_cannot_be_computed_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "m.onnx"
    save(NETWORKS["residual-17"](), path)
    before, model = path.read_bytes(), NETWORKS["perceptron-21"]()

    def fails():
        raise ZeroDivisionError

    value = next(iter(initializers(model.graph)))
    shape, kind = value.const_value.shape, value.const_value.dtype
    value.const_value = ir.LazyTensor(fails, dtype=kind, shape=shape, name=value.name)
    with pytest.raises(ZeroDivisionError):
        save(model, path)

    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
