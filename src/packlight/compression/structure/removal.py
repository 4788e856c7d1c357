"""A graph without some of its channels: smaller stored tensors, and attributes that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.stored_values import StoredValues
from packlight.compression.sites.weight_roles import STANDARD, stored
from packlight.compression.sites.weight_sites import STANDS_IN
from packlight.compression.structure.channel_groups import ChannelGroups
from packlight.compression.structure.statements import numbers_of
from packlight.model import nodes

Kept = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Removal:
    """Positions that go.

    Attributes:
        groups: of the model, before anything is removed.
        removed: by class, whether it goes.
    """

    groups: ChannelGroups
    removed: Kept

    def kept(self, value: ir.Value | None, axis: int) -> Kept:
        """By position along an axis, whether it stays; empty where the axis is open."""
        return np.asarray(~self.removed[self.groups.labels(value, axis)])

    def kept_by_axis(self, value: ir.Value) -> dict[int, Kept]:
        """Axes of a value that become shorter, with what stays."""
        rank = self.groups.couplings.rank(value) or 0
        masks = {axis: self.kept(value, axis) for axis in range(rank)}
        return {axis: mask for axis, mask in masks.items() if not mask.all()}

    def kept_share(self, value: ir.Value) -> float:
        """Share of the numbers of a value that stay."""
        return float(np.prod([mask.mean() for mask in self.kept_by_axis(value).values()]))


def remove_channels(graph: ir.Model, removal: Removal) -> None:
    """Make every stored tensor and attribute as small as what stays needs, in place."""
    narrow = {
        id(value): axes
        for value in removal.groups.couplings.values()
        if (axes := removal.kept_by_axis(value))
    }
    stock = StoredValues(graph)
    for node in nodes(graph):
        if node.domain in STANDARD and node.op_type in EDITS:
            EDITS[node.op_type](node, removal, stock)
    for value in removal.groups.couplings.values():
        if id(value) in narrow:
            _narrow(value, narrow[id(value)])


def _narrow(value: ir.Value, axes: Mapping[int, Kept]) -> None:
    tensor = stored(value)
    if tensor is not None:
        smaller = narrow_tensor(tensor, axes)
        node = value.producer()
        if node is None:
            value.const_value = smaller
            if value.shape is not None:
                value.shape = ir.Shape(smaller.shape.numpy())
            return
        node.attributes.clear()
        node.attributes["value"] = ir.AttrTensor("value", smaller)
    if value.shape is not None:
        sizes = list(value.shape.dims)
        for axis, mask in axes.items():
            sizes[axis] = int(mask.sum())
        value.shape = ir.Shape(sizes)


def narrow_tensor(tensor: ir.TensorProtocol, axes: Mapping[int, Kept]) -> ir.TensorProtocol:
    """A tensor with fewer positions along some axes, read when it is needed."""
    shape = list(tensor.shape.numpy())
    for axis, mask in axes.items():
        shape[axis] = int(mask.sum())

    def read() -> ir.TensorProtocol:
        array = np.asarray(tensor.numpy())
        for axis, mask in axes.items():
            array = np.compress(mask, array, axis)
        return ir.Tensor(array, dtype=tensor.dtype, name=tensor.name)

    smaller = ir.LazyTensor(
        read, dtype=tensor.dtype, shape=ir.Shape(shape), name=tensor.name, cache=False
    )
    if STANDS_IN in tensor.meta:
        smaller.meta[STANDS_IN] = True
    return smaller


def _edit_groups(node: ir.Node, removal: Removal, stock: StoredValues) -> None:
    del stock
    groups = node.attributes.get_int("group", 1)
    mask = removal.kept(node.inputs[1], 0)
    if groups > 1 and not mask.all():
        rows = mask.size // groups
        node.attributes["group"] = ir.AttrInt64("group", int(mask.sum()) // rows)


def _edit_group_norm(node: ir.Node, removal: Removal, stock: StoredValues) -> None:
    del stock
    mask = removal.kept(node.inputs[0], 1)
    groups = node.attributes.get_int("num_groups", 1)
    if not mask.all():
        kept = int(mask.sum()) * groups // mask.size
        node.attributes["num_groups"] = ir.AttrInt64("num_groups", kept)


def _edit_hidden_size(node: ir.Node, removal: Removal, stock: StoredValues) -> None:
    del stock
    mask = removal.kept(node.inputs[2], 2)
    if "hidden_size" in node.attributes and not mask.all():
        node.attributes["hidden_size"] = ir.AttrInt64("hidden_size", int(mask.sum()))


def _edit_reshape(node: ir.Node, removal: Removal, stock: StoredValues) -> None:
    output = node.outputs[0]
    axes = removal.kept_by_axis(output)
    target = numbers_of(node.inputs[1])
    if not axes or target is None:
        return
    for axis, mask in axes.items():
        if target[axis] > 0:
            target[axis] = int(mask.sum())
    _store_numbers(node, 1, target, stock)


def _edit_split(node: ir.Node, removal: Removal, stock: StoredValues) -> None:
    value = node.inputs[0]
    rank = removal.groups.couplings.rank(value)
    if rank is None:
        return
    axis = node.attributes.get_int("axis", 0) % max(rank, 1)
    if removal.kept(value, axis).all():
        return
    sizes = [int(removal.kept(output, axis).sum()) for output in node.outputs]
    for name in ("split", "num_outputs"):
        in_attribute = name in node.attributes
        if in_attribute and name == "split":
            node.attributes["split"] = ir.AttrInt64s("split", sizes)
            return
        if in_attribute:
            del node.attributes[name]
    if _opset(stock) < SPLIT_INPUT_OPSET:
        node.attributes["split"] = ir.AttrInt64s("split", sizes)
        return
    node.resize_inputs(2)
    _store_numbers(node, 1, sizes, stock)


SPLIT_INPUT_OPSET = 13
"""The first opset whose Split reads sizes as an input."""


def _opset(stock: StoredValues) -> int:
    return int(stock.names.model.opset_imports.get("", 0))


def _store_numbers(node: ir.Node, index: int, numbers: Sequence[int], stock: StoredValues) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    value = stock.store(graph, f"{node.name}.sizes", np.array(numbers, np.int64))
    node.replace_input_with(index, value)


Edit = Callable[[ir.Node, Removal, StoredValues], None]
EDITS: Mapping[str, Edit] = {
    "Conv": _edit_groups,
    "ConvTranspose": _edit_groups,
    "GroupNormalization": _edit_group_norm,
    "GRU": _edit_hidden_size,
    "LSTM": _edit_hidden_size,
    "RNN": _edit_hidden_size,
    "Reshape": _edit_reshape,
    "Split": _edit_split,
}
"""Numbers that an operator states about its channels."""
