"""Shapes that depend on computed numbers: small values are computed, operator by operator.

ONNX's inference follows only part of the computations on shapes. Where it leaves a shape open, one
pass over the operators infers it from the values known so far, and computes small values.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.model import nodes
from packlight.model.map_types import has_map
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
    """Fill in shapes that ONNX left open, in place; shapes that stay open depend on data."""
    if any(node.op_type == "If" or not _has_known_outputs(node) for node in nodes(model)):
        ShapePass(model).over(model.graph)


def _is_known(value: ir.Value) -> bool:
    return value.shape is not None and all(isinstance(size, int) for size in value.shape)


def _has_known_outputs(node: ir.Node) -> bool:
    return all(_is_known(value) for value in node.outputs if value.name)


def sizes_of(value: ir.Value | None) -> tuple[int, ...] | None:
    """A value's shape where it is present and every dimension is known."""
    if value is None or value.shape is None:
        return None
    sizes = [size for size in value.shape if isinstance(size, int)]
    if len(sizes) == len(value.shape):
        return tuple(sizes)
    return None


THEN = "then_branch"
ELSE = "else_branch"
TAKEN = "packlight.taken"
"""Tag on an If whose condition is known: the branch that runs."""


class ShapePass:
    """One pass over a model in the order it runs.

    Args:
        model: its values get shapes.
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
                if not _has_known_outputs(node):
                    self.infer(node)
                self.compute(node)

    def number(self, value: ir.Value | None) -> Array | None:
        """The array of a value, if it is small, known, and no text."""
        if value is None:
            return None
        stored = value.const_value
        if stored is not None and stored.dtype == ir.DataType.STRING:
            return None
        if value not in self.numbers and stored is not None and stored.size <= SMALL:
            self.numbers[value] = stored.numpy()
        return self.numbers.get(value)

    def infer(self, node: ir.Node) -> None:
        """Infer a node's outputs by ONNX's rule, if there is one and it succeeds."""
        inputs = [value for value in node.inputs if value is not None]
        if any(value.type is None for value in inputs):
            return
        types = {str(value.name): _type_of(value) for value in inputs}
        stored = {str(v.name): tensor(n) for v in inputs if (n := self.number(v)) is not None}
        try:
            schema = onnx.defs.get_schema(node.op_type, self.version, node.domain)
            inferred = onnx.shape_inference.infer_node_outputs(
                schema, ir.to_proto(node), types, stored, None, self.imports, self.ir_version
            )
        except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError):
            return  # what stays open is reported where it is counted
        for value in node.outputs:
            if value.name in inferred and not has_map(inferred[value.name]):
                _write_inferred(value, inferred[value.name])

    def compute(self, node: ir.Node) -> None:
        """Compute a node's outputs if its inputs are known and its outputs small."""
        source = next(iter(node.inputs), None)
        if node.op_type in ("Shape", "Size") and source is not None:
            self.compute_shape(node, source)
            return
        inputs = [value for value in node.inputs if value is not None]
        feeds: dict[str, Array] = {}
        for value in inputs:
            array = self.number(value)
            if array is None:
                return
            feeds[str(value.name)] = array
        output_sizes = [sizes_of(value) for value in node.outputs if value.name]
        small = all(sizes is not None and math.prod(sizes) <= SMALL for sizes in output_sizes)
        if node.op_type in COMPUTED and small:
            for value, array in zip(node.outputs, self.run(node, feeds), strict=False):
                self.numbers[value] = array

    def compute_shape(self, node: ir.Node, source: ir.Value) -> None:
        """Compute the output of Shape or Size, if the shape is known."""
        sizes = sizes_of(source)
        if sizes is None:
            return
        start = node.attributes.get_int("start", 0)
        end = node.attributes.get_int("end", len(sizes))
        numbers: object = sizes[start:end]
        if node.op_type == "Size":
            numbers = math.prod(sizes)
        self.numbers[node.outputs[0]] = np.asarray(numbers, np.int64)

    def run(self, node: ir.Node, feeds: dict[str, Array]) -> list[Array]:
        """Run a node on small arrays."""
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
        """If: the branch that runs where that is known, else shapes that both have."""
        bodies = {name: node.attributes.get_graph(name) for name in (THEN, ELSE)}
        for body in bodies.values():
            self.over(body)
        condition = self.number(node.inputs[0])
        running = list(bodies.values())
        if condition is not None:
            branch = THEN if condition.all() else ELSE
            node.metadata_props[TAKEN] = branch
            running = [bodies[branch]]
        for value, *results in zip(node.outputs, *(body.outputs for body in running), strict=False):
            if len({sizes_of(result) for result in results}) == 1:
                _copy_shape(value, results[0])

    def loop(self, node: ir.Node) -> None:
        """Loop: a carried value has the shape that it starts with."""
        body = node.attributes.get_graph("body")
        for inner, outer in zip(body.inputs[2:], node.inputs[2:], strict=False):
            _copy_shape(inner, outer)
        self.over(body)
        carried = len(node.inputs) - 2
        for value, inner in zip(node.outputs[:carried], body.outputs[1:], strict=False):
            _copy_shape(value, inner)
        trips = self.number(node.inputs[0])
        for value, inner in zip(node.outputs[carried:], body.outputs[carried + 1 :], strict=False):
            sizes = sizes_of(inner)
            if trips is not None and sizes is not None:
                value.shape = ir.Shape([int(trips.ravel()[0]), *sizes])

    def scan(self, node: ir.Node) -> None:
        """Scan: ONNX infers its outputs; the body is completed here."""
        self.over(node.attributes.get_graph("body"))
        if not _has_known_outputs(node):
            self.infer(node)


BODIES = {"If": ShapePass.branches, "Loop": ShapePass.loop, "Scan": ShapePass.scan}


def _copy_shape(value: ir.Value, source: ir.Value | None) -> None:
    if source is not None and not _is_known(value) and _is_known(source):
        value.shape = source.shape
        value.type = value.type or source.type


def _type_of(value: ir.Value) -> onnx.TypeProto:
    typed: onnx.TypeProto = ir.serde.serialize_value(value).type
    return typed


def tensor(array: Array) -> onnx.TensorProto:
    """A small array as a tensor."""
    return onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape))


def _write_inferred(value: ir.Value, inferred: onnx.TypeProto) -> None:
    kind = ir.serde.deserialize_type_proto_for_type(inferred)
    shape = ir.serde.deserialize_type_proto_for_shape(inferred)
    value.type = kind or value.type
    if shape is not None and not _is_known(value):
        value.shape = shape
