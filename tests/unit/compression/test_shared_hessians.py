"""Weights that several operators read, and rows too long for one Hessian."""

import subprocess
import sys

import numpy as np
import pytest

from packlight.compression.reconstruction import hessian as hessians
from packlight.compression.reconstruction.gptq import Lattice, gptq, gptq_blocks
from packlight.compression.reconstruction.hessian import (
    BLOCK_INPUTS,
    MAX_INPUTS,
    BlockHessian,
    input_blocks,
    observe_hessians,
)
from packlight.compression.reconstruction.zero_masks import Sparsity
from packlight.compression.sites.weight_sites import Weight, WeightSite, weight_sites
from packlight.presentation.changes import describe_change
from packlight.records import parse_recipe
from packlight.runtime import open_session, stream
from packlight.runtime.calibration import Calibrator
from packlight.testing.cases import EXACT, apply_recipe
from packlight.testing.sketch import Sketch, value_info

STEPS = 6
WIDTH = 48


def mixed_inputs(count, *shape, rank=6, seed=3):
    """Inputs (count, *shape) whose last axis has few independent directions."""
    random = np.random.default_rng(seed)
    few = random.standard_normal((count, *shape[:-1], rank))
    return (few @ random.standard_normal((rank, shape[-1]))).astype(np.float32)


def unrolled():
    """A recurrence of a product with one weight, step after step."""
    net = Sketch(17)
    weight = net.weight(WIDTH, WIDTH)
    bias = net.weight(WIDTH)
    value = "x"
    for _ in range(STEPS):
        value = net.add("Tanh", net.add("Gemm", value, weight, bias))
    return net.model("unrolled", [value_info("x", [4, WIDTH])], {value: [4, WIDTH]}), {
        "x": mixed_inputs(24, 4, WIDTH)
    }


def octaves():
    """A bank of kernels that reads a signal and its halves, as a constant-Q transform does."""
    net = Sketch(17)
    kernels = net.weight(24, 1, 64)
    signal = "x"
    results = []
    for _ in range(3):
        results.append(net.add("Conv", signal, kernels, strides=[32]))
        signal = net.add("AveragePool", signal, kernel_shape=[2], strides=[2])
    value = net.add("Concat", *results, axis=2)
    random = np.random.default_rng(1)
    time = np.arange(512) / 512
    tones = np.sin(2 * np.pi * random.uniform(4, 40, (24, 1, 1)) * time)
    return net.model("octaves", [value_info("x", [1, 1, 512])], {value: [1, 24, 25]}), {
        "x": tones.astype(np.float32)[:, None]
    }


SHARED = {"unrolled": unrolled, "octaves": octaves}


def calls_of(arrays):
    (name, array), *_ = arrays.items()
    return [{name: one} for one in array]


def output_error(model, recipe, calls):
    made = apply_recipe(model, parse_recipe(recipe), calls)
    before, after = (open_session(one, EXACT) for one in (model, made.model))
    gaps = [
        next(iter(after.run(feeds).values())) - next(iter(before.run(feeds).values()))
        for feeds in calls
    ]
    return float(np.sum(np.square(gaps, dtype=np.float64))), made


@pytest.mark.parametrize("name", SHARED)
def test_a_weight_that_many_read_alike_is_rounded_by_the_inputs_of_all(name):
    model, arrays = SHARED[name]()
    calls = calls_of(arrays)

    nearest, _ = output_error(model, "weights:4", calls)
    fed_back, made = output_error(model, "weights:4,rounding=gptq", calls)

    storage = made.changes[0].storage
    assert storage.rounding == "gptq"
    assert "share" not in describe_change(made.changes[0])
    assert fed_back < 0.7 * nearest


def test_the_hessian_of_a_shared_weight_counts_every_reader():
    model, arrays = unrolled()
    calls = calls_of(arrays)
    (site,) = [s for s in weight_sites(model.graph) if isinstance(s, Weight)]

    found = observe_hessians(
        model.graph, [WeightSite(site)], Calibrator([[feeds] for feeds in calls], EXACT)
    )

    names = [str(role.node.inputs[0].name) for role in site.roles]
    rows = [
        values[name]
        for values in stream(model, names, [[feeds] for feeds in calls], {}, EXACT)
        for name in names
    ]
    inputs = np.concatenate(rows).astype(np.float64)
    ((observer,),) = found.values()
    assert len(names) == STEPS
    assert observer.count == len(inputs)
    assert observer.calls == len(calls)
    expected = inputs.T @ inputs / len(inputs)
    np.testing.assert_allclose(observer.hessian(centered=False)[0], expected, atol=1e-4)


def grouped_two_ways():
    net = Sketch(17)
    kernels = net.weight(16, 8, 3)
    wide = net.add("Conv", "x", kernels, group=2)
    value = net.add("Conv", net.add("Relu", wide), kernels, group=2)
    narrow = net.add("Conv", net.add("Slice", value, *sliced(net)), kernels, group=1)
    return net.model("grouped", [value_info("x", [1, 16, 20])], {narrow: [1, 16, 14]})


def sliced(net):
    return (net.keep(np.array([edge]), "edge") for edge in (0, 8, 1))


def looked_up_too():
    """A table that is looked up, and multiplied as the last layer."""
    net = Sketch(17)
    table = net.weight(64, 16)
    value = net.add("Gather", table, net.keep(np.arange(4)))
    value = net.add("Gemm", net.add("Add", value, "x"), table, transB=1)
    return net.model("tied", [value_info("x", [4, 16])], {value: [4, 64]})


