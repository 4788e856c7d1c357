"""Structured pruning: which channels go together, what stays, and what is refused."""

import numpy as np
import onnx
import pytest

from packlight.compression import compress
from packlight.errors import RecipeError
from packlight.model import file_size, initializers, nodes, to_bytes
from packlight.records import Channels, Recipe, Step, parse_recipe
from packlight.runtime import open_session
from packlight.runtime.calibration import Calibrator
from packlight.testing import NETWORKS
from packlight.testing.cases import EXACT, apply_recipe, sample_calls
from packlight.testing.laws import signal_to_noise
from packlight.testing.sketch import Sketch, value_info


def pruned(model, text="channels", count=24):
    return apply_recipe(model, parse_recipe(text), sample_calls(model, count, seed=7))


def shapes(model):
    """Shapes of stored values by the name of the operator that reads them and their place."""
    found = {}
    for node in nodes(model.graph):
        for index, value in enumerate(node.inputs):
            if value is not None and value.const_value is not None:
                found[node.op_type, index] = tuple(value.const_value.shape.numpy())
    return found


def decibels(before, after):
    calls = sample_calls(before, 8, seed=3)
    sessions = [open_session(model, EXACT) for model in (before, after)]
    (name,) = before.outputs()
    expected, actual = (np.stack([s.run(c)[name] for c in calls]) for s in sessions)
    return signal_to_noise(expected, actual)


def doubled(opset=17):
    """Two convolutions between which every channel is there twice, and a linear head."""
    net = Sketch(opset)
    half = net.array(8, 3, 3, 3)
    bias = net.array(8, fan_in=4)
    value = net.add(
        "Conv", "x", net.keep(np.tile(half, (2, 1, 1, 1))), net.keep(np.tile(bias, 2)),
        pads=[1, 1, 1, 1],
    )  # fmt: skip
    value = net.add("Conv", net.add("Relu", value), net.weight(12, 16, 3, 3), net.weight(12))
    value = net.add("Flatten", net.add("GlobalAveragePool", net.add("Relu", value)))
    value = net.add("Gemm", value, net.weight(5, 12), net.weight(5), transB=1)
    return net.model("doubled", [value_info("x", ["n", 3, 8, 8])], {value: ["n", 5]})


def test_channels_that_others_repeat_go_without_loss():
    model = doubled()
    first = next(str(node.name) for node in nodes(model.graph) if node.op_type == "Conv")

    made = pruned(model, f"channels,share=0.5,where=^{first}$")

    made_shapes = [tuple(v.const_value.shape.numpy()) for v in initializers(made.model.graph)]
    assert (8, 3, 3, 3) in made_shapes
    assert (12, 8, 3, 3) in made_shapes
    assert decibels(model, made.model) > 40


def test_fitting_brings_outputs_nearer():
    model = NETWORKS["residual-17"]()

    plain = pruned(model, "channels,share=0.4,refit=false,importance=l2")
    fitted = pruned(model, "channels,share=0.4")

    assert decibels(model, fitted.model) > decibels(model, plain.model) + 6


def test_what_a_sum_joins_loses_the_same_channels():
    model = NETWORKS["residual-17"]()

    made = pruned(model, "channels,share=0.25,refit=false,importance=l2").model

    convs = [node for node in nodes(made.graph) if node.op_type == "Conv"]
    first, second = ([tuple(v.const_value.shape.numpy()) for v in n.inputs[1:]] for n in convs)
    assert first[0] == (12, 3, 3, 3)
    assert second == [(12, 12, 3, 3), (12,)]
    old = [node for node in nodes(model.graph) if node.op_type == "Conv"]
    kept = {
        tuple(index for index in range(16) if any((old_w[index] == row).all() for row in new_w))
        for old_w, new_w in [
            (old[0].inputs[1].const_value.numpy(), convs[0].inputs[1].const_value.numpy()),
            (old[1].inputs[2].const_value.numpy()[:, None],
             convs[1].inputs[2].const_value.numpy()[:, None]),
        ]
    }  # fmt: skip
    assert len(kept) == 1


def concatenated(opset=17):
    """Two convolutions side by side, then one that reads both, cut apart again."""
    net = Sketch(opset)
    parts = [net.add("Conv", "x", net.weight(width, 3, 1, 1)) for width in (8, 12)]
    value = net.add("Concat", *parts, axis=1)
    value = net.norm(value, 20)
    value = net.add("Conv", net.add("Relu", value), net.weight(16, 20, 1, 1))
    name = net.fresh("split")
    outputs = [f"{name}.0", f"{name}.1"]
    sizes = net.keep(np.array([4, 12]), "sizes")
    net.nodes.append(onnx.helper.make_node("Split", [value, sizes], outputs, name=name, axis=1))
    ends = [net.add("Conv", outputs[0], net.weight(6, 4, 1, 1)),
            net.add("Conv", outputs[1], net.weight(6, 12, 1, 1))]  # fmt: skip
    value = net.add("Add", *ends)
    return net.model("concatenated", [value_info("x", ["n", 3, 4, 4])], {value: ["n", 6, 4, 4]})


