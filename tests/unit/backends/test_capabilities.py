"""Runtimes as data: every field has a source, and models follow what the files say."""

import dataclasses
import typing

import pytest

from packlight.backends.capabilities import (
    FOLDER,
    BlockedProducts,
    Capabilities,
    Choices,
    capabilities,
    policy,
)
from packlight.model import initializers, nodes
from packlight.records import parse_recipe
from packlight.records.configs import IntegerRuntime
from packlight.runtime import open_session
from packlight.testing import NETWORKS, make_case
from packlight.testing.cases import EXACT
from packlight.testing.laws import signal_to_noise

RUNTIMES = typing.get_args(IntegerRuntime)
MIDDLE = {"uint8": 128, "int8": 0}


def made_for(runtime, network, options="rounding=nearest"):
    recipe = parse_recipe(f"simplify+static,runtime={runtime},{options}")
    return make_case(NETWORKS[network](), recipe)


def stored(model):
    return {value.name: value.const_value.numpy() for value in initializers(model.graph)}


def pairs(model):
    """Every value that has a pair, its step and zero point."""
    arrays = stored(model)
    for node in nodes(model.graph):
        if node.op_type == "QuantizeLinear":
            scale, zero = (arrays[value.name] for value in node.inputs[1:])
            yield node, scale, zero


def kinds_behind_pairs(model):
    """Types of operators that read a value out of a pair."""
    return {
        reader.op_type
        for node, _, _ in pairs(model)
        for back in node.outputs[0].consumers()
        for reader in back.outputs[0].consumers()
    }


def test_every_runtime_has_a_file_and_every_file_is_a_runtime():
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(RUNTIMES)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_field_has_a_source(runtime):
    facts = capabilities(runtime)
    choices = policy(runtime).choices

    required = {field.name for field in dataclasses.fields(Capabilities)
                if field.default is dataclasses.MISSING or getattr(facts, field.name)
                not in ((), BlockedProducts())}  # fmt: skip
    assert set(facts.sources) == required - {"title", "sources"}
    fields = {field.name for field in dataclasses.fields(Choices)} - {"sources"}
    assert set(choices.sources) == fields
    texts = [*facts.sources.values(), *choices.sources.values()]
    assert all(texts)
    assert any("https://" in text for text in texts)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_no_operator_has_two_parts(runtime):
    facts = capabilities(runtime)
    choices = policy(runtime).choices

    ways = [set(facts.integer_operators), set(facts.code_movers), set(facts.clipping)]
    assert sum(map(len, ways)) == len(set.union(*ways))
    assert set(facts.per_channel) | set(facts.float_outputs) <= set(facts.weight_operators)
    assert set(facts.equal_grids) | set(facts.fixed_grids) <= set(facts.integer_operators)
    assert set(facts.wide_movers) <= set(facts.code_movers)
    assert set(choices.unused) <= {*facts.integer_operators, *facts.code_movers}
    assert not set(choices.unused) & set(choices.keep_float)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("network", ["residual-17", "depthwise-13", "gemms-13", "attention-17"])
def test_models_follow_the_file_and_compute_what_they_did(runtime, network):
    case = made_for(runtime, network)
    pairs_of = policy(runtime)
    found = pairs_of.runtime
    model = case.result.model

    changed = {one.operator for one in case.result.changes if one.method == "static"}
    kinds = {node.op_type for node in nodes(model.graph) if node.name in changed}
    assert kinds
    assert kinds <= {*found.weight_operators, *pairs_of.integer_operators, *pairs_of.code_movers}
    for _, scale, zero in pairs(model):
        assert zero.dtype == found.codes
        assert scale > 0
        assert not found.symmetric or zero == MIDDLE[found.codes]
    old, new = (open_session(one, EXACT) for one in (case.model, model))
    for call in case.calls:
        for before, after in zip(old.run(call).values(), new.run(call).values(), strict=True):
            assert signal_to_noise(before, after) > 12


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_weights_have_a_scale_for_each_channel_only_where_the_runtime_takes_it(runtime):
    found = capabilities(runtime)
    for network in ("gemms-13", "residual-17"):
        model = made_for(runtime, network).result.model
        arrays = stored(model)
        for node in nodes(model.graph):
            if node.op_type in found.weight_operators and node.inputs[1].producer() is not None:
                scale = arrays[node.inputs[1].producer().inputs[1].name]
                assert (scale.ndim == 1) == (node.op_type in found.per_channel)


def test_grids_that_litert_fixes_are_taken():
    model = made_for("litert", "attention-17").result.model

    steps = {
        node.inputs[0].producer().op_type: (float(scale), int(zero))
        for node, scale, zero in pairs(model)
        if node.inputs[0].producer() is not None
    }
    assert steps["Softmax"] == (1 / 256, -128)


def test_what_is_stored_and_added_has_a_pair_where_a_runtime_needs_integers_everywhere():
    npu, cpu = (made_for(one, "attention-17").result.model for one in ("qnn", "onnxruntime"))

    def constants(model):
        return [node for node, _, _ in pairs(model) if node.inputs[0].producer() is None]

    assert "Softmax" in kinds_behind_pairs(npu)
    assert "Softmax" not in kinds_behind_pairs(cpu)
    assert len(constants(npu)) > len(constants(cpu))


def test_an_operator_without_an_integer_kernel_of_the_runtime_is_refused():
    made = made_for("coreml", "upsampling-17")

    assert "no-kernel" in {refusal.code for refusal in made.result.refusals}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("network", ["perceptron-21", "attention-17"])
def test_a_weight_that_stays_in_float_gets_no_grid_of_activations(runtime, network):
    case = made_for(runtime, network, "rounding=nearest,last=float")

    kept = {refusal.operator for refusal in case.result.refusals if refusal.code == "last-operator"}
    changed = {change.operator for change in case.result.changes}

    assert kept
    assert not kept & changed
