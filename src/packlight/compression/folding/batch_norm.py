"""Batch normalization and added biases, folded into the operator before them.

y = (x - mean) * scale / sqrt(variance + epsilon) + bias is a product and a sum for each channel,
so it moves into the weight and bias of a Conv, ConvTranspose or Gemm.
Source: Jacob et al. (CVPR 2018), section 3.2. Equally, a constant for each channel that is added to
the result of a convolution moves into its bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.stored_values import UniqueNames
from packlight.compression.sites.weight_roles import is_standard, stored
from packlight.model import nodes, producer_of
from packlight.records.storage import Folded
from packlight.records.variant import Change, Refusal

_CHANNEL = {"Conv": 0, "ConvTranspose": 1}
"""Axis of output channels in the weight."""

_FOLDED_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
_PARAMETERS = 4

_BIAS = 2
"""Input of an operator that is its bias."""

_MARK = "_folded"
"""Appended to the name of a stored value where that is not free."""


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """A batch normalization right after an operator that it folds into."""

    node: ir.Node
    into: ir.Node

    @property
    def operator(self) -> str:
        """Name of the normalization."""
        return str(self.node.name)


def batch_norm_sites(graph: ir.Model) -> Iterator[BatchNorm | Refusal]:
    """Every batch normalization that folds, and refusals of the remaining ones."""
    for node in nodes(graph):
        if is_standard(node, "BatchNormalization"):
            yield _batch_norm_site(node)


def _batch_norm_site(node: ir.Node) -> BatchNorm | Refusal:
    name = str(node.name)
    source = node.inputs[0]
    into = producer_of(source)
    if into is None or not is_standard(into, *_CHANNEL, "Gemm"):
        what = "an input of the model" if into is None else into.op_type
        return Refusal(name, "no-fold-target", f"it follows {what}, which cannot take it in")
    assert source is not None
    shared = any(not _has_one_reader(value) for value in (source, into.inputs[1]))
    if shared or into.graph is not node.graph:
        reason = f"the result or the weight of {into.name} is read elsewhere too"
        return Refusal(name, "shared", reason)
    parameters = [stored(value) for value in (*node.inputs[1:], *into.inputs[1:])]
    if any(tensor is None or tensor.dtype not in _FOLDED_TYPES for tensor in parameters):
        reason = "its numbers or the weight before it are not stored as float32 or float16"
        return Refusal(name, "not-float32", reason)
    grouped = into.op_type == "ConvTranspose" and into.attributes.get_int("group", 1) > 1
    if grouped or not node.attributes.get_int("spatial", 1):
        what = "follows a ConvTranspose in groups" if grouped else "has numbers for every place"
        return Refusal(name, "unsupported-attributes", f"it {what}")
    if node.attributes.get_int("training_mode", 0) or len(node.outputs) > 1:
        remedy = "export the model in evaluation mode"
        return Refusal(name, "training-mode", "it is in training mode", remedy)
    return BatchNorm(node, into)


def fold_batch_norm(site: BatchNorm, names: UniqueNames) -> Change | Refusal:
    """Move the normalization into the weight and bias before it, in place."""
    node = site.node
    into = site.into
    with np.errstate(all="ignore"):
        new_weight, new_bias = _folded_parameters(node, into)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        reason = f"with it the numbers of {into.name} would leave their type"
        return Refusal(site.operator, "overflow", reason)
    stem = str(into.name)
    into.replace_input_with(
        1, _store_beside(into, names.fresh(f"{stem}.weight", _MARK), new_weight)
    )
    into.resize_inputs(max(len(into.inputs), _BIAS + 1))
    into.replace_input_with(
        _BIAS, _store_beside(into, names.fresh(f"{stem}.bias", _MARK), new_bias)
    )
    if "beta" in into.attributes:
        into.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    _replace_output(node, into)
    return Change(site.operator, "simplify", Folded(str(into.name)))


def _folded_parameters(
    node: ir.Node, into: ir.Node
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Weight and bias of an operator that includes the normalization after it."""
    scale, bias, mean, variance = (
        _read_float64(value) for value in node.inputs[1 : 1 + _PARAMETERS]
    )
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    factor = scale / np.sqrt(variance + epsilon)
    weight = _read_float64(into.inputs[1])
    old_bias = _bias(into)
    old = np.zeros_like(mean)
    if old_bias is not None:
        old = _read_float64(old_bias)
    beta = into.attributes.get_float("beta", 1.0)
    new_weight = weight * _spread(factor, into, weight.ndim)
    new_bias = (beta * old - mean) * factor + bias
    dtype = _weight_type(into).numpy()
    return new_weight.astype(dtype), new_bias.astype(dtype)


