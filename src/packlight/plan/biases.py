"""Bytes of the biases that rounding by samples makes where an operator has none.

They take up what rounding does to the means of outputs, so there is one wherever a sample comes by.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from packlight.compress.bias import Bias
from packlight.compress.roles import stored
from packlight.compress.sequence import absorber
from packlight.compress.sites import Weight, weight_sites
from packlight.model.size import field_size, tensor_size


def bias_growth(model: ir.Model, changed: Collection[str]) -> int:
    """Bytes that the graph grows by.

    Args:
        model: before it is rounded.
        changed: names of the operators whose weights are.
    """
    sites = (one for one in weight_sites(model) if isinstance(one, Weight))
    places = (absorber(site) for site in sites if site.operator in changed)
    return sum(growth(place) for place in places if place is not None and place.is_new)


def growth(place: Bias) -> int:
    """Bytes of one new bias and of its name where it is read."""
    name = place.fresh_name()
    held = stored(place.value)
    numbers = place.outputs if held is None else held.size
    tensor = ir.Tensor(np.zeros(numbers, np.float32), name=name)
    node = ir.serde.serialize_node(place.node)
    before = node.ByteSize()
    inputs = [*node.input, *[""] * (place.index + 1 - len(node.input))]
    inputs[place.index] = name
    del node.input[:]
    node.input.extend(inputs)
    return field_size(tensor_size(tensor)) + field_size(node.ByteSize()) - field_size(before)
