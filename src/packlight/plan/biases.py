"""Bytes of the biases that rounding by samples makes where an operator has none.

They take up what rounding does to the means of outputs, so there is one wherever a sample comes by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from packlight.compress.bias import Bias
from packlight.compress.roles import stored
from packlight.compress.sequence import absorber
from packlight.compress.sites import Weight, weight_sites
from packlight.model.size import field_size, tensor_size


def bias_growths(model: ir.Model) -> Mapping[str, int]:
    """Bytes that the graph grows by where the weights of an operator are rounded, by its name.

    Args:
        model: before it is rounded.
    """
    found: dict[str, int] = defaultdict(int)
    for site in weight_sites(model):
        place = absorber(site) if isinstance(site, Weight) else None
        if place is not None and place.is_new:
            found[site.operator] += growth(place)
    return found


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
