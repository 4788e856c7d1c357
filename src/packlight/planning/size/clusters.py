"""Operators that share stored values, and all that the size of what is made of them rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from packlight.compression.methods.float16 import SMALLEST
from packlight.model import stored_tensor
from packlight.model.size import tensor_size
from packlight.planning.value_checks import Numbers


@dataclass(frozen=True, slots=True)
class Cluster:
    """Operators that share stored values, mostly a single one.

    Attributes:
        nodes: in the order they run.
    """

    nodes: tuple[ir.Node, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of its operators."""
        return tuple(str(node.name) for node in self.nodes)

    def key(self, numbers: Numbers) -> tuple[object, ...]:
        """Equal for clusters that a recipe does the same to, up to names of equal length."""
        return tuple(self.described(numbers))

    def described(self, numbers: Numbers) -> Iterator[object]:
        """All that sizes depend on."""
        seen: dict[str, int] = {}
        for node in self.nodes:
            attributes = [str(attribute) for attribute in node.attributes.values()]
            yield node.domain, node.op_type, len(str(node.name)), *attributes
            for value in (*node.inputs, *node.outputs):
                name = "" if value is None else str(value.name)
                yield len(name), seen.setdefault(name, len(seen))
                tensor = None if value is None else value.const_value
                if value is None or tensor is None:
                    yield None
                else:
                    yield tensor.dtype, tuple(tensor.shape.numpy())
                    yield value.is_graph_input(), value.is_graph_output()
                    yield id(tensor) if numbers.extreme(tensor) else 0
                    yield tensor_size(tensor), told_lengths(value)


ANNOTATION = "quant_parameter_tensor_names"
"""Where onnx-ir notes the quantization annotation of a value."""


def told_lengths(value: ir.Value) -> tuple[object, ...]:
    """How long all is that a file says of a stored value beside its tensor."""
    notes = (value.metadata_props, value.meta.get(ANNOTATION, {}))
    pairs = ((len(key), len(text)) for note in notes for key, text in note.items())
    return len(value.doc_string or ""), *pairs


def clusters(model: ir.Model) -> Iterator[Cluster]:
    """Operators of the main graph that read large stored values, in the order they run.

    Those that share one belong together, also by way of others.
    """
    leader: dict[ir.Node, ir.Node] = {}

    def first(node: ir.Node) -> ir.Node:
        while leader[node] is not node:
            node = leader[node]
        return node

    for node in model.graph:
        if not any(large(value) for value in node.inputs):
            continue
        leader[node] = node
        for value in filter(large, node.inputs):
            assert value is not None
            for other in value.consumers():
                if other in leader:
                    leader[first(node)] = first(other)
    together: dict[ir.Node, list[ir.Node]] = {}
    for node in leader:
        together.setdefault(first(node), []).append(node)
    return (Cluster(tuple(nodes)) for nodes in together.values())


def large(value: ir.Value | None) -> bool:
    """Whether a value is stored, in a Constant too, and not too small for any method."""
    tensor = None if value is None else stored_tensor(value)
    return tensor is not None and tensor.size >= SMALLEST
