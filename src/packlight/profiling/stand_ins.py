"""Standard operators in place of ONNX Runtime's own while shapes are inferred.

ONNX infers nothing behind an operator of another domain. A stand-in gives a value of the same shape
and, where it matters, of the same type. It is never run, and its original is counted.
Source: ONNX Runtime, "Contrib operators" (domain com.microsoft).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from packlight.model import nodes, stored_tensor

MICROSOFT = "com.microsoft"
ADDED = "packlight.stand_in."
"""Prefix of the names of values that only stand-ins read."""

SUMS = ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
"""Operators whose further results have the shape of the first."""

LSTM = "DynamicQuantizeLSTM"
MATRIX = 2
QGEMM_SCALE = 7

Replace = Callable[[ir.Model, ir.Node], list[ir.Node]]


def stand_in(model: ir.Model) -> None:
    """Replace ONNX Runtime's own operators by standard ones of the same shape, in place."""
    for node in list(nodes(model)):
        if is_replaced(node):
            replace_node(model, node, REPLACE[node.op_type])


def is_replaced(node: ir.Node) -> bool:
    """Return whether an operator gets a stand-in."""
    return node.domain == MICROSOFT and node.op_type in REPLACE


def is_added(value: ir.Value) -> bool:
    """Return whether a value was added for a stand-in."""
    return str(value.name).startswith(ADDED)


def replace_node(model: ir.Model, node: ir.Node, replace: Replace) -> None:
    """Put stand-ins in place of an operator, with its names and tags.

    Further outputs of a normalization are sums like the first; those of an LSTM are its states,
    those of other operators stay unknown. Unused outputs have no name.
    """
    graph = node.graph
    assert graph is not None
    for index, old in enumerate(node.outputs):
        if not old.name:
            continue
        if index == 0 or node.op_type in SUMS:
            inserted = replace(model, node)
        elif node.op_type == LSTM:
            inserted = _last_state(node, index)
        else:
            inserted = [ir.node("Identity", [_unknown_value(model)])]
        for new in inserted:
            new.metadata_props.update(node.metadata_props)
        graph.insert_before(node, inserted)
        result = inserted[-1].outputs[0]
        result.name = old.name
        result.type = old.type
        result.shape = old.shape
        old.replace_all_uses_with(result, replace_graph_outputs=True)
    graph.remove(node)


def _unknown_value(model: ir.Model) -> ir.Value:
    name = f"{ADDED}{len(model.graph.inputs)}"
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT))
    model.graph.inputs.append(value)
    return value


def _unknown_weight(model: ir.Model, *shape: int) -> ir.Value:
    value = _unknown_value(model)
    value.shape = ir.Shape(shape)
    return value


def _as_first_input(model: ir.Model, node: ir.Node) -> list[ir.Node]:
    del model
    return [ir.node("Identity", [node.inputs[0]])]


def _as_standard(op: str, inputs: int) -> Replace:
    """Stand-in by a standard operator on the first inputs, with attributes of the same names."""

    def replace(model: ir.Model, node: ir.Node) -> list[ir.Node]:
        del model
        attributes = {
            key: a for key, a in node.attributes.items() if not key.startswith("activation")
        }
        return [ir.node(op, node.inputs[:inputs], attributes=attributes)]

    return replace


def _on_codes(op: str, *indices: int) -> Replace:

    def replace(model: ir.Model, node: ir.Node) -> list[ir.Node]:
        del model
        codes = [node.inputs[index] for index in indices]
        return [ir.node(op, codes, attributes=dict(node.attributes))]

    return replace


def _gemm_of_codes(model: ir.Model, node: ir.Node) -> list[ir.Node]:
    (product,) = _on_codes("Gemm", 0, 3)(model, node)
    if len(node.inputs) > QGEMM_SCALE and node.inputs[QGEMM_SCALE] is not None:
        return [product]
    product.outputs[0].name = f"{ADDED}{node.outputs[0].name}.codes"
    return [product, ir.node("Cast", product.outputs, {"to": int(ir.DataType.FLOAT)})]


def _joined_codes(model: ir.Model, node: ir.Node) -> list[ir.Node]:
    del model
    return [ir.node("Concat", node.inputs[2::3], attributes=dict(node.attributes))]


