"""Carry values out of the bodies of operators.

A sequence of pieces is threaded through every If and Loop around a value: it enters each body,
the innermost inserts the value, and it leaves as one more output of each operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from packlight.runtime.nesting import Body

Inside = Callable[[ir.Value], ir.Value]
"""From the sequence as it enters a body to the sequence as it leaves."""


def collected(main: ir.Graph, path: Sequence[Body], value: ir.Value, stem: str) -> ir.Value:
    """The sequence of all pieces of a value, in the main graph.

    Args:
        main: the outermost graph.
        path: the bodies around the value, outermost first: of If and Loop.
        value: of a known type.
        stem: start of the names of what is added.
    """
    assert value.dtype is not None
    empty = ir.node("SequenceEmpty", [], {"dtype": int(value.dtype)}, name=f"{stem}.empty")
    main.insert_before(path[0].node, empty)
    return deeper(list(path), named(empty.outputs[0], f"{stem}.empty", value), value, stem)


def deeper(path: list[Body], pieces: ir.Value, value: ir.Value, stem: str) -> ir.Value:
    """The sequence after the outermost operator of a path."""
    body, inner = path[0], path[1:]
    here = f"{stem}.{len(path)}"

    def inside(entering: ir.Value) -> ir.Value:
        if inner:
            return deeper(inner, entering, value, stem)
        return appended(body.graph, "SequenceInsert", [entering, value], f"{here}.insert", value)

    return THREAD[body.node.op_type](body, pieces, inside, here, value)


def through_if(body: Body, pieces: ir.Value, inside: Inside, stem: str, like: ir.Value) -> ir.Value:
    """Out of one branch of an If; the other gives the sequence as it came."""
    for other in body.siblings():
        other.outputs.append(unchanged(other, pieces, stem, like))
    body.graph.outputs.append(inside(pieces))
    return named(added_output(body.node), f"{stem}.if", like)


def unchanged(graph: ir.Graph, pieces: ir.Value, stem: str, like: ir.Value) -> ir.Value:
    """The same sequence as a value of a graph: one piece is added and taken away again.

    Identity takes no sequences before opset 14.
    """
    assert like.dtype is not None
    nothing = ir.Tensor(np.empty(0, like.dtype.numpy()), dtype=like.dtype)
    piece = ir.node("Constant", [], {"value": nothing}, name=f"{stem}.piece")
    graph.append(piece)
    piece.outputs[0].name = f"{stem}.piece"
    more = appended(graph, "SequenceInsert", [pieces, piece.outputs[0]], f"{stem}.more", like)
    return appended(graph, "SequenceErase", [more], f"{stem}.same", like)


def through_loop(
    body: Body, pieces: ir.Value, inside: Inside, stem: str, like: ir.Value
) -> ir.Value:
    """Out of a Loop, as one more value that it carries from iteration to iteration."""
    node, graph = body.node, body.graph
    carried = len(graph.inputs) - 2  # before them: the iteration number and the condition
    node.resize_inputs(len(node.inputs) + 1)
    node.replace_input_with(len(node.inputs) - 1, pieces)
    entering = named(ir.Value(), f"{stem}.entering", like)
    graph.inputs.append(entering)
    graph.outputs.insert(1 + carried, inside(entering))
    added_output(node)
    for index in reversed(range(carried, len(node.outputs) - 1)):
        move(node.outputs[index], node.outputs[index + 1])
    return named(node.outputs[carried], f"{stem}.loop", like)


THREAD: dict[str, Callable[[Body, ir.Value, Inside, str, ir.Value], ir.Value]] = {
    "If": through_if,
    "Loop": through_loop,
}
"""How a sequence gets through an operator with bodies."""


def scan_output(body: Body, value: ir.Value, stem: str) -> ir.Value:
    """A value in the body of a Scan, stacked along a new first axis, outside it."""
    node = body.node
    same = ir.node("Identity", [value], name=f"{stem}.same")
    body.graph.append(same)
    same.outputs[0].name, same.outputs[0].type = f"{stem}.same", value.type
    body.graph.outputs.append(same.outputs[0])
    for name in ("scan_output_axes", "scan_output_directions"):
        if name in node.attributes:
            stated = list(node.attributes[name].as_ints())
            node.attributes[name] = ir.AttrInt64s(name, [*stated, 0])
    stacked = added_output(node)
    stacked.name, stacked.type = f"{stem}.stacked", value.type
    return stacked


def appended(
    graph: ir.Graph, op: str, inputs: list[ir.Value], name: str, like: ir.Value
) -> ir.Value:
    """A sequence made by one more operator at the end of a graph."""
    node = ir.node(op, inputs, name=name)
    graph.append(node)
    return named(node.outputs[0], name, like)


def named(value: ir.Value, name: str, like: ir.Value) -> ir.Value:
    """A sequence of tensors of the type of another value."""
    assert like.dtype is not None
    value.name, value.shape = name, None
    value.type = ir.SequenceType(ir.TensorType(like.dtype))
    return value


def added_output(node: ir.Node) -> ir.Value:
    """One more output, the last."""
    node.resize_outputs(len(node.outputs) + 1)
    return node.outputs[-1]


def move(old: ir.Value, new: ir.Value) -> None:
    """Let one output of an operator take the place of another: its uses, name and type."""
    new.name, new.type, new.shape = old.name, old.type, old.shape
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    old.name = None