def _spread(factor: NDArray[np.float64], into: ir.Node, rank: int) -> NDArray[np.float64]:
    """Factors of output channels in the shape that multiplies the weight."""
    if into.op_type == "Gemm":
        return np.expand_dims(factor, 1 if into.attributes.get_int("transB", 0) else 0)
    shape = [1] * rank
    shape[_CHANNEL[into.op_type]] = -1
    return factor.reshape(shape)


def _read_float64(value: ir.Value | None) -> NDArray[np.float64]:
    tensor = stored(value)
    assert tensor is not None
    return np.asarray(tensor.numpy(), np.float64)


def _weight_type(into: ir.Node) -> ir.DataType:
    weight = stored(into.inputs[1])
    assert weight is not None
    return weight.dtype


def _store_beside(node: ir.Node, name: str, array: NDArray[np.floating]) -> ir.Value:
    """Store an array in the type of an operator's weight, in its graph, under a free name."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    typed = array.astype(_weight_type(node).numpy())
    value = ir.Value(name=name, const_value=ir.Tensor(typed, name=name))
    graph.register_initializer(value)
    return value


def _replace_output(node: ir.Node, into: ir.Node) -> None:
    """Let the operator before produce the output of a folded one, under its name."""
    old = node.outputs[0]
    new = into.outputs[0]
    name = old.name
    new.type = old.type or new.type
    new.shape = old.shape or new.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph = node.graph
    assert graph is not None
    graph.remove(node, safe=True)
    new.name = name


@dataclass(frozen=True, slots=True)
class AddedBias:
    """A sum that folds into the bias of a convolution.

    Attributes:
        node: the sum.
        into: the convolution.
        constant: the added value.
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
    for value, constant in (tuple(node.inputs), tuple(reversed(node.inputs))):
        into = producer_of(value)
        if into is None or not is_standard(into, *_CHANNEL) or into.graph is not node.graph:
            continue
        if _has_one_reader(value) and constant is not None and _is_channel_bias(into, constant):
            yield AddedBias(node, into, constant)


def _has_one_reader(value: ir.Value | None) -> bool:
    return value is None or (len(value.uses()) <= 1 and not value.is_graph_output())


def _bias(into: ir.Node) -> ir.Value | None:
    return next(iter(into.inputs[_BIAS : _BIAS + 1]), None)


def _has_type(value: ir.Value | None, dtype: ir.DataType) -> bool:
    tensor = stored(value)
    return tensor is not None and tensor.dtype == dtype


def _is_channel_bias(into: ir.Node, constant: ir.Value) -> bool:
    """Check that a constant has one number for each channel of a convolution, and no more."""
    weight = stored(into.inputs[1])
    tensor = stored(constant)
    bias = _bias(into)
    if weight is None or tensor is None or weight.dtype not in _FOLDED_TYPES:
        return False
    if not all(_has_type(added, weight.dtype) for added in (constant, bias or constant)):
        return False
    shape = tuple(tensor.shape.numpy())
    rank = len(weight.shape)
    expanded = (1,) * (rank - len(shape)) + shape
    return expanded == (1, _output_channels(into, weight), *(1,) * (rank - 2))


def _output_channels(into: ir.Node, weight: ir.TensorProtocol) -> int:
    channels = weight.shape.numpy()[_CHANNEL[into.op_type]]
    if into.op_type == "ConvTranspose":
        channels *= into.attributes.get_int("group", 1)
    return channels


def fold_added_biases(graph: ir.Model, names: UniqueNames) -> list[Change]:
    """Fold every sum, also the sums after folded ones, in place."""
    sums = [node for node in nodes(graph) if is_standard(node, "Add")]
    return [_fold_added_bias(site, names) for node in sums for site in _added_biases_of(node)]


def _fold_added_bias(site: AddedBias, names: UniqueNames) -> Change:
    """Move the constant into the bias, in place."""
    into = site.into
    new = _read_float64(site.constant).ravel()
    old = _bias(into)
    if old is not None:
        new = new + _read_float64(old)
    into.resize_inputs(_BIAS + 1)
    name = names.fresh(f"{into.name}.bias", _MARK)
    into.replace_input_with(_BIAS, _store_beside(into, name, new))
    _replace_output(site.node, into)
    return Change(site.operator, "simplify", Folded(str(into.name)))
