"""Causes of lost time, planted and measured here."""

import numpy as np
from planted import How, drawn, insert, quantized, store

from packlight.api.diagnose import diagnose
from packlight.metrics import METRICS
from packlight.model import Model
from packlight.records import Measurement
from packlight.task import Task
from packlight.testing.sketch import Sketch, value_info

SECONDS = 0.3


class Shaped:
    def __init__(self, *shape):
        self.shape = shape


def causes(reference, variant, shape):
    task = Task("planted", drawn(Shaped(*shape), count=4), METRICS["snr"])
    found = diagnose(reference, variant, task, seconds=SECONDS, limit=2)
    return [one.cause for one in found if one.harm == "time"], found


def signs(count=6, shape=(1, 16, 64, 64)):
    net = Sketch(17)
    value = "x"
    for _ in range(count):
        value = net.add("Neg", value)
    return net.model("signs", [value_info("x", list(shape))], {value: list(shape)}), shape


def convs(count=3, width=24, size=24, kernel=3):
    net = Sketch(17)
    value = "x"
    for _ in range(count):
        value = net.add(
            "Conv", value, net.weight(width, width, kernel, kernel), pads=[kernel // 2] * 4
        )
    shape = (1, width, size, size)
    return net.model("convs", [value_info("x", list(shape))], {value: list(shape)}), shape


def rounded(model, names):
    """The model with a pair behind each of these values."""
    graph = model.clone()
    values = {str(v.name): v for node in graph.graph for v in node.outputs}
    for name in names:
        grid = [store(graph, f"{name}.scale", np.array(0.02, np.float32)),
                store(graph, f"{name}.zero", np.array(128, np.uint8))]  # fmt: skip
        codes = insert(graph, values[name], "QuantizeLinear", *grid, name=f"{name}.q")
        insert(graph, codes, "DequantizeLinear", *grid, name=f"{name}.dq")
    return Model(graph, "rounded")


def test_pairs_around_operators_without_an_integer_kernel():
    model, shape = signs()
    made = [node.outputs[0].name for node in model.graph.graph][:-1]

    found, _ = causes(model, rounded(model, made), shape)

    assert found[:1] == ["no-integer-kernel"]


def test_pairs_that_are_not_fused():
    model, shape = convs(width=4, size=96, kernel=1)
    made = [node.outputs[0].name for node in model.graph.graph][:-1]

    found, _ = causes(model, rounded(model, made), shape)

    assert "unfused-pairs" in found


def test_weights_that_are_unpacked_at_every_run():
    model, shape = convs(width=160, size=4)
    samples = drawn(Shaped(*shape), count=2)

    found, _ = causes(model, quantized(model, samples, How(activations=False)), shape)

    assert found[:1] == ["weights-unpacked-at-every-run"]


def test_operators_too_small_for_anything_to_matter():
    net = Sketch(17)
    value = "x"
    for _ in range(40):
        value = net.add("Sin", net.add("Neg", value))
    value = net.add("MatMul", value, net.weight(8, 8))
    model = net.model("tiny", [value_info("x", [1, 8])], {value: [1, 8]})
    variant = quantized(model, drawn(Shaped(1, 8), count=2), How(activations=False))

    found, _ = causes(model, variant, (1, 8))

    assert found[:1] == ["small-operators"]


def test_operators_that_wait_for_memory():
    net = Sketch(17)
    value = net.add("MatMul", "x", net.weight(1500, 1500, fan_in=1500))
    value = net.add("MatMul", value, net.weight(1500, 16, fan_in=1500))
    model = net.model("wide", [value_info("x", [1, 1500])], {value: [1, 16]})
    wide = How(activations=False, skipped=(net.nodes[0].name,))
    variant = quantized(model, drawn(Shaped(1, 1500), count=2), wide)

    found, _ = causes(model, variant, (1, 1500))

    assert {"memory-bound", "untouched-operators"} <= set(found)


def test_a_model_dominated_by_operators_that_nothing_was_done_to():
    net = Sketch(17)
    value = net.add("Conv", "x", net.weight(64, 32, 3, 3))
    value = net.add("MatMul", net.add("Flatten", net.add("GlobalAveragePool", value)),
                    net.weight(64, 64))  # fmt: skip
    shape = (1, 32, 32, 32)
    model = net.model("heavy", [value_info("x", list(shape))], {value: [1, 64]})
    light = How(activations=False, skipped=(net.nodes[0].name,))

    found, _ = causes(model, quantized(model, drawn(Shaped(*shape), count=2), light), shape)

    assert found == ["untouched-operators"]


def test_evidence_of_time_is_a_ratio_with_its_interval_and_a_share():
    model, shape = signs(3)
    made = [node.outputs[0].name for node in model.graph.graph][:-1]

    _, found = causes(model, rounded(model, made), shape)

    first = next(one for one in found if one.harm == "time")
    ratio, share = first.evidence["latency_ratio"], first.evidence["share_of_time"]
    assert isinstance(ratio, Measurement)
    assert ratio.low <= ratio.value <= ratio.high
    assert 0 < share.value <= 1
    assert first.next_step


def test_times_can_be_predicted_for_a_device():
    model, shape = convs()
    variant = quantized(model, drawn(Shaped(*shape), count=2), How(activations=False))
    task = Task("planted", drawn(Shaped(*shape), count=2), METRICS["snr"])

    found = diagnose(model, variant, task, device="raspberry-pi-5", limit=2)

    timed = [one for one in found if one.harm == "time"]
    assert all(one.evidence["latency_ratio"].how == "estimated" for one in timed)
