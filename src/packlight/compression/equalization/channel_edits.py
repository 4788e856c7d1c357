"""Multiply stored numbers by one factor for each channel, wherever the channels lie in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.storage import remove_stored
from packlight.compression.encoding.stored_values import Stock
from packlight.compression.equalization.channel_map import Labels
from packlight.compression.sites.weight_roles import stored
from packlight.model import owning_graph, release
from packlight.records.reason_code import ReasonCode

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why the scale of a channel cannot move past a place.

    Attributes:
        code: the reason, for programs.
        reason: what is in the way, in terms of the model.
        remedy: what the user can change; empty when nothing can be done.
    """

    code: ReasonCode
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """A stored input of an operator that takes in the scales of channels.

    Attributes:
        node: the operator.
        index: which of its inputs.
        labels: the channel of every number; where they are wider than what is stored, the result
            is too.
    """

    node: ir.Node
    index: int
    labels: Labels

    @property
    def value(self) -> ir.Value:
        """What the operator reads there."""
        value = self.node.inputs[self.index]
        assert value is not None
        return value

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        tensor = stored(self.value)
        assert tensor is not None
        return np.broadcast_shapes(tuple(tensor.shape.numpy()), self.labels.shape)

    def read(self) -> Floats:
        """A copy of what is stored now."""
        return read(stored(self.value))


def read(tensor: ir.TensorProtocol | None) -> Floats:
    """A copy of a stored tensor; what lies in external data is let go again."""
    assert tensor is not None
    array = np.array(tensor.numpy(), np.float32)
    release(tensor)
    return array


def editable(node: ir.Node, index: int, labels: Labels) -> Edit | Blocked:
    """The edit of a stored input, or why it cannot be changed."""
    value = node.inputs[index] if index < len(node.inputs) else None
    tensor = stored(value)
    if tensor is None:
        return Blocked(
            "computed-weight",
            f"what {node.name} takes as input {index} is computed or fed, not stored",
        )
    if tensor.dtype != ir.DataType.FLOAT:
        return Blocked(
            "not-float32", f"what {node.name} stores is {tensor.dtype.name}, not float32"
        )
    edit = Edit(node, index, labels)
    if np.prod(edit.shape, dtype=np.int64) > max(tensor.size, labels.size):
        return Blocked("too-large", f"what {node.name} stores would have to grow to {edit.shape}")
    return edit


def unshared(edit: Edit | Blocked) -> Edit | Blocked:
    """The edit of a weight that nothing else reads, or why it cannot be changed."""
    if isinstance(edit, Blocked):
        return edit
    name = edit.node.name
    if edit.value.is_graph_output():
        return Blocked(
            "model-output",
            f"the weight of {name} is also an output of the model, which must not change",
        )
    others = [
        str(n.name) for n, index in edit.value.uses() if (n, index) != (edit.node, edit.index)
    ]
    if others:
        shared = f"the weight of {name} is shared with {', '.join(others)}"
        return Blocked("shared", shared, "store it twice, or leave it as it is")
    return edit


def multiply(edit: Edit, factors: NDArray[np.float64], stock: Stock) -> None:
    """Multiply what is stored by factors of channels, in place.

    What other operators read too is copied; the product is computed when it is read.

    Args:
        edit: where.
        factors: (channels,).
        stock: of the model.
    """
    value, shape = edit.value, edit.shape
    tensor = stored(value)
    assert tensor is not None
    spread = factors[edit.labels]

    def product() -> ir.TensorProtocol:
        return ir.Tensor((read(tensor) * spread).astype(np.float32), name=tensor.name)

    lazy = ir.LazyTensor(
        product, dtype=ir.DataType.FLOAT, shape=ir.Shape(shape), name=tensor.name, cache=False
    )
    if value.producer() is None and len(value.uses()) == 1 and not value.is_graph_output():
        value.const_value = lazy
        value.shape = ir.Shape(shape)
    else:
        edit.node.replace_input_with(edit.index, copy(value, lazy, stock))
        if not value.uses() and not value.is_graph_output():
            remove_stored(value)


def copy(value: ir.Value, tensor: ir.TensorProtocol, stock: Stock) -> ir.Value:
    """Store a tensor beside a value that others read, or that a Constant holds."""
    name = stock.fresh(f"{value.name}.equalised")
    own = ir.Value(name=name, const_value=tensor)
    tensor.name = name
    owning_graph(value).register_initializer(own)
    return own
