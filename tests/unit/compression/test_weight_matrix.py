"""Weights as groups of matrices beside what they multiply, against NumPy's own product."""

import itertools

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.compression.encoding.stored_values import UniqueNames
from packlight.compression.reconstruction.hessian import HessianObserver
from packlight.compression.sites.weight_matrix import input_matrices, role_layout
from packlight.compression.sites.weight_roles import Role
from packlight.model import nodes
from packlight.records import parse_recipe
from packlight.runtime import open_session
from packlight.testing.cases import EXACT, apply_recipe
from packlight.testing.sketch import Sketch, value_info


def role_of(weight, index):
    """A product whose input of this index is the weight."""
    stored = ir.Value(name="w", const_value=ir.Tensor(weight, name="w"))
    inputs = [ir.Value(name="x"), stored] if index else [stored, ir.Value(name="x")]
    summed = (weight.ndim - 2,) if index else (weight.ndim - 1,)
    node = ir.node("MatMul", inputs)
    graph = ir.Graph(
        inputs[1 - index : 2 - index], node.outputs, nodes=[node], initializers=[stored]
    )
    names = UniqueNames(ir.Model(graph, ir_version=10))
    return Role(node, index, weight.ndim, summed, names)


def everything(width):
    del width
    return 10**9


@st.composite
def products(draw):
    """(weight, value, index of the weight) that NumPy can multiply, leading axes broadcast."""
    index = draw(st.sampled_from([0, 1]))
    inputs, outputs, rows = (draw(st.integers(1, 3)) for _ in range(3))
    both = draw(st.lists(st.integers(1, 3), max_size=3))
    leading = [
        [1 if draw(st.booleans()) else size for size in both][draw(st.integers(0, len(both))) :]
        for _ in range(2)
    ]
    random = np.random.default_rng(draw(st.integers(0, 99)))
    matrix = (inputs, outputs) if index else (outputs, inputs)
    weight = whole(random, (*leading[0], *matrix))
    seen = (rows, inputs) if index else (inputs, rows)
    shape = (inputs,) if draw(st.booleans()) else (*leading[1], *seen)
    return weight, whole(random, shape), index


def whole(random, shape):
    """Whole numbers, whose products are exact."""
    return random.integers(-99, 100, shape).astype(np.float32)


def multiplied(weight, value, index):
    return np.matmul(value, weight) if index else np.matmul(weight, value)


def by_group(weight, product, vector, index):
    """What NumPy gives, (groups, out, n)."""
    if vector:
        product = product[..., None, :] if index else product[..., None]
    if index:
        product = np.swapaxes(product, -1, -2)
    leading = weight.shape[:-2]
    product = product.reshape((1,) * (weight.ndim - product.ndim) + product.shape)
    found = []
    for place in itertools.product(*map(range, leading)):
        at = tuple(
            slice(None) if size == 1 else slice(spot, spot + 1)
            for size, spot in zip(leading, place, strict=True)
        )
        part = product[(..., *at, slice(None), slice(None))]
        found.append(np.moveaxis(part, -2, 0).reshape(product.shape[-2], -1))
    return np.stack(found)


def in_order(given):
    """(groups, out, n) with the columns of each group sorted."""
    return np.stack([part[:, np.lexsort(part)] for part in given])


@given(products())
def test_rows_of_each_group_times_what_they_see_are_what_numpy_multiplies(drawn):
    weight, value, index = drawn
    role = role_of(weight, index)
    matrices = role_layout(role, weight.shape).matrices(weight)

    seen = input_matrices(role, value, everything)

    groups = int(np.prod(weight.shape[:-2]))
    assert len(matrices) == groups
    assert len(seen) in (1, groups)
    mine = matrices @ np.swapaxes(seen, 1, 2)
    theirs = by_group(weight, multiplied(weight, value, index), value.ndim == 1, index)
    np.testing.assert_array_equal(in_order(mine), in_order(theirs))


