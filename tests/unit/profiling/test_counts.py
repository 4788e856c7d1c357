"""Multiply-accumulates, other operations and parameters against values derived by hand."""

import math

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from packlight.compression import compress
from packlight.model import Model
from packlight.profiling import profile
from packlight.profiling.counting import COUNTS
from packlight.records import parse_recipe
from packlight.testing import NETWORKS


def network(body, inputs, outputs, weights=(), opset=21):
    """A model from ONNX text, with stored values of the given shapes, and types if not floats."""
    imports = f'"" : {opset}, "com.microsoft" : 1, "own" : 1'
    text = f"<ir_version: 10, opset_import: [{imports}]> g ({inputs}) => ({outputs}) {{ {body} }}"
    proto = parser.parse_model(text)
    for name, value in dict(weights).items():
        array = value if isinstance(value, np.ndarray) else np.ones(value, np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return Model(ir.from_proto(proto), "g")


def of(dtype, *shape):
    """A stored value of another type than float."""
    return np.ones(shape, dtype)


def single(dtype, value):
    """A stored single number."""
    return np.asarray(value, dtype)


U8, I8, I64 = np.uint8, np.int8, np.int64
SIX = {"s": single(np.float32, 1), "z": single(U8, 1)}

PRODUCTS = {
    # 8 x 30 x 30 outputs sum over 3 x 3 x 3 = 27 inputs.
    "conv": ("y = Conv(x, w)", "float[1,3,32,32] x", "float[1,8,30,30] y", {"w": (8, 3, 3, 3)},
             8 * 30 * 30 * 27, 0),
    "conv with a bias, which is where the sum starts": (
        "y = Conv(x, w, b)", "float[1,3,8,8] x", "float[1,4,8,8] y",
        {"w": (4, 3, 1, 1), "b": (4,)}, 4 * 64 * 3, 0),
    # Depthwise: every one of 2 x 8 x 8 x 8 outputs sums over 1 x 3 x 3 inputs.
    "depthwise conv": (
        "y = Conv<group=8, strides=[2,2], pads=[1,1,1,1]>(x, w)", "float[2,8,16,16] x",
        "float[2,8,8,8] y", {"w": (8, 1, 3, 3)}, 2 * 8 * 64 * 9, 0),
    # Two groups: 6 outputs channels from 4 / 2 inputs each; length 10 - 2 x (3 - 1) = 6.
    "grouped dilated conv of one dimension": (
        "y = Conv<group=2, dilations=[2]>(x, w)", "float[1,4,10] x", "float[1,6,6] y",
        {"w": (6, 2, 3)}, 6 * 6 * 2 * 3, 0),
    "conv of three dimensions": (
        "y = Conv(x, w)", "float[1,2,4,5,6] x", "float[1,3,3,4,5] y", {"w": (3, 2, 2, 2, 2)},
        3 * 60 * 16, 0),
    "integer conv": ("y = ConvInteger(x, w)", "uint8[1,3,5,5] x", "int32[1,2,4,4] y",
                     {"w": of(U8, 2, 3, 2, 2)}, 2 * 16 * 12, 0),
    # 2 x 4 x 4 sums over 12, each then scaled, rounded, moved and limited.
    "quantized conv": (
        "y = QLinearConv(x, s, z, w, s, z, s, z)", "uint8[1,3,5,5] x", "uint8[1,2,4,4] y",
        {"w": of(U8, 2, 3, 2, 2), **SIX}, 2 * 16 * 12, 4 * 2 * 16),
    # Each of 4 x 25 inputs is spread over 6 x 3 x 3 outputs.
    "transposed conv": (
        "y = ConvTranspose<strides=[2,2]>(x, w)", "float[1,4,5,5] x", "float[1,6,11,11] y",
        {"w": (4, 6, 3, 3)}, 4 * 25 * 6 * 9, 0),
    "transposed conv in groups": (
        "y = ConvTranspose<group=2>(x, w)", "float[1,4,5] x", "float[1,6,7] y", {"w": (4, 3, 3)},
        4 * 5 * 3 * 3, 0),
    # Output (1, 4, 3, 3); each of 2 channels is sampled at 9 places for each of 9 positions: 162
    # samples between four values, 8 operations each, and one for the mask.
    "deformable conv": (
        "y = DeformConv(x, w, o, , m)",
        "float[1,2,5,5] x, float[1,18,3,3] o, float[1,9,3,3] m", "float[1,4,3,3] y",
        {"w": (4, 2, 3, 3)}, 4 * 9 * 18, 162 * 9),
    "gemm": ("y = Gemm<transB=1>(x, w)", "float[5,16] x", "float[5,10] y", {"w": (10, 16)},
             5 * 16 * 10, 0),
    "gemm of a turned input": ("y = Gemm<transA=1>(x, w)", "float[16,5] x", "float[5,10] y",
                               {"w": (16, 10)}, 5 * 16 * 10, 0),
    "matmul": ("y = MatMul(x, w)", "float[2,7,16] x", "float[2,7,10] y", {"w": (16, 10)},
               2 * 7 * 16 * 10, 0),
    "matmul of two activations, one repeated": (
        "y = MatMul(x, z)", "float[3,4,7,8] x, float[4,8,9] z", "float[3,4,7,9] y", {},
        3 * 4 * 7 * 8 * 9, 0),
    "matmul of vectors": ("y = MatMul(x, w)", "float[8] x", "float y", {"w": (8,)}, 8, 0),
    "matmul of a vector and a matrix": ("y = MatMul(x, w)", "float[8] x", "float[3] y",
                                        {"w": (8, 3)}, 24, 0),
    "integer matmul": ("y = MatMulInteger(x, w)", "uint8[4,6] x", "int32[4,5] y",
                       {"w": of(U8, 6, 5)}, 4 * 6 * 5, 0),
    "quantized matmul": ("y = QLinearMatMul(x, s, z, w, s, z, s, z)", "uint8[4,6] x",
                         "uint8[4,5] y", {"w": of(U8, 6, 5), **SIX}, 4 * 6 * 5, 4 * 4 * 5),
    "einsum of a batch": (
        'y = Einsum<equation="bij,jk->bik">(x, w)', "float[2,3,4] x", "float[2,3,5] y",
        {"w": (4, 5)}, 2 * 3 * 4 * 5, 0),
    "einsum with dots, one of them repeated": (
        'y = Einsum<equation="...ij,...jk->...ik">(x, z)', "float[6,1,2,3] x, float[7,3,4] z",
        "float[6,7,2,4] y", {}, 6 * 7 * 2 * 3 * 4, 0),
    # The diagonals of x are 3 numbers for each of 2; then 2 x 3 x 5 products.
    "einsum of a diagonal": ('y = Einsum<equation="bii,ij->bj">(x, w)', "float[2,3,3] x",
                             "float[2,5] y", {"w": (3, 5)}, 2 * 3 * 5, 0),
    # (2 x 3) by (3 x 4) gives 2 x 4; that by (4 x 5).
    "einsum of three": ('y = Einsum<equation="ab,bc,cd->ad">(x, w, v)', "float[2,3] x",
                        "float[2,5] y", {"w": (3, 4), "v": (4, 5)}, 2 * 3 * 4 + 2 * 4 * 5, 0),
    # k stands in x alone: 2 x 3 x 4 numbers are summed over it, then 2 x 3 x 5 products.
    "einsum that sums first": ('y = Einsum<equation="ijk,jl->il">(x, w)', "float[2,3,4] x",
                               "float[2,5] y", {"w": (3, 5)}, 2 * 3 * 5, 2 * 3 * 4),
    "einsum of one operand": ('y = Einsum<equation="ij->j">(x)', "float[3,4] x", "float[4] y", {},
                              0, 12),
    "einsum that only turns": ('y = Einsum<equation="ij->ji">(x)', "float[3,4] x",
                               "float[4,3] y", {}, 0, 0),
    "einsum without an arrow": ('y = Einsum<equation="ij,jk">(x, w)', "float[3,4] x",
                                "float[3,5] y", {"w": (4, 5)}, 60, 0),
    # 10 steps x 2 samples; 4 gates of 6; per state number 3 sigmoids, 2 tanh, 3 products, 1 sum.
    "lstm": ("y, h, c = LSTM<hidden_size=6>(x, w, r)", "float[10,2,4] x", "float[10,1,2,6] y",
             {"w": (1, 24, 4), "r": (1, 24, 6)}, 20 * 24 * (4 + 6), 20 * 6 * 9),
    "lstm whose last state alone is read": (
        ", y = LSTM<hidden_size=6>(x, w, r)", "float[10,2,4] x",
        "float[1,2,6] y", {"w": (1, 24, 4), "r": (1, 24, 6)}, 20 * 24 * 10, 20 * 6 * 9),
    # Three gates look at the cell through one product each.
    "lstm with peepholes, both ways": (
        'y = LSTM<hidden_size=6, direction="bidirectional">(x, w, r, , , , , p)',
        "float[10,2,4] x", "float[10,2,2,6] y",
        {"w": (2, 24, 4), "r": (2, 24, 6), "p": (2, 18)}, 20 * 2 * (24 * 10 + 18), 20 * 2 * 6 * 9),
    "gru both ways": (
        'y, h = GRU<hidden_size=6, direction="bidirectional">(x, w, r)', "float[10,2,4] x",
        "float[10,2,2,6] y", {"w": (2, 18, 4), "r": (2, 18, 6)}, 20 * 2 * 18 * 10, 20 * 2 * 6 * 8),
    "gru with samples first and the reset behind the product": (
        "y = GRU<hidden_size=6, layout=1, linear_before_reset=1>(x, w, r, b)", "float[2,10,4] x",
        "float[2,10,1,6] y", {"w": (1, 18, 4), "r": (1, 18, 6), "b": (1, 36)}, 20 * 18 * 10,
        20 * 6 * 8),
    "rnn": ("y, h = RNN<hidden_size=6>(x, w, r)", "float[10,2,4] x", "float[10,1,2,6] y",
            {"w": (1, 6, 4), "r": (1, 6, 6)}, 20 * 6 * 10, 20 * 6),
}  # fmt: skip

ATTENTION = {
    # 2 samples x 4 heads x 5 queries x 7 keys: a product over 8 for the score, 9 values each; per
    # score a scaling and a softmax of 5.
    "attention": (
        "y = Attention(q, k, v)", "float[2,4,5,8] q, float[2,4,7,8] k, float[2,4,7,9] v",
        "float[2,4,5,9] y", {}, 2 * 4 * 5 * 7 * (8 + 9), 2 * 4 * 5 * 7 * 6, 23),
    "attention of flat heads that share keys, with a mask": (
        "y = Attention<q_num_heads=4, kv_num_heads=2>(q, k, v, m)",
        "float[2,5,32] q, float[2,7,16] k, float[2,7,16] v, float[5,7] m", "float[2,5,32] y", {},
        2 * 4 * 5 * 7 * 16, 2 * 4 * 5 * 7 * 7, 23),
    "attention with a past and a cap": (
        "y, a, b = Attention<softcap=5.0>(q, k, v, , p, o)",
        "float[1,2,3,4] q, float[1,2,3,4] k, float[1,2,3,4] v, float[1,2,6,4] p, float[1,2,6,4] o",
        "float[1,2,3,4] y", {}, 2 * 3 * 9 * 8, 2 * 3 * 9 * 9, 23),
    # 3 tokens of 8 by (8, 24); then 2 heads of 4: 3 x 3 scores.
    "microsoft attention": (
        "y = com.microsoft.Attention<num_heads=2>(x, w, b)", "float[1,3,8] x", "float[1,3,8] y",
        {"w": (8, 24), "b": (24,)}, 3 * 8 * 24 + 2 * 9 * (4 + 4), 2 * 9 * 6, 21),
    "microsoft multi-head attention": (
        "y = com.microsoft.MultiHeadAttention<num_heads=2>(q, k, v)",
        "float[1,3,8] q, float[1,5,8] k, float[1,5,8] v", "float[1,3,8] y", {},
        2 * 3 * 5 * 8, 2 * 3 * 5 * 6, 21),
    # 3 x 64 by (64, 16); each of 64 x 16 codes is moved and scaled.
    "product with a weight in blocks": (
        "y = com.microsoft.MatMulNBits<K=64, N=16, bits=4, block_size=32>(x, w, s)",
        "float[3,64] x", "float[3,16] y", {"w": of(U8, 16, 2, 16), "s": (16, 2)},
        3 * 64 * 16, 2 * 64 * 16, 21),
    "fused product of turned matrices": (
        "y = com.microsoft.FusedMatMul<transB=1>(x, z)", "float[2,3,4] x, float[2,5,4] z",
        "float[2,3,5] y", {}, 2 * 3 * 4 * 5, 0, 21),
    "fused convolution": (
        'y = com.microsoft.FusedConv<activation="Relu">(x, w)', "float[1,3,8,8] x",
        "float[1,4,6,6] y", {"w": (4, 3, 3, 3)}, 4 * 36 * 27, 0, 21),
    # The range of 4 x 6 numbers is found and they are quantized, 6 each; 4 x 5 sums are scaled.
    "product that quantizes its input": (
        "y = com.microsoft.DynamicQuantizeMatMul(x, w, s)", "float[4,6] x", "float[4,5] y",
        {"w": of(U8, 6, 5), "s": single(np.float32, 1)}, 4 * 6 * 5, 6 * 24 + 20, 21),
    # 7 x 2 steps by 24 gates of 5 inputs and 6 numbers of the state; 9 more for each of these, 6 to
    # quantize each input and number of the state, and 2 sums of each gate that are scaled.
    "recurrence that quantizes its input and state": (
        "y, h, c = com.microsoft.DynamicQuantizeLSTM<hidden_size=6>(x, w, r, , , , , , s, z, s, z)",
        "float[7,2,5] x", "float[7,1,2,6] y",
        {"w": of(np.int8, 1, 5, 24), "r": of(np.int8, 1, 6, 24), "s": (1,), "z": of(np.int8, 1)},
        14 * 24 * 11, 14 * 6 * 9 + 6 * (70 + 84) + 2 * 14 * 24, 21),
    "product of codes with a bias": (
        "y = com.microsoft.QGemm<transB=1>(x, s, z, w, s, z, b, s, z)", "uint8[4,6] x",
        "uint8[4,5] y", {"w": of(U8, 5, 6), "b": of(np.int32, 5), **SIX}, 4 * 6 * 5, 4 * 20, 21),
}  # fmt: skip

OTHER = {
    "relu": ("y = Relu(x)", "float[2,9] x", "float[2,9] y", {}, 18),
    "add with a repeated side": ("y = Add(x, w)", "float[4,1] x", "float[4,3] y", {"w": (3,)}, 12),
    "clip": ("y = Clip(x, a, b)", "float[6] x", "float[6] y",
             {"a": single(np.float32, 0), "b": single(np.float32, 6)}, 2 * 6),
    "sum of three": ("y = Sum(x, x, w)", "float[5] x", "float[5] y", {"w": (5,)}, 2 * 5),
    "mean of three": ("y = Mean(x, x, w)", "float[5] x", "float[5] y", {"w": (5,)}, 3 * 5),
    "softmax": ("y = Softmax(x)", "float[3,7] x", "float[3,7] y", {}, 5 * 21),
    "gelu": ("y = Gelu(x)", "float[3,7] x", "float[3,7] y", {}, 5 * 21),
    "batch normalisation": (
        "y = BatchNormalization(x, a, b, c, d)", "float[1,3,4,4] x", "float[1,3,4,4] y",
        dict.fromkeys("abcd", (3,)), 2 * 48),
    "layer normalisation": ("y = LayerNormalization(x, a, b)", "float[2,8] x", "float[2,8] y",
                            {"a": (8,), "b": (8,)}, 7 * 16),
    "layer normalisation without a shift": (
        "y = LayerNormalization(x, a)", "float[2,8] x", "float[2,8] y", {"a": (8,)}, 6 * 16),
    "reduction": ("y = ReduceMean<keepdims=0>(x, a)", "float[2,8] x", "float[2] y",
                  {"a": of(I64, 1)}, 16),
    # 4 x 4 places of windows of 3 x 2.
    "pooling": ("y = MaxPool<kernel_shape=[3,2], strides=[2,2], pads=[1,0,1,0]>(x)",
                "float[1,2,8,8] x", "float[1,2,4,4] y", {}, 2 * 16 * 6),
    "pooling of powers": ("y = LpPool<kernel_shape=[2]>(x)", "float[1,2,8] x", "float[1,2,7] y",
                          {}, 2 * 2 * 7 * 2),
    "pooling of all": ("y = GlobalAveragePool(x)", "float[1,2,8,8] x", "float[1,2,1,1] y", {}, 128),
    # Four points around each of 2 x 16 x 16, a product and a sum each.
    "resize by lines": (
        'y = Resize<mode="linear">(x, , a)', "float[1,2,8,8] x", "float[1,2,16,16] y",
        {"a": np.array([1, 1, 2, 2], np.float32)}, 2 * 4 * 512),
    "resize to the nearest": (
        'y = Resize<mode="nearest">(x, , a)', "float[1,2,8,8] x", "float[1,2,16,16] y",
        {"a": np.array([1, 1, 2, 2], np.float32)}, 0),
    "quantizing": ("y = QuantizeLinear(x, s, z)", "float[6] x", "uint8[6] y", SIX, 4 * 6),
    "moves": ("a = Transpose(x) b = Reshape(a, n) y = Concat<axis=0>(b, b)", "float[2,3] x",
              "float[12] y", {"n": np.array([-1], I64)}, 0),
    # 5 n log2 n for each of 3 complex rows of 8; half of it for real ones.
    "fourier transform": ("y = DFT<axis=1>(x)", "float[3,8,2] x", "float[3,8,2] y", {},
                          3 * 5 * 8 * 3, 17),
    "fourier transform of real numbers": (
        "y = DFT<onesided=1>(x, , a)", "float[3,8,1] x", "float[3,5,2] y",
        {"a": single(I64, 1)}, 3 * 2.5 * 8 * 3, 21),
    # Frames start at 0, 4 and 8 of 16: 3 of 8 numbers, weighted by a window.
    "short fourier transform": (
        "y = STFT(x, n, w)", "float[1,16,1] x", "float[1,3,5,2] y",
        {"n": single(I64, 4), "w": (8,)}, 3 * 8 + 3 * 2.5 * 8 * 3, 21),
    # 24 numbers, a heap of 3: 2 comparisons each.
    "largest": ("y, i = TopK(x, k)", "float[2,12] x", "float[2,3] y", {"k": of(I64, 1) * 3}, 48),
    "determinant": ("y = Det(x)", "float[2,6,6] x", "float[2] y", {}, 2 * 2 * 6**3 / 3),
}  # fmt: skip


def counted(found):
    """Multiply-accumulates and other operations."""
    assert found.unknown == ()
    return found.totals["macs"].value, found.totals["other_ops"].value


@pytest.mark.parametrize("case", PRODUCTS)
def test_products_equal_hand_derived_values(case):
    body, inputs, outputs, weights, macs, other = PRODUCTS[case]

    found = profile(network(body, inputs, outputs, weights, 22 if "Deform" in body else 21), {})

    assert counted(found) == (macs, other)
    sizes = [np.shape(v) if isinstance(v, np.ndarray) else v for v in weights.values()]
    assert found.totals["parameters"].value == sum(math.prod(size) for size in sizes if size)


@pytest.mark.parametrize("case", ATTENTION)
def test_attention_and_the_runtimes_own_products_equal_hand_derived_values(case):
    body, inputs, outputs, weights, macs, other, opset = ATTENTION[case]

    assert counted(profile(network(body, inputs, outputs, weights, opset), {})) == (macs, other)


@pytest.mark.parametrize("case", OTHER)
def test_other_operations_equal_hand_derived_values(case):
    body, inputs, outputs, weights, other, *opset = OTHER[case]

    found = profile(network(body, inputs, outputs, weights, *opset), {})

    assert counted(found) == (0, other)


def test_at_least_forty_operators_are_derived_by_hand():
    bodies = [case[0] for table in (PRODUCTS, ATTENTION, OTHER) for case in table.values()]
    operators = {
        node.op_type
        for body in bodies
        for node in parser.parse_graph(f"g () => () {{ {body} }}").node
    }

    assert len(operators) >= 40


DATA = {
    "ImageDecoder", "MaxRoiPool", "MelWeightMatrix", "Multinomial", "NonMaxSuppression",
    "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer",
}  # fmt: skip
"""Operators whose arithmetic depends on data, or is on texts."""


def test_every_operator_of_onnx_up_to_opset_23_is_counted_or_unknown_for_a_reason():
    schemas = onnx.defs.get_all_schemas_with_history()
    all_names = {s.name for s in schemas if s.domain == ""}
    known = {s.name for s in schemas if s.domain == "" and s.since_version <= 23}

    assert known - set(COUNTS[""]) == DATA
    assert set(COUNTS[""]) <= all_names


def test_lengths_of_sequences_are_data_and_that_is_said():
    body = "y = LSTM<hidden_size=6>(x, w, r, , n)"
    model = network(
        body, "float[10,2,4] x, int32[2] n", "float[10,1,2,6] y",
        {"w": (1, 24, 4), "r": (1, 24, 6)},
    )  # fmt: skip

    found = profile(model, {})

    assert found.totals["macs"].value == 20 * 24 * 10
    assert "sequence_lens is data, so every sequence counts at full length" in found.notes[-1]


def test_an_operator_that_nobody_knows_is_unknown_and_never_nothing():
    model = network("a = own.Twist(x) y = MatMul(a, w)", "float[2,4] x", "float[2,3] y",
                    {"w": (4, 3)})  # fmt: skip

    found = profile(model, {})

    twist, product = found.operators
    assert (twist.op, twist.macs, twist.other_ops) == ("own.Twist", None, None)
    assert (product.macs, product.intensity) == (None, None)
    assert "the arithmetic of own.Twist is not known" in found.unknown[0]
    assert "the shape of what it reads or gives is open" in found.unknown[1]
    assert found.totals["macs"].how == "estimated"
    assert "peak_activation_bytes" not in found.totals


def test_shapes_that_an_operator_cannot_have_are_unknown():
    model = network('y = Einsum<equation="ijk,k->i">(x, w)', "float[2,4] x", "float[2] y",
                    {"w": (4,)})  # fmt: skip

    (told,) = profile(model, {}).unknown

    assert "'ijk' does not name the 2 dimensions that it reads" in told


def test_bytes_and_intensity_are_those_of_what_is_read_and_written():
    model = network("y = MatMul(x, w)", "float[2,8] x", "float[2,4] y", {"w": (8, 4)})

    (row,) = profile(model, {}).operators

    assert (row.weight_bytes, row.loaded_bytes) == (128, 128)
    assert (row.activation_bytes_in, row.activation_bytes_out, row.activation_bytes) == (64, 32, 96)
    assert row.intensity == pytest.approx(2 * 8 * 4 / (128 + 96))


def test_types_say_how_many_bytes_a_number_takes():
    model = network("a = Cast<to=9>(x) y = Cast<to=10>(a)", "double[6] x", "float16[6] y")

    first, second = profile(model, {}).operators

    assert (first.activation_bytes_in, first.activation_bytes_out) == (48, 6)
    assert (second.activation_bytes_in, second.activation_bytes_out) == (6, 12)


@pytest.mark.parametrize(
    ("call", "inputs", "given", "other"),
    [
        ("QLinearAdd(x, s, z, o, s, z, s, z)", "uint8[2,8,6] x, uint8[2,8,6] o", (2, 8, 6), 9 * 96),
        ("QLinearMul(x, s, z, o, s, z, s, z)", "uint8[2,8,6] x, uint8[6] o", (2, 8, 6), 9 * 96),
        ("QLinearConcat<axis=1>(s, z, x, s, z, o, s, z)", "uint8[2,8] x, uint8[2,3] o", (2, 11),
         6 * 22),
        ("QLinearSigmoid(x, s, z, s, z)", "uint8[2,8] x", (2, 8), 16),
        ("QLinearLeakyRelu(x, s, z, s, z)", "uint8[2,8] x", (2, 8), 16),
        ("QLinearSoftmax<opset=13>(x, s, z, s, z)", "uint8[2,8] x", (2, 8), 9 * 16),
        ("QLinearGlobalAveragePool(x, s, z, s, z)", "uint8[1,2,8,8] x", (1, 2, 1, 1), 128),
        ("QLinearAveragePool<kernel_shape=[2,2]>(x, s, z, s, z)", "uint8[1,2,8,8] x", (1, 2, 7, 7),
         4 * 98),
    ],
)  # fmt: skip
def test_operators_on_codes_are_counted_and_say_what_they_give(call, inputs, given, other):
    model = network(f"a = com.microsoft.{call} y = Identity(a)", inputs, "uint8 y", SIX)

    found = profile(model, {})

    row = found.operators[0]
    assert found.unknown == ()
    assert (row.macs, row.other_ops) == (0, other)
    assert row.activation_bytes_out == np.prod(given)


def test_a_product_of_codes_gives_floats_where_it_is_told_no_scale():
    body = "a = com.microsoft.QGemm(x, s, z, w, s, z) y = Relu(a)"
    weights = {"w": of(U8, 6, 5), **SIX}

    found = profile(network(body, "uint8[4,6] x", "float[4,5] y", weights), {})

    assert [row.activation_bytes_out for row in found.operators] == [4 * 20, 4 * 20]


def test_statistics_of_a_normalisation_and_limits_and_shapes_are_no_parameters():
    model = network(
        "a = BatchNormalization(x, a1, b, c, d) e = Clip(a, l) y = Reshape(e, n)",
        "float[1,3,2,2] x", "float[12] y",
        {"a1": (3,), "b": (3,), "c": (3,), "d": (3,), "l": single(np.float32, 0),
         "n": np.array([-1], I64)},
    )  # fmt: skip

    found = profile(model, {})

    assert found.totals["parameters"].value == 6
    assert found.totals["weight_bytes"].value == 4 * 12 + 4 + 8


STORED_FORMS = {
    "blocks of four bits": (
        "y = com.microsoft.MatMulNBits<K=64, N=16, bits=4, block_size=32>(x, w, s, z)",
        {"w": of(U8, 16, 2, 16), "s": (16, 2), "z": of(U8, 16, 1)}, 64 * 16),
    "blocks of which the last is padded, and a bias": (
        "y = com.microsoft.MatMulNBits<K=40, N=16, bits=4, block_size=32>(x, w, s, , , b)",
        {"w": of(U8, 16, 2, 16), "s": (16, 2), "b": (16,)}, 40 * 16 + 16),
    "blocks of eight bits": (
        "y = com.microsoft.MatMulNBits<K=64, N=16, bits=8, block_size=32>(x, w, s)",
        {"w": of(U8, 16, 2, 32), "s": (16, 2)}, 64 * 16),
    "rows of packed blocks": (
        "y = com.microsoft.GatherBlockQuantized<block_size=32, quantize_axis=1>(w, i, s)",
        {"w": of(U8, 100, 32), "s": (100, 2), "i": of(I64, 3)}, 100 * 64),
    "rows of blocks of eight bits": (
        "y = com.microsoft.GatherBlockQuantized<block_size=32, quantize_axis=1, bits=8>(w, i, s)",
        {"w": of(U8, 100, 64), "s": (100, 2), "i": of(I64, 3)}, 100 * 64),
    "experts": (
        "y = com.microsoft.QMoE<expert_weight_bits=4>(x, r, v, s, , w, t)",
        {"v": of(U8, 2, 8, 4), "s": (2, 8), "w": of(U8, 2, 8, 4), "t": (2, 8)}, 2 * 2 * 8 * 8),
    "codes for each channel": (
        "d = DequantizeLinear<axis=1>(w, s, z) y = MatMul(x, d)",
        {"w": of(I8, 64, 16), "s": (16,), "z": of(I8, 16)}, 64 * 16),
    "codes of a bias": (
        "d = DequantizeLinear<axis=0>(w, s) y = Add(x, d)",
        {"w": of(np.int32, 64), "s": (64,)}, 64),
    "a convolution of codes": (
        "y = QLinearConv(x, s, z, w, t, u, s, z, b)",
        {"w": of(I8, 8, 4, 1, 1), "t": (8,), "u": of(I8, 8), "b": of(np.int32, 8), **SIX},
        8 * 4 + 8),
    "a product of codes": (
        "y = MatMulInteger(x, w, z, u)", {"w": of(I8, 64, 16), "u": of(I8, 16), **SIX}, 64 * 16),
}  # fmt: skip


@pytest.mark.parametrize("name", STORED_FORMS)
def test_a_weight_in_another_form_counts_the_numbers_that_it_stands_for(name):
    body, weights, parameters = STORED_FORMS[name]

    found = profile(network(body, "float x, float r", "float y", weights), {})

    assert found.totals["parameters"].value == parameters


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
def test_codes_of_four_bits_count_one_by_one_however_they_are_packed(kind):
    model = network("d = DequantizeLinear<axis=1>(w, s) y = MatMul(x, d)", "float[3,64] x",
                    "float[3,16] y", {"s": (16,)})  # fmt: skip
    codes = helper.make_tensor("w", kind, [64, 16], bytes(64 * 16 // 2), raw=True)
    node = model.graph.graph[0]
    node.replace_input_with(0, ir.Value(name="w", const_value=ir.from_proto(codes)))
    model.graph.graph.register_initializer(node.inputs[0])

    found = profile(model, {})

    assert found.totals["parameters"].value == 64 * 16
    assert found.totals["weight_bytes"].value == 64 * 16 // 2 + 64


@pytest.mark.parametrize("recipe", [
    "weights:8", "weights:6", "weights:4,block=32", "palette:4", "palette:3,per=group",
    "sparse:8,share=0.5", "sparse",
])  # fmt: skip
def test_compressing_a_model_leaves_as_many_parameters_as_there_were(recipe):
    model = compress(NETWORKS["residual-17"](), parse_recipe("simplify")).model
    before = profile(model, {}).totals["parameters"].value

    made = compress(model, parse_recipe(recipe))

    assert made.changes
    assert profile(made.model, {}).totals["parameters"].value == before


def test_results_that_nobody_asks_for_do_not_stop_a_count():
    body = """a, , , s = com.microsoft.SkipLayerNormalization(x, r, g)
              y = MatMul(a, w) z = MatMul(s, w)"""
    model = network(
        body, "float[1,3,8] x, float[1,3,8] r", "float[1,3,5] y, float[1,3,5] z",
        {"g": (8,), "w": (8, 5)},
    )  # fmt: skip
    graph = model.graph.graph
    assert [bool(value.name) for value in graph[0].outputs] == [True, False, False, True]

    found = profile(model, {})

    assert [row.macs for row in found.operators] == [0, 3 * 8 * 5, 3 * 8 * 5]
    assert found.unknown == ()
