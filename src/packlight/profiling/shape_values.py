"""Shapes that depend on computed numbers: small values are computed, operator by operator.

ONNX's inference follows only some of what graphs compute with shapes. Where it leaves some open,
one pass over the operators infers each from what is known by then, and computes what is small.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.model import nodes
from packlight.profiling.counts import names

Array = NDArray[np.generic]

SMALL = 1024
"""Numbers in a value that is computed."""

COMPUTED = names(
    "Abs Add And Cast CastLike Ceil Clip Concat Constant ConstantOfShape CumSum Div Equal Expand "
    "Flatten Floor Gather Greater GreaterOrEqual Identity Less LessOrEqual "
    "Max Min Mod Mul Neg Not Or Pow Range ReduceMax ReduceMin ReduceProd ReduceSum Reshape Round "
    "ScatterND Sign Slice Split Sqrt Squeeze Sub Tile Transpose Unsqueeze Where Xor"
)
"""Operators that graphs compute shapes with."""


def complete_shapes(model: ir.Model) -> None:
    """Fill in shapes that ONNX left open, in place; those that stay open depend on data."""
    if any(node.op_type == "If" or not is_given(node) for node in nodes(model)):
        Pass(model).over(model.graph)


def is_known(value: ir.Value) -> bool:
    """Whether every dimension of a value is a number."""
    return value.shape is not None and all(isinstance(size, int) for size in value.shape)


def is_given(node: ir.Node) -> bool:
    """Whether the shapes of all that a node gives are known."""
    return all(is_known(value) for value in node.outputs if value.name)


def sizes_of(value: ir.Value) -> tuple[int, ...] | None:
    """A value's shape where every dimension is known."""
    if value.shape is None:
        return None
    sizes = [size for size in value.shape if isinstance(size, int)]
    return tuple(sizes) if len(sizes) == len(value.shape) else None


THEN, ELSE = "then_branch", "else_branch"
TAKEN = "packlight.taken"
"""Note on an If whose condition is known: the branch that runs."""