@pytest.mark.parametrize("make", [grouped_two_ways, looked_up_too])
def test_a_weight_that_operators_read_in_different_ways_goes_to_the_nearest_and_says_so(make):
    model = make()
    (shape,) = [tuple(value.shape.numpy()) for value in model.graph.graph.inputs]
    calls = [{"x": one} for one in mixed_inputs(8, *shape)]

    made = apply_recipe(model, parse_recipe("weights:4,rounding=gptq"), calls)

    (change,) = made.changes
    assert change.storage.rounding == "nearest"
    assert [note.code for note in change.storage.notes] == ["shared-weight"]


@pytest.mark.parametrize("inputs", [1, 7, MAX_INPUTS, MAX_INPUTS + 1, 8192, 9973])
@pytest.mark.parametrize("run", [1, 4, 10])
def test_blocks_of_inputs_follow_each_other_and_cut_no_run(inputs, run):
    blocks = input_blocks(inputs, run)

    assert [block.start for block in blocks[1:]] == [block.stop for block in blocks[:-1]]
    assert (blocks[0].start, blocks[-1].stop) == (0, inputs)
    assert all(block.start % run == 0 for block in blocks)
    assert len(blocks) == 1 or max(b.stop - b.start for b in blocks) <= BLOCK_INPUTS + run
    assert len(blocks) > 1 or inputs <= MAX_INPUTS


def test_zeros_in_blocks_of_columns_add_up_to_those_of_all():
    for share, inputs in ((0.5, 9973), (0.731, 4099)):
        sizes = (1, 7, inputs)
        parts = [
            Sparsity(share)
            .of_columns(sizes, part)
            .count((sizes[0], sizes[1], part.stop - part.start))
            for part in input_blocks(inputs)
        ]
        assert sum(parts) == Sparsity(share).count(sizes)


def test_a_block_hessian_rounds_as_one_hessian_that_is_zero_between_blocks():
    random = np.random.default_rng(5)
    weight = random.standard_normal((1, 6, 40))
    roots = [random.standard_normal((1, 24, 24)), random.standard_normal((1, 16, 16))]
    blocks = tuple(root @ np.swapaxes(root, 1, 2) + np.eye(root.shape[1]) for root in roots)
    whole = np.zeros((1, 40, 40))
    whole[:, :24, :24], whole[:, 24:, 24:] = blocks
    hessian = BlockHessian(blocks)
    lattice = uniform_lattice(weight, block=8)

    apart = gptq_blocks(weight, hessian, lattice, ordered=True)
    together = gptq(weight, whole, lattice, ordered=True)

    gap = lattice.values(apart) - weight
    np.testing.assert_array_equal(apart, together)
    np.testing.assert_allclose(hessian.error(gap), np.sum((gap @ whole) * gap), rtol=1e-12)
    np.testing.assert_array_equal(hessian.diagonal(), np.einsum("gii->gi", whole))


def uniform_lattice(weight, block):
    groups, outputs, inputs = weight.shape
    scale = np.abs(weight).reshape(groups, outputs, inputs // block, block).max(axis=3) / 7
    return Lattice(
        np.ascontiguousarray(scale), np.zeros_like(scale), block, -7, 7, np.zeros((1, 0)),
        np.zeros((groups, outputs), np.int64),
    )  # fmt: skip


@pytest.mark.parametrize(
    "recipe",
    [
        "weights:4",
        "weights:4,block=16",
        "palette:3,scaled=true",
        "sparse:8,share=0.7",
        "sparse,run=4",
    ],
)
def test_long_rows_are_rounded_block_by_block_and_say_so(recipe, monkeypatch):
    monkeypatch.setattr(hessians, "MAX_INPUTS", 20)
    monkeypatch.setattr(hessians, "BLOCK_INPUTS", 20)
    net = Sketch(21)
    value = net.add("MatMul", "x", net.weight(WIDTH, 32))
    model = net.model("wide", [value_info("x", [8, WIDTH])], {value: [8, 32]})
    calls = [{"x": one} for one in mixed_inputs(40, 8, WIDTH, rank=4)]

    nearest, _ = output_error(model, recipe, calls)
    fed_back, made = output_error(model, f"{recipe},rounding=gptq", calls)

    (change,) = made.changes
    assert [note.code for note in change.storage.notes] == ["input-blocks"]
    assert "within blocks of its inputs" in describe_change(change)
    assert fed_back < 0.8 * nearest


WIDE_MODEL = """
import resource, sys
import numpy as np
from packlight.compression import compress
from packlight.records import parse_recipe
from packlight.runtime.calibration import Calibrator
from packlight.runtime.isolation.limits import peak_resident
from packlight.testing.sketch import Sketch, value_info

net = Sketch(17)
value = net.add("Conv", "x", net.weight(64, 512, 4, 4))
model = net.model("wide", [value_info("x", [1, 512, 12, 12])], {value: [1, 64, 9, 9]})
random = np.random.default_rng(0)
samples = [
    [{"x": random.standard_normal((1, 512, 12, 12)).astype(np.float32)}] for _ in range(48)
]
made = compress(model, parse_recipe(sys.argv[1]), Calibrator(samples))
print(made.changes[0].storage.notes[-1].code)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(peak_resident() / 2**20, usage.ru_utime + usage.ru_stime)
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["weights:4,rounding=gptq", "palette,mixed=4.0,rounding=gptq"])
def test_rows_of_8192_inputs_take_little_time_and_memory(recipe):
    done = subprocess.run(
        [sys.executable, "-c", WIDE_MODEL, recipe], capture_output=True, text=True, check=True
    )

    note, usage = done.stdout.splitlines()
    megabytes, seconds = map(float, usage.split())
    assert note == "input-blocks"
    assert megabytes < 600
    assert seconds < 60
