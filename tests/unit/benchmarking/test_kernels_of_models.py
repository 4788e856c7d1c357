"""What a model calls: features by hand, kernels counted beside ONNX Runtime's own graph."""

import dataclasses
from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from packlight.backends.onnxruntime.kernel_call import KINDS, RUN, integer_call
from packlight.backends.onnxruntime.operator_kernels import KERNELS
from packlight.benchmarking import kernel_calls, named_kernel_calls
from packlight.benchmarking.designs import DESIGNS, Timed, timed_set
from packlight.benchmarking.draft import Draft
from packlight.errors import ModelError
from packlight.model import Model, to_bytes
from packlight.profiling import profile
from packlight.profiling.counting import COUNTS
from packlight.runtime.hardware import instruction_sets

FLOATS = (1, 3, 8, 8)


def called(*results: ir.Value, draft: Draft):
    model = draft.model(*results)
    return {
        call: times
        for call, times in kernel_calls(model, profile(model, {})).items()
        if call != RUN
    }


def only(*results: ir.Value, draft: Draft):
    (call,) = called(*results, draft=draft)
    return call


def shape_of(call):
    return dict(zip(KINDS[call.kind].features, call.shape, strict=True))


def test_a_convolution_is_told_by_its_shape():
    draft = Draft("conv", 0)
    x = draft.feed(1, 32, 16, 16)
    y = draft.product("Conv", x, (64, 32, 3, 3), 0, kernel_shape=[3, 3], strides=[2, 2],
                      pads=[1, 1, 1, 1])  # fmt: skip
    found = called(draft.op("Relu", y), draft=draft)
    conv = next(call for call in found if call.kind == "conv")

    assert conv.macs == 64 * 8 * 8 * 32 * 9
    assert conv.moved == 4 * (32 * 16 * 16 + 64 * 8 * 8 + 64 * 32 * 9)
    around = shape_of(conv).pop("around")
    expected = {"inputs": 5, "outputs": 6, "kernel": np.log2(9), "positions": 6, "stride": 2,
                "waste": 0, "around": around}  # fmt: skip
    assert shape_of(conv) == pytest.approx(expected)
    reordered = [call for call in found if call.kind == "reorder"]
    assert {call.moved for call in reordered} == {8.0 * 32 * 16 * 16, 8.0 * 64 * 8 * 8}
    assert sum(call.moved for call in found) == pytest.approx(2**around)


@pytest.mark.parametrize(
    ("x", "weight", "attributes", "kind"),
    [
        (FLOATS, (16, 3, 3, 3), {}, "stem"),
        ((1, 32, 8, 8), (16, 32, 1, 1), {}, "pointwise"),
        ((1, 32, 8, 8), (32, 1, 3, 3), {"group": 32}, "depthwise"),
        ((1, 32, 8, 8), (32, 8, 3, 3), {"group": 4}, "grouped"),
        ((1, 3, 64), (16, 3, 5), {}, "conv1d"),
    ],
)
def test_each_kind_of_convolution_has_a_kernel_of_its_own(x, weight, attributes, kind):
    draft = Draft("conv", 0)
    found = called(draft.product("Conv", draft.feed(*x), weight, 0, **attributes), draft=draft)
    assert [call.kind for call in found if call.macs] == [kind]


def test_products_are_told_apart_by_rows_and_by_what_is_stored():
    draft = Draft("products", 0)
    many = only(draft.op("MatMul", draft.feed(7, 32), draft.keep(draft.spread((32, 48)))),
                draft=draft)  # fmt: skip
    assert (many.kind, many.macs) == ("matmul", 7 * 32 * 48)
    assert many.moved == 4 * (7 * 32 + 32 * 48 + 7 * 48)
    assert many.shape[:3] == pytest.approx(np.log2([7, 48, 32]))

    draft = Draft("row", 0)
    one = only(draft.op("MatMul", draft.feed(1, 32), draft.keep(draft.spread((32, 48)))),
               draft=draft)  # fmt: skip
    assert (one.kind, one.shape[:2]) == ("vector", pytest.approx(np.log2([48, 32])))

    draft = Draft("batch", 0)
    both = only(draft.op("MatMul", draft.feed(1, 4, 7, 32), draft.feed(1, 4, 32, 9)), draft=draft)
    assert (both.kind, both.macs) == ("batched", 4 * 7 * 32 * 9)
    assert both.shape[:4] == pytest.approx(np.log2([7, 9, 32, 4]))


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_recurrent_layers_count_every_step(op, gates):
    draft = Draft(op, 0)
    stored = [draft.keep(draft.spread((1, gates * 20, width))) for width in (12, 20)]
    found = only(draft.op(op, draft.feed(6, 1, 12), *stored, hidden_size=20), draft=draft)
    assert (found.kind, found.macs) == ("recurrent", 6 * gates * 20 * (12 + 20))
    assert found.shape[:3] == pytest.approx(np.log2([6, 12, 20]))


