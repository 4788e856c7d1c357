"""Graphs within graphs: deep, wide, and functions that call themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from small_models import (
    FLOAT,
    WIDTH,
    X,
    Y,
    field,
    info,
    model,
    node,
    stored,
    write,
)  # fmt: skip

Random = np.random.Generator
Build = Callable[[Path, Random], Path]
GRAPH_ATTRIBUTE = b"\xa0\x01\x05"
"""The field ``type`` of an attribute that holds a graph."""


def made(proto: Callable[[], onnx.ModelProto]) -> Build:
    """A model drawn when it is asked for."""
    return lambda folder, random: write(folder, proto())


def nested(levels: int) -> Build:
    """Bodies in bodies, written by hand where the library stops at 100 levels."""

    def build(folder: Path, random: Random) -> Path:
        result = field(12, info("r0", FLOAT, ["n", WIDTH]).SerializeToString())
        graph = field(1, node("Relu", ["x"], ["r0"]).SerializeToString()) + field(2, b"b") + result
        for level in range(1, levels):
            bodies = b"".join(
                field(5, field(1, name) + field(6, graph if name[:1] == b"t" else flat(level))
                      + GRAPH_ATTRIBUTE)
                for name in (b"then_branch", b"else_branch")
            )  # fmt: skip
            outer = field(1, b"c") + field(2, b"r%d" % level) + field(4, b"If") + bodies
            result = field(12, info(f"r{level}", FLOAT, ["n", WIDTH]).SerializeToString())
            graph = field(1, outer) + field(2, b"b") + result
        last = node("Relu", [f"r{levels - 1}"], ["y"]).SerializeToString()
        condition = stored("c", True, np.bool_).SerializeToString()
        main = graph.removesuffix(result) + field(1, last) + field(5, condition)
        main += field(11, X.SerializeToString()) + field(12, Y.SerializeToString())
        return write(folder, b"\x08\x08" + field(7, main) + field(8, b"\x10\x11"))

    return build


def flat(level: int) -> bytes:
    """The branch that is not nested."""
    relu = node("Relu", ["x"], [f"e{level}"]).SerializeToString()
    result = info(f"e{level}", FLOAT, ["n", WIDTH]).SerializeToString()
    return field(1, relu) + field(2, b"e") + field(12, result)


def deep_type(levels: int) -> Build:
    """A sequence of sequences of sequences."""

    def build(folder: Path, random: Random) -> Path:
        kind = field(1, b"\x08\x01")
        for _ in range(levels):
            kind = field(4, field(1, kind))
        value = field(1, b"x") + field(2, kind)
        relu = node("Identity", ["x"], ["y"]).SerializeToString()
        graph = field(1, relu) + field(2, b"g") + field(11, value)
        graph += field(12, Y.SerializeToString())
        return write(folder, b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11"))

    return build


def many(count: int) -> onnx.ModelProto:
    """A chain of tiny operators."""
    names = ["x", *(f"v{i}" for i in range(count - 1)), "y"]
    return model([node("Neg", [a], [b]) for a, b in itertools.pairwise(names)])


def wide(count: int) -> onnx.ModelProto:
    """An operator with very many inputs."""
    return model([node("Max", ["x"] * count, ["y"])])


def many_outputs(count: int) -> onnx.ModelProto:
    """Very many outputs."""
    names = [f"y{i}" for i in range(count)]
    outputs = [info(name, FLOAT, ["n", WIDTH]) for name in names]
    return model([node("Neg", ["x"], [name]) for name in names], outputs=outputs)


def many_weights(count: int) -> onnx.ModelProto:
    """Very many stored numbers, one by one."""
    names = ["x", *(f"v{i}" for i in range(count - 1)), "y"]
    pairs = enumerate(itertools.pairwise(names))
    weights = [stored(f"w{i}", 1.0, np.float32) for i in range(count)]
    return model([node("Add", [a, f"w{i}"], [b]) for i, (a, b) in pairs], weights)


NESTS: dict[str, Build] = {
    "20 bodies": nested(20),
    "60 bodies": nested(60),
    "1000 bodies": nested(1000),
    "a type of 90 levels": deep_type(45),
    "a type of 1000 levels": deep_type(1000),
    "10000 operators": made(lambda: many(10_000)),
    "100000 inputs of one operator": made(lambda: wide(100_000)),
    "2000 outputs": made(lambda: many_outputs(2000)),
    "3000 weights": made(lambda: many_weights(3000)),
}


def calling(
    functions: Sequence[tuple[str, Sequence[onnx.NodeProto]]], call: str = "F0"
) -> onnx.ModelProto:
    """A model with functions of its own, from a to b, and a call of one."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    proto = model([node(call, ["x"], ["y"], domain="own")])
    proto.opset_import.append(imports[1])
    for name, nodes in functions:
        made_function = helper.make_function("own", name, ["a"], ["b"], list(nodes), imports)
        proto.functions.append(made_function)
    return proto


def call(name: str, read: str, give: str) -> onnx.NodeProto:
    """A call of a function."""
    return node(name, [read], [give], domain="own")


def laughs(levels: int, times: int) -> onnx.ModelProto:
    """Functions each of which calls the next ``times`` times."""
    values = ["a", *(f"t{i}" for i in range(times - 1)), "b"]
    steps = list(itertools.pairwise(values))
    chain = [(f"F{i}", [call(f"F{i + 1}", *step) for step in steps]) for i in range(levels)]
    return calling([*chain, (f"F{levels}", [node("Relu", ["a"], ["b"])])])


def chained(levels: int) -> onnx.ModelProto:
    """Functions each of which calls the next once."""
    return laughs(levels, 1)


FUNCTIONS: dict[str, Build] = {
    "one": made(lambda: chained(1)),
    "that calls itself": made(lambda: calling([("F0", [call("F0", "a", "b")])])),
    "two that call each other": made(lambda: calling(
        [("F0", [call("F1", "a", "b")]), ("F1", [call("F0", "a", "b")])])),
    "10 ** 12 calls": made(lambda: laughs(12, 10)),
    "2000 that call each other in turn": made(lambda: chained(2000)),
    "called and not there": made(lambda: calling([("F1", [node("Relu", ["a"], ["b"])])])),
    "given twice": made(lambda: calling([("F0", [node("Relu", ["a"], ["b"])])] * 2)),
    "that gives nothing": made(lambda: calling([("F0", [node("Relu", ["a"], ["c"])])])),
    "with a cycle": made(lambda: calling(
        [("F0", [node("Add", ["a", "b"], ["c"]), node("Relu", ["c"], ["b"])])])),
}  # fmt: skip
