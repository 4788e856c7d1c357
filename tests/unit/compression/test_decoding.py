"""What a file stores of each weight: what NumPy reads there, and what the runtime makes of it."""

import math
import sys
from itertools import pairwise

import numpy as np
import onnx
import pytest

from packlight.compression import compress
from packlight.compression.grids.codebook import blank_codebook, fit_codebook
from packlight.model import file_size, nodes, save, to_bytes
from packlight.records import parse_recipe
from packlight.runtime import stream
from packlight.testing.cases import EXACT, apply_recipe, sample_calls
from packlight.testing.sketch import Sketch, value_info

PRODUCT, GEMM, CONV = "matmul_5", "gemm_8", "conv_1"
PLACES = {
    CONV: ("weight_0", (1, 2, 3)),
    PRODUCT: ("weight_4", (0,)),
    GEMM: ("weight_6", (1,)),
}
"""Operators with their weights, and the axes that they sum over."""

KINDS = ("codes", "scale", "half", "widest", "zero", "table", "step", "mask", "values")
"""Parts of a weight that are not the fixed sizes which operators around them take."""


def network():
    """A convolution, a product and one with a transposed weight, none of a round size."""
    net = Sketch(21)
    value = net.add("Conv", "x", net.weight(26, 10, 3, 3), pads=[1, 1, 1, 1])
    value = net.add("Flatten", net.add("GlobalAveragePool", value))
    value = net.add("MatMul", value, net.keep(net.array(26, 45, fan_in=26)))
    value = net.add("Gemm", value, net.keep(net.array(37, 45, fan_in=45)), net.weight(37), transB=1)
    return net.model("three", [value_info("x", ["n", 10, 5, 5])], {value: ["n", 37]})


def made_by(recipe):
    """What a recipe makes of the network, with its weights before, and the samples it looked at."""
    model = network()
    arrays = model.graph.graph.initializers
    before = {name: arrays[stem].const_value.numpy() for name, (stem, _) in PLACES.items()}
    calls = sample_calls(model)
    return apply_recipe(model, parse_recipe(recipe), calls), before, calls


def restored(model, calls):
    """The weights as the operators read them, computed by the runtime."""
    reads = {n.name: n.inputs[1].name for n in nodes(model.graph) if n.name in PLACES}
    (values,) = stream(model, list(reads.values()), [[calls[0]]], {}, EXACT)
    return {name: values[value] for name, value in reads.items()}


class Stored:
    """What the bytes of a file hold under the name of one weight."""

    def __init__(self, model, stem):
        graph = onnx.load_from_string(to_bytes(model)).graph
        (last,) = [node.name for node in graph.node if node.output[0] == stem]
        stem = last.split(".")[0]
        self.packed = any("packed" in node.op_type for node in graph.node if node.name == stem)
        named = {t.name: t for t in graph.initializer}
        self.parts = {kind: named[f"{stem}.{kind}"] for kind in KINDS if f"{stem}.{kind}" in named}

    def bytes(self):
        return sum(len(part.raw_data) for part in self.parts.values())

    def raw(self, kind, dtype):
        part = self.parts[kind]
        return np.frombuffer(part.raw_data, dtype).reshape(tuple(part.dims))

    def bits(self, kind):
        """Bits of the file, the lowest of each byte first."""
        return np.unpackbits(np.frombuffer(self.parts[kind].raw_data, np.uint8), bitorder="little")

    def whole(self, kind):
        """Whole numbers of any width, in a row, as they are stored."""
        part = self.parts[kind]
        if part.data_type in FOUR:
            row = self.bits(kind).reshape(-1, 4) @ (1 << np.arange(4))
            row = row[: math.prod(part.dims)]
            return np.where(row > 7, row - 16, row) if part.data_type == INT4 else row
        if part.data_type == onnx.TensorProto.INT8:
            return self.raw(kind, np.int8).ravel().astype(np.int64)
        packed = self.packed if kind == "codes" else len(part.dims) == 2
        width = part.dims[1] if packed and kind != "zero" else 8
        return self.bits(kind).reshape(-1, width) @ (1 << np.arange(width))

    def width(self):
        """Bits of a code."""
        if self.packed:
            return self.parts["codes"].dims[1]
        return 4 if self.parts["codes"].data_type in FOUR else 8

    def scale(self):
        if "scale" in self.parts:
            return self.raw("scale", np.float32)
        return self.raw("half", np.float16).astype(np.float32) * self.raw("widest", np.float32)

    def zero(self):
        """The code of 0.0, as many as there are scales, or one."""
        if "zero" in self.parts:
            return self.whole("zero").astype(np.float32)
        return np.float32(0)

    def codes(self):
        """Codes of a grid in a row; packed ones without a zero point are in two's complement."""
        row = self.whole("codes")
        if self.packed and "zero" not in self.parts:
            row = signed(row, self.width())
        return row.astype(np.float32)


