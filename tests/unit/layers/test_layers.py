import tracemalloc

import numpy as np
import onnx_ir as ir
import pytest

from packlight.layers import layers, match_models
from packlight.metrics import METRICS
from packlight.model import Model
from packlight.records import SessionOptions, parse_recipe
from packlight.task import LazySamples, Task
from packlight.testing.cases import apply_recipe, sample_calls
from packlight.testing.networks import NETWORKS
from packlight.testing.sketch import Sketch, value_info

OPTIONS = SessionOptions()
EXACT = 150.0
RECIPES = ("simplify", "weights:4", "static", "float16", "palette:4")


def task_of(model, count=8):
    calls = sample_calls(model, count)
    return Task("drawn", [(call,) for call in calls], METRICS["snr"], calibration=[])


def made(model, recipe):
    return apply_recipe(model, parse_recipe(recipe), sample_calls(model)).model


def renamed(model):
    """The same model in which nothing between inputs and outputs has its name."""
    copy = model.clone()
    outside = {value.name for value in (*copy.graph.inputs, *copy.graph.outputs)}
    for place, node in enumerate(copy.graph):
        node.name = f"other{place}"
        for slot, value in enumerate(node.outputs):
            if value.name and value.name not in outside:
                value.name = f"t{place}_{slot}"
    for place, (name, value) in enumerate(list(copy.graph.initializers.items())):
        if name not in outside:
            value.name = f"s{place}"
    return Model(copy, "renamed")


def with_copies(model):
    """The same model with an Identity behind every operator."""
    copy = model.clone()
    for place, node in enumerate(list(copy.graph)):
        value = node.outputs[0]
        if not value.name or value.is_graph_output() or node.op_type == "Constant":
            continue
        readers = list(value.uses())
        inserted = ir.node("Identity", [value], name=f"copy{place}")
        inserted.outputs[0].name = f"copied{place}"
        copy.graph.insert_after(node, inserted)
        for reader, slot in readers:
            reader.replace_input_with(slot, inserted.outputs[0])
    return Model(copy, "copied")


def with_noise(model, weight, size=0.2):
    """The same model with noise on one weight."""
    copy = model.clone()
    value = copy.graph.initializers[weight]
    array = value.const_value.numpy()
    noise = np.random.default_rng(0).standard_normal(array.shape) * array.std() * size
    value.const_value = ir.Tensor((array + noise).astype(np.float32), name=weight)
    return Model(copy, "noisy")


def exact_from(name):
    """Least signal to noise of equal values: ONNX Runtime keeps some of float16 in float32."""
    return 60 if name.startswith("half") else EXACT


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_beside_itself_has_no_error_anywhere(name):
    model = NETWORKS[name]()

    found = layers(model, model, task_of(model), OPTIONS)

    assert found.layers
    assert min(one.snr.value for one in found.layers) >= exact_from(name)
    assert min(one.own.value for one in found.layers) >= exact_from(name)
    assert all(weight.snr.value == EXACT for weight in found.weights)
    assert (found.first, found.unmatched) == ("", ())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operator_is_found_again_under_other_names_and_behind_copies(name):
    model = NETWORKS[name]()

    pair = match_models(model, with_copies(renamed(model)), OPTIONS)

    assert set(pair.matched.operators) == set(pair.matched.reference.operators)
    kinds = [(a.op_type, b.op_type) for a, b in pair.matched.operators.items()]
    assert all(one == other for one, other in kinds)
    found = layers(model, with_copies(renamed(model)), task_of(model), OPTIONS)
    assert min(one.snr.value for one in found.layers) >= exact_from(name)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["residual-17", "depthwise-13", "attention-17", "gru-21"])
def test_every_value_of_what_packlight_makes_has_a_counterpart(name, recipe):
    model = NETWORKS[name]()
    variant = renamed(made(model, recipe))

    found = layers(model, variant, task_of(model), OPTIONS)

    folded = 2 if recipe == "simplify" and name == "residual-17" else 0
    assert len(found.layers) >= len(list(model.graph.graph)) - folded
    assert min(one.snr.value for one in found.layers) > 10
    assert len(found.unmatched) <= folded


def test_a_convolution_with_a_folded_normalisation_stands_beside_the_normalisation():
    model = NETWORKS["residual-17"]()

    found = layers(model, renamed(made(model, "simplify")), task_of(model), OPTIONS)

    assert [one.op for one in found.layers if one.op == "BatchNormalization"] == [
        "BatchNormalization", "BatchNormalization",
    ]  # fmt: skip
    assert min(one.snr.value for one in found.layers) > 100
    assert len({weight.operator for weight in found.weights if weight.folded}) == 2
    assert min(weight.snr.value for weight in found.weights) > 100


def test_own_errors_lie_where_the_damage_is_and_all_errors_from_there_on():
    model = NETWORKS["gemms-13"]()
    weights = [node.inputs[1].name for node in model.graph.graph if node.op_type == "Gemm"]

    found = layers(model, with_noise(model, weights[1]), task_of(model), OPTIONS)

    damaged = [one.name for one in found.layers if one.own.value < EXACT]
    names = [one.name for one in found.layers]
    assert len(damaged) == 1
    behind = names.index(damaged[0])
    assert {one.snr.value for one in found.layers[:behind]} == {EXACT}
    assert all(one.snr.value < 30 for one in found.layers[behind:])
    assert found.first == damaged[0]
    assert [w.name for w in found.weights if w.snr.value < EXACT] == [weights[1]]


def test_levels_are_what_numpy_computes():
    model = NETWORKS["perceptron-21"]()
    weights = {
        name: value.const_value.numpy() for name, value in model.graph.graph.initializers.items()
    }
    matrices = [name for name, array in weights.items() if array.ndim == 2]
    variant = with_noise(model, matrices[1])
    task = task_of(model)
    rows = np.concatenate([sample[0]["x"] for sample in task.samples]).astype(np.float64)
    hidden = np.maximum(rows @ weights[matrices[0]] + weights[[*weights][1]], 0)
    wanted = hidden @ weights[matrices[1]]
    noise = hidden @ (variant.graph.graph.initializers[matrices[1]].const_value.numpy()) - wanted

    found = layers(model, variant, task, OPTIONS)

    product = [one for one in found.layers if one.op == "MatMul"][1]
    expected = 10 * np.log10((wanted**2).sum() / (noise**2).sum())
    assert product.snr.value == pytest.approx(expected, abs=1e-3)
    assert product.own.value == pytest.approx(expected, abs=1e-3)
    assert (product.low, product.high) == pytest.approx((wanted.min(), wanted.max()), rel=1e-5)


@pytest.mark.slow
def test_memory_does_not_grow_with_samples():
    """What is kept of a sample are a few numbers; its activations, here 256 kB each, are let go."""
    sketch = Sketch(17)
    hidden = sketch.add("Relu", sketch.add("Add", "x", sketch.weight(1024)))
    out = sketch.add("MatMul", hidden, sketch.weight(1024, 16))
    model = sketch.model("wide", [value_info("x", (64, 1024))], {out: (64, 16)})
    variant = made(model, "weights:4")
    call = sample_calls(model, 1)[0]
    peaks = []
    for count in (50, 50, 2000):
        task = Task("same", LazySamples(count, lambda _: (call,)), METRICS["snr"])
        tracemalloc.start()
        layers(model, variant, task, OPTIONS, limit=count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[2] < 1.1 * peaks[1]
