"""Weights beside the file: the same model, read lazily, and never outside its folder."""

import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from packlight.compression import compress
from packlight.errors import ModelError
from packlight.model import file_size, initializers, load, save, stored_files, stored_size, to_bytes
from packlight.records import parse_recipe
from packlight.testing import NETWORKS
from packlight.testing.sketch import Sketch, value_info

NESTED = "branches-16"


@pytest.fixture
def inline(tmp_path):
    """A model in one file; its weights are initializers, Constants, and in bodies of an If."""
    path = tmp_path / "inline.onnx"
    save(NETWORKS[NESTED](), path)
    return path


@pytest.fixture
def external(inline):
    """The same with every tensor in a file beside it."""
    path = inline.with_name("external.onnx")
    onnx.save_model(
        onnx.load(inline), path, save_as_external_data=True, location="external.data",
        size_threshold=0, convert_attribute=True,
    )  # fmt: skip
    return path


def beside(folder, stored):
    """A sum of stored values that lie in a file beside the model."""
    path, data, tensors = folder / "beside.onnx", bytearray(), []
    for name, array in stored.items():
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "beside.data", "offset": len(data)}.items():
            tensor.external_data.add(key=key, value=str(value))
        data += array.tobytes()
        tensors.append(tensor)
    path.with_name("beside.data").write_bytes(data)
    write_graph(path, [helper.make_node("Sum", list(stored), ["y"])], tensors, TensorProto.FLOAT)
    return path


def write_graph(path, nodes, stored, kind, shape=None):
    """Write a model with one output, y."""
    output = helper.make_tensor_value_info("y", kind, shape)
    graph = helper.make_graph(nodes, "graph", [], [output], stored)
    imports = [helper.make_opsetid("", 21)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
    )


