"""A constant for each channel that is added behind a convolution, folded into its bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from packlight.compression.encoding.unique_names import Names
from packlight.compression.folding.batch_norm import CHANNEL, MARK, add, read, replace_output
from packlight.compression.sites.weight_roles import is_standard, stored
from packlight.model import nodes
from packlight.records.storage import Folded
from packlight.records.variant import Change

BIAS = 2
"""Input of a convolution that is its bias."""


@dataclass(frozen=True, slots=True)
class Added:
    """A sum that a convolution's bias can take in.

    Attributes:
        node: the sum.
        into: the convolution.
        constant: what is added, as the sum reads it.
    """

    node: ir.Node
    into: ir.Node
    constant: ir.Value

    @property
    def operator(self) -> str:
        """Name of the sum."""
        return str(self.node.name)


def sites(graph: ir.Model) -> Iterator[Added]:
    """Every sum that folds."""
    for node in nodes(graph):
        if is_standard(node, "Add"):
            yield from site(node)


def site(node: ir.Node) -> Iterator[Added]:
    """A sum that folds, or nothing."""
    for value, constant in (tuple(node.inputs), tuple(reversed(node.inputs))):
        into = None if value is None else value.producer()
        if into is None or not is_standard(into, *CHANNEL) or into.graph is not node.graph:
            continue
        assert value is not None
        alone = len(value.uses()) == 1 and not value.is_graph_output()
        if alone and constant is not None and fits(into, constant):
            yield Added(node, into, constant)


def floats(value: ir.Value | None) -> ir.TensorProtocol | None:
    """What is stored, where it is float32."""
    tensor = stored(value)
    return tensor if tensor is not None and tensor.dtype == ir.DataType.FLOAT else None


def fits(into: ir.Node, constant: ir.Value) -> bool:
    """Whether a constant has one number for each channel of a convolution, and nothing else."""
    weight, tensor = stored(into.inputs[1]), floats(constant)
    bias = into.inputs[BIAS] if len(into.inputs) > BIAS else None
    if weight is None or tensor is None or (bias is not None and floats(bias) is None):
        return False
    channels, shape = outputs(into, weight), tuple(tensor.shape.numpy())
    rank = len(weight.shape)
    wide = (1,) * (rank - len(shape)) + shape
    return wide == (1, channels, *(1,) * (rank - 2))


def outputs(into: ir.Node, weight: ir.TensorProtocol) -> int:
    """Channels that a convolution gives."""
    groups = into.attributes.get_int("group", 1) if into.op_type == "ConvTranspose" else 1
    return weight.shape.numpy()[CHANNEL[into.op_type]] * groups


def folded(graph: ir.Model, names: Names) -> list[Change]:
    """Fold every sum, those behind folded ones too, in place."""
    places = [node for node in nodes(graph) if is_standard(node, "Add")]
    return [fold(found, names) for node in places for found in site(node)]


def fold(found: Added, names: Names) -> Change:
    """Move what is added into the bias, in place."""
    node, into = found.node, found.into
    new = read(found.constant).ravel()
    if len(into.inputs) > BIAS and into.inputs[BIAS] is not None:
        new = new + read(into.inputs[BIAS])
    into.resize_inputs(BIAS + 1)
    name = names.fresh(f"{into.name}.bias", MARK)
    into.replace_input_with(BIAS, add(into, name, np.asarray(new, np.float64)))
    replace_output(node, into)
    return Change(found.operator, "simplify", Folded(str(into.name)))
