"""Operators with bodies, and functions of the model's own."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper
from operator_motifs import Entry
from sketchbook import Sketchbook, Value, elem_type

DOMAIN = "local.functions"


def product(book: Sketchbook, source: Value, width: int) -> Value:
    """A product and an activation in a body; its weight may be one of the graph around it."""
    inner = source.shape[-1]
    weight = book.weight(inner, width, fan_in=inner)
    result = book.add("MatMul", [source.name, weight], (*source.shape[:-1], width))
    if book.chance(0.4):
        result = book.add("Add", [result.name, book.weight(width, fan_in=4)], result.shape)
    return book.add(str(book.choose("Tanh", "Relu", "Sigmoid")), [result.name], result.shape)


def condition(book: Sketchbook) -> str:
    """A truth value: an input, or a sum of an input that is above 0."""
    stored = book.value(lambda v: v.dtype == "bool")
    if stored is not None and book.chance(0.7):
        return stored.name
    return book.store(np.array(book.chance(0.5)), "truth").name


def branches(book: Sketchbook) -> None:
    """An If whose branches read a value around them."""
    source = book.floating(2, 3)
    if source is None:
        return
    width = book.width()
    shape = (*source.shape[:-1], width)
    bodies = []
    for name in ("then", "else"):
        body = book.body()
        result = product(body, source, width)
        if book.chance(0.3):
            inner = product(body, result, width)
            result = body.add("Add", [inner.name, result.name], shape)
        bodies.append(body.graph(name, [], [result]))
    book.offer(
        book.add("If", [condition(book)], shape, then_branch=bodies[0], else_branch=bodies[1])
    )


def loop(book: Sketchbook) -> None:
    """A Loop that carries a value through a product with a stored weight, and collects it."""
    source = book.floating(2)
    if source is None:
        return
    width = source.shape[-1]
    body = book.body()
    step, truth, state = (body.fresh(stem) for stem in ("step", "truth", "state"))
    result = product(body, Value(state, source.shape), width)
    if body.chance(0.5):
        result = body.add("Add", [result.name, source.name], source.shape)
    on = body.add("Identity", [truth], (), "bool")
    outputs = [on, result]
    shapes = [source.shape]
    trips = book.number(1, 2, 3)
    if body.chance(0.5):
        outputs.append(body.add("Identity", [result.name], source.shape))
        shapes.append((trips, *source.shape))
    inputs = [
        helper.make_tensor_value_info(step, TensorProto.INT64, []),
        helper.make_tensor_value_info(truth, TensorProto.BOOL, []),
        helper.make_tensor_value_info(state, TensorProto.FLOAT, source.shape),
    ]
    graph = body.graph("loop", inputs, outputs)
    count = book.store(np.array(trips, np.int64), "trips").name
    start = book.store(np.array(True), "truth").name
    for value in book.add_several("Loop", [count, start, source.name], shapes, body=graph):
        book.offer(value)


def scan(book: Sketchbook) -> None:
    """A Scan over the first axis with a state and a stored weight."""
    source = book.floating(3)
    if source is None:
        return
    rest = source.shape[1:]
    width = source.shape[-1]
    body = book.body()
    state, part = body.fresh("state"), body.fresh("part")
    result = product(body, Value(part, tuple(rest)), width)
    result = body.add("Add", [result.name, state], rest)
    collected = body.add("Identity", [result.name], rest)
    inputs = [
        helper.make_tensor_value_info(name, elem_type("float32"), rest) for name in (state, part)
    ]
    graph = body.graph("scan", inputs, [result, collected])
    start = book.store(book.array(rest, 4), "state").name
    shapes = [rest, source.shape]
    for value in book.add_several(
        "Scan", [start, source.name], shapes, body=graph, num_scan_inputs=1
    ):
        book.offer(value)


def called(book: Sketchbook) -> None:
    """A call of a function of the model's own: a dense layer whose weights are arguments."""
    source = book.floating(2, 3)
    if source is None:
        return
    if "Dense" not in book.shared.functions:
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
            helper.make_node("Add", ["m", "b"], ["s"], "sum"),
            helper.make_node("Relu", ["s"], ["y"], "activation"),
        ]
        imports = [helper.make_opsetid("", book.opset)]
        function = helper.make_function(DOMAIN, "Dense", ["x", "w", "b"], ["y"], nodes, imports)
        book.shared.functions["Dense"] = function
    inner, width = source.shape[-1], book.width()
    names = [book.weight(inner, width, fan_in=inner), book.weight(width, fan_in=4)]
    book.offer(book.add("Dense", [source.name, *names], (*source.shape[:-1], width), domain=DOMAIN))


TABLE: tuple[Entry, ...] = (
    Entry(branches, 0.8), Entry(loop, 0.8, 11), Entry(scan, 0.5, 11), Entry(called, 0.6, 8),
)  # fmt: skip