def names(folder):
    """Files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def altered(path, **entries):
    """A copy of a model whose first external tensor has other entries."""
    proto = onnx.load(path, load_external_data=False)
    tensor = next(iter(proto.graph.initializer))
    for entry in tensor.external_data:
        entry.value = entries.pop(entry.key, entry.value)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    copy = path.with_name("altered.onnx")
    copy.write_bytes(proto.SerializeToString())
    return copy


def test_a_model_is_the_same_wherever_its_weights_lie(inline, external):
    first, second = load(inline), load(external)

    assert second.digest == first.digest
    assert file_size(second.graph) == file_size(first.graph) == inline.stat().st_size
    assert to_bytes(second) == to_bytes(first)


def test_saving_brings_external_weights_into_one_file(external, tmp_path):
    target = tmp_path / "elsewhere" / "one.onnx"
    target.parent.mkdir()

    written = save(load(external), target)

    assert written == target.stat().st_size == stored_size(target)
    assert names(target.parent) == ["one.onnx"]
    assert load(target).digest == load(external).digest


def test_large_weights_stay_on_disk_until_they_are_used_and_small_ones_are_read(tmp_path):
    stored = {"large": np.ones((64, 64), np.float32), "small": np.arange(64, dtype=np.float32)}
    path = beside(tmp_path, stored)

    tensors = {value.name: value.const_value for value in initializers(load(path).graph)}

    assert isinstance(tensors["large"], ir.ExternalTensor)
    assert not isinstance(tensors["small"], ir.ExternalTensor)
    for name, array in stored.items():
        np.testing.assert_array_equal(tensors[name].numpy(), array)


def test_small_weights_of_every_type_and_place_are_read_as_they_were(external, inline):
    assert all(
        not isinstance(value.const_value, ir.ExternalTensor)
        for value in initializers(load(external).graph)
    )
    assert to_bytes(load(external)) == to_bytes(load(inline))
    assert stored_files(external) == {external, external.with_name("external.data")}


def test_texts_that_claim_to_lie_outside_are_refused(tmp_path):
    path = tmp_path / "texts.onnx"
    text = helper.make_tensor("t", TensorProto.STRING, [5], [b"a"] * 5)
    text.data_location = TensorProto.EXTERNAL
    text.external_data.add(key="location", value="/etc/passwd")
    write_graph(path, [helper.make_node("Identity", ["t"], ["y"])], [text], TensorProto.STRING, [5])

    with pytest.raises(ModelError, match="not a valid ONNX model"):
        load(path)


def test_the_stored_size_counts_every_file_once(external):
    beside = external.with_name("external.data")

    assert stored_size(external) == external.stat().st_size + beside.stat().st_size


@pytest.mark.parametrize("name", ["perceptron-11", "residual-17", "published-17", NESTED])
def test_a_model_past_the_limit_of_one_file_is_saved_in_two(name, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["packlight.model.save"], "INLINE_LIMIT", 1000)
    model, path = NETWORKS[name](), tmp_path / "large.onnx"

    written = save(model, path)

    assert names(tmp_path) == ["large.onnx", "large.onnx.data"]
    assert written == stored_size(path) == sum(f.stat().st_size for f in tmp_path.iterdir())
    assert path.stat().st_size < file_size(model.graph)
    assert load(path).digest == model.digest


def test_a_model_past_the_limit_can_be_saved_over_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["packlight.model.save"], "INLINE_LIMIT", 1000)
    path = tmp_path / "large.onnx"
    save(NETWORKS["residual-17"](), path)
    digest = load(path).digest

    save(load(path), path)

    assert load(path).digest == digest


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", ""])
def test_external_data_outside_the_folder_is_refused(external, location):
    external.parent.with_name("secret.bin").write_bytes(bytes(10**5))

    with pytest.raises(ModelError, match="outside the model's folder; it is not read"):
        load(altered(external, location=location))


def test_a_link_out_of_the_folder_is_refused(external):
    outside = external.parent.with_name("linked.bin")
    outside.write_bytes(bytes(10**5))
    external.with_name("link.bin").symlink_to(outside)

    with pytest.raises(ModelError, match="outside the model's folder"):
        load(altered(external, location="link.bin"))


def test_a_linked_folder_is_refused(external):
    outside = external.parent.with_name("linked")
    outside.mkdir(exist_ok=True)
    (outside / "w.bin").write_bytes(bytes(10**5))
    external.with_name("folder").symlink_to(outside)

    with pytest.raises(ModelError, match="outside the model's folder"):
        load(altered(external, location="folder/w.bin"))


def test_links_are_told_with_where_they_lead_and_what_to_do(external):
    outside = external.parent.with_name("led.bin")
    outside.write_bytes(bytes(10**5))
    external.with_name("out.bin").symlink_to(outside)
    external.with_name("nowhere.bin").symlink_to("gone.bin")
    external.with_name("round.bin").symlink_to("round.bin")

    with pytest.raises(ModelError, match=r"'out.bin', a link to '.*led.bin', .*cp -rL"):
        load(altered(external, location="out.bin"))
    with pytest.raises(ModelError, match=r"'nowhere.bin' .* a link to '.*gone.bin'.* is missing"):
        load(altered(external, location="nowhere.bin"))
    with pytest.raises(ModelError, match="cannot be a file"):
        load(altered(external, location="round.bin"))


def test_a_link_within_the_folder_is_followed(external):
    external.with_name("real.data").write_bytes(external.with_name("external.data").read_bytes())
    external.with_name("inner.data").symlink_to("real.data")

    digest = load(external).digest
    assert load(altered(external, location="inner.data")).digest == digest


def test_a_file_of_several_names_is_refused(external):
    external.with_name("other.data").hardlink_to(external.with_name("external.data"))

    with pytest.raises(ModelError, match=r"2 hard links.*cp -rL"):
        load(external)


def test_a_model_that_is_a_link_away_from_its_data_is_told_so(external):
    folder = external.parent.with_name("elsewhere")
    folder.mkdir(exist_ok=True)
    link = folder / "model.onnx"
    link.unlink(missing_ok=True)
    link.symlink_to(external)

    with pytest.raises(ModelError, match=r"'model\.onnx' is a link; give the path of the file"):
        load(link)


def test_a_missing_file_is_named(external):
    external.with_name("external.data").unlink()

    with pytest.raises(ModelError, match=r"needs the file 'external\.data' beside the model"):
        load(external)


@pytest.mark.parametrize(
    "entries",
    [{"length": "7"}, {"offset": "99999999"}, {"offset": "-4"}, {"length": "-1"}],
)
def test_a_place_that_does_not_hold_the_tensor_is_refused(external, entries):
    with pytest.raises(ModelError, match="bytes at"):
        load(altered(external, **entries))


def test_an_offset_that_is_no_number_is_refused(external):
    with pytest.raises(ModelError, match="offset that is no number"):
        load(altered(external, offset="here"))


def test_a_file_that_is_cut_short_is_refused(external):
    beside = external.with_name("external.data")
    beside.write_bytes(beside.read_bytes()[:100])

    with pytest.raises(ModelError, match="the file has 100"):
        load(external)


def test_external_data_in_a_folder_below_is_read(external):
    below = external.parent / "weights"
    below.mkdir()
    external.with_name("external.data").rename(below / "w.bin")
    proto = onnx.load(external, load_external_data=False)
    for tensor in onnx.external_data_helper._get_all_tensors(proto):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "weights/w.bin"
    external.write_bytes(proto.SerializeToString())

    (value,) = [v for v in initializers(load(external).graph) if v.name == "weight_0"]

    assert np.isfinite(value.const_value.numpy()).all()


def test_large_weights_of_bodies_are_found_from_any_folder_at_a_newer_opset(tmp_path, monkeypatch):
    inner = Sketch(13, prefix="inner.")
    value = inner.add("MatMul", "x", inner.weight(80, 80, fan_in=80))
    net = Sketch(13)
    other = Sketch(13, prefix="other.")
    bodies = {
        "then_branch": inner.body(value, ["n", 80]),
        "else_branch": other.body(other.add("Identity", "x"), ["n", 80]),
    }
    inputs = [value_info("x", ["n", 80]), value_info("c", [], TensorProto.BOOL)]
    model = net.model("bodies", inputs, {net.add("If", "c", **bodies): ["n", 80]})
    save(model, tmp_path / "inline.onnx")
    onnx.save_model(
        onnx.load(tmp_path / "inline.onnx"), tmp_path / "m.onnx", save_as_external_data=True,
        location="m.data", size_threshold=0,
    )  # fmt: skip
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "m.data").write_bytes(bytes((tmp_path / "m.data").stat().st_size))
    monkeypatch.chdir(elsewhere)

    made, same = (
        compress(load(tmp_path / name), parse_recipe("weights:3")).model
        for name in ("m.onnx", "inline.onnx")
    )

    assert to_bytes(made) == to_bytes(same)
