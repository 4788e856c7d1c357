"""Whole profiles: shared weights, what is known of open shapes, and shapes that are computed."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from packlight import zoo
from packlight.errors import InputError
from packlight.model import Model, load
from packlight.profiling import profile
from packlight.records import Profile, canonical, loads
from packlight.sources.input_shapes import parse_inputs


def network(body, inputs, outputs, **weights):
    """A model from ONNX text, with zeros for weights of the given shapes."""
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => ({outputs}) {{ {body} }}'
    proto = parser.parse_model(text)
    for name, value in weights.items():
        array = value if isinstance(value, np.ndarray) else np.zeros(value, np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return Model(ir.from_proto(proto), "g")


def test_weights_read_twice_are_counted_once():
    model = network(
        "a = MatMul(x, w) y = MatMul(a, w)", "float[1,16] x", "float[1,16] y", w=(16, 16)
    )

    found = profile(model, {})

    assert [operator.shared for operator in found.operators] == [False, True]
    assert found.totals["parameters"].value == 256
    assert found.totals["loaded_bytes"].value == 1024
    assert found.totals["macs"].value == 512


def test_weights_beside_a_shared_one_and_in_constants_are_counted():
    model = network(
        "k = Constant <value = float[4] {1.0, 2.0, 3.0, 4.0}> () a = Gemm(x, w, b) "
        "c = Gemm(a, w, d) y = Add(c, k)",
        "float[1,4] x", "float[1,4] y", w=(4, 4), b=(4,), d=(4,),
    )  # fmt: skip

    found = profile(model, {})

    assert found.totals["parameters"].value == 16 + 4 + 4 + 4


def test_the_zoo_has_the_counts_that_its_training_script_states():
    found = profile(load(zoo.model_path("fashion")), {})

    assert round(found.totals["macs"].value / 1e6, 2) == 10.94
    assert found.notes == ("input 'image' counts with a batch of 1",)
    assert found.inputs == {"image": (1, 1, 28, 28)}
    assert loads(Profile, canonical(found)) == found


OPEN = ("y = MatMul(x, w)", "float[n,k,16] x", "float[n,k,10] y")


def test_an_open_shape_is_unknown_and_what_to_give_is_said():
    model = network(*OPEN, w=(16, 10))

    found = profile(model, {})

    assert "the shape of what it reads or gives is open" in found.unknown[0]
    assert found.notes == ("input 'x' is open: give --input x=n,k,16 with numbers, or a task",)
    assert found.operators[0].macs is None
    assert profile(model, {"x": (3, 2, 16)}).totals["macs"].value == 3 * 2 * 16 * 10


def test_a_dimension_with_a_name_has_one_size_in_all_inputs():
    model = network("y = Add(x, z)", "float[n,k] x, float[n,k] z", "float[n,k] y")

    assert profile(model, {"x": (3, 5)}).inputs == {"x": (3, 5), "z": (3, 5)}
    with pytest.raises(InputError, match="dimension 'n' has one size in all inputs; it is 3 in "):
        profile(model, {"x": (3, 5), "z": (4, 5)})


WRONG = {
    "no such input": ({"z": (1,)}, r"the model has no input 'z'; it has 'x' \(n,k,16\)"),
    "too few dimensions": ({"x": (3, 16)}, r"input 'x' \(n,k,16\) has 3 dimensions; 3,16 has 2"),
    "another fixed size": ({"x": (3, 2, 8)}, "fixes dimension 2 at 16; 3,2,8 has 8 there"),
    "a negative size": ({"x": (3, -2, 16)}, "sizes of input 'x' are whole numbers"),
    "a size that no file can state": ({"x": (2**63, 2, 16)}, "sizes of input 'x' are whole numb"),
    "no whole number": ({"x": (3, 2.5, 16)}, "sizes of input 'x' are whole numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_shape_that_an_input_cannot_have_is_refused_in_a_sentence(case):
    asked, told = WRONG[case]

    with pytest.raises(InputError, match=told):
        profile(network(*OPEN, w=(16, 10)), asked)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["image"], "an input's shape is NAME=SIZES, as image=1,3,224,224; got 'image'"),
        (["=1,2"], "an input's shape is NAME=SIZES"),
        (["x=1,b,3"], "'x=1,b,3' has 'b'"),
        (["x=1,0"], "'x=1,0' has '0'"),
        (["x=9223372036854775808"], "2**63-1, separated by commas, as image=1,3,224,224; 'x=92233"),
        ([f"x={'9' * 5000}"], "sizes of an input are whole numbers from 1 to 2**63-1"),
        (["x=1,,2"], "'x=1,,2' has ''"),
        (["x=1", "x=2"], "input 'x' has one shape; 'x=2' is a second one"),
    ],
)
def test_texts_that_are_no_shapes_are_refused_in_a_sentence(texts, told):
    with pytest.raises(InputError) as caught:
        parse_inputs(texts)

    assert told in str(caught.value)


def test_names_of_inputs_may_hold_the_sign_between_name_and_sizes():
    assert parse_inputs(["a=b=2, 3"]) == {"a=b": (2, 3)}


def test_sizes_may_be_as_large_as_files_can_state():
    assert parse_inputs(["x=9223372036854775807, 007"]) == {"x": (2**63 - 1, 7)}


def test_shapes_that_are_computed_from_shapes_are_known():
    # The rows of x, doubled through numbers, by a Reshape whose shape is computed.
    model = network(
        "s = Shape(x) n = Gather<axis=0>(s, zero) two = Mul(n, pair) shape = Concat<axis=0>(two, "
        "half) r = Reshape(x, shape) y = MatMul(r, w)",
        "float[n,k] x", "float[p,q] y", zero=np.array([0]), pair=np.array([2]),
        half=np.array([8]), w=(8, 3),
    )  # fmt: skip

    found = profile(model, {"x": (5, 16)})

    assert found.unknown == ()
    assert found.totals["macs"].value == 10 * 8 * 3


def test_shapes_that_a_run_showed_are_taken_where_none_can_be_inferred():
    model = network(
        "i = NonZero(x) r = Gather<axis=0>(v, i) s = Squeeze(r, zero) y = MatMul(s, w)",
        "float[8] x", "float[m,3] y", v=(8, 4), zero=np.array([0]), w=(4, 3),
    )  # fmt: skip

    assert profile(model, {}).unknown
    shapes = {"i": (1, 5), "r": (1, 5, 4), "s": (5, 4), "y": (5, 3)}
    found = profile(model, {}, shapes)

    assert found.unknown == ()
    assert found.totals["macs"].value == 5 * 4 * 3


def test_profiling_leaves_the_model_as_it_is():
    model = load(zoo.model_path("fashion"))
    before = onnx.ModelProto()
    before.CopyFrom(ir.to_proto(model.graph))

    profile(model, {"image": (4, 1, 28, 28)})

    assert ir.to_proto(model.graph) == before


def test_weights_in_external_data_are_neither_read_nor_kept(tmp_path):
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n,64] x) => (float[n,64] y) '
        "{ a = MatMul(x, w) y = Reshape(a, s) }"
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((64, 64), np.float32), "w"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([-1, 64]), "s"))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0,
              location="m.data")  # fmt: skip
    model = load(tmp_path / "m.onnx")
    (tmp_path / "m.data").write_bytes(
        b"".join(
            np.array([-1, 64]).tobytes() if name == "s" else b"\xff" * 64 * 64 * 4
            for name in model.graph.graph.initializers
        )
    )

    found = profile(model, {"x": (3, 64)})

    assert found.unknown == ()
    assert found.totals["macs"].value == 3 * 64 * 64
    weight = model.graph.graph.initializers["w"].const_value
    assert isinstance(weight, ir.ExternalTensor)
    assert weight.raw is None