def signed(row, bits):
    """Numbers that are stored in two's complement of so many bits."""
    return np.where(row >= 1 << (bits - 1), row - (1 << bits), row)


INT4 = onnx.TensorProto.INT4
FOUR = (INT4, onnx.TensorProto.UINT4)


def spread(part, shape, summed, per, block):
    """What belongs to each number of a weight, from one for each group."""
    first, last = summed[0], summed[-1] + 1
    if part.size == 1:
        return np.broadcast_to(part.ravel()[0], shape)
    if per == "channel":
        return np.broadcast_to(
            part.reshape([1 if axis in summed else n for axis, n in enumerate(shape)]), shape
        )
    length = math.prod(shape[first:last])
    rows = part.reshape(*shape[:first], -(-length // block), *shape[last:])
    every = np.repeat(rows, block, axis=first)
    return every[(slice(None),) * first + (slice(length),)].reshape(shape)


def codes_of(stored, shape, summed, per, block):
    """Codes in the shape of the weight, what fills up the last block left off."""
    row = stored.codes()
    if per != "block" or len(row) < math.prod(shape) + 8:
        return row[: math.prod(shape)].reshape(shape)
    first, last = summed[0], summed[-1] + 1
    length = math.prod(shape[first:last])
    padded = (*shape[:first], -(-length // block) * block, *shape[last:])
    row = row[: math.prod(padded)].reshape(padded)
    return row[(slice(None),) * first + (slice(length),)].reshape(shape)


def grid_decoded(stored, shape, summed, per="channel", block=7):
    """(code - zero) * scale, and the scale and zero of every number."""
    codes = codes_of(stored, shape, summed, per, block)
    scale, zero = (
        spread(np.asarray(part), shape, summed, per, block)
        for part in (stored.scale(), stored.zero())
    )
    return (codes - zero) * scale, scale, zero


def options():
    """Every width, sharing, kind of zero and of scale, at load and at run."""
    for bits in range(2, 9):
        for per in ("tensor", "channel", "block"):
            for symmetric in ("true", "false"):
                for expand in ("load", "run") if bits in (4, 8) else ("load",):
                    scales = 16 if (bits + (per == "channel") + (expand == "run")) % 2 else 32
                    yield bits, per, symmetric, expand, scales
    yield from ((4, per, "false", e, 16) for per in ("channel", "block") for e in ("load", "run"))


def grid_recipe(bits, per, symmetric, expand, scales):
    granularity = "block=7" if per == "block" else f"per={per}"
    return f"weights:{bits},{granularity},symmetric={symmetric},expand={expand},scales={scales}"


@pytest.mark.parametrize("how", ["nearest", "gptq"])
@pytest.mark.parametrize("form", [*options()], ids=str)
def test_grids_are_what_numpy_reads_from_the_file(form, how):
    bits, per, symmetric, expand, _ = form
    search = "moments" if how == "gptq" else ("minmax", "mse")[(bits + (symmetric == "true")) % 2]
    recipe = grid_recipe(*form)
    made, before, calls = made_by(f"{recipe},rounding={how},range={search}")

    found = restored(made.model, calls)
    changed = {change.operator: change for change in made.changes}
    assert set(changed) == set(PLACES) - ({CONV} if (expand, per) == ("run", "block") else set())
    for name, change in changed.items():
        stem, summed = PLACES[name]
        stored, weight = Stored(made.model, stem), before[name]
        values, scale, zero = grid_decoded(stored, weight.shape, summed, per)
        np.testing.assert_array_equal(found[name], values, strict=True)
        assert change.after == stored.bytes()
        if how == "nearest":
            within_half_a_step(weight, values, (scale, zero), bits, symmetric == "true")
    sizes_agree(made.model)


def within_half_a_step(weight, values, grid, bits, symmetric):
    """Within the range of the grid; beyond, a weight goes to its end."""
    scale, zero = grid
    top = 2 ** (bits - 1) - 1
    low, high = (-top, top) if symmetric else (-zero, 2**bits - 1 - zero)
    nearest = np.clip(weight.astype(np.float64), low * scale, high * scale)
    assert np.all(np.abs(values - nearest) <= scale / 2 * (1 + 1e-4))


def sizes_agree(model):
    assert file_size(model.graph) == len(to_bytes(model))


@pytest.mark.parametrize(
    "recipe",
    [
        "weights:5,block=7,symmetric=false,scales=16",
        "weights:4,block=7,symmetric=false,scales=16,expand=run",
        "weights,mixed=4.5,symmetric=false,scales=16",
        "palette:3,group=4,scaled=true,entry=8",
        "palette,mixed=4.5,rounding=gptq",
        "sparse:6,share=0.8,scaled=true",
    ],
)
def test_the_file_on_disk_has_the_bytes_that_were_predicted(recipe, tmp_path):
    made = made_by(recipe)[0]
    predicted = file_size(made.model.graph)

    save(made.model, tmp_path / "m.onnx")

    assert made.changes
    assert (tmp_path / "m.onnx").stat().st_size == predicted


@pytest.mark.parametrize("symmetric", ["true", "false"])
@pytest.mark.parametrize("how", ["nearest", "gptq"])
def test_weights_of_widths_of_their_own_are_what_numpy_reads_from_the_file(how, symmetric):
    made, before, calls = made_by(f"weights,mixed=4.6,symmetric={symmetric},rounding={how}")

    found, widths = restored(made.model, calls), set()
    for change in made.changes:
        stem, summed = PLACES[change.operator]
        stored, weight = Stored(made.model, stem), before[change.operator]
        values, scale, zero = grid_decoded(stored, weight.shape, summed)
        np.testing.assert_array_equal(found[change.operator], values, strict=True)
        assert change.after == stored.bytes()
        assert change.storage.bits == stored.width()
        if how == "nearest":
            within_half_a_step(weight, values, (scale, zero), stored.width(), symmetric == "true")
        widths.add(stored.width())
    assert len(made.changes) == 3
    assert len(widths) > 1
    sizes_agree(made.model)


def palette_decoded(stored, shape, summed, channels):
    """The entries of tables, times the scales of channels; and every value a number could have."""
    kept = [axis for axis in range(len(shape)) if axis not in summed]
    turned = [shape[axis] for axis in (*kept, *summed)]
    outputs = math.prod(shape[axis] for axis in kept)
    channels = min(channels, outputs)
    count = -(-outputs // channels)
    if "step" in stored.parts:
        tables = stored.raw("table", np.int8).astype(np.float32) * stored.raw("step", np.float32)
    else:
        tables = stored.raw("table", np.float32)
    tables = np.repeat(tables.reshape(count, -1), channels, axis=0)[:outputs]
    if "scale" in stored.parts or "half" in stored.parts:
        tables = tables * stored.scale().reshape(-1, 1)
    codes = stored.whole("codes")[: math.prod(shape)].reshape(shape)
    codes = codes.transpose(*kept, *summed).reshape(outputs, -1)
    values = np.take_along_axis(tables, codes, axis=1)
    order = np.argsort((*kept, *summed))
    return values.reshape(turned).transpose(order), tables


PALETTES = [
    *(f"palette:{bits}" for bits in range(1, 9)),
    *(f"palette:{bits},entry=8" for bits in (1, 3, 4, 7, 8)),
    *(f"palette:{bits},scaled=true" for bits in (2, 4, 6)),
    *(f"palette:{bits},group=4" for bits in (1, 3, 4)),
    *(f"palette:{bits},group=4,scaled=true,entry=8" for bits in (2, 3, 4, 5)),
    "palette:3,group=4,weighted=true,scaled=true",
    "palette,mixed=4.5",
    "palette,mixed=4.5,scaled=true,entry=8",
    "palette:4,scaled=true,scales=16",
    "palette:3,group=4,scaled=true,entry=8,scales=16",
]


@pytest.mark.parametrize("how", ["nearest", "gptq"])
@pytest.mark.parametrize("recipe", PALETTES)
def test_palettes_are_what_numpy_reads_from_the_file(recipe, how):
    made, before, calls = made_by(f"{recipe},rounding={how},bias=false")

    found, group = restored(made.model, calls), 4 if "group" in recipe else 10**9
    for change in made.changes:
        stem, summed = PLACES[change.operator]
        stored, weight = Stored(made.model, stem), before[change.operator]
        values, tables = palette_decoded(stored, weight.shape, summed, group)
        np.testing.assert_array_equal(found[change.operator], values, strict=True)
        assert change.after == stored.bytes()
        if how == "nearest":
            goes_to_the_nearest(weight, values, tables, summed)
    assert len(made.changes) == 3
    sizes_agree(made.model)


def goes_to_the_nearest(weight, values, tables, summed):
    """No entry is nearer than the one that a number has, but for ties in float32."""
    kept = [axis for axis in range(weight.ndim) if axis not in summed]
    rows, had = (a.transpose(*kept, *summed).reshape(len(tables), -1) for a in (weight, values))
    gaps = np.abs(rows[:, :, None].astype(np.float64) - tables[:, None]).min(axis=2)
    np.testing.assert_allclose(np.abs(rows.astype(np.float64) - had), gaps, rtol=1e-4, atol=1e-7)


SPARSE = [
    "sparse,share=0.6",
    *(f"sparse:{bits},share=0.8" for bits in range(3, 9)),
    *(f"sparse:{bits},share=0.8,values=palette" for bits in range(3, 8)),
    *(f"sparse:{bits},share=0.8,scaled=true,weighted=true" for bits in (3, 4, 6)),
    "sparse:6,share=0.75,run=4",
]


@pytest.mark.parametrize("how", ["nearest", "gptq"])
@pytest.mark.parametrize("recipe", SPARSE)
def test_sparse_weights_are_what_numpy_reads_from_the_file(recipe, how):
    made, before, calls = made_by(f"{recipe},rounding={how},inputs=1")

    found = restored(made.model, calls)
    for change in made.changes:
        stem, summed = PLACES[change.operator]
        stored, shape = Stored(made.model, stem), before[change.operator].shape
        bits = int(recipe.split(":")[1][0]) if ":" in recipe else 0
        np.testing.assert_array_equal(
            found[change.operator], sparse_decoded(stored, shape, summed, bits), strict=True
        )
        assert change.after == stored.bytes()
    assert made.changes
    sizes_agree(made.model)


def sparse_decoded(stored, shape, summed, bits):
    """Values where the mask has ones."""
    mask = stored.bits("mask")[: math.prod(shape)] == 1
    if not bits:
        values = stored.raw("values", np.float32)
    else:
        values = stored.whole("values")[: mask.sum()]
        if "table" in stored.parts:
            values = stored.raw("table", np.float32).ravel()[values]
        else:
            values = signed(values, bits).astype(np.float32)
    whole = np.zeros(mask.shape, np.float32)
    whole[mask] = values
    whole = whole.reshape(shape)
    if "scale" in stored.parts:
        whole = whole * spread(stored.scale(), shape, summed, "channel", 0)
    return whole


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weighted", [False, True])
def test_every_round_of_tables_and_scales_fits_better(seed, weighted, monkeypatch):
    random = np.random.default_rng(seed)
    spreads = np.exp2(random.uniform(-4, 4, (24, 1)))
    weight = (random.standard_normal((24, 60)) * spreads).astype(np.float32)
    matters = random.random((24, 60)).astype(np.float32) if weighted else np.ones_like(weight)

    errors = []
    for rounds in range(1, 6):
        monkeypatch.setattr(sys.modules["packlight.compression.grids.codebook"], "ROUNDS", rounds)
        empty = blank_codebook(weight.shape, (0, 1), 24, 3, outputs=24)
        found = fit_codebook(empty, weight, matters, scaled=True, short=False)
        gap = found.values(found.nearest(weight)).astype(np.float64) - weight
        errors.append(float((matters * gap**2).sum()))

    assert all(later <= sooner * (1 + 1e-6) for sooner, later in pairwise(errors))
    plain = fit_codebook(
        blank_codebook(weight.shape, (0, 1), 24, 3, outputs=24),
        weight,
        matters,
        scaled=False,
        short=False,
    )
    gap = plain.values(plain.nearest(weight)).astype(np.float64) - weight
    assert errors[-1] < float((matters * gap**2).sum())


def test_a_scale_of_16_bits_serves_channels_beside_one_that_is_zero():
    random = np.random.default_rng(0)
    weight = (random.standard_normal((64, 40)) * 1e-7).astype(np.float32)
    weight[:, 3] = 0
    net = Sketch(21)
    value = net.add("MatMul", "x", net.keep(weight))
    model = net.model("tiny", [value_info("x", ["n", 64])], {value: ["n", 40]})

    for symmetric in ("true", "false"):
        recipe = f"weights:8,scales=16,range=minmax,symmetric={symmetric}"
        made = compress(model, parse_recipe(recipe))
        found, _, _ = grid_decoded(Stored(made.model, "weight_0"), weight.shape, (0,))
        step = 2 * np.abs(weight).max(axis=0) / 254
        assert np.all(np.abs(found - weight) <= 1.1 * step)
        np.testing.assert_array_equal(found[:, 3], 0)
