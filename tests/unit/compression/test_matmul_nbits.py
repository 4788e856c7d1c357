"""What becomes float at every run is what ONNX Runtime fuses, by the graphs that it writes."""

import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.compression import compress
from packlight.model import Model, to_bytes
from packlight.planning.size.parts import Simplified, Sizes
from packlight.records import parse_recipe
from packlight.testing.sketch import Sketch, value_info

GRIDS = [f"{bits},symmetric={even}" for bits in (4, 8) for even in ("true", "false")]


def optimised(model, path):
    """Kinds of the operators that ONNX Runtime runs in a model's place, those of bodies too."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
    return list(kinds(onnx.load(path / "optimised.onnx").graph))


def kinds(graph):
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from kinds(attribute.g)


def network(op, shape, x=None, bias=None, **attributes):
    """One product of an input and a stored weight."""
    net = Sketch(21)
    inputs = ["x", net.keep(net.array(*shape, fan_in=shape[0]))]
    if bias is not None:
        inputs.append(net.keep(net.array(*bias)))
    output = net.add(op, *inputs, **attributes)
    outs = shape[0] if attributes.get("transB") else shape[1]
    return net.model("one", [value_info("x", x or [3, shape[0]])], {output: [3, outs]})


def read_twice(second):
    """A weight that a MatMul reads, and another operator."""
    net = Sketch(21)
    weight = net.keep(net.array(64, 64, fan_in=64))
    value = net.add("MatMul", "x", weight)
    match second:
        case "Shape":
            value = net.add("Expand", value, net.add("Shape", weight))
        case "Add":
            value = net.add("Relu", net.add("Add", value, weight))
        case "Gemm":
            value = net.add("Gemm", value, weight, net.keep(net.array(64)))
        case _:
            value = net.add("MatMul", net.add("Relu", value), weight)
    return net.model("twice", [value_info("x", [64, 64])], {value: [64, 64]})


def inside(*, own):
    """An If whose first body multiplies by a weight of its own, or of the graph around it."""
    weight = numpy_helper.from_array(Sketch(21).array(64, 64, fan_in=64), "w")
    product = helper.make_node("MatMul", ["x", "w"], ["a"], name="product")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 64]) for name in "abxy"]
    then = helper.make_graph([product], "then", [], value[:1], [weight] if own else [])
    other = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["b"], name="relu")], "else", [], value[1:2]
    )
    choice = helper.make_node(
        "If", ["c"], ["y"], name="choice", then_branch=then, else_branch=other
    )
    flag = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    graph = helper.make_graph([choice], "g", [value[2], flag], value[3:], [] if own else [weight])
    imports = [helper.make_opsetid("", 21)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=10)
    return Model(ir.from_proto(proto), "inside")


FORMS = {
    "matmul": lambda: network("MatMul", (64, 32)),
    "matmul of many": lambda: network("MatMul", (64, 32), x=[2, 3, 64]),
    "odd outputs": lambda: network("MatMul", (320, 33)),
    "gemm": lambda: network("Gemm", (64, 32)),
    "bias": lambda: network("Gemm", (64, 32), bias=(32,)),
    "no bias to scale": lambda: network("Gemm", (64, 32), beta=0.5),
    "shape": lambda: read_twice("Shape"),
}
"""Where products are computed with codes."""

OTHERS = {
    "alpha": lambda: network("Gemm", (64, 32), bias=(32,), alpha=0.5),
    "beta": lambda: network("Gemm", (64, 32), bias=(32,), beta=0.5),
    "transA": lambda: network("Gemm", (64, 32), x=[64, 3], bias=(32,), transA=1),
    "transB": lambda: network("Gemm", (32, 64), x=[3, 64], bias=(32,), transB=1),
    "matrix of biases": lambda: network("Gemm", (64, 32), bias=(1, 32)),
    "one bias": lambda: network("Gemm", (64, 32), bias=(1,)),
    "two products": lambda: read_twice("MatMul"),
    "a product and a Gemm": lambda: read_twice("Gemm"),
    "a product and a sum": lambda: read_twice("Add"),
}
"""Where ONNX Runtime would turn codes into floats at every run."""

BODIES = {"of the body": lambda: inside(own=True), "of the graph": lambda: inside(own=False)}
ALL = FORMS | OTHERS | BODIES


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("form", ALL)
def test_a_weight_is_float_at_run_where_it_is_fused_and_at_load_elsewhere(form, grid, tmp_path):
    model, fused = ALL[form](), form in (*FORMS, "of the body")

    made = compress(model, parse_recipe(f"weights:{grid},block=32"))
    asked = compress(model, parse_recipe(f"weights:{grid},block=32,expand=run"))

    (change,) = made.changes
    assert (change.storage.expand == "run") == fused
    assert ("MatMulNBits" in optimised(made.model, tmp_path)) == fused
    assert "DequantizeLinear" not in optimised(made.model, tmp_path)
    assert ("DequantizeLinear" in optimised(asked.model, tmp_path)) != fused


@pytest.mark.parametrize("grid", [*GRIDS, "4,scales=16"])
@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
@pytest.mark.parametrize("block", [8, 16, 24, 32, 48, 64, 128, 192, 256, 384, 512, 1024])
def test_blocks_are_float_at_run_in_the_sizes_that_are_fused(block, op, grid, tmp_path):
    model = network(op, (2 * block, 16))

    made = compress(model, parse_recipe(f"weights:{grid},block={block}"))
    asked = compress(model, parse_recipe(f"weights:{grid},block={block},expand=run"))

    fused = "MatMulNBits" in optimised(asked.model, tmp_path)
    (change,) = made.changes
    assert change.storage.expand == ("run" if fused else "load")
    assert "DequantizeLinear" not in optimised(made.model, tmp_path)


@pytest.mark.parametrize("form", [*FORMS, *OTHERS])
def test_sizes_are_foreseen_wherever_codes_become_float(form):
    model = ALL[form]()
    for text in ("weights:4,block=32", "weights:8,block=8,symmetric=false"):
        made = compress(model, parse_recipe(f"simplify+{text}")).model

        assert Sizes(Simplified(model)).apply(parse_recipe(text)).size == len(to_bytes(made))
