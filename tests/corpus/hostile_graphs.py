"""Graphs that break the standard in one thing, or use what few use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper
from small_models import (
    FLOAT,
    INT64,
    WIDTH,
    X,
    Y,
    field,
    info,
    model,
    node,
    plain,
    stored,
    weight,
    write,
)  # fmt: skip

Random = np.random.Generator
Build = Callable[[Path, Random], Path]


def made(proto: Callable[[], onnx.ModelProto]) -> Build:
    """A model drawn when it is asked for."""
    return lambda folder, random: write(folder, proto())


def of(*nodes: onnx.NodeProto, opset: int = 17) -> Build:
    """A model of these operators."""
    return made(lambda: model(nodes, [weight()], opset=opset))


def changed(change: Callable[[onnx.ModelProto], object]) -> Build:
    """The plain model with one thing changed."""

    def build(folder: Path, random: Random) -> Path:
        proto = plain()
        change(proto)
        return write(folder, proto)

    return build


def importing(*opsets: tuple[str, int]) -> Build:
    """The plain model with other opsets."""

    def change(proto: onnx.ModelProto) -> None:
        del proto.opset_import[:]
        proto.opset_import.extend(helper.make_opsetid(domain, number) for domain, number in opsets)

    return changed(change)


OPSET: dict[str, Build] = {
    "6": importing(("", 6)),
    "99": importing(("", 99)),
    "none": importing(),
    "0": importing(("", 0)),
    "-1": importing(("", -1)),
    "2**63 - 1": importing(("", 2**63 - 1)),
    "only of an unknown domain": importing(("org.nobody", 1)),
    "6 after 17": importing(("", 17), ("", 6)),
}


def in_body(*nodes: onnx.NodeProto) -> Build:
    """Operators in the body of an If."""
    body = helper.make_graph(list(nodes), "b", [], [info("r", FLOAT, ["n", WIDTH])])
    outer = node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    return made(lambda: model([outer], [stored("c", True, np.bool_)]))


ORDER: dict[str, Build] = {
    "a cycle": of(node("Add", ["x", "b"], ["a"]), node("Add", ["x", "a"], ["b"]),
                  node("Relu", ["b"], ["y"])),
    "a cycle of one": of(node("Add", ["x", "y"], ["y"])),
    "a cycle of a thousand": of(*(
        node("Add", ["x", f"v{(i - 1) % 1000}"], [f"v{i}"]) for i in range(1000)
    ), node("Relu", ["v999"], ["y"])),
    "a cycle in a body": in_body(node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"]),
                                 node("Relu", ["b"], ["r"])),
    "a value of nobody": of(node("Relu", ["nowhere"], ["y"])),
    "a value given twice": of(node("Relu", ["x"], ["y"]), node("Tanh", ["x"], ["y"])),
    "an output of nobody": of(node("Relu", ["x"], ["z"])),
    "no output": changed(lambda proto: proto.graph.ClearField("output")),
    "no operators": changed(lambda proto: proto.graph.ClearField("node")),
    "a body reads what comes later": of(
        node("If", ["c"], ["z"], then_branch=helper.make_graph(
            [node("Relu", ["y"], ["r"])], "b", [], [info("r", FLOAT, ["n", WIDTH])]
        )), node("Relu", ["z"], ["y"])),
}  # fmt: skip


def attribute(name: str, kind: int, **values: object) -> AttributeProto:
    """An attribute as it is, right or wrong."""
    return AttributeProto(name=name, type=kind, **values)


def carrying(op: str, *attributes: AttributeProto, read: Sequence[str] = ("x",)) -> Build:
    """An operator with attributes."""
    made_node = node(op, list(read), ["y"])
    made_node.attribute.extend(attributes)
    return of(made_node)


OPERATORS: dict[str, Build] = {
    "backwards": of(node("Relu", ["a"], ["y"]), node("Relu", ["x"], ["a"])),
    "unknown": of(node("Frobnicate", ["x"], ["y"])),
    "of an unknown domain": made(lambda: with_domain("org.nobody")),
    "of a domain that is not imported": of(node("Frobnicate", ["x"], ["y"], domain="org.nobody")),
    "without a type": of(node("", ["x"], ["y"])),
    "without inputs": of(node("Relu", [], ["y"])),
    "with too many inputs": of(node("Relu", ["x"] * 9, ["y"])),
    "without outputs": of(node("Relu", ["x"], []), node("Relu", ["x"], ["y"])),
    "of a later opset": of(node("Gelu", ["x"], ["y"])),
    "of a training domain": made(lambda: with_domain("ai.onnx.preview.training", "Adam")),
    "an attribute of another type": carrying(
        "Concat", attribute("axis", AttributeProto.STRING, s=b"0"), read=["x", "x"]
    ),
    "an attribute that says another type": carrying(
        "Concat", attribute("axis", AttributeProto.FLOAT, i=0), read=["x", "x"]
    ),
    "an attribute without a value": carrying("LeakyRelu", attribute("alpha", AttributeProto.GRAPH)),
    "an attribute given twice": carrying("LeakyRelu", *[
        attribute("alpha", AttributeProto.FLOAT, f=f) for f in (0.1, 0.2)]),
    "an attribute of a function": carrying("LeakyRelu", AttributeProto(
        name="alpha", type=AttributeProto.FLOAT, ref_attr_name="nothing")),
    "an attribute that lacks": of(node("Concat", ["x", "x"], ["y"])),
    "a kernel of less than nothing": made(lambda: pooled([-3, 2**40])),
    "a division by zero": made(lambda: integers("Div")),
}  # fmt: skip


def with_domain(domain: str, op: str = "Frobnicate") -> onnx.ModelProto:
    """An operator of a domain that is imported."""
    proto = model([node(op, ["x"], ["y"], domain=domain)])
    proto.opset_import.append(helper.make_opsetid(domain, 1))
    return proto


def pooled(kernel: Sequence[int]) -> onnx.ModelProto:
    """A pooling of any size."""
    x, y = info("x", FLOAT, [1, 1, 8, 8]), info("y", FLOAT, [1, 1, "h", "w"])
    pool = node("MaxPool", ["x"], ["y"], kernel_shape=list(kernel), strides=[0, 0])
    return model([pool], inputs=[x], outputs=[y])


def integers(op: str) -> onnx.ModelProto:
    """Integer arithmetic with zeros."""
    x, y = info("x", INT64, [WIDTH]), info("y", INT64, [WIDTH])
    return model([node(op, ["x", "x"], ["y"])], inputs=[x], outputs=[y])


def typed(**kinds: int) -> Build:
    """The plain model with other types."""

    def change(proto: onnx.ModelProto) -> None:
        for value in (*proto.graph.input, *proto.graph.output):
            if value.name in kinds:
                value.type.tensor_type.elem_type = kinds[value.name]
        if "w" in kinds:
            proto.graph.initializer[0].data_type = kinds["w"]

    return changed(change)


def sparse() -> onnx.ModelProto:
    """A sparse weight, as the standard has it."""
    values = helper.make_tensor("w", FLOAT, [2], [1.0, 2.0])
    places = helper.make_tensor("i", INT64, [2], [3, 9])
    proto = model([node("MatMul", ["x", "w"], ["y"])])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 4]))
    return proto


def sparse_outside() -> onnx.ModelProto:
    """A sparse weight with a place outside of it."""
    proto = sparse()
    del proto.graph.sparse_initializer[0].indices.int64_data[:]
    proto.graph.sparse_initializer[0].indices.int64_data.extend([3, 10**15])
    return proto


TYPES: dict[str, Build] = {
    "integers into a product of floats": typed(x=INT64),
    "another type than is given": typed(y=INT64),
    "weights of twice the width": typed(w=TensorProto.DOUBLE),
    "weights of another type": typed(w=TensorProto.INT32),
    "weights without a type": typed(w=0),
    "weights of an unknown type": typed(w=77),
    "weights of text": typed(w=TensorProto.STRING),
    "an input of an unknown type": typed(x=1000),
    "a condition that is none": made(lambda: model(
        [node("Where", ["x", "x", "x"], ["y"])], [])),
    "sizes that do not match": made(lambda: model(
        [node("MatMul", ["x", "w"], ["y"])], [stored("w", np.ones((5, 3)), np.float32)])),
    "a sparse weight": made(sparse),
    "a sparse weight with a place outside": made(sparse_outside),
    "a text as a shape": made(lambda: model(
        [node("Reshape", ["x", "s"], ["y"])], [helper.make_tensor("s", 8, [1], [b"wide"])])),
}  # fmt: skip


def without(part: str) -> Build:
    """An output about which less is said than the standard asks."""

    def change(proto: onnx.ModelProto) -> None:
        kind = proto.graph.output[0].type
        if part == "shape":
            kind.tensor_type.ClearField("shape")
        else:
            proto.graph.output[0].ClearField("type")

    return changed(change)


OUTPUTS: dict[str, Build] = {
    "without a shape": without("shape"),
    "without a type": without("type"),
    "the same value twice": made(lambda: model(
        [node("Relu", ["x"], ["y"]), node("Identity", ["y"], ["z"])],
        outputs=[Y, info("z", FLOAT, None)])),
}  # fmt: skip


def named(old: bytes, new: bytes, op: bytes = b"Relu") -> Build:
    """The plain model's operator with a name that the library would not write."""

    def build(folder: Path, random: Random) -> Path:
        inner = b"".join(
            (field(1, b"x"), field(2, new if old == b"m" else b"m"),
             field(3, new if old == b"node" else b"n"), field(4, op))
        )  # fmt: skip
        last = field(1, new if old == b"m" else b"m") + field(2, b"y") + field(4, b"Relu")
        graph = field(1, inner) + field(1, last) + field(2, b"g")
        graph += field(11, X.SerializeToString()) + field(12, Y.SerializeToString())
        return write(folder, b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11"))

    return build


NAMES: dict[str, Build] = {
    "bytes that are no text": named(b"node", b"\xff\xfe\x80"),
    "a value in bytes that are no text": named(b"m", b"\xc3\x28"),
    "an operator in bytes that are no text": named(b"op", b"", op=b"Re\xfflu"),
    "an operator of a million letters": named(b"op", b"", op=b"R" * 10**6),
    "a value of a million letters": named(b"m", b"v" * 10**6),
    "an operator in two lines": named(b"op", b"", op=b"Re\nlu\x1b[31m\x07"),
    "a value in two lines": named(b"m", b"a\nb\0c\x1b[2J"),
    "operators of one name": of(node("Relu", ["x"], ["a"], name="n"),
                                node("Relu", ["a"], ["y"], name="n")),
    "stored values of one name": made(lambda: model(
        [node("MatMul", ["x", "w"], ["y"])], [weight(), weight()])),
    "a missing weight in two lines of a thousand letters": of(
        node("Relu", ["line\n\x1b[31m" * 100], ["y"])),
    "a path for a name": of(node("Relu", ["x"], ["y"], name="../../../etc/passwd")),
    "no name of a value": of(node("Relu", ["x"], [""]), node("Relu", ["x"], ["y"])),
}  # fmt: skip