def test_every_operator_with_arithmetic_has_a_kind_and_every_kind_is_timed():
    timed = {call.kind for model in timed_set(quick=True) for call in calls_of(model)}
    assert timed >= set(KINDS) - {"small"}
    products = {op for op in COUNTS[""] if op in ("Conv", "Gemm", "MatMul", "LSTM", "Softmax")}
    assert products <= set(KERNELS)


def calls_of(timed: Timed):
    model, _ = timed.draw()
    return kernel_calls(model, profile(model, {}))


@pytest.mark.skipif(
    "avx512f" not in instruction_sets(),
    reason="convolutions are laid out in blocks of 16 channels with AVX-512, of 8 or none without",
)
@pytest.mark.parametrize("name", DESIGNS)
def test_kernels_are_as_many_as_onnx_runtime_runs(name, tmp_path):
    for number in range(min(4, DESIGNS[name].count)):
        timed = Timed(name, number)
        written = tmp_path / f"{number}.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(written)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(to_bytes(timed.draw()[0]), options)
        theirs = Counter(node.op_type for node in onnx.load(written).graph.node)
        ours = calls_of(timed)
        assert sum(ours.values()) - ours[RUN] == theirs.total(), (timed.key, theirs, ours)


def test_integer_kernels_take_in_the_codes_around_them():
    draft = Draft("codes", 0, "int8")
    y = draft.product("Conv", draft.feed(1, 32, 8, 8), (32, 32, 3, 3), 0, pads=[1, 1, 1, 1])
    y = draft.stored_activation(draft.op("Relu", y))
    y = draft.stored_activation(draft.product("Conv", y, (16, 32, 1, 1), 0))
    found = Counter(call.curve for call in called(y, draft=draft))
    assert found == {"conv:int8": 1, "pointwise:int8": 1, "quantize:float32": 1,
                     "dequantize:float32": 1, "transpose:int8": 2}  # fmt: skip


def test_a_bias_breaks_integer_products_where_the_model_says_all_shapes():
    def curves(rows: int | str):
        draft = Draft("product", 0, "int8")
        x = draft.feed(1, 6, 32)
        x.shape = ir.Shape([rows, 6, 32])
        y = draft.op("Add", draft.product("MatMul", x, (32, 48), 1),
                     draft.keep(draft.spread((48,))))  # fmt: skip
        return Counter(call.curve for call in called(y, draft=draft))

    assert curves("rows")["matmul:int8"] == 1
    assert curves(1)["matmul:float32"] == 1
    assert curves(1)["dequantize:float32"] == 2


def test_blocks_of_codes_are_read_as_they_are_stored():
    draft = Draft("blocks", 0, "int4")
    found = only(draft.product("MatMul", draft.feed(1, 6, 64), (64, 48), 1), draft=draft)
    assert found.kind == "blocks"
    assert found.moved == 4 * (6 * 64 + 6 * 48) + 64 * 48 / 2


def test_an_open_shape_is_refused_with_its_operator():
    draft = Draft("open", 0)
    x = draft.feed(4, 8)
    mean = draft.op("ReduceMean", x, draft.integers(1, 1))
    kept = draft.op("Compress", x, draft.op("Greater", mean, draft.numbers(1.0)), axis=0)
    model = draft.model(draft.op("Exp", kept))
    with pytest.raises(ModelError, match=r"around 'compress\d+' \(Compress\) one is open"):
        kernel_calls(model, profile(model, {}))


def test_calls_are_told_by_the_operator_that_makes_them():
    model, _ = Timed("gated block", 0).draw()
    found = profile(model, {})
    named = named_kernel_calls(model, found)
    assert sum((Counter({call: times}) for _, call, times in named), Counter()) == kernel_calls(
        model, found
    )
    macs = Counter()
    for name, call, times in named:
        macs[name] += call.macs * times
    assert {one.name: one.macs for one in found.operators if one.macs} == {
        name: count for name, count in macs.items() if count
    }


def test_products_between_codes_are_those_of_the_same_model_in_codes():
    def products(dtype):
        draft = Draft("product", 0, dtype)
        product = draft.product("Conv", draft.feed(1, 32, 8, 8), (48, 32, 3, 3), 0)
        calls = called(draft.stored_activation(product), draft=draft)
        return [call for call in calls if call.macs]

    (floats,), (codes,) = products("float32"), products("int8")
    assert dataclasses.replace(integer_call(floats), shape=codes.shape) == codes
    assert integer_call(codes) == codes
    assert integer_call(RUN) == RUN


def test_the_model_is_left_as_it_is():
    model, _ = Timed("mobile block, codes", 0).draw()
    before = Model(model.graph, model.name).digest
    kernel_calls(model, profile(model, {}))
    assert Model(model.graph, model.name).digest == before