class Pass:
    """One pass over a model in the order it runs.

    Args:
        model: whose values get shapes.
    """

    def __init__(self, model: ir.Model) -> None:
        self.numbers: dict[ir.Value, Array] = {}
        self.version = model.opset_imports.get("", 1)
        self.imports = [onnx.helper.make_opsetid(d, v) for d, v in model.opset_imports.items()]
        self.ir_version = model.ir_version

    def over(self, graph: ir.Graph) -> None:
        """Infer and compute every operator of a graph."""
        for node in graph:
            if node.domain != "":
                continue  # ONNX says nothing about other domains
            if node.op_type in BODIES:
                BODIES[node.op_type](self, node)
            else:
                if not is_given(node):
                    self.infer(node)
                self.compute(node)

    def number(self, value: ir.Value | None) -> Array | None:
        """What a value is, if it is small and known."""
        if value is None:
            return None
        stored = value.const_value
        if value not in self.numbers and stored is not None and stored.size <= SMALL:
            self.numbers[value] = stored.numpy()
        return self.numbers.get(value)

    def infer(self, node: ir.Node) -> None:
        """Take a node's outputs from ONNX's rule for it, if that has one and can tell."""
        read = [value for value in node.inputs if value is not None]
        if any(value.type is None for value in read):
            return
        types = {str(value.name): type_of(value) for value in read}
        stored = {str(v.name): tensor(n) for v in read if (n := self.number(v)) is not None}
        try:
            schema = onnx.defs.get_schema(node.op_type, self.version, node.domain)
            found = onnx.shape_inference.infer_node_outputs(
                schema, ir.to_proto(node), types, stored, None, self.imports, self.ir_version
            )
        except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError):
            return  # what stays open is told where it is counted
        for value in node.outputs:
            if value.name in found:
                take(value, found[value.name])

    def compute(self, node: ir.Node) -> None:
        """Compute a node's outputs if all that it reads is known, and they are small."""
        source = node.inputs[0] if node.inputs else None
        if node.op_type in ("Shape", "Size") and source is not None:
            sizes = sizes_of(source)
            if sizes is not None:
                start, end = (
                    node.attributes.get_int("start", 0),
                    node.attributes.get_int("end", len(sizes)),
                )
                whole = np.asarray(math.prod(sizes) if node.op_type == "Size" else sizes[start:end])
                self.numbers[node.outputs[0]] = whole.astype(np.int64)
            return
        read = [self.number(value) for value in node.inputs if value is not None]
        given = [sizes_of(value) for value in node.outputs if value.name]
        small = all(sizes is not None and math.prod(sizes) <= SMALL for sizes in given)
        if node.op_type in COMPUTED and small and all(number is not None for number in read):
            named = [str(value.name) for value in node.inputs if value is not None]
            feeds = {
                key: array for key, array in zip(named, read, strict=True) if array is not None
            }
            for value, number in zip(node.outputs, self.run(node, feeds), strict=False):
                self.numbers[value] = number

    def run(self, node: ir.Node, feeds: dict[str, Array]) -> list[Array]:
        """What a node gives."""
        from onnx.reference import ReferenceEvaluator  # noqa: PLC0415  takes long to load

        info = onnx.helper.make_empty_tensor_value_info
        graph = onnx.helper.make_graph(
            [ir.to_proto(node)], "one", [info(name) for name in feeds],
            [info(str(value.name)) for value in node.outputs],
        )  # fmt: skip
        model = onnx.helper.make_model(graph, opset_imports=self.imports)
        try:
            with np.errstate(all="ignore"):
                return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, feeds)]
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            return []  # ONNX's reference fails on some inputs; the value stays unknown

    def branches(self, node: ir.Node) -> None:
        """If: the branch that is taken where that is known, else what both agree on."""
        bodies = {name: node.attributes.get_graph(name) for name in (THEN, ELSE)}
        for body in bodies.values():
            self.over(body)
        condition = self.number(node.inputs[0])
        if condition is not None:
            node.metadata_props[TAKEN] = THEN if condition.all() else ELSE
        taken = [bodies[node.metadata_props[TAKEN]]] if condition is not None else bodies.values()
        for value, *given in zip(node.outputs, *(body.outputs for body in taken), strict=False):
            found = {sizes_of(each) for each in given}
            if len(found) == 1:
                adopt(value, given[0])

    def loop(self, node: ir.Node) -> None:
        """Loop: what it carries has the shape that it starts with."""
        body = node.attributes.get_graph("body")
        for inner, outer in zip(body.inputs[2:], node.inputs[2:], strict=False):
            adopt(inner, outer)
        self.over(body)
        carried = len(node.inputs) - 2
        for value, inner in zip(node.outputs[:carried], body.outputs[1:], strict=False):
            adopt(value, inner)
        trips = self.number(node.inputs[0])
        for value, inner in zip(node.outputs[carried:], body.outputs[carried + 1 :], strict=False):
            sizes = sizes_of(inner)
            if trips is not None and sizes is not None:
                value.shape = ir.Shape([int(trips.ravel()[0]), *sizes])

    def scan(self, node: ir.Node) -> None:
        """Scan: ONNX infers its outputs; the body is completed here."""
        self.over(node.attributes.get_graph("body"))
        if not is_given(node):
            self.infer(node)


BODIES = {"If": Pass.branches, "Loop": Pass.loop, "Scan": Pass.scan}


def adopt(value: ir.Value, other: ir.Value | None) -> None:
    """Give a value the type, and the shape if it is known, of another."""
    if other is not None and not is_known(value) and is_known(other):
        value.shape, value.type = other.shape, value.type or other.type


def type_of(value: ir.Value) -> onnx.TypeProto:
    """A value's type and shape as ONNX's inference takes it."""
    typed: onnx.TypeProto = ir.serde.serialize_value(value).type
    return typed


def tensor(number: Array) -> onnx.TensorProto:
    """A small array as a tensor."""
    return onnx.numpy_helper.from_array(np.ascontiguousarray(number).reshape(number.shape))


def take(value: ir.Value, inferred: onnx.TypeProto) -> None:
    """Write what was inferred into a value."""
    found = ir.serde.deserialize_type_proto_for_type(inferred)
    shape = ir.serde.deserialize_type_proto_for_shape(inferred)
    value.type = found or value.type
    if shape is not None and not is_known(value):
        value.shape = shape
