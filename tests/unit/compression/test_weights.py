"""Weight-only quantization: what is stored, what the runtime makes of it, what is refused."""

import math

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from packlight.compression import compress
from packlight.errors import RecipeError
from packlight.model import initializers, load, nodes, save, to_bytes
from packlight.records import parse_recipe
from packlight.runtime import open_session, stream
from packlight.testing import NETWORKS, make_case, sample_calls
from packlight.testing.cases import EXACT, apply_recipe, stored_parts
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info


def product(width, out, opset=21, weight=None):
    net = Sketch(opset)
    array = net.array(width, out, fan_in=width) if weight is None else weight
    value = net.add("MatMul", "x", net.keep(array))
    return net.model("product", [value_info("x", ["n", width])], {value: ["n", out]})


def restored(model, reader, index=1):
    """The weight as an operator reads it, computed by the runtime."""
    (node,) = [node for node in nodes(model.graph) if node.name == reader]
    name = node.inputs[index].name
    (found,) = stream(model, [name], [[sample_calls(model)[0]]], {}, EXACT)
    return found[name]


def in_blocks(weight, block, bits):
    """Round to nearest, block by block along axis 0, in plain NumPy."""
    top, out = 2 ** (bits - 1) - 1, np.empty_like(weight)
    for start in range(0, len(weight), block):
        part = weight[start : start + block]
        scale = np.abs(part).max(axis=0) / np.float32(top)
        out[start : start + block] = np.rint(part / scale).astype(np.float32) * scale
    return out


@pytest.mark.parametrize("expand", ["load", "run"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("width", "block"), [(64, 32), (60, 32), (50, 16), (33, 16), (40, 64)])
def test_blocks_come_back_as_numpy_computes_them_bit_for_bit(width, block, bits, expand):
    model = product(width, 24)
    weight = model.graph.graph.initializers["weight_0"].const_value.numpy()

    made = compress(
        model, parse_recipe(f"weights:{bits},block={block},expand={expand},range=minmax")
    )

    assert len(made.changes) == 1
    np.testing.assert_array_equal(
        restored(made.model, "matmul_1"), in_blocks(weight, block, bits), strict=True
    )


@pytest.mark.parametrize("width", [32, 35])
@pytest.mark.parametrize("bits", [2, 3, 5, 6, 7])
def test_packed_widths_come_back_as_numpy_computes_them_bit_for_bit(width, bits):
    model = product(width, 24)
    weight = model.graph.graph.initializers["weight_0"].const_value.numpy()

    made = compress(model, parse_recipe(f"weights:{bits},block=8,range=minmax"))

    np.testing.assert_array_equal(
        restored(made.model, "matmul_1"), in_blocks(weight, 8, bits), strict=True
    )


def test_a_width_that_no_operator_dequantizes_is_refused_at_run_with_a_remedy():
    (refusal,) = compress(product(64, 24), parse_recipe("weights:5,expand=run")).refusals

    assert refusal.code == "unsupported-bits"
    assert refusal.remedy


def per_output(weight, outputs, bits):
    """Round to nearest with a scale for each index along some axes, in plain NumPy."""
    top, out = 2 ** (bits - 1) - 1, np.empty_like(weight)
    for index in np.ndindex(*(weight.shape[axis] for axis in outputs)):
        place = [slice(None)] * weight.ndim
        for axis, at in zip(outputs, index, strict=True):
            place[axis] = at
        part = weight[tuple(place)]
        scale = np.abs(part).max() / np.float32(top)
        out[tuple(place)] = np.rint(part / scale).astype(np.float32) * scale
    return out


@pytest.mark.parametrize("expand", ["load", "run"])
@pytest.mark.parametrize(
    ("network", "place"),
    [
        ("perceptron-21", ("matmul_1", "weight_0", 1, (1,))),
        ("gemms-13", ("gemm_2", "weight_0", 1, (1,))),
        ("gemms-13", ("gemm_6", "weight_4", 1, (0,))),
        ("residual-17", ("conv_1", "weight_0", 1, (0,))),
        ("depthwise-13", ("conv_7", "weight_6", 1, (0,))),
        ("upsampling-17", ("convtranspose_4", "weight_3", 1, (1,))),
        ("lstm-13", ("lstm_3", "weight_1", 2, (1,))),
        ("embedding-21", ("gather_1", "weight_0", 0, (0,))),
    ],
)
def test_channels_are_the_outputs_of_each_operator(network, place, expand):
    reader, weight, index, outputs = place
    model = NETWORKS[network]()
    array = model.graph.graph.initializers[weight].const_value.numpy()

    made = compress(model, parse_recipe(f"weights:8,expand={expand},range=minmax"))

    found = restored(made.model, reader, index)
    np.testing.assert_array_equal(found, per_output(array, outputs, 8), strict=True)


@pytest.mark.parametrize("expand", ["load", "run"])
def test_scales_along_two_axes_are_kept_or_refused(expand):
    model = NETWORKS["gru-21"]()
    array = model.graph.graph.initializers["weight_0"].const_value.numpy()

    made = compress(model, parse_recipe(f"weights:8,expand={expand},range=minmax"))

    refused = [refusal.operator for refusal in made.refusals]
    if expand == "run":
        assert refused == ["gru_3", "gru_3"]
    else:
        found = restored(made.model, "gru_3", 1)
        np.testing.assert_array_equal(found, per_output(array, (0, 1), 8), strict=True)


@pytest.mark.parametrize("shape", [(64, 96), (33, 31)])
def test_four_bits_take_four_bits_in_the_file(shape, tmp_path):
    model = product(*shape)

    made = compress(model, parse_recipe("weights:4,block=32"))

    save(made.model, tmp_path / "m.onnx")
    stored = {t.name: t for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert stored["w0000.codes"].data_type == onnx.TensorProto.INT4
    count = math.ceil(shape[0] / 32) * 32 if shape[0] % 32 else shape[0]
    assert len(stored["w0000.codes"].raw_data) == math.ceil(count * shape[1] / 2)
    scales = 4 * math.ceil(shape[0] / 32) * shape[1]
    assert (tmp_path / "m.onnx").stat().st_size < count * shape[1] / 2 + scales + 1100
    assert "weight_0" not in stored


def test_eight_bits_take_a_byte_in_the_file(tmp_path):
    made = compress(NETWORKS["residual-17"](), parse_recipe("weights:8"))

    save(made.model, tmp_path / "m.onnx")

    assert stored_parts(load(tmp_path / "m.onnx"), "weight_8")["codes"].nbytes == 16 * 16 * 9


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("recipe", ["weights:8", "weights:4", "static"])
def test_weights_that_are_not_finite_are_refused(bad, recipe):
    weight = np.ones((32, 32), np.float32)
    weight[3, 7] = bad
    model = product(32, 32, weight=weight)

    made = compress(model, parse_recipe(recipe))

    (refusal,) = made.refusals
    assert refusal.operator == "matmul_1"
    assert refusal.code == "not-finite"
    assert to_bytes(made.model) == to_bytes(model)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-45, 8e37])
