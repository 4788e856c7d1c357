"""Batch normalisation at inference, folded into the operator before it.

y = (x - mean) * scale / sqrt(variance + epsilon) + bias is a product and a sum for each channel,
so it moves into the weight and bias of a Conv, ConvTranspose or Gemm.
Source: Jacob et al. (CVPR 2018), section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.unique_names import Names
from packlight.compression.sites.weight_roles import is_standard, stored
from packlight.model import nodes
from packlight.records.storage import Folded
from packlight.records.variant import Change, Refusal

CHANNEL = {"Conv": 0, "ConvTranspose": 1}
"""Axis of the weight that counts output channels."""

PARAMETERS = 4

MARK = "_folded"
"""Behind the name of what is stored where that is taken."""


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """A batch normalisation right behind an operator that can take it in."""

    node: ir.Node
    into: ir.Node

    @property
    def operator(self) -> str:
        """Name of the normalisation."""
        return str(self.node.name)


def sites(graph: ir.Model) -> Iterator[BatchNorm | Refusal]:
    """Every batch normalisation, or why it stays."""
    for node in nodes(graph):
        if is_standard(node, "BatchNormalization"):
            yield site(node)


def site(node: ir.Node) -> BatchNorm | Refusal:
    """A batch normalisation that folds, or why it stays."""
    name = str(node.name)
    source = node.inputs[0]
    into = source.producer() if source is not None else None
    if into is None or not is_standard(into, *CHANNEL, "Gemm"):
        what = into.op_type if into is not None else "an input of the model"
        return Refusal(name, "no-fold-target", f"it follows {what}, which cannot take it in")
    assert source is not None
    ends = [value for value in (source, into.inputs[1]) if value is not None]
    shared = any(len(value.uses()) > 1 or value.is_graph_output() for value in ends)
    if shared or into.graph is not node.graph:
        reason = f"the result or the weight of {into.name} is read elsewhere too"
        return Refusal(name, "shared", reason)
    parameters = [stored(value) for value in (*node.inputs[1:], *into.inputs[1:])]
    if any(tensor is None or tensor.dtype != ir.DataType.FLOAT for tensor in parameters):
        reason = "its numbers or the weight before it are not stored as float32"
        return Refusal(name, "not-float32", reason)
    grouped = into.op_type == "ConvTranspose" and into.attributes.get_int("group", 1) > 1
    if grouped or not node.attributes.get_int("spatial", 1):
        what = "follows a ConvTranspose in groups" if grouped else "has numbers for every place"
        return Refusal(name, "unsupported-attributes", f"it {what}")
    if node.attributes.get_int("training_mode", 0) or len(node.outputs) > 1:
        remedy = "export the model in evaluation mode"
        return Refusal(name, "training-mode", "it is in training mode", remedy)
    return BatchNorm(node, into)


def fold(found: BatchNorm, names: Names) -> Change | Refusal:
    """Move the normalisation into the weight and bias before it, in place."""
    node, into = found.node, found.into
    with np.errstate(all="ignore"):
        new_weight, new_bias = moved(node, into)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        reason = f"with it the numbers of {into.name} would leave float32"
        return Refusal(found.operator, "overflow", reason)
    stem = str(into.name)
    into.replace_input_with(1, add(into, names.fresh(f"{stem}.weight", MARK), new_weight))
    into.resize_inputs(max(len(into.inputs), 3))
    into.replace_input_with(2, add(into, names.fresh(f"{stem}.bias", MARK), new_bias))
    if "beta" in into.attributes:
        into.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    replace_output(node, into)
    return Change(found.operator, "simplify", Folded(str(into.name)))


def moved(node: ir.Node, into: ir.Node) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weight and bias that do what an operator and the normalisation behind it do."""
    scale, bias, mean, variance = (read(value) for value in node.inputs[1 : 1 + PARAMETERS])
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    factor = scale / np.sqrt(variance + epsilon)
    weight = read(into.inputs[1])
    given = into.inputs[2] if len(into.inputs) > 2 else None  # noqa: PLR2004
    old = read(given) if given is not None else np.zeros_like(mean)
    beta = into.attributes.get_float("beta", 1.0) if into.op_type == "Gemm" else 1.0
    new_weight = weight * spread(factor, into, weight.ndim)
    new_bias = (beta * old - mean) * factor + bias
    return new_weight.astype(np.float32), new_bias.astype(np.float32)


def spread(factor: NDArray[np.float64], into: ir.Node, rank: int) -> NDArray[np.float64]:
    """Factors of output channels in the shape that multiplies the weight."""
    if into.op_type == "Gemm":
        return factor[:, None] if into.attributes.get_int("transB", 0) else factor[None, :]
    shape = [1] * rank
    shape[CHANNEL[into.op_type]] = -1
    return factor.reshape(shape)


def read(value: ir.Value | None) -> NDArray[np.float64]:
    """A stored value in double precision."""
    tensor = stored(value)
    assert tensor is not None
    return np.asarray(tensor.numpy(), np.float64)


def add(node: ir.Node, name: str, array: NDArray[np.floating]) -> ir.Value:
    """Store an array as float32 in the graph of an operator, under a name that is free."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    value = ir.Value(name=name, const_value=ir.Tensor(array.astype(np.float32), name=name))
    graph.register_initializer(value)
    return value


def replace_output(node: ir.Node, into: ir.Node) -> None:
    """Let the operator before give what the normalisation gave, under the same name."""
    old, new = node.outputs[0], into.outputs[0]
    name = old.name
    new.type, new.shape = old.type or new.type, old.shape or new.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph = node.graph
    assert graph is not None
    graph.remove(node, safe=True)
    new.name = name
