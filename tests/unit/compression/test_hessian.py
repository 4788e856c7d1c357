"""What weights in loops, of recurrences and of empty calls are shown."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from packlight.compression.reconstruction.hessian import HessianObserver
from packlight.compression.sites.weight_matrix import input_matrices, input_values
from packlight.compression.sites.weight_roles import weight_roles
from packlight.compression.sites.weight_sites import Weight, weight_sites
from packlight.model import Model, name_operators, name_values, nodes
from packlight.records import parse_recipe
from packlight.runtime import open_session, stream
from packlight.testing import NETWORKS, sample_calls
from packlight.testing.cases import EXACT, apply_recipe

WEIGHTED = sorted(set(NETWORKS) - {"aliased-17", "called-17", "converted-17", "fused-17"})
"""All but those whose weights no standard operator reads as they are stored."""


def role_of(model, index=1):
    """Of the first weight that is this input of its operator."""
    return next(role for role, _ in weight_roles(model.graph) if role.index == index)


def everything(width):
    del width
    return 10**9


def network(body, given, made, opset=17, **weights):
    """A model from ONNX text with stored arrays."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g ({given}) => ({made}) {{ {body} }}'
    proto = parser.parse_model(text)
    for name, value in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(value, name))
    graph = ir.from_proto(proto)
    name_operators(graph)
    name_values(graph)
    return Model(graph, "g")


def normal(*shape, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(shape[-1]))


def lost(model, recipe, calls):
    """Squared errors of outputs, over all calls."""
    made = apply_recipe(model, parse_recipe(recipe), calls).model
    sessions = [open_session(one, EXACT) for one in (model, made)]
    pairs = [[next(iter(one.run(feeds).values())) for one in sessions] for feeds in calls]
    return sum(float(np.sum((a - b) ** 2, dtype=np.float64)) for a, b in pairs)


def in_order(inputs):
    """(groups, n, in) with the rows of each group sorted."""
    return np.stack([part[np.lexsort(part.T)] for part in inputs])


@pytest.mark.parametrize("name", WEIGHTED)
def test_what_iterations_pile_up_is_what_each_of_them_shows(name):
    model = NETWORKS[name]()
    sites = [site for site in weight_sites(model.graph) if isinstance(site, Weight)]
    seen = {value.name: site.roles[0] for site in sites for value in input_values(site.roles[0])}
    first, second = sample_calls(model)[:2]
    looks = [stream(model, [*seen], [[one]], {}, EXACT) for one in (first, second)]
    for both in zip(*looks, strict=True):
        for value in both[0].keys() & both[1].keys():
            pair = [one[value].astype(np.float32) for one in both]
            if pair[0].shape == pair[1].shape:
                apart = [input_matrices(seen[value], one, everything) for one in pair]
                together = input_matrices(seen[value], np.stack(pair), everything)
                np.testing.assert_array_equal(
                    in_order(together), in_order(np.concatenate(apart, axis=1))
                )


LOOPED = {
    "convolution": ("Conv<pads=[1,1]>(s, w)", (4, 16, 5), normal(16, 16, 3)),
    "transposed convolution": ("ConvTranspose<pads=[1,1]>(s, w)", (4, 16, 5), normal(16, 16, 3)),
    "transposed product": ("Gemm<transA=1>(s, w)", (16, 16), normal(16, 16)),
    "product on the left": ("MatMul(w, s)", (16, 8), normal(16, 16)),
    "product of a vector": ("MatMul(w, s)", (16,), normal(16, 16)),
}


@pytest.mark.parametrize("name", LOOPED)
def test_weights_in_a_loop_are_rounded_by_what_all_iterations_show(name):
    step, shape, weight = LOOPED[name]
    dims = ",".join(map(str, shape))
    body = f"""end, y = Loop (trip, go, x) <body = inner (int64 i, bool c, float[{dims}] s)
        => (bool again, float[{dims}] t, float[{dims}] a)
        {{ again = Identity(c) t = Identity(s) a = {step} }}>"""
    stored = {"w": weight, "trip": np.array(3), "go": np.array(True)}
    model = network(body, f"float[{dims}] x", f"float[3,{dims}] y", **stored)
    random = np.random.default_rng(1)
    across = 1 if len(shape) == 3 else 0
    few = random.standard_normal((40, *shape)).swapaxes(across + 1, -1)[..., :4]
    mixed = (few @ random.standard_normal((4, 16))).swapaxes(across + 1, -1)
    calls = [{"x": one.astype(np.float32)} for one in mixed]

    fed, plain = (lost(model, recipe, calls) for recipe in ("weights:3,rounding=gptq", "weights:3"))

    assert fed < 0.9 * plain


def test_branches_that_use_one_name_are_not_taken_for_each_other():
    inner = "{ h = MatMul(x, %s) %s = MatMul(h, %s) }"
    body = f"""y = If (c) <then_branch = t () => (float[8,32] o) {inner % ("a", "o", "b")},
        else_branch = e () => (float[8,32] o) {inner % ("d", "o", "f")}>"""
    weights = {"a": normal(32, 24), "b": normal(24, 32), "d": normal(32, 40), "f": normal(40, 32)}
    model = network(body, "float[8,32] x, bool c", "float[8,32] y", **weights)
    names = [value.name for node in nodes(model.graph) for value in node.outputs]
    calls = [{"x": normal(8, 32, seed=i), "c": np.array(i % 2 == 0)} for i in range(12)]

    made = apply_recipe(model, parse_recipe("weights:4,rounding=gptq"), calls)

    assert len(set(names)) == len(names)
    assert [change.storage.rounding for change in made.changes] == ["gptq"] * 4


