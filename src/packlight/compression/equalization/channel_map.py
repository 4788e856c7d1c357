"""Channel maps: the channel of every element of a value, and scaling of stored tensors by channel.

A channel map is an array of labels, integers that NumPy's broadcasting spreads over the value, with
size 1 along every axis on which nothing depends. So a shape, a transposition or a group of a
convolution moves labels as it moves elements.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.storage import remove_stored
from packlight.compression.encoding.stored_values import StoredValues
from packlight.compression.sites.weight_roles import stored
from packlight.model import Model, graphs, infer_shapes, owning_graph, release
from packlight.model.shapes import Shape
from packlight.records.reason_code import ReasonCode

Floats = NDArray[np.float32]
ChannelMap = NDArray[np.int64]


def labels_along(count: int, rank: int, axis: int) -> ChannelMap:
    """Labels of so many channels along one axis of an array."""
    shape = [1] * rank
    shape[axis] = -1
    return np.arange(count, dtype=np.int64).reshape(shape)


def channel_axes(labels: ChannelMap) -> list[int]:
    """Axes along which channels differ."""
    return [axis for axis, size in enumerate(labels.shape) if size > 1]


def with_rank(labels: ChannelMap, rank: int) -> ChannelMap:
    """Labels with leading axes for at least so many axes."""
    return labels.reshape((1,) * (rank - labels.ndim) + labels.shape)


def narrow_map(labels: ChannelMap) -> ChannelMap:
    """Labels with size 1 along every axis on which nothing depends."""
    for axis in range(labels.ndim):
        first = labels.take([0], axis)
        if np.array_equal(np.broadcast_to(first, labels.shape), labels):
            labels = first
    return labels


def drop_leading_axes(labels: ChannelMap, rank: int) -> ChannelMap:
    """Labels without leading axes of size 1, down to a rank."""
    while labels.ndim > rank and labels.shape[0] == 1:
        labels = labels[0]
    return labels


class Shapes:
    """Shapes of values, where they are known; names of several bodies are excluded.

    Args:
        graph: the model.
    """

    def __init__(self, graph: ir.Model) -> None:
        outputs = (v for inner in graphs(graph) for node in inner for v in node.outputs if v.name)
        uses = Counter(str(value.name) for value in outputs)
        inferred = infer_shapes(Model(graph, "shapes"), {})
        self.shapes: Mapping[str, Shape] = {n: s for n, s in inferred.items() if uses[n] == 1}

    def shape(self, value: ir.Value | None) -> Shape:
        """Sizes, None for an unknown one; empty where nothing is known."""
        if value is None:
            return ()
        return self.shapes.get(str(value.name), ())

    def rank(self, value: ir.Value | None) -> int:
        """Number of axes; 0 for a scalar and where it is not known."""
        return len(self.shape(value))


@dataclass(frozen=True, slots=True)
class Blocked:
    """Obstacle that the scale of a channel cannot move past.

    Attributes:
        code: the reason, for programs.
        reason: in terms of the model.
        remedy: change that the user can make; empty where there is none.
    """

    code: ReasonCode
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """A stored input of an operator to scale by channels.

    Attributes:
        node: the operator.
        index: of the input.
        labels: the channel of every element; the result is broadcast to their shape.
    """

    node: ir.Node
    index: int
    labels: ChannelMap

    @property
    def value(self) -> ir.Value:
        """The input."""
        value = self.node.inputs[self.index]
        assert value is not None
        return value

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        tensor = stored(self.value)
        assert tensor is not None
        return np.broadcast_shapes(tuple(tensor.shape.numpy()), self.labels.shape)

    def read(self) -> Floats:
        """A copy of the stored tensor."""
        return _read_tensor(stored(self.value))


def _read_tensor(tensor: ir.TensorProtocol | None) -> Floats:
    """A copy of a stored tensor; external data is released again."""
    assert tensor is not None
    array = np.array(tensor.numpy(), np.float32)
    release(tensor)
    return array


def stored_input(node: ir.Node, index: int) -> ir.TensorProtocol | None:
    """Stored tensor of an input; None where the input is absent or computed."""
    if index >= len(node.inputs):
        return None
    return stored(node.inputs[index])


def editable_input(node: ir.Node, index: int, labels: ChannelMap) -> Edit | Blocked:
    """The edit of a stored input, or why it cannot be changed."""
    tensor = stored_input(node, index)
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


def editable_weight(node: ir.Node, index: int, labels: ChannelMap) -> Edit | Blocked:
    """The edit of a weight without further readers, or why it cannot be changed."""
    edit = editable_input(node, index, labels)
    if isinstance(edit, Blocked):
        return edit
    name = node.name
    if edit.value.is_graph_output():
        return Blocked(
            "model-output",
            f"the weight of {name} is also an output of the model, which must not change",
        )
    readers = [str(reader.name) for reader, i in edit.value.uses() if (reader, i) != (node, index)]
    if readers:
        shared = f"the weight of {name} is shared with {', '.join(readers)}"
        return Blocked("shared", shared, "store it twice, or leave it as it is")
    return edit


def multiply_channels(
    edit: Edit, factors: NDArray[np.float64], stored_values: StoredValues
) -> None:
    """Multiply a stored input by factors of channels, in place.

    A tensor that other operators read too is copied; the product is computed when it is read.

    Args:
        edit: the stored input.
        factors: (channels,).
        stored_values: of the model.
    """
    value = edit.value
    shape = edit.shape
    tensor = stored(value)
    assert tensor is not None
    spread = factors[edit.labels]

    def product() -> ir.TensorProtocol:
        return ir.Tensor((_read_tensor(tensor) * spread).astype(np.float32), name=tensor.name)

    lazy = ir.LazyTensor(
        product, dtype=ir.DataType.FLOAT, shape=ir.Shape(shape), name=tensor.name, cache=False
    )
    if value.producer() is None and len(value.uses()) == 1 and not value.is_graph_output():
        value.const_value = lazy
        value.shape = ir.Shape(shape)
    else:
        edit.node.replace_input_with(edit.index, _store_copy(value, lazy, stored_values))
        if not value.uses() and not value.is_graph_output():
            remove_stored(value)


def _store_copy(
    value: ir.Value, tensor: ir.TensorProtocol, stored_values: StoredValues
) -> ir.Value:
    """Store a tensor for one reader of a value that has several, or that a Constant holds."""
    name = stored_values.fresh(f"{value.name}.equalised")
    copy = ir.Value(name=name, const_value=tensor)
    tensor.name = name
    owning_graph(value).register_initializer(copy)
    return copy
