"""Models that state absurd sizes, grow when they run, or take and hold strange values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from small_models import (
    BOOL,
    FLOAT,
    INT64,
    WIDTH,
    X,
    Y,
    fashion,
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
Value = onnx.ValueInfoProto


def made(proto: Callable[[], onnx.ModelProto]) -> Build:
    """A model drawn when it is asked for."""
    return lambda folder, random: write(folder, proto())


def stating(dims: Sequence[int]) -> Build:
    """A weight of 64 bytes that claims to be larger."""

    def build() -> onnx.ModelProto:
        proto = plain()
        proto.graph.initializer[0].dims[:] = dims
        return proto

    return made(build)


def one_by_one(dims: Sequence[int]) -> onnx.ModelProto:
    """A weight whose numbers are stored one by one, fewer than it states."""
    proto = plain()
    proto.graph.initializer[0].ClearField("raw_data")
    proto.graph.initializer[0].float_data[:] = [1.0, 2.0]
    proto.graph.initializer[0].dims[:] = dims
    return proto


def fed(dims: Sequence[int | str]) -> onnx.ModelProto:
    """An input of absurd size."""
    x, y = info("x", FLOAT, dims), info("y", FLOAT, dims)
    return model([node("Relu", ["x"], ["y"])], inputs=[x], outputs=[y])


def widened(op: str, values: Sequence[int]) -> onnx.ModelProto:
    """An operator that a stored shape makes give far too much."""
    rank = [f"d{i}" for i in range(len(values))]
    shape = stored("s", values)
    last = node("ReduceMax", ["big"], ["y"], keepdims=1)
    read = ["s"] if op == "ConstantOfShape" else ["x", "s"]
    return model([node(op, read, ["big"]), last], [shape], outputs=[info("y", FLOAT, rank)])


SIZES: dict[str, Build] = {
    "a tensor of 10**18": stating([10**9, 10**9]),
    "a tensor of 2**63": stating([2**32, 2**31]),
    "a tensor of 2**64 + 16": stating([2**62, 4, 16]),
    "a tensor of less than nothing": stating([-4, -4]),
    "a tensor of rank 300": stating([1] * 300),
    "a tensor of no elements": stating([0, 4]),
    "numbers one by one": made(lambda: one_by_one([10**9, 10**9])),
    "too few numbers one by one": made(lambda: one_by_one([4, 4])),
    "an input of 10**12": made(lambda: fed([10**12])),
    "an input of 10**18 squared": made(lambda: fed([10**18, 10**18])),
    "an input below zero": made(lambda: fed([-3, 4])),
    "an input of nothing": made(lambda: fed([0, 4])),
    "a reshape": made(lambda: widened("Reshape", [10**9, 10**9])),
    "an expansion": made(lambda: widened("Expand", [10**9, 10**3, 4])),
    "an expansion past 2**63": made(lambda: widened("Expand", [2**62, 2**62, 4])),
    "a constant": made(lambda: widened("ConstantOfShape", [10**6, 10**6])),
    "a constant of 20 GB": made(lambda: widened("ConstantOfShape", [5 * 10**9])),
    "a tiling": made(lambda: widened("Tile", [10**6, 10**6])),
}


def looped(trips: int) -> onnx.ModelProto:
    """A loop."""
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Sin", ["h"], ["k"])],
        "body",
        [info("i", INT64, []), info("go", BOOL, []), info("h", FLOAT, ["n", WIDTH])],
        [info("on", BOOL, []), info("k", FLOAT, ["n", WIDTH])],
    )
    weights = [stored("trips", trips), stored("yes", True, np.bool_)]
    return model([node("Loop", ["trips", "yes", "x"], ["y"], body=body)], weights)


def doubled(times: int, op: str = "Concat") -> onnx.ModelProto:
    """Each operator gives twice what it takes."""
    names = ["x", *(f"v{i}" for i in range(times))]
    attributes = {"axis": 0} if op == "Concat" else {}
    chain = [node(op, [a, a], [b], **attributes) for a, b in itertools.pairwise(names)]
    return model([*chain, node("ReduceMax", [names[-1]], ["y"], keepdims=1)])


def ranged() -> onnx.ModelProto:
    """A range of 10**12 numbers."""
    weights = [stored("a", 0), stored("b", 10**12), stored("c", 1)]
    last = node("Cast", ["m"], ["y"], to=FLOAT)
    return model([node("Range", ["a", "b", "c"], ["r"]),
                  node("ReduceMax", ["r"], ["m"], keepdims=1), last], weights,
                 outputs=[info("y", FLOAT, [1])])  # fmt: skip


def padded() -> onnx.ModelProto:
    """Padding of 10**10 numbers on every side."""
    return model([node("Pad", ["x", "p"], ["y"])], [stored("p", [10**10] * 4)])


def resized() -> onnx.ModelProto:
    """A picture made a million times as wide."""
    x, y = info("x", FLOAT, [1, 1, 8, 8]), info("y", FLOAT, [1, 1, "h", "w"])
    scales = stored("s", [1, 1, 1e6, 1e6], np.float32)
    return model([node("Resize", ["x", "", "s"], ["y"])], [scales], inputs=[x], outputs=[y])


GROWTH: dict[str, Build] = {
    "a loop of 10**15 trips": made(lambda: looped(10**15)),
    "a loop of less than no trips": made(lambda: looped(-1)),
    "doubled 50 times": made(lambda: doubled(50)),
    "added to itself 5000 times": made(lambda: doubled(5000, "Add")),
    "a range": made(ranged),
    "padding": made(padded),
    "a resize": made(resized),
}


def filled(number: float) -> Build:
    """Weights that are all one number."""
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    return made(lambda: model(nodes, [weight(fill=number)]))


def poisoned(folder: Path, random: Random) -> Path:
    """The classifier with one weight that is no number."""
    proto = onnx.load_from_string(fashion())
    tensor = max(proto.graph.initializer, key=lambda one: len(one.raw_data))
    array = np.frombuffer(tensor.raw_data, np.float32).copy()
    array[random.integers(len(array))] = np.nan
    tensor.raw_data = array.tobytes()
    return write(folder, proto)


NUMBERS: dict[str, Build] = {
    "no numbers": filled(np.nan),
    "infinity": filled(np.inf),
    "the largest number": filled(3.4e38),
    "almost nothing": filled(1e-45),
    "one of the classifier is none": poisoned,
}


def taking(inputs: Sequence[Value], nodes: Sequence[onnx.NodeProto]) -> Build:
    """Inputs of another kind."""
    return made(lambda: model(nodes, inputs=inputs))


def kind(name: str, proto: onnx.TypeProto) -> Value:
    """An input or output of any type."""
    return helper.make_value_info(name, proto)


def of_floats(dims: Sequence[int | str] = ("n", WIDTH)) -> onnx.TypeProto:
    """The type of float tensors."""
    return helper.make_tensor_type_proto(FLOAT, list(dims))


def constant_only() -> onnx.ModelProto:
    """No inputs: always the same."""
    return model([node("Identity", ["w"], ["y"])], [weight()], inputs=[])


def of_kind(data_type: int, op: str = "Identity") -> onnx.ModelProto:
    """Tensors of an unusual type."""
    ends = [info(name, data_type, ["n", WIDTH]) for name in "xy"]
    return model([node(op, ["x"], ["y"])], inputs=ends[:1], outputs=ends[1:], opset=21)


FIRST = stored("zero", 0)
INPUTS: dict[str, Build] = {
    "none": made(constant_only),
    "strings": made(lambda: of_kind(TensorProto.STRING)),
    "complex numbers": made(lambda: of_kind(TensorProto.COMPLEX64)),
    "numbers of 4 bits": made(lambda: of_kind(TensorProto.INT4)),
    "numbers of 8 bits": made(lambda: of_kind(TensorProto.FLOAT8E4M3FN)),
    "a sequence": made(lambda: model(
        [node("SequenceAt", ["x", "zero"], ["y"])], [FIRST],
        inputs=[kind("x", helper.make_sequence_type_proto(of_floats()))],
    )),
    "what may be absent": made(lambda: model(
        [node("OptionalGetElement", ["x"], ["y"])],
        inputs=[kind("x", helper.make_optional_type_proto(of_floats()))],
    )),
    "a map": made(lambda: model(
        [node("Identity", ["w"], ["y"])], [weight()],
        inputs=[kind("x", helper.make_map_type_proto(TensorProto.INT64, of_floats()))],
    )),
    "no rank": made(lambda: model(
        [node("Relu", ["x"], ["y"])],
        inputs=[info("x", FLOAT, None)], outputs=[info("y", FLOAT, None)],
    )),
    "no type": made(lambda: model([node("Relu", ["x"], ["y"])], inputs=[Value(name="x")])),
    "twice the same": made(lambda: model([node("Relu", ["x"], ["y"])], inputs=[X, X])),
    "one that is stored as well": made(lambda: model(
        [node("Gemm", ["x", "w"], ["y"])], [weight()],
        inputs=[X, info("w", FLOAT, [WIDTH, WIDTH])], outputs=[Y],
    )),
}  # fmt: skip