def rnn(direction, begun):
    """An RNN of four steps, and its arrays."""
    count = 2 if direction == "bidirectional" else 1
    given = f"float[4,3,5] x, float[{count},3,6] s" if begun else "float[4,3,5] x"
    body = f'y = RNN<hidden_size=6, direction="{direction}">(x, w, r, , {", s" if begun else ""})'
    arrays = {"w": normal(count, 6, 5), "r": normal(count, 6, 6, seed=1)}
    return network(body, given, f"float[4,{count},3,6] y", **arrays), arrays


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_a_recurrence_is_shown_the_states_that_it_multiplies(direction, begun):
    model, arrays = rnn(direction, begun)
    role = role_of(model, 2)
    feeds = {"x": normal(4, 3, 5, seed=2)} | (
        {"s": normal(len(arrays["r"]), 3, 6)} if begun else {}
    )
    names = [str(value.name) for value in input_values(role)]
    (values,) = stream(model, [*names, "y"], [[feeds]], {}, EXACT)

    seen = np.concatenate(
        [input_matrices(role, values[name], everything) for name in names], axis=1
    )

    fed = np.einsum("tbi,dhi->dtbh", feeds["x"], arrays["w"])
    products = np.arctanh(np.moveaxis(values["y"], 1, 0).astype(np.float64)) - fed
    mine = in_order(np.round(seen @ np.swapaxes(arrays["r"], 1, 2), 3) + 0.0)
    theirs = products.reshape(len(fed), -1, 6)
    if not begun:  # what is multiplied by zeros is not shown
        theirs = np.stack([part[np.abs(part).max(1) > 1e-6] for part in theirs])
    np.testing.assert_allclose(mine, in_order(np.round(theirs, 3) + 0.0), atol=2e-3)


def test_zeros_that_begin_a_recurrence_do_not_hide_its_states():
    body = """shape = Shape(x) one = Slice(shape, from, to) size = Concat<axis=0>(front, one, back)
        made = ConstantOfShape(size) zeros = Identity(made)
        y = RNN<hidden_size=32>(x, w, r, , , zeros)"""
    numbers = {"from": np.array([1]), "to": np.array([2]), "front": np.array([1]),
               "back": np.array([32])}  # fmt: skip
    model = network(
        body,
        "float[4,n,5] x",
        "float[4,1,n,32] y",
        w=normal(1, 32, 5),
        r=normal(1, 32, 32),
        **numbers,
    )

    made = apply_recipe(
        model, parse_recipe("weights:4,rounding=gptq"), [{"x": normal(4, 3, 5)}] * 4
    )

    role = role_of(model, 2)
    assert [value.name for value in input_values(role)] == ["y"]
    assert all(change.storage.rounding == "gptq" for change in made.changes)


PRODUCT = network("y = MatMul(x, w)", "float[n,8] x", "float[n,4] y", w=normal(8, 4))
CONVOLUTION = network("y = Conv(x, w)", "float[n,8,6] x", "float[n,4,4] y", w=normal(4, 8, 3))


@pytest.mark.parametrize("model", [PRODUCT, CONVOLUTION], ids=["product", "convolution"])
def test_an_empty_call_shows_nothing(model):
    role = role_of(model)
    rest = model.inputs()["x"].shape[1:]
    seen, other = HessianObserver(role), HessianObserver(role)
    value = normal(3, *rest)

    for count in (3, 0, 2):
        seen.update_pair(value[:count], value[:count] * 2)
        if count:
            other.update_pair(value[:count], value[:count] * 2)

    np.testing.assert_array_equal(seen.hessian(centered=True), other.hessian(centered=True))
    np.testing.assert_array_equal(seen.mean_gap(), other.mean_gap())


def test_rows_of_which_there_are_more_in_one_model_are_not_compared():
    role = role_of(PRODUCT)
    seen = HessianObserver(role)

    seen.update_pair(normal(500, 8), normal(300, 8, seed=1))

    assert not seen.gap_products(centered=False).size
    assert not seen.mean_gap().any()


def test_groups_that_see_values_of_their_own_later_are_told_apart_from_then_on():
    model = network("y = MatMul(x, w)", "float[g,n,8] x", "float[3,n,4] y", w=normal(3, 8, 4))
    role = role_of(model)
    calls = [normal(1, 5, 8), normal(3, 5, 8, seed=1), normal(1, 5, 8, seed=2)]
    meant = [call * 2 for call in calls]
    seen, same = HessianObserver(role), HessianObserver(role)

    for call, wanted in zip(calls, meant, strict=True):
        seen.update_pair(call, wanted)
        same.update_pair(np.repeat(call, 3 // len(call), 0), np.repeat(wanted, 3 // len(call), 0))

    np.testing.assert_allclose(seen.hessian(centered=True), same.hessian(centered=True), rtol=1e-5)
    np.testing.assert_allclose(
        seen.gap_products(centered=True), same.gap_products(centered=True), rtol=1e-5
    )
