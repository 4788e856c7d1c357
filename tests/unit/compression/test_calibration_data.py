"""Steps learn from the task's samples, from changed copies beside them, or from synthetic ones."""

import numpy as np
import pytest

import packlight
from packlight.cli.compress import compressed_parts
from packlight.compression import compress, uses_data
from packlight.compression.synthetic_samples import (
    SAMPLES,
    spectral_noise,
    synthetic_image,
    synthetic_samples,
)
from packlight.errors import RecipeError
from packlight.model import to_bytes
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime.calibration import Calibrator
from packlight.task.augmentation import COPIES
from packlight.testing.sketch import Sketch, value_info

OPTIONS = SessionOptions()
GPTQ = "weights:4,rounding=gptq"


def convolution(statistics=None):
    """A convolution of an image; with statistics, a batch norm behind it remembers these."""
    net = Sketch(17, 0)
    value = net.add("Conv", "x", net.weight(16, 3, 3, 3))
    if statistics is not None:
        ones = net.keep(np.ones(16, np.float32))
        zeros = net.keep(np.zeros(16, np.float32))
        mean, variance = (net.keep(numbers.astype(np.float32)) for numbers in statistics)
        value = net.add("BatchNormalization", value, ones, zeros, mean, variance)
    value = net.add("Flatten", net.add("GlobalAveragePool", net.add("Relu", value)))
    return net.model("net", [value_info("x", [1, 3, 12, 12])], {value: [1, 16]})


def collected(count=6, shape=(1, 3, 12, 12)):
    random = np.random.default_rng(0)
    return [({"x": random.standard_normal(shape).astype(np.float32)},) for _ in range(count)]


def applied(model, recipe, samples=()):
    return compress(model, parse_recipe(recipe), Calibrator(samples, OPTIONS))


def test_augmented_samples_are_used_and_recorded():
    model = convolution()
    plain = applied(model, GPTQ, collected())
    augmented = applied(model, f"{GPTQ},calibration=augmented", collected())

    assert plain.calibrations == ()
    (made,) = augmented.calibrations
    assert (made.data, made.samples, made.collected) == ("augmented", 6 * (1 + COPIES), 6)
    assert made.kinds == ("images",)
    assert to_bytes(plain.model) != to_bytes(augmented.model)
    again = applied(model, f"{GPTQ},calibration=augmented", collected())
    assert to_bytes(augmented.model) == to_bytes(again.model)


def test_inputs_of_no_kind_and_samples_of_none_are_refused():
    net = Sketch(17, 0)
    value = net.add("MatMul", "x", net.weight(32, 64, fan_in=32))
    model = net.model("table", [value_info("x", [1, 32])], {value: [1, 64]})

    with pytest.raises(RecipeError, match="have none of these"):
        applied(model, f"{GPTQ},calibration=augmented", collected(shape=(1, 32)))
    with pytest.raises(RecipeError, match="the task has none"):
        applied(model, f"{GPTQ},calibration=augmented")


def test_synthetic_samples_need_no_task_and_the_terminal_says_so():
    recipe = f"simplify+{GPTQ},calibration=synthetic"
    made = packlight.compress(convolution(), recipe)

    assert not uses_data(parse_recipe(recipe))
    assert made.variant.calibration == ""
    assert made.variant.calibrations[0].samples == SAMPLES
    texts = [str(part) for part in compressed_parts(made)]
    assert any(f"Calibrated on {SAMPLES} synthetic samples (images)" in text for text in texts)


def test_steps_of_one_pass_learn_from_the_same_samples():
    net = Sketch(17, 0)
    value = net.add("MatMul", "x", net.weight(32, 64, fan_in=32))
    value = net.add("MatMul", value, net.weight(64, 64, fan_in=64))
    model = net.model("two", [value_info("x", [1, 32])], {value: [1, 64]})
    first, second = (str(node.name) for node in model.graph.graph)
    steps = [
        packlight.Step(packlight.WeightOnly(bits=4, rounding="gptq"), (first,)),
        packlight.Step(
            packlight.WeightOnly(bits=3, rounding="gptq", calibration="synthetic"), (second,)
        ),
    ]

    with pytest.raises(RecipeError, match="give all of them the same"):
        compress(model, packlight.Recipe(tuple(steps)), Calibrator(collected(shape=(1, 32))))


def test_a_batch_norm_tells_the_range_of_pixels():
    plain = convolution()
    kernel = plain.graph.graph.initializers[next(iter(plain.graph.graph.initializers))]
    weight = kernel.const_value.numpy().astype(np.float64)
    random = np.random.default_rng(1)
    patches = np.stack([255 * synthetic_image(3, 24, 24, random) for _ in range(40)])
    windows = np.lib.stride_tricks.sliding_window_view(patches, (3, 3), axis=(2, 3))
    values = np.einsum("ncyxij,ocij->noyx", windows, weight)
    statistics = values.mean(axis=(0, 2, 3)), values.var(axis=(0, 2, 3))

    samples = synthetic_samples(convolution(statistics), OPTIONS).samples

    brightest = max(float(steps[0]["x"].max()) for steps in samples[:20])
    assert 200 < brightest <= 255


def test_token_ids_are_rows_of_their_table():
    net = Sketch(17, 0)
    value = net.add("Gather", net.weight(50, 8), "ids")
    value = net.add("MatMul", value, net.weight(8, 4))
    inputs = [value_info("ids", [1, "length"], 7), value_info("other", [1, "length"], 7)]
    model = net.model("text", inputs, {value: [1, "length", 4]})

    made = synthetic_samples(model, OPTIONS)

    assert made.kinds == ("tokens", "numbers")
    for steps in made.samples[:10]:
        ids = steps[0]["ids"]
        assert 0 <= ids.min() <= ids.max() < 50
        assert steps[0]["other"].shape == ids.shape


def test_noise_has_most_power_at_low_frequencies():
    noise = spectral_noise(3, (32, 48), 1.0, np.random.default_rng(0))

    power = np.abs(np.fft.rfft(noise, axis=2)) ** 2
    assert noise.std() == pytest.approx(1)
    assert power[..., 1:4].mean() > 10 * power[..., -4:].mean()
