"""Low rank: two weights in place of one, nearest for the inputs, within a budget."""

import numpy as np
import onnx
import pytest

from packlight.compression import compress
from packlight.compression.structure.low_rank import Spectrum, choose_ranks
from packlight.errors import RecipeError
from packlight.model import initializers, nodes
from packlight.records import LowRank, SessionOptions, parse_recipe
from packlight.runtime import open_session
from packlight.runtime.calibration import Calibrator
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info

EXACT = SessionOptions(arithmetic="exact", matmul_accuracy=1)


def product(matrix, op="Gemm", transposed=False):
    """x -> x W + b, as a Gemm or a MatMul and an Add."""
    net = Sketch(17)
    stored = net.keep(np.ascontiguousarray(matrix.T if transposed else matrix))
    bias = net.weight(matrix.shape[1])
    if op == "Gemm":
        value = net.add("Gemm", "x", stored, bias, transB=int(transposed), alpha=0.5)
    else:
        value = net.add("Add", net.add("MatMul", "x", stored), bias)
    dims = ["n", matrix.shape[0]]
    return net.model("product", [value_info("x", dims)], {value: ["n", matrix.shape[1]]})


def lowered(model, text, calls):
    return compress(model, parse_recipe(text), Calibrator([[c] for c in calls], EXACT))


def decibels(before, after, calls):
    sessions = [open_session(model, EXACT) for model in (before, after)]
    (name,) = before.outputs()
    expected, actual = (np.concatenate([s.run(c)[name] for c in calls]) for s in sessions)
    return signal_to_noise(expected, actual)


def drawn(shape, count=12, seed=0):
    random = np.random.default_rng(seed)
    return [{"x": random.standard_normal(shape).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize(("op", "transposed"), [("Gemm", False), ("Gemm", True), ("MatMul", False)])
@pytest.mark.parametrize("weighted", ["true", "false"])
def test_a_weight_of_low_rank_loses_nothing(op, transposed, weighted):
    random = np.random.default_rng(1)
    matrix = random.standard_normal((40, 6)) @ random.standard_normal((6, 48))
    model = product(matrix.astype(np.float32), op, transposed)
    calls = drawn((16, 40))

    made = lowered(model, f"lowrank,share=0.3,weighted={weighted}", calls)

    assert {change.storage.rank for change in made.changes} == {6}
    assert decibels(model, made.model, calls) > 90


def test_a_convolution_becomes_two_with_its_strides_and_padding_in_the_first():
    net = Sketch(17)
    random = np.random.default_rng(2)
    filters = (random.standard_normal((32, 4)) @ random.standard_normal((4, 16 * 9))) / 12
    weight = net.keep(filters.reshape(32, 16, 3, 3).astype(np.float32))
    value = net.add(
        "Conv", "x", weight, net.weight(32), strides=[2, 1], pads=[1, 0, 1, 2], dilations=[1, 2]
    )
    model = net.model("conv", [value_info("x", ["n", 16, 9, 9])], {value: ["n", 32, 5, 7]})
    calls = drawn((2, 16, 9, 9), 6)

    made = lowered(model, "lowrank,share=0.2", calls)

    first, second = (node for node in nodes(made.model.graph) if node.op_type == "Conv")
    assert tuple(first.inputs[1].const_value.shape.numpy())[1:] == (16, 3, 3)
    assert tuple(second.inputs[1].const_value.shape.numpy())[2:] == (1, 1)
    assert [change.operator for change in made.changes] == [first.name, second.name]
    assert decibels(model, made.model, calls) > 90


def test_inputs_decide_which_directions_stay():
    random = np.random.default_rng(3)
    matrix = random.standard_normal((48, 40)).astype(np.float32)
    model = product(matrix)
    mixing = random.standard_normal((5, 48)) * 3
    calls = [
        {"x": (random.standard_normal((16, 5)) @ mixing
               + 0.1 * random.standard_normal((16, 48))).astype(np.float32)}
        for _ in range(16)
    ]  # fmt: skip

    plain = lowered(model, "lowrank,weighted=false,share=0.4", calls).model
    weighted = lowered(model, "lowrank,share=0.4", calls).model

    assert decibels(model, weighted, calls) > decibels(model, plain, calls) + 10


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_weights_stay_within_their_share(share):
    net = Sketch(17)
    value = net.add("Relu", net.add("MatMul", "x", net.weight(40, 64, fan_in=40)))
    value = net.add("MatMul", value, net.weight(64, 48, fan_in=64))
    model = net.model("two", [value_info("x", ["n", 40])], {value: ["n", 48]})

    made = lowered(model, f"lowrank,share={share}", drawn((8, 40))).model

    before = sum(v.const_value.nbytes for v in initializers(model.graph))
    after = sum(v.const_value.nbytes for v in initializers(made.graph))
    assert 0.8 * share * before < after <= share * before


def test_ranks_are_the_best_of_all_within_the_budget():
    random = np.random.default_rng(4)
    spectra = []
    for size in (3, 4, 3):
        shares = np.sort(random.random(size))[::-1]
        spectra.append(Spectrum(shares / shares.sum(), lambda: None, np.zeros(1), False))
    costs = [2.0, 2.0, 2.0]

    ranks = choose_ranks(spectra, costs, 12.0, [3, 4, 3])

    def kept(choice):
        return sum(s.shares[:rank].sum() for s, rank in zip(spectra, choice, strict=True))

    every = [(a, b, c) for a in range(1, 4) for b in range(1, 5) for c in range(1, 4)]
    best = max((e for e in every if sum(e) * 2 <= 12), key=kept)
    assert kept(ranks) == pytest.approx(kept(best))


def test_weights_that_would_not_shrink_stay_and_say_so():
    random = np.random.default_rng(5)
    model = product(np.linalg.qr(random.standard_normal((40, 40)))[0].astype(np.float32))

    made = lowered(model, "lowrank,share=0.98", drawn((8, 40)))

    assert not made.changes
    assert [refusal.code for refusal in made.refusals] == ["no-gain"]


def test_the_result_is_a_plain_model():
    random = np.random.default_rng(6)
    model = product(random.standard_normal((40, 48)).astype(np.float32))

    made = lowered(model, "lowrank", drawn((8, 40))).model

    assert {node.op_type for node in nodes(made.graph)} == {"Gemm"}
    assert onnx.defs.onnx_opset_version() >= made.opset()


@pytest.mark.parametrize("share", [0, 1, 1.5])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(RecipeError, match="share="):
        LowRank(share=share)
