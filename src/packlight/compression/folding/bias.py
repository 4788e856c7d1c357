"""A constant for each channel that is added behind a convolution, folded into its bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from packlight.compression.encoding.stored_values import UniqueNames
from packlight.compression.folding.batch_norm import (
    _CHANNEL,
    _MARK,
    _read_float64,
    _replace_output,
    _store_float32,
)
from packlight.compression.sites.weight_roles import is_standard, stored
from packlight.model import nodes
from packlight.records.variant import Change

_BIAS = 2
"""Input of a convolution that is its bias."""


@dataclass(frozen=True, slots=True)
class AddedBias:
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


def added_bias_sites(graph: ir.Model) -> Iterator[AddedBias]:
    """Every sum that folds."""
    for node in nodes(graph):
        if is_standard(node, "Add"):
            yield from _added_biases_of(node)


def _added_biases_of(node: ir.Node) -> Iterator[AddedBias]:
    """A sum that folds, or nothing."""
    for value, constant in (tuple(node.inputs), tuple(reversed(node.inputs))):
        into = None if value is None else value.producer()
        if into is None or not is_standard(into, *_CHANNEL) or into.graph is not node.graph:
            continue
        assert value is not None
        alone = len(value.uses()) == 1 and not value.is_graph_output()
        if alone and constant is not None and _is_channel_bias(into, constant):
            yield AddedBias(node, into, constant)


def _float32_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """What is stored, where it is float32."""
    tensor = stored(value)
    return tensor if tensor is not None and tensor.dtype == ir.DataType.FLOAT else None


def _is_channel_bias(into: ir.Node, constant: ir.Value) -> bool:
    """Whether a constant has one number for each channel of a convolution, and nothing else."""
    weight, tensor = stored(into.inputs[1]), _float32_tensor(constant)
    bias = into.inputs[_BIAS] if len(into.inputs) > _BIAS else None
    if weight is None or tensor is None or (bias is not None and _float32_tensor(bias) is None):
        return False
    channels, shape = _output_channels(into, weight), tuple(tensor.shape.numpy())
    rank = len(weight.shape)
    wide = (1,) * (rank - len(shape)) + shape
    return wide == (1, channels, *(1,) * (rank - 2))


def _output_channels(into: ir.Node, weight: ir.TensorProtocol) -> int:
    """Channels that a convolution gives."""
    groups = into.attributes.get_int("group", 1) if into.op_type == "ConvTranspose" else 1
    return weight.shape.numpy()[_CHANNEL[into.op_type]] * groups


def fold_added_biases(graph: ir.Model, names: UniqueNames) -> list[Change]:
    """Fold every sum, those behind folded ones too, in place."""
    places = [node for node in nodes(graph) if is_standard(node, "Add")]
    return [_fold_added_bias(found, names) for node in places for found in _added_biases_of(node)]


def _fold_added_bias(found: AddedBias, names: UniqueNames) -> Change:
    """Move what is added into the bias, in place."""
    node, into = found.node, found.into
    new = _read_float64(found.constant).ravel()
    if len(into.inputs) > _BIAS and into.inputs[_BIAS] is not None:
        new = new + _read_float64(into.inputs[_BIAS])
    into.resize_inputs(_BIAS + 1)
    name = names.fresh(f"{into.name}.bias", _MARK)
    into.replace_input_with(_BIAS, _store_float32(into, name, np.asarray(new, np.float64)))
    _replace_output(node, into)
    return Change(found.operator, "tidy", f"folded into {into.name}")
