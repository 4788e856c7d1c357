"""An ONNX graph with its weights, as a value."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from packlight.records.codec import ID_LENGTH

DIGEST = "packlight.digest"
"""Where a tensor that is computed when it is written notes the digest of what it gave."""


@dataclass(frozen=True, eq=False)
class Model:
    """An ONNX graph with its weights; what edits it edits a clone.

    Attributes:
        graph: the graph; never edited in place once it is in a Model.
        name: for people.
    """

    graph: ir.Model
    name: str

    def __repr__(self) -> str:
        count = sum(1 for _ in nodes(self.graph))
        inputs = ", ".join(f"{name} {value.shape}" for name, value in self.inputs().items())
        return f"Model({self.name!r}, {count:,} operators, opset {self.opset()}, inputs {inputs})"

    @cached_property
    def digest(self) -> str:
        """Digest of the content: the graph and every weight, however they are stored."""
        return content_digest(self.graph)

    def inputs(self) -> dict[str, ir.Value]:
        """What must be fed: inputs of the graph that have no stored value."""
        stored = self.graph.graph.initializers
        return {str(v.name): v for v in self.graph.graph.inputs if v.name not in stored}

    def outputs(self) -> dict[str, ir.Value]:
        """What the graph gives, by name."""
        return {str(value.name): value for value in self.graph.graph.outputs}

    def opset(self) -> int:
        """Version of the standard operators."""
        return self.graph.opset_imports.get("", 0)

    def clone(self) -> ir.Model:
        """A graph of its own that may be edited; weights are shared until replaced."""
        graph = self.graph.clone()
        for node in nodes(graph):
            for name, attribute in node.attributes.items():
                if attribute.type == ir.AttributeType.TENSOR:
                    node.attributes[name] = ir.AttrTensor(name, copied(attribute.as_tensor()))
        return graph


def copied(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """A tensor of its own: onnx-ir's passes rename those in attributes, clones included."""
    same: ir.TensorProtocol = ir.from_proto(ir.to_proto(tensor))  # type: ignore[assignment]
    return same


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


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The subgraphs of an operator."""
    for attribute in node.attributes.data.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def stored_tensor(value: ir.Value) -> ir.TensorProtocol | None:
    """The stored tensor of a value or of the Constant that gives it; None where it is computed.

    onnx-ir's own way to ask gives the tensor of a Constant the value's name, which makes the file
    larger.
    """
    if value.const_value is not None:
        return value.const_value
    maker = value.producer()
    if maker is None or maker.op_type != "Constant":
        return None
    held = maker.attributes.get("value")
    if held is not None and held.type == ir.AttributeType.TENSOR and not held.is_ref():
        return held.as_tensor()
    if any(name in maker.attributes for name in TEXTS):
        return stored_texts(maker)
    return ir.convenience.get_const_tensor(value)


def owning_graph(value: ir.Value) -> ir.Graph:
    """The graph that stores a value, as an initializer or in a Constant."""
    node = value.producer()
    graph = node.graph if node is not None else value.graph
    assert isinstance(graph, ir.Graph)
    return graph


TEXTS = ("value_string", "value_strings")
"""Attributes of a Constant that hold texts."""


def stored_texts(constant: ir.Node) -> ir.StringTensor | None:
    """The texts of a Constant as a tensor; onnx-ir's own way takes no more than ASCII."""
    ((name, attribute),) = constant.attributes.items()
    if attribute.is_ref():
        return None
    if name == "value_string":
        return ir.StringTensor([attribute.as_string().encode()], shape=ir.Shape([]))
    texts = [text.encode() for text in attribute.as_strings()]
    return ir.StringTensor(texts, shape=ir.Shape([len(texts)]))


def name_operators(model: ir.Model) -> None:
    """Give every operator a name of its own that can be printed, in place."""
    seen: set[str] = set()
    for index, node in sorted(enumerate(nodes(model)), key=lambda found: not found[1].name):
        given = node.name or f"{node.op_type}_{index}"
        stem = given if given.isprintable() else "".join(map(printable, given))
        name, copy = stem, 2
        while name in seen:
            name, copy = f"{stem}_{copy}", copy + 1
        seen.add(name)
        node.name = name


def name_values(model: ir.Model) -> None:
    """Give every value in the bodies of operators a name that no other value has, in place.

    The standard lets bodies side by side use one name, as branches of an If; what looks at values
    by name would take one for the other.
    """
    inner = [graph for graph in graphs(model) if graph is not model.graph]
    if not inner:
        return
    values = [value for graph in inner for value in own_values(graph) if value.name]
    taken = {str(value.name) for value in (*own_values(model.graph), *values)}
    seen = {str(value.name) for value in own_values(model.graph)}
    for value in values:
        stem = name = str(value.name)
        copy = 2
        while name in seen or (name != stem and name in taken):
            name, copy = f"{stem}_{copy}", copy + 1
        seen.add(name)
        value.name = name


def own_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Every value of a graph, those of bodies in it left out; each once."""
    inputs = set(map(id, graph.inputs))
    yield from graph.inputs
    yield from (value for value in graph.initializers.values() if id(value) not in inputs)
    for node in graph:
        yield from node.outputs


def printable(mark: str) -> str:
    """A character, or a mark for one that cannot be printed."""
    return mark if mark.isprintable() else "?"


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


def content_digest(model: ir.Model) -> str:
    """Digest of structure and weights, one tensor at a time."""
    total = hashlib.sha256()
    skeleton = ir.to_proto(hollow(model))
    total.update(skeleton.SerializeToString(deterministic=True))
    for value in initializers(model):
        tensor = value.const_value
        assert tensor is not None
        total.update(f"{value.name}:{tensor.dtype}:{tensor.shape}".encode())
        total.update(tensor_digest(tensor))
    return total.hexdigest()[:ID_LENGTH]


def tensor_digest(tensor: ir.TensorProtocol) -> bytes:
    """Digest of a stored value's bytes; one computed before is not computed again for it."""
    if DIGEST not in tensor.meta:
        data = content(tensor)
        if not isinstance(tensor, ir.LazyTensor):
            return hashlib.sha256(data).digest()
    known: bytes = tensor.meta[DIGEST]
    return known


def content(tensor: ir.TensorProtocol) -> bytes:
    """A stored value's bytes, kept nowhere else; what is computed for it leaves its digest."""
    data = texts(tensor) if tensor.dtype == ir.DataType.STRING else tensor.tobytes()
    release(tensor)
    if isinstance(tensor, ir.LazyTensor):
        tensor.meta[DIGEST] = hashlib.sha256(data).digest()
    return data


def texts(tensor: ir.TensorProtocol) -> bytes:
    """The texts of a tensor one after the other, the length of each before it."""
    held = ir.to_proto(tensor).string_data
    return b"".join(len(text).to_bytes(8, "little") + text for text in held)


def hollow(model: ir.Model) -> ir.Model:
    """A clone without stored values."""
    clone = model.clone()
    for graph in graphs(clone):
        graph.initializers.clear()
    return clone


def release(tensor: ir.TensorProtocol) -> None:
    """Let go of the memory map of a tensor in external data.

    It is closed at once, or with the last array that shows a part of it.
    """
    if isinstance(tensor, ir.ExternalTensor):
        try:
            tensor.release()
        except BufferError:
            tensor.raw = None
