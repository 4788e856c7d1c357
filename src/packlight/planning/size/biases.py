"""Bytes of the biases that steps with samples make where an operator has none of its own.

They take up what rounding does to the means of outputs, so there is one wherever a sample comes by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from packlight.compression.compress import step_uses_data
from packlight.compression.reconstruction.bias_correction import Bias
from packlight.compression.reconstruction.sequential import correctable_bias
from packlight.compression.sites.weight_matrix import input_values
from packlight.compression.sites.weight_roles import stored
from packlight.compression.sites.weight_sites import Weight, weight_sites
from packlight.model.size import field_size, tensor_size
from packlight.records.configs import RoundingConfig
from packlight.records.recipe import Recipe, Step
from packlight.records.variant import Change

Changed = tuple[str, int]
"""A weight that is changed: its operator, and its bytes before."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bias is made once a weight is rounded.

    Attributes:
        weight: of whose outputs it takes up the means.
        growth: bytes that the graph grows by.
        shared: identity of the stored bias that is read there until then; 0 where that stays what
            it is in any case, or there is none.
        readers: of that; the last one of them keeps it as its own.
    """

    weight: Changed
    growth: int
    shared: int
    readers: int


def bias_places(model: ir.Model) -> Iterator[Place]:
    """Where biases are made in a model, in the order of its weights."""
    for site in weight_sites(model):
        bias = correctable_bias(site) if isinstance(site, Weight) and is_fed(site) else None
        if bias is not None and bias.is_new:
            assert isinstance(site, Weight)
            yield place(site, bias)


def is_fed(site: Weight) -> bool:
    """Whether samples show what a weight multiplies."""
    return len(site.roles) == 1 and bool(input_values(site.roles[0]))


def place(site: Weight, bias: Bias) -> Place:
    """Where one bias is made."""
    value, weight = bias.value, (site.operator, site.tensor.nbytes)
    if value is None or value.producer() is not None or value.is_graph_output():
        return Place(weight, growth(bias), 0, 0)
    return Place(weight, growth(bias), id(value), len(value.uses()))


def growth(bias: Bias) -> int:
    """Bytes of one new bias and of its name where it is read."""
    name = bias.fresh_name()
    held = stored(bias.value)
    numbers = bias.outputs if held is None else held.size
    tensor = ir.Tensor(np.zeros(numbers, np.float32), name=name)
    node = ir.serde.serialize_node(bias.node)
    before = node.ByteSize()
    inputs = [*node.input, *[""] * (bias.index + 1 - len(node.input))]
    inputs[bias.index] = name
    del node.input[:]
    node.input.extend(inputs)
    return field_size(tensor_size(tensor)) + field_size(node.ByteSize()) - field_size(before)


def bytes_made(places: Iterable[Place], changed: Collection[Changed]) -> int:
    """Bytes of all biases that are made where some weights are changed."""
    total, readers = 0, dict[int, int]()
    for one in places:
        if one.weight not in changed:
            continue
        left = readers.setdefault(one.shared, one.readers)
        if one.shared and left == 1:
            continue
        total += one.growth
        readers[one.shared] = left - 1
    return total


def shifted(recipe: Recipe, changes: Iterable[Change]) -> set[Changed]:
    """The weights of which biases take up what a recipe does to the means of outputs."""
    methods = {step.method for step in recipe.steps if shifts(step)}
    return {(change.operator, change.before) for change in changes if change.method in methods}


def shifts(step: Step) -> bool:
    """Whether biases take up what a step does; integer methods count theirs themselves."""
    config = step.config
    return isinstance(config, RoundingConfig) and config.bias and step_uses_data(step)


def is_doubtful(recipe: Recipe) -> bool:
    """Whether biases may take fewer bytes, or not all be made.

    They are halved by ``float16``. Of two steps of one method, it is not known which made a change.
    """
    makes = {step.method for step in recipe.steps if shifts(step)}
    other = {step.method for step in recipe.steps if not shifts(step)}
    return bool(makes) and ("float16" in other or not makes.isdisjoint(other))