@pytest.mark.parametrize("recipe", ["weights:8", "weights:4,block=32", "weights:8,per=tensor"])
def test_constant_weights_stay_what_they_are(value, recipe):
    model = product(32, 32, weight=np.full((32, 32), value, np.float32))

    made = compress(model, parse_recipe(recipe))

    found = restored(made.model, "matmul_1")
    np.testing.assert_allclose(found, np.full((32, 32), value), rtol=1e-6, atol=1e-40)


@pytest.mark.parametrize(
    ("network", "recipe", "operator", "code"),
    [
        ("shared-17", "weights:8", "gemm_6", "shared"),
        ("published-17", "weights:8", "matmul_1", "model-output"),
        ("defaults-13", "weights:8", "matmul_1", "model-input"),
        ("upsampling-17", "weights:4,block=8", "convtranspose_4", "unsupported-axes"),
        ("residual-17", "weights:8,block=8,expand=run", "conv_1", "unsupported-axes"),
        ("gru-21", "weights:8,expand=run", "gru_3", "unsupported-axes"),
        ("perceptron-21", "weights:8,block=1,expand=load", "matmul_1", "not-smaller"),
        ("perceptron-21", "weights:8+weights:8", "matmul_1", "already-quantized"),
        ("perceptron-21", "static+weights:8", "matmul_1", "already-quantized"),
        ("tables-17", "weights:8", "mul_16", "regular"),
        ("tables-17", "weights:8", "add_20", "vector"),
        ("trees-15", "weights:8", "linearregressor_1", "attribute"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_a_reason(network, recipe, operator, code):
    model = NETWORKS[network]()
    made = apply_recipe(model, parse_recipe(recipe), sample_calls(model))

    refusals = [refusal for refusal in made.refusals if refusal.operator == operator]
    assert code in {refusal.code for refusal in refusals}, made.refusals
    assert all(refusal.reason for refusal in refusals)
    assert all(refusal.method == "weights" for refusal in refusals)


def test_a_product_of_activations_is_nothing_to_report():
    made = compress(NETWORKS["attention-17"](), parse_recipe("weights:8"))

    weightless = {"matmul_13", "softmax_14", "matmul_15"}
    assert not weightless & {entry.operator for entry in (*made.changes, *made.refusals)}


def test_a_small_weight_is_refused_with_its_size():
    made = compress(product(8, 8), parse_recipe("weights:8"))

    assert made.refusals[0].code == "too-small"


def test_weights_in_bodies_are_stored_in_the_graph_that_owns_them():
    made = compress(NETWORKS["branches-16"](), parse_recipe("weights:8"))

    assert {change.operator for change in made.changes} == {
        "then.conv_0", "else.conv_1", "else.lstm_6", "matmul_4"
    }  # fmt: skip
    inside = [
        g
        for g in made.model.graph.graph.subgraphs()
        if any(node.outputs[0].name == "else.constant_0.out" for node in g)
        and any(name.endswith(".codes") for name in g.initializers)
    ]
    assert len(inside) == 1
    assert stored_parts(made.model, "weight_0")


def test_a_shared_weight_is_stored_once():
    made = compress(NETWORKS["shared-17"](), parse_recipe("weights:8"))

    codes = [name for name in made.model.graph.graph.initializers if name.endswith(".codes")]
    assert codes == ["w0000.codes"]


def test_only_operators_that_match_are_changed():
    made = compress(NETWORKS["residual-17"](), parse_recipe("weights:8,where=^conv"))

    assert [change.operator for change in made.changes] == ["conv_1", "conv_10"]
    kinds = {v.const_value.dtype for v in made.model.graph.graph.initializers.values()}
    assert ir.DataType.INT8 in kinds


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("weights:9", "weights,bits= is one of 2, 3, 4, 5, 6, 7, 8; got '9'"),
        ("weights,block=0", "at least 1; got 0"),
        ("weights,block=8.5", "takes a whole number; got '8.5'"),
        ("weights:4.0", "weights,bits= is one of 2, 3, 4, 5, 6, 7, 8; got '4.0'"),
        ("weights,scales=16.0", "weights,scales= is one of 16, 32; got '16.0'"),
        ("palette:4.0", "palette,bits= is one of 1, 2, 3, 4, 5, 6, 7, 8; got '4.0'"),
        ("sparse:4.0", "sparse,bits= is one of 1, 2, 3, 4, 5, 6, 7, 8; got '4.0'"),
        ("weights,per=row", "is one of tensor, channel, block; got 'row'"),
        ("weights,colour=red", "has no option 'colour'"),
        ("shrink", "there is no method 'shrink'"),
        ("weights,where=(", "is no regular expression"),
        ("simplify,where=conv", "works on the whole model"),
    ],
)
def test_a_recipe_that_names_what_does_not_exist_is_refused(recipe, sentence):
    with pytest.raises(RecipeError, match=sentence.replace("(", r"\(")):
        compress(NETWORKS["perceptron-21"](), parse_recipe(recipe))


def test_naming_a_block_means_a_scale_for_each_block():
    first = compress(NETWORKS["perceptron-21"](), parse_recipe("weights:4,block=16"))
    second = compress(NETWORKS["perceptron-21"](), parse_recipe("weights:4,per=block,block=16"))

    assert first.recipe == second.recipe
    assert to_bytes(first.model) == to_bytes(second.model)


@pytest.mark.parametrize("expand", ["load", "run"])
@pytest.mark.parametrize("scales", [16, 32])
def test_a_block_larger_than_the_axis_is_the_whole_axis(expand, scales):
    rest = f"expand={expand},scales={scales}"

    large = compress(product(60, 24), parse_recipe(f"weights:4,block=100000,{rest}"))
    whole = compress(product(60, 24), parse_recipe(f"weights:4,block=60,{rest}"))

    assert to_bytes(large.model) == to_bytes(whole.model)
    assert [change.storage for change in large.changes] == [
        change.storage for change in whole.changes
    ]


def test_a_block_that_is_cut_to_an_odd_axis_becomes_float_when_the_model_is_loaded():
    made = compress(product(60, 24), parse_recipe("weights:4,block=64"))

    assert [change.storage.expand for change in made.changes] == ["load"]


def test_what_is_refused_in_blocks_gains_in_the_larger_groups_that_are_advised():
    small, rest = product(5, 52), "symmetric=false,expand=load"

    made = compress(small, parse_recipe(f"weights:8,block=4,{rest}"))

    assert [refusal.remedy for refusal in made.refusals] == ["use larger groups"]
    assert compress(small, parse_recipe(f"weights:8,block=100000,{rest}")).changes


def test_codes_computed_while_the_file_is_written_are_those_computed_before():
    model = NETWORKS["residual-17"]()
    early = compress(model, parse_recipe("weights:4,block=10,expand=load"))
    late = compress(model, parse_recipe("weights:4,block=10,expand=load"), held=0)

    assert any(
        isinstance(v.const_value, ir.LazyTensor)
        for v in late.model.graph.graph.initializers.values()
    )
    assert to_bytes(late.model) == to_bytes(early.model)
    assert late.model.digest == early.model.digest


def test_external_weights_are_compressed_to_the_same_bytes(tmp_path, monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["packlight.model.save"], "INLINE_LIMIT", 1000)
    save(NETWORKS["residual-17"](), tmp_path / "m.onnx")
    monkeypatch.undo()
    recipe = parse_recipe("weights:8")

    beside = compress(load(tmp_path / "m.onnx"), recipe)

    inline = compress(NETWORKS["residual-17"](), recipe)
    assert to_bytes(beside.model) == to_bytes(inline.model)


def test_finer_groups_are_more_faithful():
    def noise(recipe):
        case = make_case(product(64, 64), parse_recipe(recipe))
        reference, session = (open_session(m, EXACT) for m in (case.model, case.result.model))
        (expected,), (found,) = (s.run(case.calls[0]).values() for s in (reference, session))
        return float(np.square(expected - found).sum())

    recipes = ["weights:8", "weights:4,block=8", "weights:4,block=32", "weights:4,per=tensor"]
    ordered = [noise(recipe) for recipe in recipes]
    assert ordered == sorted(ordered)


def test_what_is_stored_of_a_weight_is_not_called_as_a_computed_value_is():
    net = Sketch(17)
    net.nodes.append(helper.make_node("MatMul", ["x", net.weight(32, 16)], ["w0000.codes"]))
    value = net.add("MatMul", "w0000.codes", net.weight(16, 32))
    model = net.model("taken", [value_info("x", ["n", 32])], {value: ["n", 32]})

    made = compress(model, parse_recipe("weights:8")).model

    names = [str(value.name) for value in initializers(made.graph)]
    assert sorted(name for name in names if name.endswith("codes")) == [
        "w0001.codes",
        "w0002.codes",
    ]
    onnx.checker.check_model(to_bytes(made))


def test_weights_that_operators_read_in_other_ways_are_stored_too():
    net = Sketch(17)
    large, small = net.weight(32, 16), net.weight(4, 4)
    value = net.add("Einsum", "x", large, equation="ij,jk->ik")
    value = net.add("Gemm", net.weight(16, 16), net.add("Transpose", value), transB=1)
    value = net.add("Add", value, net.weight(16, 16))
    columns = net.add("Gather", net.weight(16, 64), net.keep(np.arange(16)), axis=1)
    value = net.add("Add", value, columns)
    value = net.add("Einsum", value, small, equation="ij,kl->ij")
    model = net.model("others", [value_info("x", [16, 32])], {value: [16, 16]})

    made = compress(model, parse_recipe("weights:8"))

    kinds = [change.operator.split("_")[0] for change in made.changes]
    assert kinds == ["einsum", "gemm", "add", "gather"]
    (refusal,) = made.refusals
    assert (refusal.code, refusal.remedy) == ("computed-weight", "")  # of the Gemm's activations
    feeds = sample_calls(model)[0]
    before, after = (open_session(one, EXACT).run(feeds) for one in (model, made.model))
    (name,) = before
    assert signal_to_noise(before[name], after[name]) > 40
