"""What each operator says about positions that are the same channel.

A rule states it for all inputs and outputs of one operator. What has no rule fixes all that it
reads and gives. Source: the operator specifications of ONNX, opset 21.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from packlight.compression.sites.weight_roles import STANDARD
from packlight.compression.structure.couplings import Couplings, Fixed
from packlight.compression.structure.layout_rules import (
    couple_concat,
    couple_reshape,
    couple_split,
    couple_transpose,
)
from packlight.compression.structure.statements import (
    fix_all,
    fixed_by,
    input_at,
    join_all,
    join_groups,
    join_repeated,
    numbers_of,
)
from packlight.compression.structure.weight_rules import (
    couple_conv,
    couple_conv_transpose,
    couple_gather,
    couple_gemm,
    couple_matmul,
    couple_recurrent,
)
from packlight.model import graphs

Rule = Callable[[ir.Node, Couplings], None]


SPATIAL = 2


def couple(graph: ir.Model) -> Couplings:
    """Everything that the operators of a model state."""
    couplings = Couplings(graph)
    for value in graph.graph.inputs:
        couplings.fix_value(value, Fixed("model-input", f"'{value.name}' is an input of the model"))
    for value in graph.graph.outputs:
        couplings.fix_value(
            value, Fixed("model-output", f"'{value.name}' is an output of the model")
        )
    for body in graphs(graph):
        for node in body:
            if node.op_type == "Constant" and node.domain in STANDARD:
                continue
            _couple_node(node, couplings, inside=body is not graph.graph)
    couplings.settle()
    return couplings


def _couple_node(node: ir.Node, couplings: Couplings, *, inside: bool) -> None:
    rule = RULES.get(node.op_type) if node.domain in STANDARD else None
    if inside or rule is None:
        where = "lies in the body of another operator" if inside else "has no rule for channels"
        fixed = Fixed("unsupported-operator", f"{node.name}, a {node.op_type}, {where}")
        for value in (*node.inputs, *node.outputs):
            couplings.fix_value(value, fixed)
        return
    for value in (*node.inputs, *node.outputs):
        if value is not None and couplings.is_in_body(value):
            fixed = Fixed("unsupported-operator", f"the body of an operator reads '{value.name}'")
            couplings.fix_value(value, fixed)
    rule(node, couplings)


def _elementwise(node: ir.Node, couplings: Couplings) -> None:
    """Operands are aligned from the last axis; those of size 1 are repeated."""
    output = node.outputs[0]
    rank = couplings.rank(output)
    for value in node.inputs:
        if value is None:
            continue
        own = couplings.rank(value)
        if rank is None or own is None:
            fix_all(node, couplings)
            return
        for axis in range(1, own + 1):
            join_repeated(couplings, value, output, -axis)
    if rank is not None:
        for extra in node.outputs[1:]:
            for axis in range(rank):
                couplings.join_axes(output, axis, extra, axis)


def _first_input(node: ir.Node, couplings: Couplings) -> None:
    """All axes of the first input are those of the outputs; other inputs are numbers."""
    for output in node.outputs:
        join_all(couplings, node.inputs[0], output)
    for value in node.inputs[1:]:
        couplings.fix_value(value, fixed_by(node, "reads it as a setting"))


def _along_axis(node: ir.Node, couplings: Couplings) -> None:
    """Softmax and the like: what they sum over stays."""
    join_all(couplings, node.inputs[0], node.outputs[0])
    rank = couplings.rank(node.inputs[0]) or 0
    axis = node.attributes.get_int("axis", -1)
    couplings.fix_axis(node.inputs[0], axis, fixed_by(node, "compares all of them"))
    if "axis" not in node.attributes:  # before opset 13 all axes from 1 on
        for other in range(1, rank):
            couplings.fix_axis(node.inputs[0], other, fixed_by(node, "compares all of them"))


def _per_channel(node: ir.Node, couplings: Couplings) -> None:
    """Normalizations with numbers for each channel of axis 1."""
    join_all(couplings, node.inputs[0], node.outputs[0])
    for value in (*node.inputs[1:], *node.outputs[1:]):
        couplings.join_axes(node.inputs[0], 1, value, 0)


def _group_norm(node: ir.Node, couplings: Couplings) -> None:
    _per_channel(node, couplings)
    read = couplings.positions(node.inputs[0], 1)
    groups = node.attributes.get_int("num_groups", 1)
    join_groups(couplings, (read,), groups, fixed_by(node, "has channels of unknown number"))


def _layer_norm(node: ir.Node, couplings: Couplings) -> None:
    """Scale and bias are aligned with the last axes of what is normalized."""
    value = node.inputs[0]
    join_all(couplings, value, node.outputs[0])
    for extra in node.outputs[1:]:
        couplings.fix_value(extra, fixed_by(node, "gives statistics"))
    for parameter in node.inputs[1:]:
        if parameter is None:
            continue
        for axis in range(1, (couplings.rank(parameter) or 0) + 1):
            join_repeated(couplings, parameter, node.outputs[0], -axis)


def _pool(node: ir.Node, couplings: Couplings) -> None:
    output = node.outputs[0]
    for value in (node.inputs[0], output):
        for axis in range(SPATIAL, couplings.rank(value) or 0):
            couplings.fix_axis(value, axis, fixed_by(node, "slides along it"))
    for axis in range(SPATIAL):
        couplings.join_axes(node.inputs[0], axis, output, axis)
    for extra in node.outputs[1:]:
        if extra.name:
            couplings.fix_value(output, fixed_by(node, "gives indices"))
            couplings.fix_value(extra, fixed_by(node, "gives indices"))


def _reduce(node: ir.Node, couplings: Couplings) -> None:
    value = node.inputs[0]
    rank = couplings.rank(value)
    given = node.attributes.get_ints("axes", ())
    axes = numbers_of(node.inputs[1]) if input_at(node, 1) is not None else list(given)
    if rank is None or axes is None:
        fix_all(node, couplings)
        return
    if not axes and not node.attributes.get_int("noop_with_empty_axes", 0):
        axes = list(range(rank))
    reduced = {axis % rank for axis in axes}
    keep = node.attributes.get_int("keepdims", 1)
    position = 0
    for axis in range(rank):
        if axis in reduced:
            couplings.fix_axis(value, axis, fixed_by(node, "reduces it"))
            position += keep
            continue
        couplings.join_axes(value, axis, node.outputs[0], position)
        position += 1


def _pad(node: ir.Node, couplings: Couplings) -> None:
    value = node.inputs[0]
    pads = numbers_of(node.inputs[1]) if input_at(node, 1) is not None else None
    if pads is None and "pads" in node.attributes:
        pads = list(node.attributes.get_ints("pads"))
    rank = couplings.rank(value)
    if rank is None or pads is None or len(pads) != 2 * rank:
        fix_all(node, couplings)
        return
    for axis in range(rank):
        if pads[axis] or pads[axis + rank]:
            for end in (value, node.outputs[0]):
                couplings.fix_axis(end, axis, fixed_by(node, "pads it"))
        else:
            couplings.join_axes(value, axis, node.outputs[0], axis)


SIZES_INPUT = 3


def _resize(node: ir.Node, couplings: Couplings) -> None:
    before = couplings.shape(node.inputs[0])
    after = couplings.shape(node.outputs[0])
    if before is None or after is None or input_at(node, SIZES_INPUT) is not None:
        fix_all(node, couplings)
        return
    for axis in range(len(before)):
        if axis < SPATIAL and before[axis] == after[axis]:
            couplings.join_axes(node.inputs[0], axis, node.outputs[0], axis)
            continue
        for end in (node.inputs[0], node.outputs[0]):
            couplings.fix_axis(end, axis, fixed_by(node, "resizes it"))


def _unrelated(node: ir.Node, couplings: Couplings) -> None:
    """Reads sizes only."""
    del node, couplings


def _names(text: str) -> Sequence[str]:
    return text.split()


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_names(
        "Abs Add And Cast CastLike Ceil Clip Cos Div Dropout Elu Equal Erf Exp Floor Gelu Greater "
        "GreaterOrEqual HardSigmoid HardSwish Identity LeakyRelu Less LessOrEqual Log Max Mean Min "
        "Mish Mul Neg Not Or Pow PRelu Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus "
        "Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where Xor"
    ), _elementwise),
    **dict.fromkeys(_names("Softmax LogSoftmax Hardmax"), _along_axis),
    **dict.fromkeys(_names("AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool "
                           "MaxPool"), _pool),
    **dict.fromkeys(_names("ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean "
                           "ReduceMin ReduceProd ReduceSum ReduceSumSquare"), _reduce),
    **dict.fromkeys(_names("BatchNormalization InstanceNormalization"), _per_channel),
    **dict.fromkeys(_names("LayerNormalization RMSNormalization"), _layer_norm),
    **dict.fromkeys(_names("LSTM GRU RNN"), couple_recurrent),
    **dict.fromkeys(_names("Reshape Flatten Squeeze Unsqueeze"), couple_reshape),
    "Concat": couple_concat,
    "Conv": couple_conv,
    "ConvTranspose": couple_conv_transpose,
    "Gather": couple_gather,
    "Gemm": couple_gemm,
    "GroupNormalization": _group_norm,
    "MatMul": couple_matmul,
    "Pad": _pad,
    "Resize": _resize,
    "Shape": _unrelated,
    "Split": couple_split,
    "Transpose": couple_transpose,
}  # fmt: skip
