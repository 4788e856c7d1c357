"""Count what each operator costs: multiply-accumulates, weights, activations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import onnx_ir as ir

from packlight.model import Model, Shape, file_size, infer_shapes, nodes
from packlight.profile.liveness import peak_activation
from packlight.profile.macs import MACS, OTHER_ARITHMETIC, Shapes
from packlight.records import Measurement, OperatorCost, Profile, counted

NOTHING: Mapping[str, Shape] = MappingProxyType({})


def profile(
    model: Model,
    inputs: Mapping[str, tuple[int, ...]],
    seen_shapes: Mapping[str, Shape] = NOTHING,
) -> Profile:
    """Where size, arithmetic and memory go, without running the model.

    Args:
        model: the model.
        inputs: shapes for inputs whose dimensions are open.
        seen_shapes: shapes of values that a run showed; they go before what is inferred.

    Returns:
        A cost for each operator, those in subgraphs included, and totals. What cannot be counted
        because a shape is not known, or the operator is not, is None and listed as unknown.
    """
    shapes = {**infer_shapes(model, inputs), **seen_shapes}
    seen: set[int] = set()
    unknown: list[str] = []
    operators = tuple(cost(node, shapes, seen, unknown) for node in nodes(model.graph))
    return Profile(model.name, operators, totals(model, operators, shapes), tuple(unknown))


def cost(
    node: ir.Node, shapes: Mapping[str, Shape], seen: set[int], unknown: list[str]
) -> OperatorCost:
    """What one operator costs; weights that another operator counted are marked shared."""
    weights = weights_of(node)
    tensors = list(weights.values())
    shared = not seen.isdisjoint(weights)
    seen.update(weights)
    return OperatorCost(
        name=str(node.name),
        op=node.op_type,
        macs=macs(node, shapes, unknown),
        parameters=sum(tensor.size for tensor in tensors),
        weight_bytes=sum(tensor.nbytes for tensor in tensors),
        activation_bytes=given_bytes(node, shapes),
        shared=shared,
    )


def weights_of(node: ir.Node) -> dict[int, ir.TensorProtocol]:
    """What an operator reads that is stored, in a Constant too, by the identity of its value."""
    read = {id(v): ir.convenience.get_const_tensor(v) for v in node.inputs if v is not None}
    return {key: tensor for key, tensor in read.items() if tensor is not None}


def macs(node: ir.Node, shapes: Mapping[str, Shape], unknown: list[str]) -> int | None:
    """Multiply-accumulates of one operator; None where they cannot be counted."""
    if node.op_type in OTHER_ARITHMETIC:
        unknown.append(f"{node.name}: the products of {node.op_type} are not counted")
        return None
    count = MACS.get(node.op_type)
    if count is None:
        return 0
    around = [[known(value, shapes) for value in side] for side in (node.inputs, node.outputs)]
    read = [() if shape is None else shape for shape in around[0]]
    given = [() if shape is None else shape for shape in around[1]]
    if around[0][0] is None or around[1][0] is None:
        unknown.append(f"{node.name}: the shape of what {node.op_type} reads or gives is open")
        return None
    try:
        return count(node, Shapes(read, given))
    except (IndexError, ValueError) as error:
        unknown.append(f"{node.name}: its shapes do not tell its products ({error})")
        return None


def known(value: ir.Value | None, shapes: Mapping[str, Shape]) -> tuple[int, ...] | None:
    """A value's shape where every dimension is known."""
    if value is None:
        return ()
    shape = shapes.get(str(value.name))
    if shape is None and value.const_value is not None:
        return tuple(value.const_value.shape.numpy())
    if shape is None or any(size is None for size in shape):
        return None
    return tuple(size for size in shape if size is not None)


def given_bytes(node: ir.Node, shapes: Mapping[str, Shape]) -> int | None:
    """Bytes of what an operator gives; None where a shape is open."""
    total = 0
    for value in node.outputs:
        if value.name:
            size = value_bytes(value, shapes)
            if size is None:
                return None
            total += size
    return total


def value_bytes(value: ir.Value, shapes: Mapping[str, Shape]) -> int | None:
    """Bytes of a value; float32 where its type is not stated."""
    shape = known(value, shapes)
    if shape is None:
        return None
    dtype = value.dtype or ir.DataType.FLOAT
    return math.ceil(math.prod(shape) * dtype.itemsize) if dtype != ir.DataType.STRING else 0


def totals(
    model: Model, operators: tuple[OperatorCost, ...], shapes: Mapping[str, Shape]
) -> dict[str, Measurement]:
    """The model's own costs."""
    stored = {key: t for node in nodes(model.graph) for key, t in weights_of(node).items()}
    found = {
        "macs": counted(sum(operator.macs or 0 for operator in operators)),
        "parameters": counted(sum(tensor.size for tensor in stored.values())),
        "weight_bytes": counted(sum(tensor.nbytes for tensor in stored.values()), "B"),
        "size": counted(file_size(model.graph), "B"),
    }
    if all(operator.activation_bytes is not None for operator in operators):
        values = [*model.graph.graph.inputs]
        values += [value for node in model.graph.graph for value in node.outputs]
        sizes = {str(value.name): value_bytes(value, shapes) or 0 for value in values}
        peak, _ = peak_activation(model.graph.graph, sizes)
        found["peak_activation_bytes"] = counted(peak, "B")
    return found