@pytest.mark.parametrize("text", ["channels,share=0.5", "channels,share=0.9,multiple=2"])
def test_concatenated_and_cut_channels_stay_aligned(text):
    model = concatenated()

    made = pruned(model, text).model

    found = shapes(made)
    norm = found["BatchNormalization", 1][0]
    convs = [n for n in nodes(made.graph) if n.op_type == "Conv"]
    widths = [n.inputs[1].const_value.shape.numpy() for n in convs]
    assert widths[0][0] + widths[1][0] == norm == widths[2][1]
    split = next(n for n in nodes(made.graph) if n.op_type == "Split")
    assert sum(split.inputs[1].const_value.numpy()) == widths[2][0] < 16
    assert min(split.inputs[1].const_value.numpy()) >= 1


def heads(opset=17):
    """Attention with four heads of width 4, as exporters write it."""
    net = Sketch(opset)
    shape = net.keep(np.array([0, 0, 4, 4]), "shape")
    parts = []
    for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        value = net.add("Add", net.add("MatMul", "x", net.weight(12, 16)), net.weight(16))
        parts.append(net.add("Transpose", net.add("Reshape", value, shape), perm=order))
    scores = net.add("Softmax", net.add("MatMul", parts[0], parts[1]), axis=-1)
    mixed = net.add("Transpose", net.add("MatMul", scores, parts[2]), perm=[0, 2, 1, 3])
    value = net.add("Reshape", mixed, net.keep(np.array([0, 0, 16]), "shape"))
    value = net.add("MatMul", value, net.weight(16, 12))
    return net.model("heads", [value_info("x", ["n", 5, 12])], {value: ["n", 5, 12]})


def test_whole_heads_of_attention_go():
    model = heads()

    made = pruned(model, "channels,share=0.5").model

    targets = [
        list(n.inputs[1].const_value.numpy()) for n in nodes(made.graph) if n.op_type == "Reshape"
    ]
    assert targets == [[0, 0, 2, 4]] * 3 + [[0, 0, 8]]
    assert open_session(made, EXACT).run(sample_calls(model, 1)[0])


def test_units_of_recurrent_layers_go_in_every_gate_and_direction():
    model = NETWORKS["gru-21"]()

    made = pruned(model, "channels,share=0.25").model

    (gru,) = (node for node in nodes(made.graph) if node.op_type == "GRU")
    assert gru.attributes["hidden_size"].as_int() == 9
    assert [tuple(v.const_value.shape.numpy()) for v in gru.inputs[1:4]] == [
        (2, 27, 16), (2, 27, 9), (2, 54),
    ]  # fmt: skip


def test_budgets_are_met_and_sizes_are_known_without_samples():
    model = doubled()
    for text, option in (("channels,macs=0.4", "macs"), ("channels,bytes=0.4", "bytes")):
        made = pruned(model, text)
        weights = [v for v in initializers(model.graph) if len(v.const_value.shape) > 1]
        before = sum(v.const_value.nbytes for v in weights)
        kept = sum(v.const_value.nbytes for v in initializers(made.model.graph)
                   if len(v.const_value.shape) > 1)  # fmt: skip
        sized = compress(model, parse_recipe(text), Calibrator(sizes_only=True))
        assert file_size(sized.model.graph) == len(to_bytes(made.model))
        if option == "bytes":
            assert 0.25 * before < kept <= 0.4 * before


def test_coupled_weights_that_where_leaves_out_keep_all_channels():
    model = NETWORKS["residual-17"]()
    (first, second) = (str(n.name) for n in nodes(model.graph) if n.op_type == "Conv")

    made = pruned(model, f"channels,where={first}$")

    assert not made.changes
    assert second != first
    assert next(r for r in made.refusals if r.operator == first).code == "shared"


def test_what_is_not_understood_stays_and_is_named():
    net = Sketch(17)
    value = net.add("Conv", "x", net.weight(8, 3, 1, 1))
    value = net.add("DepthToSpace", value, blocksize=2)
    value = net.add("Conv", value, net.weight(4, 2, 1, 1))
    model = net.model("shuffled", [value_info("x", ["n", 3, 4, 4])], {value: ["n", 4, 8, 8]})

    made = pruned(model)

    assert not made.changes
    assert {r.code for r in made.refusals} == {"unsupported-operator", "model-output"}
    assert to_bytes(made.model) == to_bytes(model)


def test_importance_by_batch_norm_keeps_the_largest_scales():
    model = NETWORKS["residual-17"]()

    made = pruned(model, "channels,share=0.5,importance=norm,refit=false").model

    norms = [n for n in nodes(made.graph) if n.op_type == "BatchNormalization"]
    old = [n for n in nodes(model.graph) if n.op_type == "BatchNormalization"]
    before = np.mean([abs(n.inputs[1].const_value.numpy()).mean() for n in old])
    after = np.mean([abs(n.inputs[1].const_value.numpy()).mean() for n in norms])
    assert after > before


def test_importance_by_batch_norm_needs_one():
    made = pruned(doubled(), "channels,importance=norm,refit=false")

    assert not made.changes
    assert {r.code for r in made.refusals} == {"unsupported-operator", "model-output"}


@pytest.mark.parametrize(
    "options",
    [{"share": 1.0}, {"share": 0.0}, {"macs": 1.5}, {"macs": 0.5, "bytes": 0.5}, {"multiple": 0}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(RecipeError, match="channels"):
        Channels(**options)


def test_text_and_config_agree():
    step = Step(Channels(macs=0.3, importance="l2"))

    assert parse_recipe(Recipe((step,)).text()).steps == (step,)