def _block_product(model: ir.Model, node: ir.Node) -> list[ir.Node]:
    sizes = (node.attributes.get_int("K", 0), node.attributes.get_int("N", 0))
    return [ir.node("MatMul", [node.inputs[0], _unknown_weight(model, *sizes)])]


def _shape(value: ir.Value | None) -> ir.Shape | None:
    """The shape of a value, which a stored one may state by its tensor alone."""
    if value is not None and value.shape is not None:
        return value.shape
    tensor = stored_tensor(value)
    if tensor is None:
        return None
    return ir.Shape(tensor.shape.numpy())


def _fused_product(model: ir.Model, node: ir.Node) -> list[ir.Node]:
    """FusedMatMul, of matrices that may be transposed."""
    del model
    inserted = []
    operands = []
    for index, flag in enumerate(("transA", "transB")):
        value = node.inputs[index]
        shape = _shape(value)
        if node.attributes.get_int(flag, 0) and value is not None and shape is not None:
            order = list(range(len(shape)))
            order[-2:] = order[:-3:-1]
            inserted.append(ir.node("Transpose", [value], {"perm": order}))
            value = inserted[-1].outputs[0]
            value.name = f"{ADDED}{node.outputs[0].name}.{index}"
        operands.append(value)
    return [*inserted, ir.node("MatMul", operands)]


def _projected(model: ir.Model, node: ir.Node) -> list[ir.Node]:
    """Attention, QAttention: as wide as the part of the weights that makes values."""
    shape = _shape(node.inputs[1])
    if shape is None or len(shape) != MATRIX or not shape.is_static():
        return _as_first_input(model, node)
    wide, total = shape.numpy()
    sizes = [*node.attributes.get_ints("qkv_hidden_sizes", [])] or [total // 3] * 3
    return [ir.node("MatMul", [node.inputs[0], _unknown_weight(model, wide, sizes[2])])]


def _last_state(node: ir.Node, index: int) -> list[ir.Node]:
    """An LSTM, and the output of it that gives the last state or cell."""
    attributes = {name: node.attributes[name] for name in LSTM_SIZES if name in node.attributes}
    lstm = ir.node("LSTM", node.inputs[:3], attributes, num_outputs=index + 1)
    for place, value in enumerate(lstm.outputs):
        value.name = f"{ADDED}{node.outputs[index].name}.{place}"
    return [lstm, ir.node("Identity", [lstm.outputs[index]])]


LSTM_SIZES = ("direction", "hidden_size")
"""Attributes that the shapes of an LSTM depend on."""

REPLACE: Mapping[str, Replace] = {
    LSTM: _as_standard("LSTM", 3),
    "MatMulNBits": _block_product,
    "FusedMatMul": _fused_product,
    "FusedConv": _as_standard("Conv", 3),
    "FusedGemm": _as_standard("Gemm", 3),
    "DynamicQuantizeMatMul": _as_standard("MatMul", 2),
    "MatMulIntegerToFloat": _as_standard("MatMul", 2),
    "QuantizeLinear": _as_standard("QuantizeLinear", 3),
    "DequantizeLinear": _as_standard("DequantizeLinear", 3),
    "QGemm": _gemm_of_codes,
    "QLinearAdd": _on_codes("Add", 0, 3),
    "QLinearMul": _on_codes("Mul", 0, 3),
    "QLinearAveragePool": _on_codes("AveragePool", 0),
    "QLinearGlobalAveragePool": _on_codes("GlobalAveragePool", 0),
    "QLinearConcat": _joined_codes,
    "Attention": _projected,
    "QAttention": _projected,
    **dict.fromkeys(
        (
            "BiasGelu",
            "FastGelu",
            "Gelu",
            "GroupQueryAttention",
            "MultiHeadAttention",
            "QLinearLeakyRelu",
            "QLinearSigmoid",
            "QLinearSoftmax",
            "QuickGelu",
            "RotaryEmbedding",
            "SimplifiedLayerNormalization",
            "SkipLayerNormalization",
            "SkipSimplifiedLayerNormalization",
        ),
        _as_first_input,
    ),
}