@pytest.mark.parametrize(
    ("weight", "value", "groups"),
    [
        ((3, 4, 5), (1, 7, 4), 1),
        ((3, 4, 5), (7, 4), 1),
        ((3, 4, 5), (4,), 1),
        ((3, 4, 5), (3, 1, 7, 4), 1),
        ((3, 4, 5), (2, 3, 7, 4), 3),
        ((1, 4, 5), (6, 7, 4), 1),
        ((2, 3, 4, 5), (3, 7, 4), 6),
        ((2, 3, 4, 5), (2, 1, 7, 4), 6),
        ((2, 1, 4, 5), (2, 3, 7, 4), 2),
    ],
)
def test_groups_are_the_axes_of_the_weight_and_the_batch_is_more_inputs(weight, value, groups):
    seen = input_matrices(
        role_of(np.zeros(weight, np.float32), 1), np.ones(value, np.float32), everything
    )

    assert len(seen) == groups
    assert seen.shape[2] == weight[-2]


@pytest.mark.parametrize("sizes", [[3, 3, 3, 3], [2, 2, 2, 2], [1, 4, 2, 3]])
def test_heads_learn_from_all_of_a_batch_whatever_its_size(sizes):
    random = np.random.default_rng(7)
    values = [random.standard_normal((size, 1, 6, 32)).astype(np.float32) for size in sizes]
    seen = HessianObserver(role_of(np.zeros((3, 32, 8), np.float32), 1))

    for value in values:
        seen.update(value)

    rows = np.concatenate([value.reshape(-1, 32) for value in values]).astype(np.float64)
    np.testing.assert_allclose(
        seen.hessian(centered=False), [rows.T @ rows / len(rows)], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("weight", "value"), [((3, 32, 48), (2, 1, 8, 32)), ((32, 48), (32,))])
@pytest.mark.parametrize("index", [0, 1])
def test_weights_on_either_side_of_batches_and_vectors_are_rounded_by_gptq(weight, value, index):
    net = Sketch(21)
    shape, seen = (weight, value) if index else (turned(weight), turned(value))
    stored = net.weight(*shape)
    out = net.add("MatMul", *(["x", stored] if index else [stored, "x"]))
    rank = max(len(shape), len(seen)) - (len(seen) == 1)
    model = net.model("heads", [value_info("x", list(seen))], {out: ["n"] * rank})
    random = np.random.default_rng(3)
    mixing = random.standard_normal((value[-1], value[-1])) * (np.arange(32) < 4)[:, None]
    calls = [random.standard_normal(value) @ mixing for _ in range(40)]
    fed = [{"x": (x if index else turned(x)).astype(np.float32)} for x in calls]

    assert lost(model, "weights:3,rounding=gptq", fed) < 0.7 * lost(model, "weights:3", fed)


def turned(what):
    """With its last two axes the other way round; vectors and their shapes as they are."""
    if isinstance(what, tuple):
        return (*what[:-2], *what[-2:][::-1])
    return np.swapaxes(what, -1, -2) if what.ndim > 1 else what


def lost(model, recipe, calls):
    """Squared errors of outputs, over all calls."""
    made = apply_recipe(model, parse_recipe(recipe), calls).model
    sessions = [open_session(one, EXACT) for one in (model, made)]
    pairs = [[next(iter(one.run(feeds).values())) for one in sessions] for feeds in calls]
    return sum(float(np.sum((a - b) ** 2, dtype=np.float64)) for a, b in pairs)


def test_a_bias_of_another_axis_than_that_of_the_outputs_stays():
    net = Sketch(21)
    product = net.add("MatMul", "x", net.weight(16, 32, 1))
    out = net.add("Add", product, net.keep(net.array(16)))
    model = net.model("turned", [value_info("x", ["b", 5, 32])], {out: [16, 5, 16]})
    calls = [{"x": np.ones((1, 5, 32), np.float32)}]

    made = apply_recipe(model, parse_recipe("weights:2,rounding=gptq"), calls).model

    before, after = (
        next(node for node in nodes(one.graph) if node.op_type == "Add").inputs[1].const_value
        for one in (model, made)
    )
    np.testing.assert_array_equal(before.numpy(), after.numpy())
