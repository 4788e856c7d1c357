"""An ONNX graph with its weights, as a value."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from packlight.records.codec import ID_LENGTH

DIGEST = "packlight.digest"
"""Key in the ``meta`` of a lazy tensor that holds the digest of its bytes, once computed."""


@dataclass(frozen=True, eq=False)
class Model:
    """An ONNX graph with its weights; every edit is made on a clone.

    Attributes:
        graph: the graph; never edited in place once it is in a Model.
        name: for people.
    """

    graph: ir.Model
    name: str

    def __repr__(self) -> str:
        count = sum(1 for _ in nodes(self.graph))
        inputs = ", ".join(f"{name} {value.shape}" for name, value in self.inputs().items())
        imports = self.graph.opset_imports
        opset = f"opset {self.opset()}"
        if "" not in imports:
            opset = ", ".join(f"{domain} {version}" for domain, version in imports.items())
        return f"Model({self.name!r}, {count:,} operators, {opset}, inputs {inputs})"

    @cached_property
    def digest(self) -> str:
        """Digest of the content: the graph and every weight, however they are stored."""
        return _content_digest(self.graph)

    def inputs(self) -> dict[str, ir.Value]:
        """Inputs that a run needs, by name: those of the graph without a stored value."""
        stored = self.graph.graph.initializers
        return {str(v.name): v for v in self.graph.graph.inputs if v.name not in stored}

    def outputs(self) -> dict[str, ir.Value]:
        """Outputs of the graph, by name."""
        return {str(value.name): value for value in self.graph.graph.outputs}

    def opset(self) -> int:
        """Opset version of the standard operators."""
        return self.graph.opset_imports.get("", 0)

    def clone(self) -> ir.Model:
        """Copy the graph for editing; weights are shared until replaced."""
        graph = self.graph.clone()
        for node in nodes(graph):
            for name, attribute in node.attributes.items():
                if attribute.type == ir.AttributeType.TENSOR:
                    node.attributes[name] = ir.AttrTensor(name, _copy_tensor(attribute.as_tensor()))
        return graph


def _copy_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    copy: ir.TensorProtocol = ir.from_proto(ir.to_proto(tensor))  # type: ignore[assignment]
    return copy


def nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Every operator, those in subgraphs included, in the order they run."""
    return operators(model.graph)


def operators(graph: ir.Graph) -> Iterator[ir.Node]:
    """Every operator of a graph, those in subgraphs included, in the order they run."""
    for node in graph:
        yield node
        if node.attributes.data:
            for body in bodies(node):
                yield from operators(body)


def operator_type(node: ir.Node) -> str:
    """An operator's type, with its domain where that is not the standard one."""
    if node.domain:
        return f"{node.domain}.{node.op_type}"
    return str(node.op_type)


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The subgraphs of an operator."""
    for attribute in node.attributes.data.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
"""Types of attributes that hold subgraphs."""


def has_bodies(node: ir.Node) -> bool:
    """Tell whether an operator has subgraphs."""
    return any(attribute.type in GRAPHS for attribute in node.attributes.values())


def optional_input(node: ir.Node, index: int) -> ir.Value | None:
    """An input that the operator may leave out; None where it does, and for an index of -1."""
    if not 0 <= index < len(node.inputs):
        return None
    return node.inputs[index]


def producer_of(value: ir.Value | None) -> ir.Node | None:
    """The operator that computes a value; None for one that is stored, fed or left out."""
    if value is None:
        return None
    return value.producer()


def stored_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The stored tensor of a value or of its Constant; None where it is computed or left out.

    onnx-ir's ``get_const_tensor`` also names the tensor of a Constant, which enlarges the file.
    """
    if value is None:
        return None
    if value.const_value is not None:
        return value.const_value
    node = value.producer()
    if node is None or node.op_type != "Constant":
        return None
    attribute = node.attributes.get("value")
    if attribute and attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
        return attribute.as_tensor()
    if any(name in node.attributes for name in TEXTS):
        return stored_texts(node)
    return ir.convenience.get_const_tensor(value)


def stored_array(value: ir.Value | None) -> NDArray[Any] | None:
    """The numbers of a stored value; None where it is computed or left out."""
    tensor = stored_tensor(value)
    if tensor is None:
        return None
    return tensor.numpy()


def number_bytes(dtype: ir.DataType) -> float:
    """Bytes of one number of a type; 0 for texts, whose lengths differ.

    >>> number_bytes(ir.DataType.INT4), number_bytes(ir.DataType.STRING)
    (0.5, 0.0)
    """
    if dtype == ir.DataType.STRING:
        return 0.0
    return float(dtype.itemsize)


def content_bytes(tensor: ir.TensorProtocol) -> int:
    """Bytes of a stored value's numbers, or of its texts.

    >>> content_bytes(ir.StringTensor([b"one", b"three"], shape=ir.Shape([2])))
    8
    """
    if tensor.dtype == ir.DataType.STRING:
        return sum(len(text) for text in tensor.numpy().ravel())
    return int(tensor.nbytes)


def owning_graph(value: ir.Value) -> ir.Graph:
    """The graph that stores a value, as an initializer or in a Constant."""
    node = value.producer()
    graph = node.graph if node is not None else value.graph
    assert isinstance(graph, ir.Graph)
    return graph


TEXTS = ("value_string", "value_strings")
"""Attributes of a Constant that hold texts."""


def stored_texts(constant: ir.Node) -> ir.StringTensor | None:
    """The texts of a Constant as a tensor; onnx-ir reads ASCII only."""
    ((name, attribute),) = constant.attributes.items()
    if attribute.is_ref():
        return None
    if name == "value_string":
        return ir.StringTensor([attribute.as_string().encode()], shape=ir.Shape([]))
    string_bytes = [text.encode() for text in attribute.as_strings()]
    return ir.StringTensor(string_bytes, shape=ir.Shape([len(string_bytes)]))


def name_operators(model: ir.Model) -> None:
    """Give every operator a unique, printable name, in place; those with a name come first."""
    names: set[str] = set()
    for index, node in sorted(enumerate(nodes(model)), key=lambda entry: not entry[1].name):
        node.name = _unique_name(_printable(node.name or f"{node.op_type}_{index}"), names)
        names.add(node.name)


def _unique_name(stem: str, names: AbstractSet[str]) -> str:
    candidates = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))
    return next(name for name in candidates if name not in names)


def name_values(model: ir.Model) -> None:
    """Give every value in the bodies of operators a unique name, in place.

    The standard lets sibling bodies, such as the branches of an If, use the same name; code that
    looks values up by name would confuse them.
    """
    inner = [graph for graph in graphs(model) if graph is not model.graph]
    if not inner:
        return
    values = [value for graph in inner for value in _values_of_graph(graph) if value.name]
    assigned = {str(value.name) for value in _values_of_graph(model.graph)}
    reserved = assigned | {str(value.name) for value in values}
    for value in values:
        name = str(value.name)
        if name in assigned:
            name = _unique_name(name, reserved)
            reserved.add(name)
        assigned.add(name)
        value.name = name


def _values_of_graph(graph: ir.Graph) -> Iterator[ir.Value]:
    inputs = set(map(id, graph.inputs))
    yield from graph.inputs
    yield from (value for value in graph.initializers.values() if id(value) not in inputs)
    for node in graph:
        yield from node.outputs


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name)


def graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph, then every subgraph."""
    yield model.graph
    for node in nodes(model):
        if node.attributes.data:
            yield from bodies(node)


def initializers(model: ir.Model) -> Iterator[ir.Value]:
    """Every stored value, those of subgraphs included."""
    for graph in graphs(model):
        yield from graph.initializers.values()


def from_start(position: int, size: int) -> int:
    """A position, or an axis of ``size`` ones, counted from the start.

    >>> from_start(-1, 4), from_start(4, 4)
    (3, 4)
    """
    if position < 0:
        return position + size
    return position


def _content_digest(model: ir.Model) -> str:
    """Digest of structure and weights, one tensor at a time."""
    total = hashlib.sha256()
    skeleton = ir.to_proto(_without_weights(model))
    total.update(skeleton.SerializeToString(deterministic=True))
    for value in initializers(model):
        tensor = value.const_value
        assert tensor is not None
        total.update(f"{value.name}:{tensor.dtype}:{tensor.shape}".encode())
        total.update(_tensor_digest(tensor))
    return total.hexdigest()[:ID_LENGTH]


def _tensor_digest(tensor: ir.TensorProtocol) -> bytes:
    if DIGEST not in tensor.meta:
        data = content(tensor)
        if not isinstance(tensor, ir.LazyTensor):
            return hashlib.sha256(data).digest()
    digest: bytes = tensor.meta[DIGEST]
    return digest


def content(tensor: ir.TensorProtocol) -> bytes:
    """A stored value's bytes, which are not cached; a lazy tensor remembers their digest."""
    data = string_bytes(tensor) if tensor.dtype == ir.DataType.STRING else tensor.tobytes()
    release(tensor)
    if isinstance(tensor, ir.LazyTensor):
        tensor.meta[DIGEST] = hashlib.sha256(data).digest()
    return data


def string_bytes(tensor: ir.TensorProtocol) -> bytes:
    """The texts of a tensor in sequence, each after its length."""
    texts = ir.to_proto(tensor).string_data
    return b"".join(len(text).to_bytes(8, "little") + text for text in texts)


def _without_weights(model: ir.Model) -> ir.Model:
    clone = model.clone()
    for graph in graphs(clone):
        graph.initializers.clear()
    return clone


def release(tensor: ir.TensorProtocol) -> None:
    """Release the memory map of a tensor in external data.

    It is closed at once, or with the last array that is a view of it.
    """
    if isinstance(tensor, ir.ExternalTensor):
        try:
            tensor.release()
        except BufferError:
            tensor.raw = None
